# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From a definition, a target and an image to what the engine is asked for."""
from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from ..connection import SSH_PORT
from ..definition.launch import launch_fingerprint
from ..definition.model import Definition, FleetSpec, Target
from ..errors import FleetError
from ..health.prober import TAG, health_tag
from ..images.model import Image
from ..units import count_of
from .model import ABSENT, Intent, Payload, Request, VolumeSpec
from .observe import IMAGE_NAME, PORT


def resolve_secrets(target: Target, variables: Mapping[str, Any], template: Callable[[Any], Any]) -> dict[str, str]:
    """The target's secrets in clear, for the launch alone.

    Args:
        variables: Ansible's, by name.
        template: resolves what a variable's value refers to.

    Raises FleetError naming every secret that is not there, never a value.
    """
    found, missing = {}, []
    for name, reference in target.secrets.items():
        if reference.kind == "env" and reference.name in os.environ:
            found[name] = os.environ[reference.name]
        elif reference.kind == "variable" and reference.name in variables:
            found[name] = str(template(variables[reference.name]))
        else:
            kind = "environment variable" if reference.kind == "env" else "Ansible variable"
            missing.append(f"{name} (there is no {kind} {reference.name})")
    if missing:
        raise FleetError(f"target {target.name}: secrets are missing: {', '.join(missing)}")
    return found


def swap_request(
    definition: Definition, target: Target, image: Image, key: bytes, secrets: Mapping[str, str], authorized_keys: tuple[str, ...]
) -> Request:
    """``key``: the store's, for the launch fingerprint."""
    spec = target.fleet
    machine = {"memory": target.machine.memory, "cpus": target.machine.cpus}
    handed_over = {**machine, "authorized_keys": list(authorized_keys)}
    intent = Intent(
        fleet=definition.fleet_name(target.name),
        strategy=spec.strategy,
        image=image.digest,
        image_name=image.name,
        launch=launch_fingerprint(key, image.digest, target.settings, secrets, handed_over),
        size=spec.size,
        surge=max(1, count_of(spec.surge, spec.size)),
        unavailable=unavailable(spec, bool(definition.data)),
        volumes=tuple(VolumeSpec(volume.name, volume.size, volume.mount) for volume in definition.data),
        **_limits(target),
    )
    payload = Payload(
        artifact=image.artifact,
        ports=tuple(dict.fromkeys([*target.health.ports, *([] if definition.shell == "off" else [SSH_PORT])])),
        authorized_keys=authorized_keys,
        settings=target.settings,
        secrets=secrets,
        machine=machine,
        tags={
            PORT: str(target.health.port),
            TAG: health_tag(target.health),
            IMAGE_NAME: image.name,
            "service": definition.service,
            "target": target.name,
            "version": image.version,
            "build": image.build,
            "shell": definition.shell,
        },
    )
    return Request(definition.service, target.name, intent, payload)


def absent_request(definition: Definition, target: Target, remove_volumes: tuple[str, ...]) -> Request:
    intent = Intent(definition.fleet_name(target.name), goal=ABSENT, size=0, remove_volumes=remove_volumes, **_limits(target))
    return Request(definition.service, target.name, intent)


def unavailable(spec: FleetSpec, data: bool) -> int:
    """How many may be out of service. Raises FleetError where slots own data and none may: a volume cannot be in two places."""
    if spec.unavailable is None:
        return 1 if data else 0
    count = count_of(spec.unavailable, spec.size, up=False)
    if data and count < 1:
        raise FleetError(
            f"fleet.unavailable: {spec.unavailable!r} of {spec.size} is 0, but slots own data volumes, "
            "and a volume cannot be in two places (allowed: 1 or more)"
        )
    return count


def _limits(target: Target) -> dict[str, Any]:
    return {
        "drain_timeout": target.fleet.drain_timeout,
        "stop_timeout": target.fleet.stop_timeout,
        "boot_deadline": target.health.boot_deadline,
        "health_deadline": target.health.deadline,
    }
