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
  - Tells how Ansible reaches each instance. The host keys that they told are kept in the store for it.
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

- name: Name the hosts that run another image than the channel's
  ansible.builtin.debug:
    msg: "{{ item.name }} runs {{ item.variables.immutable_image_name }}"
  loop: "{{ observed.hosts }}"
  loop_control:
    label: "{{ item.name }}"
  when: "'outdated' in item.groups"
"""

RETURN = r"""
fleet:
  description: Name of the fleet, the service and the target.
  returned: success
  type: str
  sample: shop-local
service:
  description: The service.
  returned: success
  type: str
target:
  description: The target.
  returned: success
  type: str
image:
  description: Digest of the image that the fleet should run.
  returned: success
  type: str
image_name:
  description: Name of that image.
  returned: success
  type: str
size:
  description: How many instances the definition asks for.
  returned: success
  type: int
endpoint:
  description: URL where the load balancer takes requests.
  returned: success
  type: str
traffic:
  description: What the load balancer tells of itself, with C(kind) and C(endpoint), and C(pid) and C(version) where it runs on the controller.
  returned: success
  type: dict
provider:
  description: Name of the provider.
  returned: success
  type: str
warnings:
  description: What the provider warns of.
  returned: success
  type: list
  elements: str
qemu:
  description: Version of QEMU.
  returned: with the provider V(qemu)
  type: str
group:
  description: Name of the Auto Scaling group.
  returned: when the engine is C(autoscaling)
  type: str
launch:
  description: Launch template and number of its version that the group launches.
  returned: when the engine is C(autoscaling)
  type: str
refresh:
  description: Its newest instance refresh, with C(id), C(status), C(reason), C(percent), C(instances_left), C(launch), C(started) and C(ended).
  returned: when the engine is C(autoscaling) and there was one
  type: dict
serving:
  description: How many instances are sealed, healthy and in service.
  returned: success
  type: int
instances:
  description: The instances, by slot.
  returned: success
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
    zone:
      description: Zone it runs in, where the provider has zones.
      type: str
    tainted:
      description: Why it is due for replacement, if it is.
      type: str
    protected:
      description: Why a swap must not touch it without leave, if so.
      type: str
    standby:
      description: Why it is out of traffic on purpose, if so.
      type: str
    created:
      description: When it was launched, in UTC.
      type: str
    left_alone:
      description: Whether a refresh passes it over, by the policy for protected or standby instances. Only when the engine is C(autoscaling).
      type: bool
hosts:
  description:
    - The instances as hosts of an inventory, by slot, as the inventory P(immutable.infra.fleet#inventory) lists them. Stopped ones are left out.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the fleet and number of the slot. A second instance in a slot has a number more.
      type: str
      sample: shop-local-0
    groups:
      description: Groups of its service, target, image and channels, C(sealed) where it proved that it is, and C(outdated) where another image is due.
      type: list
      elements: str
      sample: [service_shop, target_local, image_shop-1.4.2-5f2c07d1e9ab, channel_prod, sealed]
    variables:
      description: How Ansible connects to it, and what it is, in variables whose names begin with C(immutable_).
      type: dict
volumes:
  description: The data volumes, by slot and name, with C(id), C(slot), C(name), C(size) in bytes, C(type) and C(attached_to).
  returned: success
  type: list
  elements: dict
orphans:
  description: What is there under the fleet's name and belongs to it no more, as M(immutable.infra.sweep) tells it.
  returned: success
  type: list
  elements: dict
swap:
  description:
    - The last swap, with C(goal), C(strategy), C(image_name), C(stage), C(status), C(reason), C(started) in seconds since the epoch, C(passed) (gates)
      and C(asks) (the gate that waits for an approval).
  returned: success
  type: dict
"""
