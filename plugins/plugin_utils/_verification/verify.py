# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Boots a candidate image and tests it before it is used.

It launches two instances with scratch volumes in parallel. One accepts a temporary key for the verify playbook. The
other is launched as in production. Both must seal themselves, prove their image and pass their probes. Both are always
removed.
"""

from __future__ import annotations

import secrets as random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...module_utils._bounded import shortened
from ...module_utils._packer.redact import Redactor
from .._core.consoles import redacted_lines, telling_lines
from .._core.errors import ProviderError, VerifyError
from .._core.guard import Guard
from .._core.progress import Report
from .._definition.launch import machine_settings, ssm_parameters
from .._definition.model import Definition, Target
from .._health.evidence import proves
from .._health.prober import prober_for
from .._hosts.connection import host_vars, login_ports
from .._hosts.playbook import PlaybookRun
from .._hosts.ssh import write_known_hosts
from .._image_model import Image
from .._providers.contract import (
    FLEET,
    STOPPED,
    USED_FOR,
    VERIFY,
    Instance,
    LaunchRequest,
    Provider,
    VolumeRequest,
)
from .._providers.volume_options import VolumeOptions
from .._store.keys import make_ssh_key

PLAYBOOK_SLOT, PRODUCTION_SLOT = 0, 1
REMOVAL_TIMEOUT = 300.0  # seconds until a removed instance must have disappeared
POLL_INTERVAL = 5.0  # seconds at most
LISTING_DELAY = 60.0  # seconds during which a new instance may be missing from the provider's list
CONSOLE_LINES = 10  # of each instance, in the details of a failure
MESSAGE_LINES = 3  # of one instance, in the message of a failure
MAX_REPORTED = 10  # different reasons why one wait goes on


@dataclass(frozen=True)
class _Limit:
    """When a wait ends, and how a message says so."""

    until: float
    text: str


@dataclass(frozen=True)
class Candidate:
    """The image to test, and what its instances are launched with.

    Attributes:
        secrets: values by name.
        authorized_keys: those of production, or none without a shell.
        group_machine: settings of a machine that the target leaves to its group.
    """

    image: Image
    definition: Definition
    target: Target
    settings: Mapping[str, Any]
    secrets: Mapping[str, str] = field(repr=False)
    authorized_keys: tuple[str, ...] = ()
    group_machine: Mapping[str, Any] = field(default_factory=dict)

    @property
    def machine(self) -> dict[str, Any]:
        """The launch settings, as the target's engine launches its instances. The target's own take precedence."""
        own = machine_settings(self.target)
        return {**own, **{name: value for name, value in self.group_machine.items() if not own.get(name)}}

    @property
    def fleet(self) -> str:
        """The name of the test fleet.

        A service and target have one verification at a time, so this name finds leftovers of earlier ones.
        """
        return f"verify-{self.definition.fleet_name(self.target.name)}"


class Verification:
    """One verification of a candidate."""

    def __init__(
        self, candidate: Candidate, provider: Provider, *, playbook: PlaybookRun, guard: Guard, report: Report
    ) -> None:
        self._candidate = candidate
        self._provider = provider
        self._playbook = playbook
        self._guard = guard
        self._report = report
        self._problems: list[str] = []  # of the instances whose probes failed last
        self._launched: dict[str, float] = {}  # by instance: until when the provider's list may lack it

    def run(self, timeout: float) -> dict[str, Any]:
        """Test the candidate and return the passed checks: ``{"checks": [...], "seconds": float}``.

        Args:
            timeout: seconds for all tests.

        Raises VerifyError with the last lines of the consoles if a test fails, ProviderError.
        """
        started = self._provider.clock.now()
        self._provider.compute.check_machine(machine_settings(self._candidate.target))
        self.clear()
        try:
            with tempfile.TemporaryDirectory(prefix="immutable-verify-") as folder:
                checks = self._test(Path(folder), started + timeout)
        finally:
            # If the run is killed here, the next verification removes the instances first.
            self.clear()
        return {"checks": checks, "seconds": round(self._provider.clock.now() - started, 1)}

    def clear(self) -> None:
        """Remove all test instances and scratch volumes of this service and target, and wait for their end.

        Powers the instances off instead of shutting them down, because nothing on them is kept.

        Raises VerifyError if instances do not disappear in time.
        """
        provider, clock = self._provider, self._provider.clock
        instances = [instance.id for instance in self._instances()]
        if instances:
            self._guard.check()
            provider.compute.power_off(instances)
            self._guard.check()
            provider.compute.remove(instances)
        deadline = clock.now() + REMOVAL_TIMEOUT
        while remaining := self._instances():
            if clock.now() >= deadline:
                raise VerifyError(
                    f"removed test instances still exist: {', '.join(instance.id for instance in remaining)}"
                    " (the next verification removes them first)"
                )
            if down := [instance.id for instance in remaining if instance.awaits_removal]:
                self._guard.check()
                provider.compute.remove(down)
            clock.wait(min(POLL_INTERVAL, deadline - clock.now()))
        volumes = [volume.id for volume in provider.volumes.list(self._candidate.fleet)]
        if volumes:
            self._guard.check()
            provider.volumes.remove(volumes)

    def _test(self, folder: Path, deadline: float) -> list[str]:
        private = folder / "key"
        public = self._temporary_key(private)
        slots = [PRODUCTION_SLOT] if self._candidate.definition.verify is None else [PLAYBOOK_SLOT, PRODUCTION_SLOT]
        keys = {PLAYBOOK_SLOT: public, PRODUCTION_SLOT: self._candidate.authorized_keys}
        self._guard.check()
        launched = self._provider.compute.launch([self._request(slot, keys[slot]) for slot in slots])
        self._launched = {instance.id: self._provider.clock.now() + LISTING_DELAY for instance in launched}
        count = "1 test instance" if len(launched) == 1 else f"{len(launched)} test instances"
        self._report(f"booted {count} of {self._candidate.image.name}")
        health = self._candidate.target.health
        boot = self._limit("health.boot_deadline", health.boot_deadline, len(slots), deadline)
        self._wait("sealed itself", slots, boot, lambda instances: {i.slot for i in instances if proves(i) is True})
        checks = ["sealed itself and proved its image"]
        self._attach()
        probes = self._limit("health.deadline", health.deadline, len(slots), deadline)
        self._wait("passed its probes", slots, probes, self._healthy)
        checks.append("passed its health probe")
        if PLAYBOOK_SLOT in slots:
            self._run_playbook(private, folder, deadline)
            checks.append(f"passed {self._candidate.definition.verify}")
        return checks

    def _limit(self, key: str, seconds: float, instances: int, deadline: float) -> _Limit:
        """When a wait ends that begins now, unless all tests must have ended before.

        It is as long as in a swap, for each instance: they start at once, so a slow machine needs longer for each.
        """
        until = self._provider.clock.now() + seconds * instances
        if until >= deadline:
            return _Limit(deadline, "in time")
        return _Limit(until, f"within {seconds * instances:g} s ({key} for each of {instances})")

    def _temporary_key(self, private: Path) -> tuple[str, ...]:
        """Make a key pair and return its public key; none if Ansible needs no key."""
        if not login_ports(self._candidate.target):
            return ()
        make_ssh_key(private, "")
        return (private.with_suffix(".pub").read_text(encoding="ascii").strip(),)

    def _attach(self) -> None:
        """Attach the remaining scratch volumes, because some providers do not attach volumes at the launch."""
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
            VolumeRequest(
                fleet=candidate.fleet,
                slot=slot,
                name=volume.name,
                size=volume.size,
                mount=volume.mount,
                kind=volume.type,
                options=VolumeOptions(volume.iops, volume.throughput, volume.kms_key),
                zone=zone,
            )
            for volume in candidate.definition.data
        ]
        return LaunchRequest(
            token=f"{candidate.fleet}-{slot}-{nonce}",
            fleet=candidate.fleet,
            slot=slot,
            image=candidate.image.digest,
            artifact=candidate.image.artifact,
            launch="verify",
            nonce=nonce,
            purpose=VERIFY if slot == PLAYBOOK_SLOT else FLEET,
            ports=tuple(dict.fromkeys([*login_ports(candidate.target), *candidate.target.health.ports])),
            authorized_keys=tuple(keys),
            settings=candidate.settings,
            secrets=candidate.secrets,
            secret_refs=ssm_parameters(candidate.target.secrets),
            machine=candidate.machine,
            volumes=tuple(volume.id for volume in self._provider.volumes.create(volumes)),
            tags={USED_FOR: VERIFY},
            zone=zone,
        )

    def _instances(self) -> list[Instance]:
        return self._provider.compute.list(self._candidate.fleet)

    def _healthy(self, instances: Sequence[Instance]) -> set[int]:
        """Slots whose instances pass their probes. A container boots when it gets volumes, and is proven again."""
        probed = prober_for(self._provider, self._candidate.target.health)(instances)
        results = {i.id: probed[i.id] if proves(i) is True else proves(i) for i in instances}
        self._problems = list(dict.fromkeys(str(result) for result in results.values() if result is not True))
        return {i.slot for i in instances if results[i.id] is True}

    def _wait(
        self, what: str, slots: Sequence[int], limit: _Limit, passed: Callable[[Sequence[Instance]], set[int]]
    ) -> None:
        """Wait until the instance of every slot has passed. Raises VerifyError if one ends or at the limit."""
        name, redactor = self._candidate.image.name, Redactor(self._candidate.secrets.values())
        reported: set[str] = set()
        while True:
            instances = self._instances()
            if passed(instances) >= set(slots):
                self._report(f"{name} {what}")
                return
            # A probe may fail in many ways while a service starts. A text that was reported says nothing new.
            for problem in [each for each in self._problems if each not in reported][: MAX_REPORTED - len(reported)]:
                reported.add(problem)
                self._report(f"{name} has not {what} yet: {shortened(redactor.text(problem))}")
            now, present = self._provider.clock.now(), {instance.id for instance in instances}
            self._launched.update(dict.fromkeys(present & set(self._launched), 0.0))
            lost = [name for name, until in self._launched.items() if name not in present and now > until]
            died = self._provider.compute.ended(self._candidate.fleet)
            ended = {one.id: one.reason for one in died if one.id in self._launched}
            ended.update({one.id: one.stop_reason for one in instances if one.state == STOPPED})
            if lost or ended:
                self._problems += [f"{name}: {reason}" for name, reason in ended.items() if reason]
                raise self._failure(f"a test instance ended before it {what}")
            if now >= limit.until:
                raise self._failure(f"not every test instance {what} {limit.text}")
            self._provider.clock.wait(min(POLL_INTERVAL, limit.until - now))

    def _console(self, instance_id: str) -> str:
        """What an instance printed. It explains a failure, so it may be missing."""
        try:
            return self._provider.compute.console(instance_id)
        except ProviderError as error:
            return f"(its console could not be read: {error.message})"

    def _failure(self, what: str) -> VerifyError:
        image = self._candidate.image.name
        redactor = Redactor(self._candidate.secrets.values())  # a service may print what it got
        consoles = {
            i.slot: telling_lines(redacted_lines(self._console(i.id), redactor), CONSOLE_LINES)
            for i in self._instances()
        }
        problems = f" ({redactor.text('; '.join(self._problems))})" if self._problems else ""
        last = next((lines for lines in consoles.values() if lines), [])
        return VerifyError(
            f"{image} failed its verification: {what}{problems}. "
            f"Last lines of its console: {' / '.join(telling_lines(last, MESSAGE_LINES)) or 'none'}",
            consoles=consoles,
        )

    def _run_playbook(self, private: Path, folder: Path, deadline: float) -> None:
        candidate = self._candidate
        instance = next(i for i in self._instances() if i.slot == PLAYBOOK_SLOT)
        known_hosts = folder / "known_hosts"
        write_known_hosts(known_hosts, [instance])
        facts = {
            "immutable_digest": candidate.image.digest,
            "immutable_service": candidate.image.service,
            "immutable_version": candidate.image.version,
        }
        host = {**host_vars(instance, private, known_hosts, candidate.target.network.ssh_proxy), **facts}
        inventory = {"all": {"children": {"candidate": {"hosts": {f"{candidate.image.service}-candidate": host}}}}}
        playbook = candidate.definition.verify
        if playbook is None:  # does not happen, because the instance is only launched for a playbook
            raise VerifyError("the definition names no verify playbook")
        timeout = deadline - self._provider.clock.now()
        self._playbook(
            candidate.definition.folder / playbook, inventory, workdir=folder, timeout=timeout, report=self._report
        )
