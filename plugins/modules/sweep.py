#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: sweep
short_description: Report and remove what no fleet owns any more
version_added: 0.2.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Looks at all that a target's provider holds for this store, and finds orphans. These are instances of fleets that were removed, of slots that a fleet
    no longer has, left over beside the one that serves their slot, or left by a verification; registrations whose instance is gone; and data volumes
    of fleets, slots or names that are no more.
  - On AWS it also finds what killed bakes left in the target's region and in the one where it bakes. These are build machines, key pairs, volumes, AMIs that no
    record names and snapshots without an AMI, all told by their tags; and security groups and key pairs under the names that Packer gives to temporary ones,
    once they are a day old and nothing uses them. What belongs to a bake that is still running is left alone, and so is an AMI that something refers to.
  - A fleet whose swap is under way has no orphans, since the next run of M(immutable.infra.fleet) goes on with what is there.
  - Data volumes are removed only where O(volumes) names them.
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
  state:
    description:
      - V(reported) only tells what there is.
      - V(absent) removes instances, registrations and what bakes left, and those data volumes that O(volumes) names.
    type: str
    choices: [reported, absent]
    default: reported
  older_than:
    description:
      - Leave alone what is younger, such as V(90s), V(1h) or V(2d).
      - A verification under way must not take longer, or its machines are taken for orphans.
    type: str
    default: 1h
  volumes:
    description: Ids of orphaned data volumes to remove with all that is on them.
    type: list
    elements: str
    default: []
seealso:
  - module: immutable.infra.fleet
  - module: immutable.infra.fleet_info
"""

EXAMPLES = r"""
- name: Tell what no fleet owns
  immutable.infra.sweep:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
  register: found

- name: Remove it, and one volume with its data
  immutable.infra.sweep:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    state: absent
    volumes: [shop-local/3-uploads]
"""

RETURN = r"""
orphans:
  description: What was found.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description:
        - V(instance), V(volume) (of data) or V(registration).
        - Of bakes V(build_instance), V(security_group), V(key_pair), V(build_volume), V(image) or V(snapshot).
      type: str
    id:
      description: Its id with the provider.
      type: str
    fleet:
      description: The fleet that it was made for. Empty for what a bake left.
      type: str
    slot:
      description: Its slot, if it has one.
      type: int
    place:
      description: The region of what a bake left.
      type: str
    bake:
      description: The bake that left it, where its tags tell.
      type: str
    why:
      description: Why nothing owns it.
      type: str
    age:
      description: Its age in seconds, where the provider tells.
      type: float
removed:
  description: Those of them that were removed, in check mode those that would be.
  returned: success
  type: list
  elements: dict
"""
