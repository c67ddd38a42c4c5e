# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read a definition and check all of it before it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ...module_utils._seal_tmpfs import LOG_SIZE
from .._aws.clients import Account
from .._core.bounded_yaml import TooLargeError, read_bounded
from .._core.errors import DefinitionError
from .._core.units import bytes_of, seconds_of
from .._openstack.cloud import Cloud
from .ami import ami_source
from .authorities import read_authorities
from .checks.aws_tags import check_number_of_tags
from .checks.definition import check_definition
from .checks.ebs_volumes import check_ebs_volumes
from .checks.health import check_tags
from .document import Document, format_path, read_document
from .fleet import converted, fleet_files, fleet_spec, merged_fleet, pairs_of
from .glance_image import glance_source
from .image_sources import with_image_sources
from .messages import check_schema
from .model import (
    BASE_KINDS,
    Base,
    BaseKind,
    Build,
    DataVolume,
    Definition,
    Machine,
    Network,
    Provision,
    SecretRef,
    Simulation,
    Target,
    TrafficSpec,
)
from .octets import hex_of
from .probes import Health, HttpProbe, Https, TcpProbe
from .providers import RULES
from .root_volume import RootVolume

DEFINITION_FILE = "immutable.yml"
_BUILD_STRINGS = ("region", "type", "subnet", "kms_key", "ssh_username", "flavor", "floating_network", "zone")
_SOURCES: dict[BaseKind, Callable[[Mapping[str, Any]], str]] = {"ami": ami_source, "glance": glance_source}
ROOT = "root"  # runs a command for which no user is named
DEBIAN_PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}  # Python versions by suite


def load_definition(path: Path) -> Definition:
    """Load the definition at ``path``, or ``immutable.yml`` if ``path`` is a folder.

    Raises DefinitionError with every mistake as a line ``file:line: key: what is wrong (allowed: what is right)``.
    """
    path = path.absolute()
    if path.is_dir():
        path = path / DEFINITION_FILE
    document = read_document(_text(path))
    if document.data is not None or not document.problems:
        check_schema(document)
    if isinstance(document.data, Mapping):
        check_definition(document, path.parent)
    _raise_problems(document, path)
    definition = _definition(document.data, path)
    check_tags(document, definition.targets)
    check_number_of_tags(document, definition)
    check_ebs_volumes(document, definition)
    _raise_problems(document, path)
    return definition


def _text(path: Path) -> str:
    if path.exists() and not path.is_file():
        text = f"{path}: is not a file (allowed: a YAML file, or a folder with {DEFINITION_FILE} in it)"
        raise DefinitionError(text, problems=[text])
    try:
        data = read_bounded(path)
    except TooLargeError as error:
        text = f"{path}: has {error.problem}"
        raise DefinitionError(text, problems=[text]) from error
    except OSError as error:
        allowed = f"a YAML file, or a folder with {DEFINITION_FILE} in it"
        text = f"{path}: cannot be read: {error.strerror} (allowed: {allowed})"
        raise DefinitionError(text, problems=[text]) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        byte = f"the byte 0x{data[error.start]:02x}"
        text = f"{path.name}:{line}: {byte} is not UTF-8; save the file in that encoding"
        raise DefinitionError(text, problems=[text]) from error


def _raise_problems(document: Document, path: Path) -> None:
    if not document.problems:
        return
    problems = []
    for line, keys, text in sorted(
        set(document.problems), key=lambda found: (found[0], format_path(found[1]), found[2])
    ):
        key = f"{format_path(keys)}: " if keys else ""
        problems.append(f"{path.name}:{line}: {key}{text}")
    count = f"at least {len(problems)}" if document.full else str(len(problems))
    head = [] if len(problems) == 1 else [f"{path} has {count} mistakes:"]
    raise DefinitionError("\n".join([*head, *problems]), problems=problems)


def _definition(data: Mapping[str, Any], path: Path) -> Definition:
    image = data["image"]
    provision = image["provision"]
    base = _base(image["base"])
    return Definition(
        path=path,
        service=data["service"],
        version=data["version"],
        provision=Provision(
            playbook=provision["playbook"],
            requirements=provision.get("requirements"),
            vars=provision.get("vars", {}),
            vars_files=tuple(provision.get("vars_files", ())),
            ansible_core=provision.get("ansible_core"),
        ),
        verify=image.get("verify"),
        data=tuple(
            DataVolume(
                name=volume["name"],
                size=bytes_of(volume["size"]),
                mount=volume["mount"].rstrip("/"),
                type=volume.get("type", ""),
                owner=volume.get("owner", ""),
                reown=volume.get("reown", False),
                noexec=volume.get("noexec", False),
                iops=volume.get("iops", 0),
                throughput=volume.get("throughput", 0),
                kms_key=volume.get("kms_key", ""),
            )
            for volume in data.get("data", ())
        ),
        writable=tuple(data.get("writable", ())),
        shell=data.get("seal", {}).get("shell", "restricted"),
        user_namespaces=data.get("seal", {}).get("user_namespaces", False),
        log_size=data.get("seal", {}).get("log_size", LOG_SIZE),
        command=tuple(image.get("command", ())),
        user=image.get("user", "") if image.get("user") != ROOT else "",
        capabilities=tuple(sorted(data.get("seal", {}).get("capabilities", ()))),
        targets=with_image_sources(
            {name: _target(name, target, data, base, folder=path.parent) for name, target in data["targets"].items()},
            {name: target["image_from"] for name, target in data["targets"].items() if "image_from" in target},
        ),
        base=base,
        swap_files=tuple(dict.fromkeys(name for _keys, name in fleet_files(data))),
    )


