# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options that several modules share. A module can override single keys of an option, such as ``required``."""

from __future__ import annotations


class ModuleDocFragment:
    # For modules that work on one service.
    DOCUMENTATION = r"""
requirements:
  - jsonschema >= 4.10
  - pathspec >= 0.12
  - boto3 >= 1.36 (for AWS and for a store in S3)
  - openstacksdk >= 1 (for OpenStack)
options:
  definition:
    description:
      - Path of the definition, the versioned YAML document that describes one service.
      - If the path is a folder, the file C(immutable.yml) in that folder is used. A relative path is relative to the
        playbook's folder.
    type: path
    required: true
  target:
    description: Name of a target in the definition.
    type: str
    default: local
"""

    # For modules that work on a store.
    STORE = r"""
requirements:
  - boto3 >= 1.36 (for AWS and for a store in S3)
  - openstacksdk >= 1 (for OpenStack)
options:
  store:
    description:
      - The store, which holds images, channels, intents and records. It is a folder or, since 0.2.0, an S3 location
        such as C(s3://bucket/prefix).
      - A relative path is relative to the playbook's folder. A missing folder is created, and only the calling user
        can access it. With the provider V(qemu), the folder also holds the virtual machines and their volumes.
      - An S3 bucket must already exist. Credentials and region come from the standard AWS configuration. Parameters
        after the prefix override it. They are C(?region=), C(&profile=), C(&role=), C(&endpoint_url=), C(&external_id=) and
        C(&kms_key=). A store in S3 requires boto3 on the controller.
    type: path
    required: true
"""

    # For modules that compare a fleet with a channel.
    CHANNEL = r"""
options:
  channel:
    description: Name of the channel whose image the fleet should run.
    type: str
    default: prod
"""

    # For modules that change a fleet.
    LOCK_TIMEOUT = r"""
options:
  lock_timeout:
    description:
      - How long to wait while another run changes the same fleet, such as V(90s) or V(10m).
      - By default, the task does not wait.
    type: str
    default: 0s
"""
