# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bakes the images of a definition's targets.

Targets with the same digest and build share an image; different images are baked in parallel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from ...module_utils._packer.runner import Packer
from .._core.errors import BakeError
from .._core.guard import Guard
from .._core.progress import Report
from .._definition.digest import bake_inputs, digest_of
from .._definition.model import Definition, Target
from .._image_model import Image, bake_name
from .._images.catalogue import Catalogue
from .._providers.registry import open_images
from .._store.base import Store
from .builder import BakeJob
from .builders.registry import check_store, open_builder, resolve_base
from .decide import Decision, decide
from .run import Bake
from .stages import times_of
from .variables import BakeVariables

LOCK_TIMEOUT = 3600.0  # seconds to wait for another run that bakes the same image


@dataclass
class TargetBake:
    """One image for one or more targets.

    Attributes:
        targets: names of the targets that share the image.
        digest: '' if the base is not built yet.
        image: None while a bake is due.
    """

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

    @property
    def label(self) -> str:
        """The names of the targets, for messages."""
        return ", ".join(self.targets)


def plan_bakes(
    definition: Definition, targets: Sequence[str], store: Store, *, force: bool, timeout: float | None = None
) -> list[TargetBake]:
    """Decide for each target whether a bake is due. Changes nothing.

    Args:
        targets: names of targets of the definition.
        timeout: seconds for each bake, instead of what the targets say.

    Raises BakeError for a base that cannot be used, StoreError for a store that a target cannot use.
    """
    found: dict[tuple[str, str], TargetBake] = {}
    for name in dict.fromkeys(targets):
        target = definition.baking_target(name)
        check_store(target, store)
        if timeout is not None:
            target = replace(target, build=replace(target.build, timeout=timeout))
        base = resolve_base(target, store, definition.folder)
        inputs = bake_inputs(definition, target, base) if base else {}
        digest = digest_of(inputs) if base else ""
        build = open_images(target).build(base["architecture"]) if base else ""
        key = (digest or target.base.source, build)
        if key in found:
            found[key].targets.append(name)
            continue
        bake = TargetBake(
            definition=definition,
            target=target,
            targets=[name],
            base=base or {},
            inputs=inputs,
            digest=digest,
            build=build,
            decision=Decision(True, f"the base {target.base.source} is not built yet"),
            image=None,
            force=force,
        )
        if base:
            bake.decision, bake.image, _previous = _decide(bake, store)
        found[key] = bake
    return list(found.values())


def _decide(bake: TargetBake, store: Store) -> tuple[Decision, Image | None, Image | None]:
    """Return the decision, the image if no bake is due, and the newest image of the same service and build."""
    images = Catalogue(store).list(bake.definition.service)
    existing = next((image for image in images if (image.digest, image.build) == (bake.digest, bake.build)), None)
    intact = existing is not None and open_images(bake.target).present(existing.artifact)
    decision = decide(
        digest=bake.digest, build=bake.build, inputs=bake.inputs, images=images, intact=intact, force=bake.force
    )
    newest = next((image for image in images if image.build == bake.build), None)
    return decision, None if decision.due else existing, newest


def decision_of(bakes: Sequence[TargetBake]) -> Decision:
    """Return one decision for all targets. Different reasons are prefixed with their targets."""
    relevant = [bake for bake in bakes if bake.decision.due] or bakes
    reasons = list(dict.fromkeys(bake.decision.why for bake in relevant))
    why = reasons[0] if len(reasons) == 1 else "; ".join(f"{bake.label}: {bake.decision.why}" for bake in relevant)
    differences: list[Mapping[str, Any]] = []
    for bake in relevant:
        differences += [difference for difference in bake.decision.differences if difference not in differences]
    return Decision(relevant[0].decision.due, why, tuple(differences))


def bake_targets(
    bakes: Sequence[TargetBake],
    store: Store,
    *,
    packer: Packer,
    variables: Callable[[], BakeVariables],
    guard: Guard,
    report: Report,
) -> None:
    """Run the bakes in parallel and set the ``image`` of each.

    Args:
        variables: called once if there is a bake, because decrypting may need a vault password.

    Raises BakeError if a base is not built yet, or the first failure after all bakes have ended.
    """
    if not bakes:
        return
    for bake in bakes:
        if not bake.digest:
            raise BakeError(
                f"{bake.decision.why}: apply the role immutable.infra.base_image,"
                " or run the playbook immutable.infra.bake"
            )
    decrypted = variables()

    def run(bake: TargetBake) -> Image:
        own_report = report if len(bakes) == 1 else _prefixed(report, bake.label)
        return _bake(bake, store, packer=packer, variables=decrypted, guard=guard, report=own_report)

    with ThreadPoolExecutor(max_workers=len(bakes)) as pool:
        running = [pool.submit(run, bake) for bake in bakes]
    for bake, future in zip(bakes, running, strict=True):
        bake.image = future.result()


def _prefixed(report: Report, label: str) -> Report:
    return lambda line: report(f"{label}: {line}")


def _bake(
    bake: TargetBake, store: Store, *, packer: Packer, variables: BakeVariables, guard: Guard, report: Report
) -> Image:
    with store.lock(bake_name(bake.digest), f"bake {bake.definition.service}", wait=LOCK_TIMEOUT) as lock:
        # The previous holder of the lock may have baked the image.
        decision, image, previous = _decide(bake, store)
        if image is not None:
            return image
        job = BakeJob(
            definition=bake.definition,
            target=bake.target,
            digest=bake.digest,
            build=bake.build,
            inputs=bake.inputs,
            base=bake.base,
            variables=variables,
        )
        report(f"{job.label}: a bake is due: {decision.why}")
        return Bake(
            job=job,
            builder=open_builder(job, store, packer, report),
            store=store,
            packer=packer,
            guard=guard,
            report=report,
            expected=times_of(previous),
        ).run(lock)
