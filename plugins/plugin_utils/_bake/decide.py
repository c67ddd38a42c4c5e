# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a bake is due, and why. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._definition.explain import compare, explain_lines
from .._image_model import Image


@dataclass(frozen=True)
class Decision:
    """``why`` is one line for a person; ``differences`` compares with the service's newest image, where there is one."""

    due: bool
    why: str
    differences: tuple[Mapping[str, Any], ...] = ()


def decide(
    digest: str, build: str, inputs: Mapping[str, Any], images: Sequence[Image], *, whole: bool, force: bool
) -> Decision:
    """Compare what shall be with what is there.

    Args:
        images: of the service and build, the newest first.
        whole: whether the artifact of the image with this digest, if there is one, is still there.
    """
    present = next((image for image in images if image.digest == digest and image.build == build), None)
    if present and not whole:
        return Decision(True, f"the artifact of {present.name} is gone")
    if present and force:
        return Decision(True, "asked for by force")
    if present:
        return Decision(False, f"{present.name} was baked from the same inputs")
    same_build = [image for image in images if image.build == build]
    if not same_build:
        return Decision(True, "it was never baked")
    differences = tuple(compare(same_build[0].inputs, inputs))
    return Decision(
        True, f"it differs from {same_build[0].name}: {'; '.join(explain_lines(differences)[:5])}", differences
    )
