#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: fleet
short_description: Swap, scale or remove the instances of a service on a target
version_added: 0.1.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Updates a fleet to the current image of a channel by replacing its instances. Instances are never changed in place.
  - A new instance must prove that it is sealed and runs the intended image. It goes into service once it passes its
    health probe and is healthy at the load balancer. The old instance is removed only after that. If a slot has data
    volumes, they move to the new instance after it boots.
  - C(fleet.strategy) in the definition selects the strategy. V(rolling) replaces slot by slot. V(canary) works in
    stages with gates between them. V(blue_green) launches a second fleet next to the old one and switches the traffic
    once. V(recreate) stops the old instance before the new one takes over. V(reimage) keeps the instance and boots it
    from the new image, so the slot is out of service meanwhile.
  - At most C(fleet.unavailable) instances are out of service at any time, and at most C(fleet.surge) instances run
    beyond the fleet's size.
  - A swap fails if a new instance is unhealthy, a gate or alarm stops it, the deadline expires, or the image is
    revoked. It then rolls back to the previous image, size and settings. The task fails and returns the reason and
    the last lines of the failed instance's console.
  - The next run resumes an interrupted swap. Instances that already match the target state are not touched.
  - A change to the target's settings or secrets, or to the size or type of a data volume, also triggers a swap but not
    a bake.
  - Only one run at a time can change a fleet. The run holds a lease in the store. If its controller dies, the lease
    expires in little more than a minute. If the next run can see that the process has ended, it takes over the lease
    immediately.
  - If C(fleet.engine) of the target is V(autoscaling), EC2 Auto Scaling performs the swap. The task creates a version
    of the group's launch template with the image, starts an instance refresh to that version and watches it. If a
    gate fails, it rolls back the refresh.
  - If a refresh to the same version is running, the task watches it. It first cancels a refresh to any other version.
    With V(autoscaling), O(state=absent), O(approve), O(ignore_windows) and O(latencies) are not supported.
  - If the target's provider is V(simulated), the task rehearses the whole rollout in memory, from a fleet of the
    previous version to the definition's version. C(simulation) of the target sets latencies and failure
    probabilities. A rehearsal neither needs nor changes any image, channel or store.
extends_documentation_fragment:
  - immutable.infra.options
  - immutable.infra.options.store
  - immutable.infra.options.channel
  - immutable.infra.options.lock_timeout
  - immutable.infra.attributes
  - immutable.infra.attributes.action
  - immutable.infra.attributes.changes
attributes:
  check_mode:
    details:
      - The same engine predicts steps, duration and the lowest number in service, as if every gate passed.
options:
  image:
    description:
      - Another image of the channel's history, by its name, its digest, or at least six characters of its digest.
      - Mutually exclusive with O(rollback).
    type: str
  rollback:
    description:
      - Roll back to the newest image before the channel's current one that was completely in service in this fleet and
        is not revoked, or else to the newest one that was never launched. It reuses the settings of the last launch, if
        they are in the store. If the old fleet of a V(blue_green) swap is still warm, it only switches the traffic.
      - The channel does not change. The playbook C(immutable.infra.rollback) also points the channel back.
    type: bool
    default: false
    version_added: 0.2.0
  state:
    description:
      - V(present) updates the fleet to the image and to the definition's size.
      - V(absent) drains and removes instances and load balancer. It keeps data volumes, except O(remove_volumes).
    type: str
    choices: [present, absent]
    default: present
  remove_volumes:
    description: Names of data volumes that O(state=absent) also removes, in every slot and with all their data.
    type: list
    elements: str
    default: []
  wait:
    description:
      - Whether the run waits for time-based steps, such as a canary soak or an old fleet that is kept warm.
      - If V(false), the run ends at such a step with the reason in RV(paused). A later run resumes the swap.
      - With V(autoscaling), such a run ends as soon as the refresh has started. A later run evaluates the refresh.
    type: bool
    default: true
    version_added: 0.2.0
  approve:
    description:
      - Approve only the gate at which an earlier run paused, and continue. RV(approval) of that run names it.
    type: bool
    default: false
    version_added: 0.2.0
  ignore_windows:
    description: Start replacements outside of C(fleet.windows), for a fix that cannot wait.
    type: bool
    default: false
    version_added: 0.2.0
  latencies:
    description: Latencies of a prediction, in seconds. The defaults are the medians of the fleet's last swaps.
    type: dict
    version_added: 0.2.0
    suboptions:
      boot:
        description: From the launch to the evidence that the host is sealed.
        type: float
      health:
        description: From that evidence, or from the last volume, to the first health probe that passes.
        type: float
      check:
        description: From the registration until the load balancer reports the instance as healthy.
        type: float
      drain:
        description: Until no requests are in flight.
        type: float
      stop:
        description: Duration of a graceful shutdown.
        type: float
seealso:
  - module: immutable.infra.fleet_info
  - module: immutable.infra.channel
