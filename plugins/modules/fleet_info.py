#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_info
short_description: Observe the instances of a service on a target
version_added: 0.1.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Reads instances, data volumes and the load balancer's view in a few calls, and probes every instance that sealed itself.
extends_documentation_fragment:
  - immutable.infra.options.definition
  - immutable.infra.options.target
  - immutable.infra.options.store
  - immutable.infra.attributes
  - immutable.infra.attributes.action
  - immutable.infra.attributes.info
options:
  channel:
    description: The channel that tells which image is due, and so which instances are outdated.
    type: str
    default: prod
seealso:
  - module: immutable.infra.fleet
"""

EXAMPLES = r"""
- name: Look at the fleet
  immutable.infra.fleet_info:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
  register: observed

- name: Insist that all serve what is due
  ansible.builtin.assert:
    that:
      - observed.serving == observed.size
      - observed.instances | selectattr('outdated') | length == 0
"""

RETURN = r"""
fleet:
  description: Name of the fleet, the service and the target.
  returned: when the fleet could be observed
  type: str
  sample: shop-local
service:
  description: The service.
  returned: when the fleet could be observed
  type: str
target:
  description: The target.
  returned: when the fleet could be observed
  type: str
image:
  description: Digest of the image that the fleet should run.
  returned: when the fleet could be observed
  type: str
image_name:
  description: Name of that image.
  returned: when the fleet could be observed
  type: str
size:
  description: How many instances the definition asks for.
  returned: when the fleet could be observed
  type: int
endpoint:
  description: URL where the load balancer takes requests.
  returned: when the fleet could be observed
  type: str
traffic:
  description: What the load balancer tells of itself.
  returned: when the fleet could be observed
  type: dict
provider:
  description: Name of the provider.
  returned: when the fleet could be observed
  type: str
warnings:
  description: What the provider warns of.
  returned: when the fleet could be observed
  type: list
  elements: str
serving:
  description: How many instances are sealed, healthy and in service.
  returned: success
  type: int
instances:
  description: The instances, by slot.
  returned: when the fleet could be observed
  type: list
  elements: dict
  contains:
    id:
      description: Name of the instance with its provider.
      type: str
    slot:
      description: Its place in the fleet, from 0.
      type: int
    image:
      description: Digest of the image that it was launched from.
      type: str
    image_name:
      description: Name of that image.
      type: str
    launch:
      description: Fingerprint of all that it was launched with.
      type: str
    state:
      description: V(pending) until it sealed itself, then V(running), or V(stopped).
      type: str
    sealed:
      description: Whether it proved on its console that it runs, sealed, what was launched.
      type: bool
    healthy:
      description: Whether the last probe passed.
      type: bool
    problem:
      description: Why it is not sealed or not healthy.
      type: str
    traffic:
      description: The load balancer's word, V(up), V(down) or V(drain), or nothing where it does not know the instance.
      type: str
    in_flight:
      description: Requests in flight, where the load balancer can tell.
      type: int
    serving:
      description: Whether it is sealed, healthy and in service.
      type: bool
    outdated:
      description: Whether it differs from what it should be.
      type: bool
    address:
      description: Address where it takes traffic.
      type: str
    port:
      description: Port where it takes traffic.
      type: int
    volumes:
      description: Data volumes that are attached to it.
      type: list
      elements: str
    created:
      description: When it was launched, in UTC.
      type: str
volumes:
  description: The data volumes, by slot and name, with C(id), C(slot), C(name), C(size) in bytes and C(attached_to).
  returned: when the fleet could be observed
  type: list
  elements: dict
swap:
  description: The last swap, with C(goal), C(image_name), C(stage), C(status), C(reason) and C(started) in seconds since the epoch.
  returned: success
  type: dict
"""
