# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Containers on this machine as a provider: without a daemon where the engine is podman, and without a network."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..bake_leftovers import Leftovers
from ..container_engine import TIMEOUT, ContainerEngine
from ..container_images import ContainerImages
from ..contract import Pace, PinSecrets, Probe, Reimager, Traffic
from ..local_clock import LocalClock
from .compute import ContainerCompute
from .image_users import image_users
from .machine import MachineFolder
from .runner import Runner
from .volumes import ContainerVolumes


class Holder:
    """The instance that volumes are attached to, see ``volumes.Holder``."""

    def __init__(self, machine: MachineFolder, runner: Runner) -> None:
        self._machine, self._runner = machine, runner

    def _facts(self) -> dict[str, Any]:
        return self._machine.facts() or {}

    def removed(self) -> bool:
        return self._machine.removed()

    def leaving(self) -> bool:
        facts = self._machine.facts()
        return facts is None or bool(facts.get("condemned"))

    def waiting(self) -> bool:
        return bool(self._facts().get("waiting")) and not self.running()

    def running(self) -> bool:
        return self._machine.pid() is not None

    def artifact(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._facts().get("artifact", {})
        return found

    def remount(self) -> None:
        if self.waiting():
            self._runner.start(self._machine)

    def give_up(self, reason: str) -> None:
        self._machine.update(waiting=False, given_up=reason, started=time.time())


class ContainerProvider:
    """One target on this machine, see ``contract.Provider``.

    Args:
        directory: the folder of its containers and volumes, ``<store>/container``.
        engine: what runs the containers.
        balancer: returns the load balancer of a fleet.
        images: the store's folder of images.
    """

    name = "container"
    longest_call = TIMEOUT

    def __init__(
        self,
        directory: Path,
        engine: ContainerEngine,
        balancer: Callable[[str], Traffic],
        images: Path | None = None,
    ) -> None:
        self._directory = directory
        self._balancer = balancer
        self.engine = engine
        self.volumes = ContainerVolumes(directory, engine, self._holder)
        self._runner = Runner(engine, self.volumes)
        self.compute = ContainerCompute(
            directory,
            engine,
            self._runner,
            fleets_of_volumes=self._fleets_of_volumes,
            attach=self.volumes.attach,
        )
        self.images = ContainerImages(partial(image_users, directory / "machines"), images, engine)
        self.clock = LocalClock()
        self.probe: Probe | None = None
        self.pace: Pace | None = None
        self.leftovers: Leftovers | None = None
        self.pin_secrets: PinSecrets | None = None
        self.prove_again: Callable[[], None] | None = None
        self.reimager: Reimager | None = None

    def traffic(self, fleet: str) -> Traffic:
        return self._balancer(fleet)

    def describe(self, fleet: str) -> dict[str, Any]:
        warnings = [*self.engine.runtime_warnings(), *self.volumes.warnings(fleet)]
        if self._runner.publishes:
            warnings.append("containers reach every network of this machine: without root, docker cannot limit that")
        return {
            "provider": self.name,
            "engine": self.engine.name,
            "rootless": self.engine.rootless,
            "warnings": warnings,
        }

    def _holder(self, fleet: str, instance_id: str) -> Holder:
        return Holder(MachineFolder(self._directory / "machines" / fleet / instance_id), self._runner)

    def _fleets_of_volumes(self) -> Sequence[str]:
        return [fleet for fleet in self.volumes.fleets() if self.volumes.list(fleet)]
