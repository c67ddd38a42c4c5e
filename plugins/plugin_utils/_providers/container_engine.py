# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Podman or Docker by its command line.

Podman gets a store of its own below the project's store: nothing of the user's containers, images or settings matters,
and nothing of it is changed. Docker is the user's own engine, which runs already.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from .._core.documents import parse_json
from .._core.errors import ProviderError
from .._core.files import make_private_folder, write_atomically
from .._core.programs import child_environment, find_program
from .container_process import run_client
from .container_runtime import NO_SYSTEMD, Podman, prepare_podman

EngineName = Literal["podman", "docker"]
PODMAN: Final = "podman"
DOCKER: Final = "docker"
TIMEOUT = 120.0  # seconds for one call; an idle machine needs less than one
_DEBIAN = {PODMAN: "podman crun uidmap slirp4netns", DOCKER: "docker.io"}


class ContainerEngine(Protocol):
    """A container engine on this machine. Raises ProviderError with its own words."""

    @property
    def name(self) -> EngineName:
        """The engine, which is also the name of its program."""

    @property
    def rootless(self) -> bool:
        """Whether root in a container is an ordinary user of this machine."""

    @property
    def argv(self) -> list[str]:
        """The engine's program with its global options."""

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment that it runs with."""

    def run(self, *arguments: str, timeout: float = TIMEOUT, check: bool = True, input: bytes | None = None) -> str:
        """Run one command and return what it printed.

        Args:
            timeout: seconds.
            check: whether it must succeed.
            input: for its standard input.
        """

    def json(self, *arguments: str, timeout: float = TIMEOUT) -> Any:
        """Run one command and return the JSON that it printed."""

    def inside(self, argv: Sequence[str]) -> list[str]:
        """Return the command that runs another one as root of the engine's user namespace."""

    def docker_program(self, folder: Path) -> Path:
        """Write a program named ``docker`` that runs this engine into a folder, for tools that call it by name."""

    def runtime_warnings(self) -> list[str]:
        """What cannot run here, one line each."""

    def systemd_refusal(self) -> str:
        """Why systemd cannot be the first process of a container here, "" if it can."""

    def limits(self) -> frozenset[str]:
        """Which limits the engine can enforce: of ``memory``, ``cpu`` and ``pids``."""


class _Engine:
    """What both engines share."""

    name: EngineName

    @cached_property
    def program(self) -> str:
        """The absolute path of the engine's program. Raises ProviderError if it is not installed."""
        found = find_program(self.name)
        if found is None:
            raise ProviderError(
                f"{self.name} is not installed (Debian: apt install {_DEBIAN[self.name]})", permanent=True
            )
        return found

    @property
    def argv(self) -> list[str]:
        return [self.program]

    @property
    def environment(self) -> dict[str, str]:
        return child_environment()

    def run(self, *arguments: str, timeout: float = TIMEOUT, check: bool = True, input: bytes | None = None) -> str:
        done = run_client([*self.argv, *arguments], self.environment, timeout=timeout, input=input)
        if check and done.code != 0:
            raise ProviderError(f"{self.name} {arguments[0]} failed: {done.last_words}")
        return done.output

    def json(self, *arguments: str, timeout: float = TIMEOUT) -> Any:
        text = self.run(*arguments, timeout=timeout)
        try:
            return parse_json(text)
        except ValueError as error:
            raise ProviderError(f"{self.name} {arguments[0]} did not print JSON: {error}") from error

    def docker_program(self, folder: Path) -> Path:
        path = folder / "docker"
        lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(self._own_environment().items())]
        script = "\n".join(["#!/bin/sh", *lines, f'exec {shlex.join(self.argv)} "$@"', ""])
        try:
            make_private_folder(folder)
            write_atomically(path, script.encode(), 0o700)
        except OSError as error:
            raise ProviderError(f"{path} cannot be written: {error.strerror}") from error
        return path

    def _own_environment(self) -> Mapping[str, str]:
        return {}


class PodmanEngine(_Engine):
    """Podman with a store of its own, see ``ContainerEngine``.

    Args:
        folder: where its store, its configuration and what was found out about this machine are kept.
    """

    name = PODMAN

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _podman(self) -> Podman:
        return prepare_podman(self._folder, self.program)

    @property
    def rootless(self) -> bool:
        return os.geteuid() != 0

    @property
    def argv(self) -> list[str]:
        return [self.program, *self._podman.options]

    @property
    def environment(self) -> dict[str, str]:
        return self._podman.environment

    def inside(self, argv: Sequence[str]) -> list[str]:
        return [*self.argv, "unshare", *argv] if self.rootless else list(argv)

    def runtime_warnings(self) -> list[str]:
        return list(self._podman.warnings)

    def systemd_refusal(self) -> str:
        return "" if self._podman.found.systemd else NO_SYSTEMD

    def limits(self) -> frozenset[str]:
        return frozenset(self._podman.limits)

    def _own_environment(self) -> Mapping[str, str]:
        return self._podman.variables


class DockerEngine(_Engine):
    """The user's own Docker, see ``ContainerEngine``."""

    name = DOCKER

    @cached_property
    def _info(self) -> dict[str, Any]:
        host = os.environ.get("DOCKER_HOST") or self.run("context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
        if not host.strip().startswith("unix://"):
            raise ProviderError(
                f"docker uses the engine {host.strip()[:200]}, which may be on another machine "
                "(allowed: an engine on this machine, with an address that begins with unix://)",
                permanent=True,
            )
        info = self.json("info", "--format", "{{json .}}")
        if not isinstance(info, dict) or info.get("ServerErrors"):
            raise ProviderError(f"docker's engine does not answer: {info}"[:500])
        return info

    @property
    def rootless(self) -> bool:
        return "name=rootless" in (self._info.get("SecurityOptions") or [])

    def inside(self, argv: Sequence[str]) -> list[str]:
        return list(argv)

    def runtime_warnings(self) -> list[str]:
        rootful = "each user of docker has the rights of root on this machine"
        return [] if self.rootless or os.geteuid() == 0 else [rootful]

    def systemd_refusal(self) -> str:
        return (
            "docker gives systemd no cgroup of its own, so it cannot be the first process of a container "
            "(allowed: engine: podman, or image.command)"
        )

    def limits(self) -> frozenset[str]:
        names = {"memory": "MemoryLimit", "cpu": "CpuCfsQuota", "pids": "PidsLimit"}
        return frozenset(name for name, key in names.items() if self._info.get(key) is True)


_ENGINES: Mapping[str, Callable[[Path], ContainerEngine]] = {
    PODMAN: PodmanEngine,
    DOCKER: lambda _folder: DockerEngine(),
}


def open_engine(name: str, folder: Path) -> ContainerEngine:
    """Return an engine. Nothing is started or written before it is used.

    Args:
        folder: ``<store>/container``, which only this user may enter.

    Raises ProviderError if there is no engine of that name.
    """
    if name not in _ENGINES:
        raise ProviderError(f"unknown container engine {name!r} (allowed: {', '.join(_ENGINES)})", permanent=True)
    return _ENGINES[name](folder)
