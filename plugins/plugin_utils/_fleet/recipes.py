# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Turn a definition, a target and an image into a request to the engine.

A recipe is what instances are launched with, without secrets. The store keeps it, so a rollback can launch the same
instances again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .._core.errors import FleetError
from .._core.units import count_of
from .._definition.launch import SSM, launch_fingerprint, machine_settings
from .._definition.model import DataVolume, Definition, FleetSpec, SecretRef, Target
from .._definition.secrets import ResolveSecrets
from .._health.prober import health_tag
from .._hosts.connection import login_ports
from .._image_model import Image
from .._providers import tags
from .._providers.contract import Volume
from .model import ABSENT, REIMAGE, Intent, Payload, Request, Version, VolumeSpec

AUTHORITIES = "authorities"  # PEM text, only in recipes of services that are probed by HTTPS with a CA of their own


def recipe_of(definition: Definition, target: Target, image: Image, authorized_keys: tuple[str, ...]) -> dict[str, Any]:
    """Return all that instances are launched with, as plain data without secrets."""
    ports = dict.fromkeys([*target.health.ports, *login_ports(target, definition.shell)])
    authorities = target.health.https.ca if target.health.https else ""
    return {
        "image": image.digest,
        "build": image.build,
        "size": target.fleet.size,
        "volumes": [_spec_of(volume).as_dict() for volume in definition.data],
        "ports": list(ports),
        "authorized_keys": list(authorized_keys),
        "settings": dict(target.settings),
        "secrets": {name: [reference.kind, reference.name] for name, reference in target.secrets.items()},
        "machine": machine_settings(target),
        "tags": {
            tags.PORT: str(target.health.port),
            tags.HEALTH: health_tag(target.health),
            **descriptive_tags(definition, target, image),
        },
        # By which a probe verifies the instances, even if the definition accepts other ones by then.
        **({AUTHORITIES: authorities} if authorities else {}),
    }


def descriptive_tags(definition: Definition, target: Target, image: Image) -> dict[str, str]:
    """Return the tags that say what an instance runs, and for which target."""
    return {
        tags.IMAGE_NAME: image.name,
        tags.SERVICE: definition.service,
        tags.TARGET: target.name,
        tags.VERSION: image.version,
        tags.BUILD: image.build,
        tags.SHELL: definition.shell,
    }


def payload_of(recipe: Mapping[str, Any], image: Image, resolve: ResolveSecrets) -> Payload:
    """Add secrets to a recipe. Raises FleetError if one is missing."""
    references = {name: SecretRef(*reference) for name, reference in recipe["secrets"].items()}
    found = resolve(references)
    return Payload(
        artifact=image.artifact,
        ports=tuple(recipe["ports"]),
        authorized_keys=tuple(recipe["authorized_keys"]),
        settings=recipe["settings"],
        secrets={name: text for name, text in found.items() if references[name].kind != SSM},
        secret_refs={name: text for name, text in found.items() if references[name].kind == SSM},
        machine=recipe["machine"],
        tags=recipe["tags"],
    )


def swap_request(
    definition: Definition,
    target: Target,
    image: Image,
    *,
    key: bytes,
    resolve: ResolveSecrets,
    authorized_keys: tuple[str, ...],
) -> Request:
    """Request a swap to an image with the settings of the definition.

    Args:
        key: the secret key of the store, for the launch fingerprint.
        authorized_keys: public SSH keys that may log in.

    Raises FleetError if a secret is missing.
    """
    recipe = recipe_of(definition, target, image, authorized_keys)
    payload = payload_of(recipe, image, resolve)
    fingerprinted = {**recipe["machine"], "authorized_keys": list(authorized_keys)}
    if payload.secret_refs:  # with their versions: a changed secret is a reason to swap
        fingerprinted["secret_refs"] = dict(payload.secret_refs)
    if definition.data:  # a volume that must grow or change its type is a reason to swap
        fingerprinted["volumes"] = {volume.name: _modifiable(volume) for volume in definition.data}
    version = Version(
        image=image.digest,
        image_name=image.name,
        launch=launch_fingerprint(
            key,
            image.digest,
            settings=target.settings,
            secrets=payload.secrets,
            machine=fingerprinted,
        ),
        size=target.fleet.size,
        volumes=tuple(VolumeSpec(**spec) for spec in recipe["volumes"]),
    )
    return Request(
        definition.service,
        target.name,
        _intent(definition, target, version),
        payload,
        balancer_drains=not target.fleet.drain_set,
        recipe=recipe,
    )


def _spec_of(volume: DataVolume) -> VolumeSpec:
    return VolumeSpec(
        name=volume.name,
        size=volume.size,
        mount=volume.mount,
        kind=volume.type,
        iops=volume.iops,
        throughput=volume.throughput,
        kms_key=volume.kms_key,
    )


