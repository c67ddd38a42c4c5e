# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides whether a bake is due, and why. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._definition.explain import compare, explain_lines
from .._image_model import Image

_MAX_DIFFERENCES = 5  # in the reason; the decision has all


@dataclass(frozen=True)
class Decision:
    """Whether a bake is due.

    Attributes:
        why: the reason, one line for the user.
        differences: the inputs that differ from those of the service's newest image with the same build, see
            ``compare``.
    """

    due: bool
    why: str
    differences: tuple[Mapping[str, Any], ...] = ()


def decide(
    *, digest: str, build: str, inputs: Mapping[str, Any], images: Sequence[Image], intact: bool, force: bool
) -> Decision:
    """Compare the image that the inputs describe with the images in the catalogue.

    Args:
        digest: of ``inputs``.
        images: the service's, newest first.
        intact: whether the artifact of the image with this digest and build still exists.
        force: bake even if the image exists.
    """
    existing = next((image for image in images if image.digest == digest and image.build == build), None)
    if existing and not intact:
        return Decision(True, f"the artifact of {existing.name} is missing")
    if existing and force:
        return Decision(True, "the bake is forced (force: true)")
    if existing:
        return Decision(False, f"{existing.name} was baked from the same inputs")
    same_build = [image for image in images if image.build == build]
    if not same_build:
        return Decision(True, "it was never baked")
    differences = tuple(compare(same_build[0].inputs, inputs))
    summary = "; ".join(explain_lines(differences)[:_MAX_DIFFERENCES])
    return Decision(True, f"it differs from {same_build[0].name}: {summary}", differences)
