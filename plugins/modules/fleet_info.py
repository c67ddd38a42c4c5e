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
  - Reads the instances, the data volumes and the load balancer's state in a few calls, and probes every sealed
    instance.
  - Returns how Ansible can connect to each instance. The task stores the SSH host keys that the instances report.
extends_documentation_fragment:
  - immutable.infra.options
  - immutable.infra.options.store
  - immutable.infra.options.channel
  - immutable.infra.attributes
  - immutable.infra.attributes.action
  - immutable.infra.attributes.info
options:
  complete:
    description:
      - Return every instance and host, however large the result is. Set it if a decision depends on all of them.
      - By default, a result of more than 600,000 bytes has a part of each long list, see RV(left_out). A fleet of about
        300 instances has such a result.
    type: bool
    default: false
    version_added: 0.3.0
  prove_again:
    description:
      - Read the evidence of every host again, because hosts may have been rebooted.
      - A rebooted host has another host key, and is not sealed until it has proved that again.
      - On AWS and OpenStack, this is one call for each host. It has no effect on the providers C(qemu) and
        C(container).
    type: bool
    default: false
    version_added: 0.3.0
seealso:
  - module: immutable.infra.fleet
"""

EXAMPLES = r"""
- name: Observe the fleet
  immutable.infra.fleet_info:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
  register: observed

- name: Require that every instance serves the channel's image
  ansible.builtin.assert:
    that:
      - observed.serving == observed.size
      - observed.left_out is not defined
      - observed.instances | selectattr('outdated') | length == 0

- name: Show the hosts that do not run the channel's image
  ansible.builtin.debug:
    msg: "{{ item.name }} runs {{ item.variables.immutable_image_name }}"
  loop: "{{ observed.hosts }}"
  loop_control:
    label: "{{ item.name }}"
  when: "'outdated' in item.groups"
"""

RETURN = r"""
fleet:
  description: Name of the fleet, composed of the service and target names.
  returned: success
  type: str
  sample: shop-local
service:
  description: Name of the service.
  returned: success
  type: str
target:
  description: Name of the target.
  returned: success
  type: str
image:
  description: Digest of the image that the fleet should run.
  returned: success
  type: str
image_name:
  description: Name of the image that the fleet should run.
  returned: success
  type: str
size:
  description: Number of instances in the definition.
  returned: success
  type: int
endpoint:
  description: URL at which the load balancer accepts requests.
  returned: success
  type: str
traffic:
  description:
    - The load balancer, with C(kind) and C(endpoint). If it runs on the controller, also with C(pid) and C(version).
  returned: success
  type: dict
provider:
  description: Name of the provider.
  returned: success
  type: str
warnings:
  description: Warnings of the provider.
  returned: success
  type: list
  elements: str
qemu:
  description: Version of QEMU.
  returned: with the provider V(qemu)
  type: str
group:
  description: Name of the Auto Scaling group.
  returned: when the engine is V(autoscaling)
  type: str
  version_added: 0.2.0
launch:
  description: Launch template that the group launches instances from, and the number of its version.
  returned: when the engine is V(autoscaling)
  type: str
  sample: lt-0123456789abcdef0:7
  version_added: 0.2.0
refresh:
  description:
    - The newest instance refresh, with C(id), C(status), C(reason), C(percent), C(instances_left), C(launch),
      C(started) and C(ended).
    - C(status) and C(reason) are those of Auto Scaling. C(launch) is the launch template and version that the refresh
      installs.
  returned: when the engine is V(autoscaling) and a refresh exists
  type: dict
  version_added: 0.2.0
serving:
  description: Number of instances that are sealed, healthy and in service.
  returned: success
  type: int
