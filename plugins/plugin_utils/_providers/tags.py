# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names of the tags that instances carry, the same for every provider. They are persisted: a name never changes."""

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

# Marks that people or other modules set. Each value is the reason.
TAINTED = "tainted"  # unsealed or drifted: replaced before the others
PROTECTED = "protected"  # a swap asks the fleet's policy before it touches the instance
STANDBY = "standby"  # out of traffic on purpose: a swap asks the fleet's policy as well
MARKS = (TAINTED, PROTECTED, STANDBY)