"""

EXAMPLES = r"""
- name: Update the fleet to the image of the channel prod
  immutable.infra.fleet:
    definition: /srv/shop/immutable.yml
    target: local
    store: /var/lib/immutable

- name: Return to an earlier image of the channel
  immutable.infra.fleet:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    image: shop-1.4.1-9f86d081884c

- name: Roll back to the previously promoted image
  immutable.infra.fleet:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    rollback: true

- name: Approve the canary and continue
  immutable.infra.fleet:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    approve: true

- name: Remove the fleet and keep its data
  immutable.infra.fleet:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    state: absent
"""

RETURN = r"""
fleet:
  description: Name of the fleet, composed of the service and target names.
  returned: when the fleet could be observed
  type: str
  sample: shop-local
service:
  description: Name of the service.
  returned: when the fleet could be observed
  type: str
target:
  description: Name of the target.
  returned: when the fleet could be observed
  type: str
image:
  description: Digest of the image that the fleet should run.
  returned: when the fleet could be observed
  type: str
image_name:
  description: Name of the image that the fleet should run.
  returned: when the fleet could be observed
  type: str
size:
  description: Number of instances in the definition.
  returned: when the fleet could be observed
  type: int
endpoint:
  description: URL at which the load balancer accepts requests.
  returned: when the fleet could be observed, but not in check mode
  type: str
traffic:
  description:
    - The load balancer, with C(kind) and C(endpoint). If it runs on the controller, also with C(pid) and C(version).
  returned: when the fleet could be observed, but not in check mode
  type: dict
provider:
  description: Name of the provider.
  returned: when the fleet could be observed, but not in check mode
  type: str
warnings:
  description: Warnings of the provider.
  returned: when the fleet could be observed, but not in check mode
  type: list
  elements: str
qemu:
  description: Version of QEMU.
  returned: with the provider V(qemu), but not in check mode
  type: str
accelerator:
  description: Accelerator that new instances were booted with, V(kvm) or V(tcg) (plain emulation).
  returned: with the provider V(qemu), when an instance was launched or started
  type: str
accelerator_reason:
  description: Why this accelerator was used.
  returned: with the provider V(qemu), when an instance was launched or started
  type: str
instances:
  description: The instances, sorted by slot.
  returned: when the fleet could be observed
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
volumes:
  description:
    - The data volumes, sorted by slot and name, with C(id), C(slot), C(name), C(size) in bytes, C(type) and
      C(attached_to).
  returned: when the fleet could be observed
  type: list
  elements: dict
timeline:
  description:
    - The events of the run, in order. Each has C(at) in UTC, C(seconds) since the start, C(event), C(slot),
      C(instance) and the number of instances that were C(healthy), C(serving) and C(draining).
  returned: not in check mode
  type: list
  elements: dict
lowest_in_service:
  description: Lowest number of instances that were observed in service.
  returned: not in check mode
  type: int
peak:
  description: Highest number of instances that were observed running.
  returned: not in check mode
  type: int
downtime:
  description: Seconds without any instance in service, between two times with at least one instance in service.
  returned: not in check mode
  type: float
  version_added: 0.2.0
paused:
  description: What the swap waits for, if the run ended before it finished. This is no failure. A later run resumes.
  returned: when the fleet could be observed
  type: str
  version_added: 0.2.0
approval:
  description: The gate that O(approve) would approve.
  returned: when the fleet could be observed
  type: str
  version_added: 0.2.0
left_alone:
  description: Slots that stay unchanged under the policy for protected or standby instances.
  returned: when the fleet could be observed
  type: list
  elements: int
  version_added: 0.2.0
origin_image_name:
  description: Name of the image that the swap rolls back to if it fails.
  returned: when the fleet could be observed
  type: str
  version_added: 0.2.0
simulated:
  description:
    - Outcome of a rehearsal, with C(duration) in seconds, C(calls) (the number of mutating calls) and C(stops) (why
      the swap would stop, or null).
  returned: with the provider V(simulated)
  type: dict
  version_added: 0.2.0
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
reason:
  description: Why the swap was stopped.
  returned: when the swap was stopped
  type: str
plan:
  description:
    - The prediction. It has C(steps) (each with C(at) in seconds, C(action), C(slot) and C(instance)), C(duration)
      and C(downtime) in seconds, C(peak), C(surge) and C(lowest_in_service).
    - C(stops) says why the swap would stop, or is null. C(pauses) says why it would pause, or is empty. C(latencies)
      are the latencies of the prediction, in seconds.
    - C(last_failure) says how the last swap to the image failed (C(image_name), C(at), C(reason)), or is null.
    - If the engine is V(autoscaling), it has C(steps) without times, and C(preferences), which the refresh would use.
  returned: in check mode
  type: dict
unreleased:
  description: How the definition differs from the channel's image, which a swap alone does not change, or null.
  returned: when the fleet is to run the image of the channel
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
