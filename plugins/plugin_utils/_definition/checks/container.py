# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check what only containers have, and what they cannot have."""

from __future__ import annotations

import json

from ....module_utils._container_processes import ALLOWED_CAPABILITIES
from ....module_utils._seal_paths import within
from ....module_utils._seal_tmpfs import LOG_FOLDER
from ..capabilities import REFUSED_CAPABILITIES
from ..document import Document, KeyPath, target_names, value_at

CONTAINER = "container"
# The simulated provider takes the place of another one, so it accepts what containers accept.
_LIKE_CONTAINERS = (CONTAINER, "simulated")
_COMMAND: KeyPath = ("image", "command")
_LOG_SIZE: KeyPath = ("seal", "log_size")
_CAPABILITIES: KeyPath = ("seal", "capabilities")
_PREFIX = "CAP_"
_FIRST_FREE_PORT = 1024  # below it, a process needs NET_BIND_SERVICE to listen


def check_containers(document: Document) -> None:
    """Add a problem for everything about containers that the definition cannot have."""
    providers = {name: value_at(document.data, ("targets", name, "provider")) for name in target_names(document.data)}
    _check_command(document, providers)
    _check_capabilities(document, providers)
    containers = [name for name, provider in providers.items() if provider == CONTAINER]
    for target in containers:
        if value_at(document.data, ("targets", target, "authorized_key")) is not None:
            document.add_problem(
                ("targets", target, "authorized_key"),
                "a container has no SSH server, so this key opens nothing; remove it",
            )
        if value_at(document.data, _COMMAND) is not None:
            _check_ports(document, target)
    if containers and value_at(document.data, ("seal", "user_namespaces")) is True:
        document.add_problem(
            ("seal", "user_namespaces"),
            f"target {containers[0]} runs containers, in which no user namespaces can be created (allowed: false, or "
            "a definition of its own for the targets that need them)",
        )


def _check_command(document: Document, providers: dict[str, object]) -> None:
    """A command replaces systemd, which every other kind of host needs."""
    command = value_at(document.data, _COMMAND)
    if command is None:
        return
    for target, provider in providers.items():
        if isinstance(provider, str) and provider not in _LIKE_CONTAINERS:
            document.add_problem(
                _COMMAND,
                f"target {target} runs {provider}, whose hosts need systemd as their first process (allowed: a "
                "definition whose targets all run container or simulated; without command, one definition serves "
                "containers and other hosts)",
            )
    _check_log_size(document)
    program = command[0] if isinstance(command, list) and command else None
    if isinstance(program, str) and "/" in program and not program.startswith("/"):
        document.add_problem(
            (*_COMMAND, 0),
            f"{json.dumps(program)} is a relative path (allowed: an absolute path in the image, or a name that is "
            "looked up in its folders of programs)",
        )


def _check_log_size(document: Document) -> None:
    writable = value_at(document.data, ("writable",))
    paths = [path for path in writable if isinstance(path, str)] if isinstance(writable, list) else []
    if value_at(document.data, _LOG_SIZE) is not None and not any(within(path, LOG_FOLDER) for path in paths):
        document.add_problem(
            _LOG_SIZE,
            f"with a command, {LOG_FOLDER} is only in memory if writable contains it, and the engine keeps what the "
            "command prints; remove this key, or add the path to writable",
        )


def _check_capabilities(document: Document, providers: dict[str, object]) -> None:
    declared = value_at(document.data, _CAPABILITIES)
    if not isinstance(declared, list):
        return
    allowed = f"(allowed: {', '.join(ALLOWED_CAPABILITIES)})"
    for number, name in enumerate(declared):
        if not isinstance(name, str) or name in ALLOWED_CAPABILITIES:
            continue
        plain = name[len(_PREFIX) :] if name.startswith(_PREFIX) else name
        if plain in REFUSED_CAPABILITIES:
            problem = f"{plain} would break the seal: it {REFUSED_CAPABILITIES[plain]} {allowed}"
        elif plain in ALLOWED_CAPABILITIES:
            problem = f"{json.dumps(name)} is written without {_PREFIX}: {plain}"
        else:
            problem = f"{json.dumps(name)} is not a capability that a service may have {allowed}"
        document.add_problem((*_CAPABILITIES, number), problem)
    if providers and not any(provider in _LIKE_CONTAINERS for provider in providers.values()):
        document.add_problem(
            _CAPABILITIES, "no target runs containers, and on other hosts systemd grants capabilities; remove this key"
        )


def _check_ports(document: Document, target: str) -> None:
    """With a command, an instance has only the capabilities that are declared, also if root runs it."""
    declared = value_at(document.data, _CAPABILITIES)
    if isinstance(declared, list) and "NET_BIND_SERVICE" in declared:
        return
    for kind in ("http", "tcp"):
        for place in (("targets", target, "health", kind, "port"), ("health", kind, "port")):
            port = value_at(document.data, place)
            if isinstance(port, int) and port < _FIRST_FREE_PORT:
                document.add_problem(
                    place,
                    f"the command cannot listen on port {port} without a capability, also as root (allowed: a port "
                    f"from {_FIRST_FREE_PORT}, or seal with capabilities: [NET_BIND_SERVICE])",
                )
            if port is not None:
                break
