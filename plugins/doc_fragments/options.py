# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options that several modules share. One fragment an option, so that each module takes what it has."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
"""

    DEFINITION = r"""
options:
  definition:
    description:
      - Path of the definition, the versioned YAML document of one service.
      - A folder stands for the file C(immutable.yml) in it. A relative path starts at the playbook's folder.
    type: path
    required: true
"""

    TARGET = r"""
options:
  target:
    description: Name of a target in the definition.
    type: str
    default: local
"""

    STORE = r"""
options:
  store:
    description:
      - Where images, channels, intents and records are kept. A folder, or since 0.2.0 C(s3://bucket/prefix).
      - A folder may be relative to the playbook's folder. It is created where it is missing, for the calling user alone. With the provider C(qemu)
        the machines and volumes are in it too.
      - A bucket must be there. Credentials and region come from the standard AWS configuration; C(?region=), C(&profile=), C(&role=),
        C(&endpoint_url=) and C(&kms_key=) behind the prefix say otherwise. Needs boto3 on the controller.
    type: path
    required: true
"""
