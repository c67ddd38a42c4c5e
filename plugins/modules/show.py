#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: show
short_description: Show lines of text in the output
version_added: 0.3.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Shows lines as they are, for example the C(summary) that the modules of this collection return. The module
    M(ansible.builtin.debug) would show them as JSON.
  - The lines go to the standard output of C(ansible-playbook). If its callback prints JSON there, they go to
    standard error. AWX shows them in the output of the job.
  - A line that begins with C(+), C(-), C(~) or C(!) and a space is shown in color if Ansible uses colors. Control
    characters and terminal escapes are removed.
extends_documentation_fragment:
  - immutable.infra.attributes
  - immutable.infra.attributes.action
  - immutable.infra.attributes.info
options:
  lines:
    description: The lines to show.
    type: list
    elements: str
    required: true
  failure:
    description:
      - If this text is not empty, the task shows the lines and then fails with this text as its message.
      - A playbook can therefore show what led to a failure, and then end with the message of the failure.
    type: str
seealso:
  - module: immutable.infra.fleet
  - module: immutable.infra.fleet_info
  - module: ansible.builtin.debug
"""

EXAMPLES = r"""
- name: Observe the fleet
  immutable.infra.fleet_info:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
  register: observed

- name: Show what the fleet runs
  immutable.infra.show:
    lines: "{{ observed.summary }}"
"""

RETURN = r"""
lines:
  description: The lines that were shown.
  returned: success
  type: list
  elements: str
"""
