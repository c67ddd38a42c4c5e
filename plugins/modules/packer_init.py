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
  - Installs the Packer plugins that are missing for a template, and those that are named. What is there already is left as it is.
  - For a template in HCL2 these are its C(required_plugins), installed by C(packer init). For a template in JSON, which cannot name
    plugins, they follow from its builders, provisioners and post-processors, and are installed by C(packer plugins install).
  - With O(mirror) nothing is fetched from the network.
  - Up to 1.9, Packer holds the plugins of HashiCorp itself. Of these nothing is installed then, unless a version is asked for.
extends_documentation_fragment:
  - immutable.infra.attributes
  - immutable.infra.packer
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  template:
    description: Path of a template on the host, a file in HCL2 or JSON or a folder of HCL2 files.
    type: path
  plugins:
    description: Further plugins.
    type: list
    elements: dict
    default: []
    suboptions:
      source:
        description: Its source, such as V(github.com/hashicorp/qemu).
        type: str
        required: true
      version:
        description:
          - What its version may be, such as V(1.0.9) or V(>= 1.0, < 2).
          - By default any that is there will do, and else the newest is installed.
        type: str
        default: ""
  mirror:
    description:
      - Folder on the host to install from instead of the network. It may have any structure.
      - It holds the plugins' binaries, or the archives that they are released in, under their released names, such as
        C(packer-plugin-qemu_v1.0.9_x5.0_linux_amd64) with or without C(.zip). The newest that fits is taken.
    type: path
  plugin_path:
    description:
      - Folder that the plugins are installed in, and looked for. Packer finds it where its environment says the same by
        C(PACKER_PLUGIN_PATH).
      - By default the one that C(PACKER_PLUGIN_PATH) says, and else Packer's own in the user's home.
    type: path
seealso:
  - module: immutable.infra.packer_info
  - module: immutable.infra.packer_build
"""

EXAMPLES = r"""
- name: Install what a template requires
  immutable.infra.packer_init:
    template: /srv/images/web.pkr.hcl

- name: Install one version of a plugin where there is no network
  immutable.infra.packer_init:
    plugins:
      - source: github.com/hashicorp/qemu
        version: 1.0.9
    mirror: /srv/packer-plugins
    plugin_path: /opt/packer/plugins
"""

RETURN = r"""
installed:
  description: What was installed, or would be in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    source:
      description: The plugin's source.
      type: str
      sample: github.com/hashicorp/qemu
    version:
      description: What was asked for, empty for any version.
      type: str
      sample: ">= 1.0.9"
    reason:
      description: What asked for it.
      type: str
      sample: builder qemu
plugins:
  description: Every plugin that Packer finds after the task.
  returned: success
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
packer_version:
  description: Version of Packer.
  returned: success
  type: str
  sample: 1.9.4
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.immutable.infra.plugins.module_utils._packer.errors import PackerError
from ansible_collections.immutable.infra.plugins.module_utils._packer.installed import Installed
from ansible_collections.immutable.infra.plugins.module_utils._packer.plugins import Need, check_source
from ansible_collections.immutable.infra.plugins.module_utils._packer.task import TOOL_OPTIONS, run, timeout_of
from ansible_collections.immutable.infra.plugins.module_utils._packer.versions import satisfies


def work(module, packer):
    params = module.params
    installed = Installed(packer, params["plugin_path"], timeout_of(module))
    needs = installed.needs(params["template"]) if params["template"] else []
    needs += [Need(check_source(one["source"]), _constraint(one["version"]), "plugins") for one in params["plugins"]]
    there = installed.found()
    missing = installed.missing(needs, there)
    if missing and not module.check_mode:
        installed.install(missing, params["template"], params["mirror"])
        there = installed.found()
        still = installed.missing(missing, there)
        if still:
            lacking = f"{still[0].source} {still[0].constraint}".strip()
            raise PackerError(f"Packer does not find {lacking} after it was installed: look at plugin_path and PACKER_PLUGIN_PATH")
    told = [{"source": need.source, "version": need.constraint, "reason": need.reason} for need in missing]
    return {"changed": bool(missing), "installed": told, "plugins": [asdict(plugin) for plugin in there], "packer_version": packer.version()}


def _constraint(text):
    satisfies("1.0.0", text)  # refuses what is no constraint
    return text


def main():
    plugin = {"source": {"type": "str", "required": True}, "version": {"type": "str", "default": ""}}
    own = {
        "template": {"type": "path"},
        "plugins": {"type": "list", "elements": "dict", "default": [], "options": plugin},
        "mirror": {"type": "path"},
        "plugin_path": {"type": "path"},
    }
    spec = {"argument_spec": {**TOOL_OPTIONS, **own}, "required_one_of": [["template", "plugins"]], "supports_check_mode": True}
    run(AnsibleModule(**spec), work)


if __name__ == "__main__":
    main()
