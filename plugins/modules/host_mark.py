#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: host_mark
short_description: Mark hosts of a fleet as tainted, protected or standby
version_added: 0.2.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Adds a mark with a reason to hosts, or removes it. Nothing on the hosts changes. The provider keeps the mark, and
    the next swap respects it.
  - A host on standby receives no traffic. It drains when it is marked and returns to traffic when the mark is
    removed. This is your decision, so it takes effect even if fewer hosts stay in service than a swap would allow.
    RV(serving) returns how many hosts are in service.
  - No other run can change the fleet while this module changes it.
extends_documentation_fragment:
  - immutable.infra.options
  - immutable.infra.options.store
  - immutable.infra.options.lock_timeout
  - immutable.infra.attributes
  - immutable.infra.attributes.action
  - immutable.infra.attributes.changes
options:
  hosts:
    description:
      - The hosts to mark. Specify each host by its inventory name, the ID of its instance or the number of its slot.
      - The inventory name is C(<service>-<target>-<slot>), as M(immutable.infra.fleet_info) returns it. A slot number
        selects every instance in the slot.
    type: list
    elements: str
    required: true
  mark:
    description:
      - V(tainted) hosts must be replaced, and are replaced before others.
      - A swap replaces V(protected) hosts only as far as the fleet's policy allows.
      - V(standby) hosts receive no traffic. The fleet's policy for standby hosts applies to them.
    type: str
    choices: [tainted, protected, standby]
    required: true
  state:
    description: Whether the hosts should have the mark.
    type: str
    choices: [present, absent]
    default: present
  reason:
    description:
      - The reason for the mark, one line of at most 256 characters. Required with O(state=present).
      - A new reason replaces the previous one.
    type: str
    default: ""
seealso:
  - module: immutable.infra.fleet
  - module: immutable.infra.fleet_info
"""

EXAMPLES = r"""
- name: Take a host out of traffic to investigate it
  immutable.infra.host_mark:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    target: prod
    hosts: [shop-prod-1]
    mark: standby
    reason: slow since noon, ann investigates

- name: Return the host to traffic
  immutable.infra.host_mark:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    target: prod
    hosts: [shop-prod-1]
    mark: standby
    state: absent

- name: Let the next swap replace two slots
  immutable.infra.host_mark:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    hosts: [0, 2]
    mark: tainted
    reason: somebody logged in as root
"""

RETURN = r"""
fleet:
  description: Name of the fleet.
  returned: success
  type: str
hosts:
  description: The hosts that the task selected. In check mode, as they would be after the change.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The host's name in the inventory.
      type: str
    id:
      description: ID of the host's instance.
      type: str
    slot:
      description: Number of the host's slot.
      type: int
    marks:
      description: The host's marks, each with its reason.
      type: dict
serving:
  description:
    - Number of hosts of the fleet that are in service now.
    - A host that returns to traffic counts as soon as it passes the load balancer's health check.
  returned: success
  type: int
left_out:
  description: Hosts that are no longer on standby but were not returned to traffic, each with the reason.
  returned: success
  type: dict
"""
