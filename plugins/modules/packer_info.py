#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: packer_info
short_description: Tell the version of Packer and what a template holds
version_added: 0.1.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Returns the version of the C(packer) binary, and with O(template) the builds and variables that C(packer inspect) finds there.
extends_documentation_fragment:
  - immutable.infra.attributes
  - immutable.infra.attributes.info
  - immutable.infra.packer
options:
  template:
    description: Path of a template on the host, a file in HCL2 or JSON or a folder of HCL2 files.
    type: path
seealso:
  - module: immutable.infra.packer_build
  - module: immutable.infra.packer_validate
"""

EXAMPLES = r"""
- name: Which Packer is there
  immutable.infra.packer_info:
  register: packer

- name: Which builds does a template have
  immutable.infra.packer_info:
    template: /srv/images/web.pkr.hcl
  register: web
"""

RETURN = r"""
packer_version:
  description: Version of Packer.
  returned: always
  type: str
  sample: 1.6.6
executable:
  description: Absolute path of the binary.
  returned: always
  type: str
  sample: /usr/bin/packer
builds:
  description: Names of the template's builds, as O(immutable.infra.packer_build#module:only) takes them.
  returned: when O(template) is given
  type: list
  elements: str
variables:
  description: The template's variables, sorted by name.
  returned: when O(template) is given
  type: list
  elements: dict
  contains:
    name:
      description: Name of the variable.
      type: str
    default:
      description: Its default as text. C(null) where it has none, or where it is sensitive.
      type: str
    required:
      description: Whether it has no default.
      type: bool
    sensitive:
      description: Whether Packer keeps its default back. Packer does not tell this of a variable without a default.
      type: bool
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.immutable.infra.plugins.module_utils.packer.task import TOOL_OPTIONS, run, timeout_of


def work(module, packer):
    result = {"changed": False, "packer_version": packer.version(), "executable": packer.executable}
    if module.params["template"]:
        result.update(asdict(packer.inspect(module.params["template"], timeout=timeout_of(module))))
    return result


def main():
    run(AnsibleModule(argument_spec={**TOOL_OPTIONS, "template": {"type": "path"}}, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
