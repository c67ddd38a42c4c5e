#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: packer_info
short_description: Tell the version of Packer, its plugins and what a template holds
version_added: 0.1.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Returns the version of the C(packer) binary and the plugins that it finds, and with O(template) the builds and variables of the
    template and the plugins that are missing for it.
extends_documentation_fragment:
  - immutable.infra.attributes
  - immutable.infra.attributes.info
  - immutable.infra.packer
options:
  template:
    description: Path of a template on the host, a file in HCL2 or JSON or a folder of HCL2 files.
    type: path
  plugin_path:
    description: Folder of plugins, instead of what C(PACKER_PLUGIN_PATH) or Packer itself says.
    type: path
    version_added: 0.2.0
seealso:
  - module: immutable.infra.packer_build
  - module: immutable.infra.packer_init
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
plugins:
  description:
    - Every plugin that Packer finds, sorted by source and version. What Packer holds itself is not among them, and before 1.8
      it tells of none.
  returned: always
  type: list
  elements: dict
  contains:
    source:
      description: The plugin's source.
      type: str
      sample: github.com/hashicorp/qemu
    version:
      description: Its version.
      type: str
      sample: 1.0.9
    path:
      description: Path of its binary.
      type: str
missing:
  description: Plugins that the template needs and Packer does not find.
  returned: when O(template) is given
  type: list
  elements: dict
  contains:
    source:
      description: The plugin's source, empty where it is not known.
      type: str
      sample: github.com/hashicorp/qemu
    version:
      description: What its version may be, empty for any.
      type: str
      sample: ">= 1.0.9"
    reason:
      description: What it is needed for.
      type: str
      sample: builder qemu
    command:
      description: The command that would install it, as M(immutable.infra.packer_init) does. Empty where the source is not known.
      type: str
      sample: packer plugins install github.com/hashicorp/qemu
builds:
  description: >-
    Names of the template's builds, as O(immutable.infra.packer_build#module:only) takes them. Empty where a plugin is missing without
    which Packer does not read the template.
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
      description: Whether the template declares it sensitive.
      type: bool
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.immutable.infra.plugins.module_utils._packer.errors import PackerError
from ansible_collections.immutable.infra.plugins.module_utils._packer.inspection import Inspection
from ansible_collections.immutable.infra.plugins.module_utils._packer.installed import Installed
from ansible_collections.immutable.infra.plugins.module_utils._packer.plugins import command_for, of_complaints
from ansible_collections.immutable.infra.plugins.module_utils._packer.task import TOOL_OPTIONS, run, timeout_of


def work(module, packer):
    installed = Installed(packer, module.params["plugin_path"], timeout_of(module))
    there = installed.found()
    result = {"changed": False, "packer_version": packer.version(), "executable": packer.executable, "plugins": [asdict(plugin) for plugin in there]}
    template = module.params["template"]
    if template:
        missing = installed.missing(installed.needs(template), there)
        try:
            inspection = packer.inspect(template, timeout=timeout_of(module), environment=installed.environment)
        except PackerError as error:
            complaints = of_complaints(error.message)
            if not missing and not complaints:
                raise
            missing += [need for need in complaints if need.source not in [one.source for one in missing]]
            inspection = Inspection()
        told = [{"source": need.source, "version": need.constraint, "reason": need.reason, "command": command_for(need, template)} for need in missing]
        result.update(asdict(inspection), missing=told)
    return result


def main():
    own = {"template": {"type": "path"}, "plugin_path": {"type": "path"}}
    run(AnsibleModule(argument_spec={**TOOL_OPTIONS, **own}, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
