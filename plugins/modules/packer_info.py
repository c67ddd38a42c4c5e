#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: packer_info
short_description: Return Packer's version, its plugins and a template's contents
version_added: 0.1.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Returns the version of the C(packer) binary and the plugins that it finds.
  - If O(template) is set, it also returns the template's builds, variables and missing plugins.
extends_documentation_fragment:
  - immutable.infra.attributes
  - immutable.infra.attributes.info
  - immutable.infra.packer
  - immutable.infra.packer.optional_template
options:
  plugin_path:
    description: Plugin folder to use instead of E(PACKER_PLUGIN_PATH) or Packer's own folder.
    type: path
    version_added: 0.2.0
seealso:
  - module: immutable.infra.packer_build
  - module: immutable.infra.packer_init
  - module: immutable.infra.packer_validate
"""

EXAMPLES = r"""
- name: Read the version of Packer
  immutable.infra.packer_info:
  register: packer

- name: Read the builds of a template
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
    - Every plugin that Packer finds, sorted by source and version. Packer's built-in plugins are not included. Before
      version 1.8, Packer does not report any plugins.
  returned: always
  type: list
  elements: dict
  version_added: 0.2.0
  contains:
    source:
      description: Source of the plugin.
      type: str
      sample: github.com/hashicorp/qemu
    version:
      description: Version of the plugin.
      type: str
      sample: 1.0.9
    path:
      description: Path of the plugin's binary.
      type: str
missing:
  description: Plugins that the template needs but Packer cannot find.
  returned: when O(template) is set
  type: list
  elements: dict
  version_added: 0.2.0
  contains:
    source:
      description: Source of the plugin. Empty if it is not known.
      type: str
      sample: github.com/hashicorp/qemu
    version:
      description: Version constraint. Empty if any version is accepted.
      type: str
      sample: ">= 1.0.9"
    reason:
      description: The part of the template that needs the plugin.
      type: str
      sample: builder qemu
    command:
      description:
        - Command that installs the plugin. M(immutable.infra.packer_init) installs it in the same way. Empty if the
          source is not known.
      type: str
      sample: packer plugins install github.com/hashicorp/qemu
builds:
  description:
    - Names of the template's builds, which O(immutable.infra.packer_build#module:only) and
      O(immutable.infra.packer_build#module:except) accept. A named C(build) block is part of the name, and a source has
      the name that the block gives to it.
    - In an HCL2 template, characters that C(only) would take as a pattern are preceded by a backslash, and a C(?)
      stands for a comma.
    - In a JSON template, variables in a name have their defaults. A name that only a build knows, such as one with
      C({{timestamp}}) or a variable without a default, is returned as the template writes it. C(only) does not accept
      it.
    - Empty if Packer cannot read the template because a plugin is missing.
  returned: when O(template) is set
  type: list
  elements: str
variables:
  description: The template's variables, sorted by name.
  returned: when O(template) is set
  type: list
  elements: dict
  contains:
    name:
      description: Name of the variable.
      type: str
    default:
      description:
        - Default of the variable as text, or its value in a file C(*.auto.pkrvars.hcl) of the template's folder. Null
          if there is none or the variable is sensitive.
        - Variables of the environment, such as C(PKR_VAR_region), do not count.
      type: str
    required:
      description: Whether the variable has neither a default nor a value in such a file.
      type: bool
    sensitive:
      description: Whether the template declares the variable as sensitive.
      type: bool
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.immutable.infra.plugins.module_utils._packer.errors import PackerError
from ansible_collections.immutable.infra.plugins.module_utils._packer.inspection import Inspection
from ansible_collections.immutable.infra.plugins.module_utils._packer.installed import InstalledPlugins
from ansible_collections.immutable.infra.plugins.module_utils._packer.plugins import (
    install_command,
    requirements_in_errors,
)
from ansible_collections.immutable.infra.plugins.module_utils._packer.task import TOOL_OPTIONS, run, timeout_of


def work(module, packer):
    """Return what Packer and its plugins report, and the contents of the template if one is given."""
    installed = InstalledPlugins(packer, module.params["plugin_path"], timeout_of(module))
    found = installed.plugins()
    result = {
        "changed": False,
        "packer_version": packer.version(),
        "executable": packer.executable,
        "plugins": [asdict(plugin) for plugin in found],
    }
    template = module.params["template"]
    if template:
        missing = installed.missing(installed.requirements(template), found)
        try:
            inspection = packer.inspect(template, timeout=timeout_of(module), environment=installed.environment)
        except PackerError as error:
            reported = requirements_in_errors(error.message)
            if not missing and not reported:
                raise
            known = [requirement.source for requirement in missing]
            missing += [requirement for requirement in reported if requirement.source not in known]
            inspection = Inspection()
        result.update(asdict(inspection), missing=[missing_dict(requirement, template) for requirement in missing])
    return result


def missing_dict(requirement, template):
    """The missing plugin as an entry of the result."""
    return {
        "source": requirement.source,
        "version": requirement.constraint,
        "reason": requirement.reason,
        "command": install_command(requirement, template),
    }


def main():
    own = {"template": {"type": "path"}, "plugin_path": {"type": "path"}}
    run(AnsibleModule(argument_spec={**TOOL_OPTIONS, **own}, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
