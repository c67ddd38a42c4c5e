# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names of tags, the same for every provider. They are persisted: a name never changes.

On AWS each name has a prefix, see ``_aws/tags``.
"""

from __future__ import annotations

# Set at launch.
SERVICE = "service"
TARGET = "target"
VERSION = "version"
BUILD = "build"
SHELL = "shell"
IMAGE_NAME = "image_name"  # for people
PORT = "port"  # the guest port that takes traffic
HEALTH = "health"  # how the instance is probed, as JSON
VOLUMES = "volumes"  # the volumes that the service waits for
SWAP = "swap"  # serial of the swap that launched the instance
ATTEMPT = "attempt"  # how many instances its slot lost in that swap before it

# Set at launch by a provider that remembers its instances only by their tags.
FLEET = "fleet"
STORE = "store"  # identity of the store
IMAGE = "image"  # digest
AMI = "ami"
LAUNCH = "launch"  # fingerprint of the launch
PURPOSE = "purpose"
NONCE = "nonce"
SLOTS = "slots"  # slots of all instances that one call launched, in the order of their launch index
PORTS = "ports"
EVIDENCE = "evidence"  # "console", or "none" where no console is read
ADDRESS = "address"  # "private" or "public": which of its addresses the instance is reached by

# On data volumes and their snapshots, with FLEET and STORE.
SLOT = "slot"
VOLUME = "volume"  # name in the definition; root volumes have none

# On images and what a bake creates, with SERVICE, VERSION and STORE.
DIGEST = "digest"
BAKE = "bake"  # name of the lock that the bake holds

# Marks that people or other modules set. Each value is the reason.
TAINTED = "tainted"  # unsealed or drifted: replaced before the others
PROTECTED = "protected"  # a swap asks the fleet's policy before it touches the instance
STANDBY = "standby"  # out of traffic on purpose: a swap asks the fleet's policy as well
MARKS = (TAINTED, PROTECTED, STANDBY)


def number_in(text: str) -> int | None:
    """The number that a tag consists of, or None. Tags come from outside: some digits of Unicode are no number."""
    return int(text) if text.isascii() and text.isdigit() else None
