# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Boot a candidate image and test it before anybody uses it.

Two fresh instances with scratch volumes, side by side: one lets a one-time key in for the playbook of assertions, the other is
launched exactly as in production and must prove its image, seal itself and pass its probes. Both always go.
"""

from __future__ import annotations

import secrets as random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._core.errors import VerifyError
from .._core.guard import Guard
from .._core.progress import Report
from .._definition.launch import machine_settings, ssm_parameters
from .._definition.model import Definition, Target
from .._health.evidence import proves
from .._health.prober import prober_for
from .._hosts.playbook import PlaybookRun
from .._hosts.ssh import host_vars, write_known_hosts
from .._image_model import Image
from .._providers.contract import FLEET, SSH_PORT, STOPPED, VERIFY, Instance, LaunchRequest, Provider, VolumeRequest
from .._store.keys import make_ssh_key

ASSERTED, PRODUCTION = 0, 1  # the two slots
GONE = 300.0  # seconds that a removed instance may take to be gone
LOOK_EVERY = 5.0  # seconds at most
UNSEEN = 60.0  # seconds for which a launch that no list shows yet is believed


@dataclass(frozen=True)
class Candidate:
    """What is tested, and with what it is launched."""

    image: Image
    definition: Definition
    target: Target
    settings: Mapping[str, Any]
    secrets: Mapping[str, str] = field(repr=False)
    authorized_keys: tuple[str, ...] = ()  # those of production; none where shells are off

    @property
    def fleet(self) -> str:
        """One verification of a service and target at a time, so what an earlier one left is found by this name."""
        return f"verify-{self.definition.fleet_name(self.target.name)}"


class Verification:
    """One run of the tests. ``run`` raises VerifyError with the console's last lines when the candidate falls short."""

    def __init__(
        self, candidate: Candidate, provider: Provider, playbook: PlaybookRun, guard: Guard, report: Report
    ) -> None:
        self._candidate = candidate
        self._provider = provider
        self._playbook = playbook
        self._guard = guard
        self._report = report
        self._launched: dict[str, float] = {}  # until when no list needs to show it

    def run(self, timeout: float) -> dict[str, Any]:
        """Return the checks that passed: ``{"checks": [...], "seconds": float}``."""
        began = self._provider.clock.now()
        self.clear()
        try:
            with tempfile.TemporaryDirectory(prefix="immutable-verify-") as folder:
                checks = self._test(Path(folder), began + timeout)
        finally:
            # A run that is killed here leaves them to the next verification's first step.
            self.clear()
        return {"checks": checks, "seconds": round(self._provider.clock.now() - began, 1)}

    def clear(self) -> None:
        """Remove every test instance and scratch volume of this service and target, and return when they are gone.

        Nothing on them is kept, so none is waited for to shut down in order.
        """
        provider, clock = self._provider, self._provider.clock
        instances = [instance.id for instance in self._instances()]
        if instances:
            self._guard.check()
            provider.compute.power_off(instances)
            self._guard.check()
            provider.compute.remove(instances)
        deadline = clock.now() + GONE
        while left := [instance.id for instance in self._instances()]:
            if clock.now() >= deadline:
                raise VerifyError(
                    f"test instances do not go away: {', '.join(left)} (the next verification removes them first)"
                )
            clock.wait(min(LOOK_EVERY, deadline - clock.now()))
        volumes = [volume.id for volume in provider.volumes.list(self._candidate.fleet)]
        if volumes:
            self._guard.check()
            provider.volumes.remove(volumes)

    def _test(self, folder: Path, deadline: float) -> list[str]:
        private = folder / "key"
        make_ssh_key(private, "")
        public = private.with_suffix(".pub").read_text(encoding="ascii").strip()
        wanted = [PRODUCTION] if self._candidate.definition.verify is None else [ASSERTED, PRODUCTION]
        keys = {ASSERTED: (public,), PRODUCTION: self._candidate.authorized_keys}
        self._guard.check()
        launched = self._provider.compute.launch([self._request(slot, keys[slot]) for slot in wanted])
        self._launched = {each.id: self._provider.clock.now() + UNSEEN for each in launched}
        self._report(f"booted {len(launched)} test instances of {self._candidate.image.name}")
        self._wait("sealed itself", wanted, deadline, lambda up: {i.slot for i in up if proves(i) is True})
        checks = ["sealed itself and proved its image"]
        self._attach()
        self._wait("passed its probes", wanted, deadline, self._healthy)
        checks.append("passed its health probe")
        if ASSERTED in wanted:
            self._assert(private, folder, deadline)
            checks.append(f"passed {self._candidate.definition.verify}")
        return checks

    def _attach(self) -> None:
        """The scratch volumes that did not come with the launch: not every provider attaches to what does not run yet."""
        if not self._candidate.definition.data:
            return
        holders = {instance.slot: instance.id for instance in self._instances()}
        for volume in self._provider.volumes.list(self._candidate.fleet):
            if volume.attached_to is None:
                self._guard.check()
                self._provider.volumes.attach([volume.id], holders[volume.slot])

    def _request(self, slot: int, keys: Sequence[str]) -> LaunchRequest:
        candidate = self._candidate
        nonce = random.token_hex(8)
        zone = next(iter(candidate.target.zones), "")
        volumes = [
            VolumeRequest(candidate.fleet, slot, v.name, v.size, v.mount, v.type, zone)
            for v in candidate.definition.data
        ]
        return LaunchRequest(
            token=f"{candidate.fleet}-{slot}-{nonce}",
            fleet=candidate.fleet,
            slot=slot,
            image=candidate.image.digest,
            artifact=candidate.image.artifact,
            launch="verify",
            nonce=nonce,
            purpose=VERIFY if slot == ASSERTED else FLEET,
            ports=tuple(dict.fromkeys([SSH_PORT, *candidate.target.health.ports])),
            authorized_keys=tuple(keys),
            settings=candidate.settings,
            secrets=candidate.secrets,
            secret_refs=ssm_parameters(candidate.target.secrets),
            machine=machine_settings(candidate.target),
            volumes=tuple(volume.id for volume in self._provider.volumes.create(volumes)),
            tags={"used_for": VERIFY},
            zone=zone,
        )

    def _instances(self) -> list[Instance]:
        return self._provider.compute.list(self._candidate.fleet)

    def _healthy(self, instances: Sequence[Instance]) -> set[int]:
        seen = prober_for(self._provider, self._candidate.target.health)(instances)
        return {i.slot for i in instances if seen[i.id] is True}

    def _wait(
        self, what: str, slots: Sequence[int], deadline: float, passed: Callable[[Sequence[Instance]], set[int]]
    ) -> None:
        """Wait until every slot's instance has passed. Raises VerifyError when one ends or the time is up."""
        while True:
            instances = self._instances()
            if passed(instances) >= set(slots):
                self._report(f"{self._candidate.image.name} {what}")
                return
            now, present = self._provider.clock.now(), {instance.id for instance in instances}
            self._launched.update(dict.fromkeys(present & set(self._launched), 0.0))
            lost = [each for each, until in self._launched.items() if each not in present and now > until]
            if lost or any(instance.state == STOPPED for instance in instances):
                raise self._failure(f"a test instance ended before it {what}")
            if now >= deadline:
                raise self._failure(f"no test instance {what} in time")
            self._provider.clock.wait(min(LOOK_EVERY, deadline - now))

    def _failure(self, what: str) -> VerifyError:
        image = self._candidate.image.name
        consoles = {i.slot: self._provider.compute.console(i.id).splitlines()[-10:] for i in self._instances()}
        last = next((lines for lines in consoles.values() if lines), [])
        return VerifyError(
            f"{image} failed its verification: {what}. Last on its console: {' / '.join(last[-3:]) or 'nothing'}",
            consoles=consoles,
        )

    def _assert(self, private: Path, folder: Path, deadline: float) -> None:
        candidate = self._candidate
        instance = next(i for i in self._instances() if i.slot == ASSERTED)
        known_hosts = folder / "known_hosts"
        write_known_hosts(known_hosts, [instance])
        facts = {
            "immutable_digest": candidate.image.digest,
            "immutable_service": candidate.image.service,
            "immutable_version": candidate.image.version,
        }
        host = {**host_vars(instance, private, known_hosts), **facts}
        inventory = {"all": {"children": {"candidate": {"hosts": {f"{candidate.image.service}-candidate": host}}}}}
        playbook = candidate.definition.verify
        if playbook is None:  # or this instance would not have been launched
            raise VerifyError("the definition names no verify playbook")
        left = deadline - self._provider.clock.now()
        self._playbook(
            candidate.definition.folder / playbook, inventory, workdir=folder, timeout=left, report=self._report
        )
