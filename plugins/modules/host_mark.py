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
  - Puts a mark on hosts, with a reason, or takes it away. Nothing on the hosts is changed; the mark is kept by the provider, and the next swap goes by it.
  - A host on standby is out of traffic. It drains when it is marked, and is put back when the mark is taken away. That is your decision, so it is done
    even where fewer hosts stay in service than a swap would leave; RV(serving) tells how many do.
  - While something is changed no other run can work on the fleet.
extends_documentation_fragment:
  - immutable.infra.options.definition
  - immutable.infra.options.target
  - immutable.infra.options.store
  - immutable.infra.attributes
  - immutable.infra.attributes.action
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  hosts:
    description:
      - The hosts, each by its name in the inventory (C(<service>-<target>-<slot>), as M(immutable.infra.fleet_info) tells it), by its instance's id,
        or by the number of its slot, which stands for all that run in it.
    type: list
    elements: str
    required: true
  mark:
    description:
      - V(tainted) hosts are due for replacement, before the others.
      - V(protected) hosts are touched by a swap only as far as the fleet's policy lets it.
      - V(standby) hosts are out of traffic, and are likewise under the fleet's policy.
    type: str
    choices: [tainted, protected, standby]
    required: true
  state:
    description: Whether the hosts bear the mark.
    type: str
    choices: [present, absent]
    default: present
  reason:
    description: Why, in one line of at most 256 characters. Needed with O(state=present). Another reason than the one before replaces it.
    type: str
    default: ""
  lock_timeout:
    description: How long to wait for another run that works on the same fleet, such as V(90s) or V(10m). By default not at all.
    type: str
    default: 0s
seealso:
  - module: immutable.infra.fleet
  - module: immutable.infra.fleet_info
"""

EXAMPLES = r"""
- name: Take a host out of traffic to look into it
  immutable.infra.host_mark:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    target: prod
    hosts: [shop-prod-1]
    mark: standby
    reason: slow since noon, ann looks into it

- name: Put it back
  immutable.infra.host_mark:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    target: prod
    hosts: [shop-prod-1]
    mark: standby
    state: absent

- name: Have two slots replaced by the next swap
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
  description: The hosts that were named. In check mode as they would be.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The host's name in the inventory.
      type: str
    id:
      description: Id of its instance.
      type: str
    slot:
      description: Number of its slot.
      type: int
    marks:
      description: Its marks, each with the reason.
      type: dict
serving:
  description: How many hosts of the fleet are in service now. A host that was put back counts once the load balancer's check passes.
  returned: success
  type: int
left_out:
  description: Hosts that are on standby no more but were not put back in traffic, each with the reason.
  returned: success
  type: dict
"""
