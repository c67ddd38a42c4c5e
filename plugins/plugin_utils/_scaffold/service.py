# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a user says about the service itself: its packages, its command, its port and its data."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .._core.errors import ImmutableError
from .draft import PROVISION, VERIFY, Draft

LOCAL_PROVIDERS = ("container", "qemu", "simulated")
LOCAL = "local"  # the target that playbooks use by default
_TARGET_NAMES = {"simulated": "rehearsal"}  # of further targets, by provider; others are named like the provider
_LIKE_CONTAINERS = ("container", "simulated")
_FIRST_FREE_PORT = 1024  # below it, a command needs a capability to listen
# See deb-control(5). A version or release may follow, as apt-get takes it.
PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,99}([=/][A-Za-z0-9.+:~-]{1,99})?")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")  # see useradd(8)
_SAFE_WORD = re.compile(r"[A-Za-z0-9_./:=@,+-]+")
# See the sections on quoting and on command lines in systemd.syntax(7) and systemd.service(5).
_UNIT_ESCAPES = {"\\": "\\\\", '"': '\\"', "%": "%%", "$": "$$", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True)
class ServiceOptions:
    """See the options of the module ``definition_init``. "", 0 and () mean that the user set nothing.

    Attributes:
        data, writable: paths.
        data_size: of each volume, such as "1G".
        expect: bytes of the answer as text; a TCP probe if it is set, else an HTTP probe.
    """

    service: str = ""
    version: str = "1.0.0"
    providers: tuple[str, ...] = ()
    base: str = "bookworm"
    size: int = 1
    packages: tuple[str, ...] = ()
    command: str = ""
    user: str = ""
    port: int = 0
    health_path: str = ""
    send: str = ""
    expect: str = ""
    data: tuple[str, ...] = ()
    data_size: str = "1G"
    writable: tuple[str, ...] = ()


