# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the actions ``image`` and ``definition_info`` call: bakes that are due, and the digest of a definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...module_utils._packer.runner import Packer
from .._core.errors import ImmutableError
from .._core.task import Task
from .._definition.digest import bake_inputs, digest_of, verify_digest
from .._definition.explain import compare, explain_lines
from .._definition.model import Definition, Target
from .._definition.summary import summary_of, target_summary
from .._image_model import Image
from .._images.catalogue import Catalogue
from .._store.base import Store
from .._store.registry import check_apart
from .builders.registry import resolve_base
from .decide import Decision
from .private_files import check_payload, payload_summary
from .targets import bake_targets, decision_of, plan_bakes
from .template_inputs import TemplateJob
from .user_template import TemplateBake
from .variables import bake_variables


@dataclass(frozen=True)
class BakeOptions:
    """How a bake runs."""

    executable: str  # of Packer
    force: bool = False
    timeout: float | None = None  # seconds; None for the definition's, or for none with a template


def bake_definition(
    definition: Definition, targets: Sequence[str], store: Store, options: BakeOptions, *, task: Task
) -> dict[str, Any]:
    """Bake what is due for the targets. Returns the result of the task, with the image of each target."""
    check_apart(store, [(definition.folder / definition.provision.playbook).parent])
    bakes = plan_bakes(definition, targets, store, force=options.force, timeout=options.timeout)
    decision = decision_of(bakes)
    if decision.due:
        check_payload(definition, task.variables)
    if not task.check_mode:
        bake_targets(
            [bake for bake in bakes if bake.decision.due],
            store,
            packer=Packer(options.executable),
            variables=lambda: bake_variables(definition, task.loader),
            guard=task.guard,
            report=task.report,
        )
    images = {target: bake.image for bake in bakes for target in bake.targets}
    return _result(decision, {target: images[target] for target in targets}, task.diff)


def bake_template(job: TemplateJob, store: Store, options: BakeOptions, *, task: Task) -> dict[str, Any]:
    """Build the user's own Packer template if a build is due. Returns the result of the task."""
    bake = TemplateBake(job, store, packer=Packer(options.executable), guard=task.guard, report=task.report)
    decision, image = bake.decide(options.force)
    if decision.due and not task.check_mode:
        image = bake.run(options.timeout, options.force)
    return _result(decision, {job.service: image}, task.diff)


def _result(decision: Decision, images: Mapping[str, Image | None], diff: bool) -> dict[str, Any]:
    records = {name: image.as_dict() if image else None for name, image in images.items()}
    result = {
        "changed": decision.due,
        "due": decision.due,
        "why": decision.why,
        "differences": [dict(difference) for difference in decision.differences],
        "image": next(iter(records.values())),
        "images": records,
    }
    if diff:
        result["diff"] = [_diff(difference) for difference in decision.differences] or _reason(decision)
    return result


def _diff(difference: Mapping[str, Any]) -> dict[str, str]:
    path = difference["path"]
    return {
        "before_header": path,
        "after_header": path,
        "before": f"{difference['before']}\n",
        "after": f"{difference['after']}\n",
    }


def _reason(decision: Decision) -> dict[str, str]:
    return {"prepared": f"{'a bake is due' if decision.due else 'no bake is due'}: {decision.why}\n"}


def definition_info(
    definition: Definition,
    target: Target,
    store: Store | None,
    *,
    store_option: str | None,
    compare_with: str | None = None,
    variables: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Describe a definition with its digest. The digest is None while the base is not known.

    Args:
        store: None if the user names none or it does not exist yet.
        store_option: the store as the user names it.
        compare_with: an image by digest or name. The inputs of its bake are compared with those of the definition.
        variables: those of the task. They may name private keys, which are not sent to a build machine.

    Raises ImmutableError if there is nothing to compare with.
    """
    base = resolve_base(target, store, definition.folder) if store else None
    inputs = bake_inputs(definition, target, base) if base else None
    missing = None if inputs else _missing(target, store, store_option)
    result: dict[str, Any] = {
        "changed": False,
        "definition": summary_of(definition, target),
        "target": target_summary(target),
        "digest": digest_of(inputs) if inputs else None,
        "digest_missing": missing,
        "inputs": inputs,
        "verify_digest": verify_digest(definition, target),
        "payload": payload_summary(definition, variables or {}),
    }
    if compare_with:
        if store is None or inputs is None:
            raise ImmutableError(f"cannot compare with {compare_with}: the digest is not known yet, because {missing}")
        image = Catalogue(store).find(compare_with, definition.service)
        differences = compare(image.inputs, inputs)
        result.update(compared_with=image.digest, differences=differences, explain=explain_lines(differences))
    return result


def _missing(target: Target, store: Store | None, store_option: str | None) -> str:
    """Say why the digest is not known."""
    if not store_option:
        return "the base is one of its inputs and is found in the store: set 'store'"
    if store is None:
        return f"the base is one of its inputs, and there is no store {store_option} yet"
    return (
        f"the base ({target.base.kind} {target.base.source}) is one of its inputs "
        f"and is not built yet in {store.location}"
    )
