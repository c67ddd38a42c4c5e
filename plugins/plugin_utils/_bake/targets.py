# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The bakes of a definition's targets: those that agree on everything share one, the others run side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from ...module_utils._packer.errors import PackerError
from ...module_utils._packer.flags import version_tuple
from ...module_utils._packer.runner import Packer
from .._core.errors import BakeError
from .._core.guard import Guard
from .._core.progress import Report
from .._definition.digest import bake_inputs, digest_of
from .._definition.model import Definition, Target
from .._image_model import Image, bake_name
from .._images.catalogue import Catalogue
from .._providers.accel import choose
from .._providers.registry import open_images
from .._store.base import Store
from .._store.keys import identity
from .._store.registry import folder_store
from .base_image import fetch_base, resolve_base
from .builder import BakeJob, Builder
from .builders.ebs import EbsBuilder
from .builders.qemu import QemuBuilder
from .decide import Decision, decide
from .run import bake
from .variables import BakeVariables

NEEDS_FOLDER = "a bake for the provider qemu keeps its disks and bases in the store"
WAIT_FOR_OTHERS = 3600.0  # seconds: another run may be baking the very same image


@dataclass
class TargetBake:
    """One image for one or more targets. ``image`` is None while a bake of it is due; ``digest`` is '' while its base is not built."""

    definition: Definition
    target: Target
    targets: list[str]
    base: dict[str, Any]
    inputs: dict[str, Any]
    digest: str
    build: str
    decision: Decision
    image: Image | None
    force: bool


def plan_bakes(
    definition: Definition, targets: Sequence[str], store: Store, *, force: bool, timeout: float | None = None
) -> list[TargetBake]:
    """What each target needs. Changes nothing."""
    found: dict[tuple[str, str], TargetBake] = {}
    for name in dict.fromkeys(targets):
        target = definition.target(name)
        if target.provider == "qemu":
            folder_store(store, NEEDS_FOLDER)
        if timeout is not None:
            target = replace(target, build=replace(target.build, timeout=timeout))
        base = resolve_base(target.base, store, definition.folder, target.build_account)
        inputs = bake_inputs(definition, target, base) if base else {}
        digest = digest_of(inputs) if base else ""
        build = open_images(target).build(base["architecture"]) if base else ""
        key = (digest or target.base.source, build)
        if key in found:
            found[key].targets.append(name)
            continue
        decision, image = Decision(True, f"the base {target.base.source} is not built yet"), None
        if base:
            decision, image = _decide(definition, target, digest, build, inputs, store, force)
        found[key] = TargetBake(definition, target, [name], base or {}, inputs, digest, build, decision, image, force)
    return list(found.values())


def _decide(
    definition: Definition,
    target: Target,
    digest: str,
    build: str,
    inputs: Mapping[str, Any],
    store: Store,
    force: bool,
) -> tuple[Decision, Image | None]:
    images = Catalogue(store).list(definition.service)
    present = next((image for image in images if image.digest == digest and image.build == build), None)
    whole = present is not None and open_images(target).present(present.artifact)
    decision = decide(digest, build, inputs, images, whole=whole, force=force)
    return decision, None if decision.due else present


def decision_of(bakes: Sequence[TargetBake]) -> Decision:
    """One answer for all targets: what is due, or why nothing is. Reasons that differ are told with the targets they are for."""
    told = [each for each in bakes if each.decision.due] or bakes
    whys = list(dict.fromkeys(each.decision.why for each in told))
    why = whys[0] if len(whys) == 1 else "; ".join(f"{_label(each)}: {each.decision.why}" for each in told)
    differences: list[Mapping[str, Any]] = []
    for each in told:
        differences += [difference for difference in each.decision.differences if difference not in differences]
    return Decision(told[0].decision.due, why, tuple(differences))


def _label(each: TargetBake) -> str:
    return ", ".join(each.targets)


def bake_targets(
    bakes: Sequence[TargetBake],
    store: Store,
    packer: Packer,
    variables: Callable[[], BakeVariables],
    guard: Guard,
    report: Report,
) -> None:
    """Bake all that is due, side by side, and fill in each ``image``.

    Raises BakeError where a base is not built yet, or the first failure once all have ended.

    Args:
        variables: asked once, and only where something is due: decrypting may need a vault's password.
    """
    if not bakes:
        return
    for each in bakes:
        if not each.digest:
            raise BakeError(
                f"{each.decision.why}: apply the role immutable.infra.base_image, or run the playbook immutable.infra.bake"
            )
    known = variables()
    reports = [report] if len(bakes) == 1 else [_labelled(report, _label(each)) for each in bakes]
    with ThreadPoolExecutor(max_workers=len(bakes)) as pool:
        running = [
            pool.submit(_bake, each, store, packer, known, guard, own) for each, own in zip(bakes, reports, strict=True)
        ]
    for each, future in zip(bakes, running, strict=True):
        each.image = future.result()


def _labelled(report: Report, label: str) -> Report:
    return lambda line: report(f"{label}: {line}")


def _bake(
    each: TargetBake, store: Store, packer: Packer, variables: BakeVariables, guard: Guard, report: Report
) -> Image:
    with store.lock(bake_name(each.digest), f"bake {each.definition.service}", wait=WAIT_FOR_OTHERS) as lock:
        # Whoever held the lock before may have baked it.
        decision, image = _decide(each.definition, each.target, each.digest, each.build, each.inputs, store, each.force)
        if image is not None:
            return image
        order = BakeJob(each.definition, each.target, each.digest, each.build, each.inputs, each.base, variables)
        report(f"{order.label}: a bake is due: {decision.why}")
        maker = _on_aws(order, store, packer) if each.base["kind"] == "ami" else _on_this_machine(order, store, report)
        return bake(order, maker, store, packer, guard, report, lock)


def _on_aws(order: BakeJob, store: Store, packer: Packer) -> Builder:
    try:
        return EbsBuilder(order, identity(store), version_tuple(packer.version()))
    except PackerError as error:
        raise BakeError(error.message) from error


def _on_this_machine(order: BakeJob, store: Store, report: Report) -> Builder:
    base = fetch_base(order.target.base, store, order.definition.folder, report)
    accel = choose(store.local("qemu"), base)
    report(f"{order.label}: {accel.reason}")
    return QemuBuilder(order, folder_store(store, NEEDS_FOLDER), base, accel.name, report)