def _modifiable(volume: DataVolume) -> list[Any]:
    """What of a volume a swap can change. What is not declared is left out, as in earlier releases."""
    options = [volume.iops, volume.throughput] if volume.iops or volume.throughput else []
    return [volume.size, volume.type, *options]


def refuse_other_keys(specs: Sequence[VolumeSpec], volumes: Iterable[Volume]) -> None:
    """Raise FleetError if a volume is encrypted by another key than declared: a volume keeps its key."""
    keys = {spec.name: spec.kms_key for spec in specs if spec.kms_key}
    others = [
        f"{volume.id} ({volume.name} of slot {volume.slot}) was created with "
        f"{volume.options.kms_key or 'the default key of the account'}, not with {keys[volume.name]}"
        for volume in volumes
        if keys.get(volume.name, volume.options.kms_key) != volume.options.kms_key
    ]
    if others:
        raise FleetError(
            f"data.kms_key: {'; '.join(others)}. Nothing was changed. A volume keeps its key: restore kms_key, or "
            "recreate the volume from a snapshot with the other key (see how-to/aws-volumes)"
        )


def relaunch_request(
    definition: Definition,
    target: Target,
    version: Version,
    image: Image,
    *,
    recipe: Mapping[str, Any],
    resolve: ResolveSecrets,
) -> Request:
    """Request a swap to an earlier version, launched with the settings of its recipe.

    The size and the way of swapping are those of the definition now. Raises FleetError if a secret is missing.
    """
    intent = _intent(definition, target, replace(version, size=target.fleet.size))
    return Request(
        definition.service,
        target.name,
        intent,
        payload_of(recipe, image, resolve),
        balancer_drains=not target.fleet.drain_set,
        recipe=recipe,
    )


def absent_request(definition: Definition, target: Target, remove_volumes: tuple[str, ...]) -> Request:
    """Request the removal of a fleet, with the volumes of these names."""
    intent = Intent(
        definition.fleet_name(target.name), goal=ABSENT, size=0, remove_volumes=remove_volumes, **_limits(target)
    )
    return Request(definition.service, target.name, intent, balancer_drains=not target.fleet.drain_set)


def with_origin(request: Request, payload: Payload | None, problem: str = "") -> Request:
    """Add what a rollback launches. If that is nothing, ``problem`` says why."""
    return replace(request, origin=payload, intent=replace(request.intent, origin_problem="" if payload else problem))


def _intent(definition: Definition, target: Target, version: Version) -> Intent:
    spec, size = target.fleet, version.size
    return Intent(
        fleet=definition.fleet_name(target.name),
        strategy=spec.strategy,
        image=version.image,
        image_name=version.image_name,
        launch=version.launch,
        size=size,
        surge=_surge(spec, size, bool(version.volumes)),
        unavailable=unavailable(spec, definition.data),
        count_draining=spec.count_draining,
        volumes=version.volumes,
        zones=target.zones,
        keep_old=spec.keep_old,
        hot=spec.hot,
        stages=tuple(replace(stage, instances=count_of(stage.instances, size)) for stage in spec.canary),
        alarm=spec.alarm,
        before_swap=spec.before_swap or "",
        after_swap=spec.after_swap or "",
        deadline=spec.deadline or 0.0,
        max_age=spec.max_age or 0.0,
        protected=spec.protected,
        standby=spec.standby,
        windows=spec.windows,
        **_limits(target),
    )


def _surge(spec: FleetSpec, size: int, data: bool) -> int:
    """Return how many instances may exist beyond the size. A complete second fleet needs as many as the first one."""
    second_fleet = spec.strategy == "blue_green" or (spec.strategy == "recreate" and spec.hot and not data)
    if second_fleet:
        return max(1, size)
    if spec.strategy == "recreate":
        return 1 if spec.hot else 0
    return max(1, count_of(spec.surge, size))


def unavailable(spec: FleetSpec, data: tuple[DataVolume, ...]) -> int:
    """Return how many instances may be out of service.

    Raises FleetError if that number is 0 and slots own data, because a volume cannot be in two places, or are reimaged.
    """
    if spec.strategy == "recreate" and not data:
        return spec.size  # it stops everything before it launches anything
    reimages = spec.strategy == REIMAGE
    if spec.unavailable is None:
        return 1 if data or reimages else 0
    count = count_of(spec.unavailable, spec.size, up=False)
    if reimages and count < 1:
        raise FleetError(
            f"fleet.unavailable: {spec.unavailable!r} of {spec.size} is 0, but a slot is out of service while its "
            "instance is reimaged (allowed: 1 or more)"
        )
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