def _target(name: str, target: Mapping[str, Any], data: Mapping[str, Any], base: Base, *, folder: Path) -> Target:
    machine, build, traffic, network = (target.get(key, {}) for key in ("machine", "build", "traffic", "network"))
    rules = RULES[target["provider"]]
    return Target(
        name=name,
        provider=target["provider"],
        fleet=fleet_spec(merged_fleet(data, name), partial(_authorities, folder)),
        health=_health({**rules.health, **data["health"], **target.get("health", {})}, folder),
        base=_base(target["base"]) if "base" in target else base,
        settings=target.get("settings", {}),
        secrets={key: SecretRef(*next(iter(source.items()))) for key, source in target.get("secrets", {}).items()},
        machine=Machine(**{**rules.machine, **_machine(machine)}),
        build=Build(
            **converted(
                {**rules.build, **build},
                memory=bytes_of,
                cpus=int,
                timeout=seconds_of,
                plugin=str,
                encrypt=bool,
                options=dict,
                ssh_cidrs=tuple,
                networks=tuple,
                security_groups=tuple,
                config_drive=bool,
                volume=_root_volume,
                **_strings(_BUILD_STRINGS),
            )
        ),
        traffic=TrafficSpec(
            **converted(
                traffic, bind=str, port=int, target_groups=tuple, rule=str, deregistration_delay=seconds_of, pool=str
            )
        ),
        authorized_key=target.get("authorized_key"),
        zones=tuple(target.get("zones", network.get("subnets", ()))),
        simulation=_simulation(target.get("simulation", {})),
        aws=Account(**converted(target, **_strings(("region", "profile", "role", "endpoint_url", "external_id")))),
        openstack=Cloud(target.get("cloud", "")),
        network=Network(
            **converted(
                network,
                subnets=dict,
                security_groups=tuple,
                address=str,
                ssh_proxy=tuple,
                networks=tuple,
                floating_network=str,
            )
        ),
        reach=target.get("reach", {}),
        evidence=target.get("evidence", "console"),
        identity_certificates=_identity_certificates(folder, target.get("identity_certificates", "")),
        probe=target.get("probe", "direct"),
        tags=target.get("tags", {}),
        snapshots=target.get("snapshots", False),
        engine=target.get("engine", "podman"),
    )


def _identity_certificates(folder: Path, value: str) -> str:
    return _authorities(folder, value, "identity_certificates") if value else ""


def _machine(data: Mapping[str, Any]) -> dict[str, Any]:
    return converted(
        data,
        memory=bytes_of,
        cpus=int,
        type=str,
        instance_profile=str,
        launch_template=_launch_template,
        root_size=bytes_of,
        metadata_hop_limit=int,
        flavor=str,
        server_group=str,
        config_drive=bool,
    )


def _root_volume(data: Mapping[str, Any]) -> RootVolume:
    return RootVolume(**converted(data, size=bytes_of, type=str, zone=str))


def _launch_template(data: Mapping[str, Any]) -> tuple[str, int]:
    return data["id"], data["version"]


def _strings(names: Iterable[str]) -> dict[str, type[str]]:
    return dict.fromkeys(names, str)


def _simulation(data: Mapping[str, Any]) -> Simulation:
    times = dict.fromkeys(("boot", "health", "check", "drain", "stop"), seconds_of)
    shares = dict.fromkeys(("spread", "fail_boot", "fail_health", "fail_call"), float)
    return Simulation(**converted(data, seed=int, **times, **shares))


def _base(data: Mapping[str, Any]) -> Base:
    kind = next(kind for kind in BASE_KINDS if kind in data)
    source = data[kind] if isinstance(data[kind], str) else _SOURCES[kind](data[kind])
    return Base(
        kind=kind, source=source, checksum=data.get("checksum"), python=data.get("python") or DEBIAN_PYTHONS.get(source)
    )


def _health(data: Mapping[str, Any], folder: Path) -> Health:
    values = converted(data, timeout=seconds_of, boot_deadline=seconds_of, deadline=seconds_of)
    if "http" in data:
        http = data["http"]
        values["http"] = HttpProbe(
            **converted(
                http,
                port=int,
                path=str,
                status=_codes,
                method=str,
                headers=pairs_of,
                contains=str,
            ),
            https=_https(http["https"], folder) if "https" in http else None,
        )
    if "tcp" in data:
        values["tcp"] = TcpProbe(**converted(data["tcp"], port=int, send=hex_of, expect=hex_of))
    return Health(**values)


def _codes(status: Any) -> tuple[int | str, ...]:
    return tuple(status) if isinstance(status, list) else (status,)


def _https(data: Mapping[str, Any], folder: Path) -> Https:
    return Https(**converted(data, server_name=str, ca=partial(_authorities, folder), verify=bool))


def _authorities(folder: Path, value: str, key: str = "ca") -> str:
    try:
        return read_authorities(folder, value)
    except ValueError as error:  # the file was right when it was checked
        raise DefinitionError(f"the value of a key {key} {error}") from error
