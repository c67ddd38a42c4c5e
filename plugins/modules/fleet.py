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
  - Brings a fleet to the image of a channel by replacing its instances, never by changing them.
  - A new instance goes into service when it proved that it is sealed and runs the intended image, its probe passes and the load balancer agrees.
    An old one is removed only after that. Where slots own data volumes, the new host boots first, then the volume moves over to it.
  - The definition's C(fleet.strategy) says how. C(rolling) goes slot by slot, C(canary) in stages with gates between them, C(blue_green) beside
    the old fleet with one flip of the traffic, C(recreate) stops the old instance before the new one takes over.
  - No more instances are out of service than C(fleet.unavailable) of the definition allows, and no more run than C(fleet.surge) beyond the size.
  - A swap that fails, by a new instance's health, a gate, an alarm, its deadline or a revocation, goes back to what the fleet ran before, with its
    size and settings as they were, and the task fails with the reason and the end of the failed instance's console.
  - A run that was cut off is gone on with by the next one. Instances that already are what they should be are left alone.
  - Changed settings or secrets of the target are a swap too, without a bake, and so are data volumes that grow or change their type.
  - One run at a time changes a fleet. It holds a lease in the store, which outlasts a controller that dies by a minute and a few seconds at most,
    unless the next run can see that the process is gone.
  - On a target whose C(fleet.engine) is C(autoscaling) the task hands the swap over to EC2 Auto Scaling. It makes a version of the group's launch
    template with the image, begins an instance refresh to that number, watches it, and turns it back where a gate says no. A refresh to the
    same version is watched, one to another is cancelled first. O(state=absent), O(approve), O(ignore_windows) and O(latencies) are refused there.
  - On a target of the provider V(simulated) the task rehearses the whole rollout in memory, from a fleet of the version before to one of the
    definition's, with the latencies and chances of failure in the target's C(simulation). No image, channel or store is needed or changed.
extends_documentation_fragment:
  - immutable.infra.options.definition
  - immutable.infra.options.target
  - immutable.infra.options.store
  - immutable.infra.attributes
  - immutable.infra.attributes.action
attributes:
  check_mode:
    support: full
    details: Predicts the steps, the duration and the lowest number in service by the same engine on a simulated provider. Gates are taken as passed.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  channel:
    description: The channel whose image the fleet shall run.
    type: str
    default: prod
  image:
    description:
      - Another image than the channel's present one, by digest, by at least six digits of it, or by name.
      - It must stand in the channel's history.
    type: str
  rollback:
    description:
      - Go back to the newest image that was promoted before the channel's present one and is not revoked.
      - It is launched as it was then, with the settings of that time, where the store knows them.
      - While an old fleet is still warm, going back is a flip of the traffic.
      - The channel goes on pointing where it points. The playbook C(immutable.infra.rollback) points it back as well.
    type: bool
    default: false
  state:
    description:
      - V(present) brings the fleet to the image and to the definition's size.
      - V(absent) drains and removes its instances and its load balancer. Data volumes stay, but for those in O(remove_volumes).
    type: str
    choices: [present, absent]
    default: present
  remove_volumes:
    description: Names of data volumes that O(state=absent) removes too, with all that is on them, in every slot.
    type: list
    elements: str
    default: []
  wait:
    description:
      - Whether to wait where nothing is left but to let time pass, such as a canary that soaks or an old fleet that is kept warm.
      - With V(false) the run ends there and tells it in RV(paused). A later run goes on.
      - On a target whose engine is C(autoscaling), with V(false) the run ends as soon as the refresh is under way. A later run judges it.
    type: bool
    default: true
  approve:
    description:
      - Approve the gate at which an earlier run paused, as told in its RV(approval), and go on. It passes that one gate only.
    type: bool
    default: false
  ignore_windows:
    description: Begin replacements outside the definition's C(fleet.windows), for a fix that cannot wait.
    type: bool
    default: false
  latencies:
    description:
      - Seconds that things take, for the prediction of check mode. By default what they took in the last swaps of the fleet, in the median.
    type: dict
    suboptions:
      boot:
        description: From a launch to the sealed evidence.
        type: float
      health:
        description: From there, or from the last volume, to the first passing probe.
        type: float
      check:
        description: From the registration to the load balancer's word.
        type: float
      drain:
        description: Until nothing is in flight.
        type: float
      stop:
        description: Of an orderly shut-down.
        type: float
  lock_timeout:
    description: How long to wait for another run that works on the same fleet, such as V(90s) or V(10m). By default not at all.
    type: str
    default: 0s