instances:
  description: The instances, sorted by slot.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The provider's ID of the instance.
      type: str
    slot:
      description: Number of the slot, from 0. Auto Scaling has no slots, so its instances are numbered by age.
      type: int
    image:
      description: Digest of the image that the instance was launched from.
      type: str
    image_name:
      description: Name of the image that the instance was launched from.
      type: str
    launch:
      description: Fingerprint of everything that the instance was launched with.
      type: str
    state:
      description: V(pending) until the instance has sealed itself, then V(running), or V(stopped).
      type: str
    sealed:
      description:
        - Whether the instance proved on its console that it is sealed and runs what was launched. Null if the engine
          is V(autoscaling) and the instance was launched without a launch document.
      type: bool
    healthy:
      description: Whether the last health probe passed.
      type: bool
    problem:
      description: Why the instance is not sealed or not healthy.
      type: str
    traffic:
      description:
        - State at the load balancer, V(up), V(down) or V(drain). Null if the instance is not registered.
      type: str
    in_flight:
      description: Number of requests in flight, if the load balancer reports it.
      type: int
    serving:
      description: Whether the instance is sealed, healthy and in service.
      type: bool
    outdated:
      description: Whether the instance differs from the target state.
      type: bool
    address:
      description: Address on which the instance receives traffic.
      type: str
    port:
      description: Port on which the instance receives traffic.
      type: int
    volumes:
      description: Data volumes that are attached to the instance.
      type: list
      elements: str
    zone:
      description: Zone in which the instance runs, if the provider has zones.
      type: str
      version_added: 0.2.0
    tainted:
      description: Why the instance must be replaced, if it is marked as tainted.
      type: str
      version_added: 0.2.0
    protected:
      description: Why a swap must not touch the instance without permission, if it is marked as protected.
      type: str
      version_added: 0.2.0
    standby:
      description: Why the instance is kept out of traffic, if it is marked as standby.
      type: str
      version_added: 0.2.0
    created:
      description: When the instance was launched, in UTC.
      type: str
    left_alone:
      description: Whether an instance refresh skips the protected or standby instance. Only with engine V(autoscaling).
      type: bool
      version_added: 0.2.0
hosts:
  description:
    - The instances as inventory hosts, sorted by slot, as the inventory P(immutable.infra.fleet#inventory) lists them.
      Stopped instances are not included.
  returned: success
  type: list
  elements: dict
  version_added: 0.2.0
  contains:
    name:
      description:
        - Name of the fleet and number of the slot. If a slot has a second instance, its name ends in another number.
      type: str
      sample: shop-local-0
    groups:
      description:
        - Groups of the host's service, target, image and channels. Also C(sealed) if the host proved that it is
          sealed, and C(outdated) if it does not run the channel's image.
      type: list
      elements: str
      sample: [service_shop, target_local, image_shop-1.4.2-5f2c07d1e9ab, channel_prod, sealed]
    variables:
      description:
        - How Ansible connects to the host, and facts about the instance in variables whose names start with
          C(immutable_).
      type: dict
volumes:
  description:
    - The data volumes, sorted by slot and name, with C(id), C(slot), C(name), C(size) in bytes, C(type) and
      C(attached_to).
  returned: success
  type: list
  elements: dict
orphans:
  description: Resources with the fleet's name that no longer belong to it, as M(immutable.infra.sweep) returns them.
  returned: success
  type: list
  elements: dict
  version_added: 0.2.0
swap:
  description:
    - The last swap, with C(goal), C(strategy), C(image_name), C(stage), C(status), C(reason), C(started) in seconds
      since the epoch, C(passed) and C(asks).
    - C(passed) lists the gates that the swap passed. C(asks) is the gate that is waiting for an approval.
  returned: success
  type: dict
unreleased:
  description: How the definition differs from the channel's image, which a swap alone does not change, or null.
  returned: success
  type: str
  version_added: 0.3.0
summary:
  description: The result in a few lines for people, also if the task fails. M(immutable.infra.show) shows them.
  returned: when the options are valid
  type: list
  elements: str
  version_added: 0.3.0
left_out:
  description:
    - Number of entries left out of each list, by the path of the list, if the result would exceed 600,000 bytes. A
      warning reports the same numbers. The record of the swap in the store has the complete timeline.
      M(immutable.infra.fleet_info) returns all instances with O(immutable.infra.fleet_info#module:complete).
  returned: when entries are missing
  type: dict
  sample: {instances: 800}
  version_added: 0.3.0
"""
