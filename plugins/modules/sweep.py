#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: sweep
short_description: Report and remove orphans, which no fleet owns
version_added: 0.2.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Inspects everything that a target's provider holds for this store and finds orphans.
  - Orphaned instances belong to removed fleets, to removed slots or to verifications. They can also be leftovers in a
    slot that another instance serves. An orphaned registration is one whose instance no longer exists. Orphaned data
    volumes belong to fleets, slots or names that no longer exist.
  - On AWS and OpenStack, the task also finds the leftovers of interrupted bakes.
  - On AWS, these are build machines, key pairs, unused security groups, volumes, AMIs without a record and snapshots
    without an AMI, in the target's region and in the region where the target's images are baked. A resource counts as a
    leftover only if the tags of a bake are on it.
  - On OpenStack, these are build machines, floating addresses, key pairs, volumes and images without a record, in the
    target's project. The task recognizes them by their metadata, or by a name or description that contains the identity
    of the store.
  - Resources of a running bake, and images that are still in use, are not orphans.
  - A fleet with an unfinished swap has no orphans, because the next run of M(immutable.infra.fleet) resumes the swap
    with the existing instances.
  - Data volumes are removed only if O(volumes) names them.
extends_documentation_fragment:
  - immutable.infra.options
  - immutable.infra.options.store
  - immutable.infra.attributes
  - immutable.infra.attributes.action
  - immutable.infra.attributes.changes
options:
  state:
    description:
      - V(reported) only reports orphans.
      - V(absent) removes orphaned instances and registrations, the leftovers of bakes, and the data volumes in
        O(volumes).
    type: str
    choices: [reported, absent]
    default: reported
  older_than:
    description:
      - Ignore everything that is newer than this, such as V(90s), V(1h) or V(2d). Leftovers whose age the provider does
        not report, such as security groups, are never ignored.
      - Choose a value longer than the duration of a verification. Otherwise, the instances of a running verification
        count as orphans.
    type: str
    default: 1h
  volumes:
    description: IDs of orphaned data volumes to remove with all their data.
    type: list
    elements: str
    default: []
seealso:
  - module: immutable.infra.fleet
  - module: immutable.infra.fleet_info
"""

EXAMPLES = r"""
- name: Report orphans
  immutable.infra.sweep:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
  register: found

- name: Remove the orphans, and one data volume with its data
  immutable.infra.sweep:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    state: absent
    volumes: [shop-local/3-uploads]
"""

RETURN = r"""
orphans:
  description: The orphans that were found.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description:
        - V(instance), V(volume) (a data volume) or V(registration).
        - For leftovers of bakes, V(build_instance), V(security_group), V(address), V(key_pair), V(build_volume),
          V(image) or V(snapshot).
      type: str
    id:
      description: The provider's ID of the orphan.
      type: str
    fleet:
      description: The fleet that the orphan was created for. Empty for leftovers of bakes.
      type: str
    slot:
      description: The slot of the orphan, if it has one.
      type: int
    place:
      description: The region, for leftovers of bakes.
      type: str
    bake:
      description: The bake that left the orphan behind, for leftovers of bakes.
      type: str
    why:
      description: Why nothing owns the orphan.
      type: str
    age:
      description: Age in seconds, if the provider reports it.
      type: float
removed:
  description: Orphans that were removed, or would be removed in check mode.
  returned: success
  type: list
  elements: dict
summary:
  description: The result in a few lines for people, also if the task fails. M(immutable.infra.show) shows them.
  returned: when the options are valid
  type: list
  elements: str
  version_added: 0.3.0
left_out:
  description:
    - Number of entries left out of each list, by the path of the list, if the result would exceed 600,000 bytes. A
      warning reports the same numbers. The progress output has a line for each removed orphan.
  returned: when entries are missing
  type: dict
  version_added: 0.3.0
"""