def name_from(text: str) -> str:
    """Return a name of a service that is made of a text from outside, or "" if nothing of it can be used."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower())
    return re.sub(r"^[^a-z]+", "", name)[:31].rstrip("-")


def begin(draft: Draft, options: ServiceOptions, name: str) -> None:
    """Set the service, its version and its playbooks. ``name`` is used if the user gives none.

    Raises ImmutableError.
    """
    service = options.service or name_from(name)
    if not service:
        raise ImmutableError("service: the name of the service is required (such as service: shop)")
    draft.require(("service",), service, "service")
    draft.require(("version",), options.version, "version")
    draft.document["image"] = {
        "base": {"debian": options.base},
        "provision": {"playbook": PROVISION},
        "verify": VERIFY,
    }


def add_targets(draft: Draft, options: ServiceOptions, default: Sequence[str]) -> None:
    """Set the targets on this machine. The first is named ``local``. Raises ImmutableError."""
    providers = list(dict.fromkeys(options.providers or default))
    names = [LOCAL, *(_TARGET_NAMES.get(provider, provider) for provider in providers[1:])]
    targets = {name: {"provider": provider} for name, provider in zip(names, providers, strict=True)}
    draft.require(("targets",), targets, "providers")
    if options.size != 1:
        draft.require(("fleet",), {"size": options.size}, "size")


def add_health(draft: Draft, options: ServiceOptions) -> None:
    """Set the probe, unless there is one and the user asks for no other. Raises ImmutableError without a port."""
    known = draft.document.get("health", {})
    if known and not (options.port or options.health_path or options.expect):
        return
    found: dict[str, Any] = next(iter(known.values()), {})
    port = options.port or found.get("port")
    if not port:
        raise ImmutableError("port: the port on which the service answers is required (such as port: 8080)")
    if options.expect or ("tcp" in known and not options.health_path):
        texts = {"send": options.send, "expect": options.expect}
        probe = {"tcp": {"port": port, **{key: text for key, text in texts.items() if text}}}
    else:
        probe = {"http": {**found, "port": port, "path": options.health_path or found.get("path", "/")}}
    draft.require(("health",), probe, "port, health_path, send and expect")


def add_service(draft: Draft, options: ServiceOptions) -> None:
    """Add the packages, the command, the user, the data and the writable paths. Raises ImmutableError."""
    packages = list(dict.fromkeys((*options.packages, *draft.packages)))
    wrong = [name for name in packages if not PACKAGE.fullmatch(name)]
    if wrong:
        raise ImmutableError(f"packages: {wrong[0]!r} is not the name of a package (allowed: a name such as nginx)")
    if options.user and not _USER.fullmatch(options.user):
        raise ImmutableError(f"user: {options.user!r} is not the name of a user (allowed: a name such as shop)")
    tasks = [_packages_task(packages, draft.document["image"]["base"])] if packages else []
    tasks += [_user_task(options.user)] if options.user not in ("", "root") else []
    if options.data:
        draft.require(("data",), _volumes(options), "data and data_size")
        tasks += [_folder_task(path, options.user) for path in options.data]
    if options.writable:
        draft.require(("writable",), list(options.writable), "writable")
    _add_command(draft, options, tasks)
    draft.tasks[:0] = tasks


def _volumes(options: ServiceOptions) -> list[dict[str, str]]:
    volumes: list[dict[str, str]] = []
    for path in options.data:
        name = name_from(posixpath.basename(path.rstrip("/")))[:19].rstrip("-") or "data"
        taken = {volume["name"] for volume in volumes}
        number = 2
        while name in taken:
            name, number = f"{name[:16].rstrip('-')}-{number}", number + 1
        volumes.append({"name": name, "size": options.data_size, "mount": path})
    return volumes


def _add_command(draft: Draft, options: ServiceOptions, tasks: list[dict[str, Any]]) -> None:
    """In containers alone, the command is the first process. Everywhere else, systemd starts it as a unit."""
    if not options.command:
        if not draft.packages and not options.packages:
            draft.steps.append("install the service, and enable it at boot")
        return
    try:
        words = shlex.split(options.command)
    except ValueError as error:
        raise ImmutableError(f"command: {error} (allowed: words as a shell splits them)") from error
    if not words or _CONTROL.search(options.command):
        raise ImmutableError("command: it has no program, or control characters (allowed: a program and its arguments)")
    providers = {target["provider"] for target in draft.document["targets"].values()}
    if providers <= set(_LIKE_CONTAINERS):
        if _listens_below(draft, _FIRST_FREE_PORT):
            draft.require(("seal",), {"capabilities": ["NET_BIND_SERVICE"]}, "port")
        draft.require(("image", "command"), words, "command")
        if options.user:
            draft.require(("image", "user"), options.user, "user")
        return
    service = draft.document["service"]
    unit = f"{service}.service"
    draft.files[f"files/{unit}"] = _unit_text(service, words, options)
    copied = {"src": unit, "dest": f"/etc/systemd/system/{unit}", "owner": "root", "group": "root", "mode": "0644"}
    tasks += [
        {"name": "Install the unit of the service", "ansible.builtin.copy": copied},
        {"name": "Enable the service at boot", "ansible.builtin.systemd_service": {"name": service, "enabled": True}},
    ]


def _listens_below(draft: Draft, port: int) -> bool:
    return any(probe["port"] < port for probe in draft.document.get("health", {}).values())


def _unit_text(service: str, words: Sequence[str], options: ServiceOptions) -> str:
    mounts = "".join(f"RequiresMountsFor={path.replace('%', '%%')}\n" for path in options.data)
    user = f"User={options.user}\n" if options.user else ""
    return (
        f"[Unit]\nDescription={service}\n{mounts}\n[Service]\n{user}ExecStart={' '.join(map(_unit_word, words))}\n"
        "Restart=on-failure\nNoNewPrivileges=yes\n\n[Install]\nWantedBy=multi-user.target\n"
    )


def _unit_word(word: str) -> str:
    if _SAFE_WORD.fullmatch(word):
        return word
    return '"' + "".join(_UNIT_ESCAPES.get(char, char) for char in word) + '"'


def _packages_task(names: Sequence[str], base: dict[str, Any]) -> dict[str, Any]:
    if "debian" in base:
        apt = {"name": list(names), "install_recommends": False, "cache_valid_time": 86400}
        return {"name": "Install the packages", "ansible.builtin.apt": apt}
    package = {"name": list(names), "state": "present", "update_cache": True}
    return {"name": "Install the packages", "ansible.builtin.package": package}


def _user_task(user: str) -> dict[str, Any]:
    return {
        "name": "Create the service user",
        "ansible.builtin.user": {"name": user, "system": True, "create_home": False},
    }


def _folder_task(path: str, user: str) -> dict[str, Any]:
    owner = {"owner": user, "mode": "0750"} if user not in ("", "root") else {"mode": "0755"}
    return {"name": f"Create {path}", "ansible.builtin.file": {"path": path, "state": "directory", **owner}}