seealso:
  - module: immutable.infra.fleet_info
  - module: immutable.infra.channel
"""

EXAMPLES = r"""
- name: Bring the fleet to what the channel prod points at
  immutable.infra.fleet:
    definition: /srv/shop/immutable.yml
    target: local
    store: /var/lib/immutable

- name: Go back to an earlier image of the channel
  immutable.infra.fleet:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    image: shop-1.4.1-9f86d081884c

- name: Go back to what was promoted before
  immutable.infra.fleet:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    rollback: true

- name: Approve the canary and go on
  immutable.infra.fleet:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    approve: true

- name: Remove the fleet and keep the data
  immutable.infra.fleet:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    state: absent
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
  returned: when the fleet could be observed, but not in check mode
  type: str
traffic:
  description: What the load balancer tells of itself, with C(kind) and C(endpoint), and C(pid) and C(version) where it runs on the controller.
  returned: when the fleet could be observed, but not in check mode
  type: dict
provider:
  description: Name of the provider.
  returned: when the fleet could be observed, but not in check mode
  type: str
warnings:
  description: What the provider warns of.
  returned: when the fleet could be observed, but not in check mode
  type: list
  elements: str
qemu:
  description: Version of QEMU.
  returned: with the provider V(qemu), but not in check mode
  type: str
accelerator:
  description: What new instances were booted under, V(kvm) or V(tcg) (plain emulation).
  returned: with the provider V(qemu), when an instance was launched or started
  type: str
accelerator_reason:
  description: Why.
  returned: with the provider V(qemu), when an instance was launched or started
  type: str
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
      description: Its place in the fleet, from 0. Auto Scaling has no places; there it is counted by age.
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
      description: Whether it proved on its console that it runs, sealed, what was launched. Auto Scaling does not know.
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
volumes:
  description: The data volumes, by slot and name, with C(id), C(slot), C(name), C(size) in bytes, C(type) and C(attached_to).
  returned: when the fleet could be observed
  type: list
  elements: dict
timeline:
  description:
    - What happened, in order, each with C(at) in UTC, C(seconds) from the begin, C(event), C(slot), C(instance), and how many
      were C(healthy), C(serving) and C(draining).
  returned: not in check mode
  type: list
  elements: dict
lowest_in_service:
  description: The least number of instances that were seen in service.
  returned: not in check mode
  type: int
peak:
  description: The greatest number of instances that were seen running.
  returned: not in check mode
  type: int
downtime:
  description: Seconds in which nobody was in service, between two times when somebody was.
  returned: not in check mode
  type: float
paused:
  description: What the swap waits for, where the run ended before the swap did. It is not a failure; a later run goes on.
  returned: when the fleet could be observed
  type: str
approval:
  description: The gate that O(approve) would pass.
  returned: when the fleet could be observed
  type: str
left_alone:
  description: Slots that stay as they are, by the policy for protected or standby instances.
  returned: when the fleet could be observed
  type: list
  elements: int
origin_image_name:
  description: Name of the image that the swap goes back to if it fails.
  returned: when the fleet could be observed
  type: str
simulated:
  description: What a rehearsal came to, with C(duration) in seconds, C(calls) (changing ones), and C(stops), the reason why it would stop, if it would.
  returned: with the provider V(simulated)
  type: dict
group:
  description: Name of the Auto Scaling group.
  returned: when the engine is C(autoscaling)
  type: str
launch:
  description: Launch template and number of its version that the group launches.
  returned: when the engine is C(autoscaling)
  type: str
  sample: lt-0123456789abcdef0:7
refresh:
  description:
    - The instance refresh, with C(id), C(status) and C(reason) in Auto Scaling's own words, C(percent), C(instances_left), C(launch) (the launch
      template and version it goes to), C(started) and C(ended).
  returned: when the engine is C(autoscaling) and there was one
  type: dict
reason:
  description: Why the swap was stopped.
  returned: when it was stopped
  type: str
plan:
  description:
    - The prediction, with C(steps) (each with C(at) in seconds, C(action), C(slot), C(instance)), C(duration) and C(downtime) in seconds, C(peak),
      C(surge), C(lowest_in_service), C(stops) (why it would stop, if it would), C(pauses) (why it would pause, if it would) and
      C(latencies) (those it was made with, in seconds).
    - When the engine is C(autoscaling), C(steps) without times, and C(preferences), with which the group would be refreshed.
  returned: in check mode
  type: dict
"""
