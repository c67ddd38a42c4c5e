#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: packer_init
short_description: Install the plugins that a Packer template needs
version_added: 0.2.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Installs the plugins that a template needs and those listed in O(plugins), if they are missing. Plugins that are
    already installed are not changed.
  - An HCL2 template lists its plugins in C(required_plugins), and C(packer init) installs them. A JSON template
    cannot list plugins. The task derives them from the template's builders, provisioners and post-processors, and
    installs them with C(packer plugins install).
  - If O(mirror) is set, the task downloads nothing.
  - HashiCorp's own plugins are built into Packer 1.9 and earlier. The task then installs them only if you request a
    version.
extends_documentation_fragment:
  - immutable.infra.attributes
  - immutable.infra.packer
  - immutable.infra.packer.optional_template
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  plugins:
    description: Additional plugins to install.
    type: list
    elements: dict
    default: []
    suboptions:
      source:
        description: Source of the plugin, such as V(github.com/hashicorp/qemu).
        type: str
        required: true
      version:
        description:
          - Version or version constraint, such as V(1.0.9) or V(>= 1.0, < 2).
          - By default, any installed version is accepted. If none is installed, the newest version is installed.
        type: str
        default: ""
  mirror:
    description:
      - Folder on the host to install from instead of the network. Its structure does not matter.
      - It must contain plugin binaries or release archives with their original file names, such as
        C(packer-plugin-qemu_v1.0.9_x5.0_linux_amd64) with or without C(.zip). The newest version that satisfies the
        constraint is installed.
    type: path
  plugin_path:
    description:
      - Folder to install plugins in, and to search for installed plugins. Packer uses this folder only if
        E(PACKER_PLUGIN_PATH) is set to it in Packer's environment.
      - The default is the value of E(PACKER_PLUGIN_PATH). If that is not set, it is Packer's own folder in the user's
        home.
    type: path
seealso:
  - module: immutable.infra.packer_info
  - module: immutable.infra.packer_build
"""

EXAMPLES = r"""
- name: Install the plugins that a template requires
  immutable.infra.packer_init:
    template: /srv/images/web.pkr.hcl

- name: Install a specific version of a plugin without network access
  immutable.infra.packer_init:
    plugins:
      - source: github.com/hashicorp/qemu
        version: 1.0.9
    mirror: /srv/packer-plugins
    plugin_path: /opt/packer/plugins
"""

RETURN = r"""
installed:
  description: Plugins that were installed, or would be installed in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    source:
      description: Source of the plugin.
      type: str
      sample: github.com/hashicorp/qemu
    version:
      description: Requested version constraint. Empty if any version is accepted.
      type: str
      sample: ">= 1.0.9"
    reason:
      description: What requested the plugin.
      type: str
      sample: builder qemu
plugins:
  description: All plugins that Packer finds after the task.
  returned: success
  type: list
  elements: dict
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
packer_version:
  description: Version of Packer.
  returned: success
  type: str
  sample: 1.9.4
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.immutable.infra.plugins.module_utils._packer.errors import PackerError
from ansible_collections.immutable.infra.plugins.module_utils._packer.installed import InstalledPlugins
from ansible_collections.immutable.infra.plugins.module_utils._packer.plugins import Requirement, check_source
from ansible_collections.immutable.infra.plugins.module_utils._packer.task import TOOL_OPTIONS, run, timeout_of
from ansible_collections.immutable.infra.plugins.module_utils._packer.versions import satisfies


def work(module, packer):
    """Install the missing plugins, or only list them in check mode, and return the task's result."""
    params = module.params
    installed = InstalledPlugins(packer, params["plugin_path"], timeout_of(module))
    requirements = installed.requirements(params["template"]) if params["template"] else []
    requirements += [
        Requirement(check_source(plugin["source"]), _constraint(plugin["version"]), "plugins")
        for plugin in params["plugins"]
    ]
    found = installed.plugins()
    missing = installed.missing(requirements, found)
    if missing and not module.check_mode:
        installed.install(missing, params["template"], params["mirror"])
        found = installed.plugins()
        still = installed.missing(missing, found)
        if still:
            name = f"{still[0].source} {still[0].constraint}".strip()
            raise PackerError(
                f"Packer cannot find {name} after installation."
                " Check that plugin_path and PACKER_PLUGIN_PATH name the same folder."
            )
    return {
        "changed": bool(missing),
        "installed": [
            {"source": requirement.source, "version": requirement.constraint, "reason": requirement.reason}
            for requirement in missing
        ],
        "plugins": [asdict(plugin) for plugin in found],
        "packer_version": packer.version(),
    }


def _constraint(text):
    satisfies("1.0.0", text)  # raises PackerError if the text is not a version constraint
    return text


def main():
    plugin = {"source": {"type": "str", "required": True}, "version": {"type": "str", "default": ""}}
    own = {
        "template": {"type": "path"},
        "plugins": {"type": "list", "elements": "dict", "default": [], "options": plugin},
        "mirror": {"type": "path"},
        "plugin_path": {"type": "path"},
    }
    module = AnsibleModule(
        argument_spec={**TOOL_OPTIONS, **own},
        required_one_of=[["template", "plugins"]],
        supports_check_mode=True,
    )
    run(module, work)


if __name__ == "__main__":
    main()
