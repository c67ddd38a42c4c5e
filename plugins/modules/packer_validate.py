#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: packer_validate
short_description: Check a Packer template
version_added: 0.1.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Runs C(packer validate) on any HCL2 or JSON template and returns its errors and warnings, each with its file and
    line.
  - The task fails if the template is invalid, unless O(fail_on_invalid) is V(false).
extends_documentation_fragment:
  - immutable.infra.attributes
  - immutable.infra.attributes.info
  - immutable.infra.packer
  - immutable.infra.packer.template
options:
  syntax_only:
    description: Check only the syntax. Variables then need no values.
    type: bool
    default: false
  fail_on_invalid:
    description: Whether the task fails if the template is invalid.
    type: bool
    default: true
seealso:
  - module: immutable.infra.packer_build
  - module: immutable.infra.packer_info
"""

EXAMPLES = r"""
- name: Check a template with its variables
  immutable.infra.packer_validate:
    template: /srv/images/web.pkr.hcl
    vars:
      region: eu-west-1

- name: Check only the syntax and register the mistakes
  immutable.infra.packer_validate:
    template: /srv/images/web.pkr.hcl
    syntax_only: true
    fail_on_invalid: false
  register: checked

- name: Show the mistakes
  ansible.builtin.debug:
    msg: "{{ item.file }}:{{ item.line }}: {{ item.summary }}"
  loop: "{{ checked.diagnostics }}"
"""

RETURN = r"""
valid:
  description: Whether Packer accepts the template.
  returned: success, and when the template is invalid
  type: bool
diagnostics:
  description: Errors and warnings, each listed once, at most 100. Texts of more than 1000 characters are shortened.
  returned: success, and when the template is invalid
  type: list
  elements: dict
  contains:
    severity:
      description: Either C(error) or C(warning).
      type: str
    summary:
      description: The problem in one line.
      type: str
    detail:
      description: The rest of Packer's message.
      type: str
    file:
      description: Path of the file. Empty if Packer does not report it.
      type: str
    line:
      description: Number of the line. 0 if Packer does not report it.
      type: int
command:
  description: Packer's command line. It contains no secrets.
  returned: success, and when the template is invalid
  type: list
  elements: str
packer_version:
  description: Version of Packer.
  returned: success, and when the template is invalid
  type: str
  sample: 1.6.6
output:
  description:
    - Packer's output, at most the last 1000 lines and 200,000 bytes. Secrets are masked. Lines of more than 1000
      characters are shortened.
  returned: success, and when the template is invalid
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.immutable.infra.plugins.module_utils._packer.task import (
    TEMPLATE_OPTIONS,
    TOOL_OPTIONS,
    run,
    template_arguments,
    validation_error,
)


def work(module, packer):
    """Validate the template and return the task's result."""
    validation = packer.validate(syntax_only=module.params["syntax_only"], **template_arguments(module))
    if not validation.valid and module.params["fail_on_invalid"]:
        raise validation_error(validation, packer_version=packer.version())
    return dict(validation.as_dict(), changed=False, packer_version=packer.version())


def main():
    own = {
        "syntax_only": {"type": "bool", "default": False},
        "fail_on_invalid": {"type": "bool", "default": True},
    }
    run(AnsibleModule(argument_spec={**TEMPLATE_OPTIONS, **TOOL_OPTIONS, **own}, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
