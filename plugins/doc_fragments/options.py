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
      - Folder in which images, channels, intents and records are kept, and on this machine's provider the machines and volumes too.
      - A relative path starts at the playbook's folder. It is created where it is missing, for the calling user alone.
    type: path
    required: true
"""
