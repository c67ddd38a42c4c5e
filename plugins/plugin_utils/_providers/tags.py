# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names of tags, the same for every provider. They are persisted: a name never changes.

On AWS each name has a prefix, see ``_aws/tags``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

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
GLANCE = "glance"  # ID of the image on OpenStack
TOKEN = "token"  # identity of the launch, on OpenStack  # noqa: S105  no secret
MACHINE = "machine"  # fingerprint of what a server was created with, on OpenStack
PREVIOUS = "previous"  # digest and Glance ID of the image that a reimaged server may go back to, on OpenStack
NETWORK = "network"  # name of the network by which the instance is reached, on OpenStack
STARTED = "started"  # when a run started the instance again, on OpenStack
REMOVING = "removing"  # "true" on an instance that is removed once it is down, on OpenStack
LAUNCH = "launch"  # fingerprint of the launch
PURPOSE = "purpose"
NONCE = "nonce"
SLOTS = "slots"  # slots of all instances that one call launched, in the order of their launch index
PORTS = "ports"
EVIDENCE = "evidence"  # where the instance reports it: "console", "bucket", or "none"
ADDRESS = "address"  # "private" or "public": which of its addresses the instance is reached by
REPLACED = "replaced"  # which root volume of which instance was replaced, what it boots, and when; also on that volume
KEPT_ROOT = "kept_root"  # "true" on an instance while its replaced root volume is kept

# On data volumes and their snapshots, with FLEET and STORE.
SLOT = "slot"
VOLUME = "volume"  # name in the definition; root volumes have none
KMS_KEY = "kms_key"  # by which the definition named the key that encrypts it; on no volume with the default key
BLANK = "blank"  # "true" on a volume that was created without any content; on no snapshot
ZONE = "zone"  # of the slot, on a volume of OpenStack, whose own zones may have other names
USED = "used"  # "true" on a volume that was attached once, on OpenStack
HOLDER = "holder"  # the instance that had the volume last, on a volume and its snapshots on OpenStack

# On images and what a bake creates, with SERVICE, VERSION and STORE.
DIGEST = "digest"
BAKE = "bake"  # name of the lock that the bake holds

# Marks that people or other modules set. Each value is the reason.
TAINTED = "tainted"  # unsealed or drifted: replaced before the others
PROTECTED = "protected"  # a swap asks the fleet's policy before it touches the instance
STANDBY = "standby"  # out of traffic on purpose: a swap asks the fleet's policy as well
MARKS = (TAINTED, PROTECTED, STANDBY)

# Tags that the fields of an instance express.
FIELD_TAGS = (
    *(FLEET, STORE, IMAGE, AMI, GLANCE, LAUNCH, PURPOSE, NONCE, TOKEN, SLOT, SLOTS, PORTS, EVIDENCE, ADDRESS, NETWORK),
    *(MACHINE, PREVIOUS, STARTED, REMOVING, REPLACED, KEPT_ROOT),
)

# Others may write tags too. What is used in messages, names and inventories has a form, everything else is a text.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@:/-]{0,255}")
_NUMBER = re.compile(r"[0-9]{1,9}")
_NUMBERS = re.compile(r"[0-9]{1,9}(?:,[0-9]{1,9})*")
_FORMS = {
    **dict.fromkeys((SERVICE, TARGET, VERSION, BUILD, SHELL, IMAGE_NAME, FLEET, STORE, IMAGE, AMI, LAUNCH), _NAME),
    **dict.fromkeys((PURPOSE, NONCE, EVIDENCE, ADDRESS, VOLUME, KMS_KEY, DIGEST, BAKE), _NAME),
    **dict.fromkeys((GLANCE, TOKEN, MACHINE, HOLDER, ZONE), _NAME),
    **dict.fromkeys((PORT, SLOT), _NUMBER),
    PREVIOUS: re.compile(f"{_NAME.pattern} {_NAME.pattern}"),
    STARTED: re.compile(r"[0-9]{1,12}"),
    **dict.fromkeys((SLOTS, PORTS, ATTEMPT), _NUMBERS),
}


def well_formed(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags without those that this project cannot have written."""
    return {name: text for name, text in tags.items() if name not in _FORMS or _FORMS[name].fullmatch(text)}
