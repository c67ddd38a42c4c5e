# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides which images of a service can be removed, and why each of the others is kept. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .._image_model import Image
from .revocation import describe

ImageKey = tuple[str, str]  # digest and build


@dataclass(frozen=True)
class RetentionRule:
    """What the user wants to keep. At least one verified image of each build is always kept.

    Attributes:
        keep: the number of the newest verified images to keep.
        older_than: seconds; younger images are kept.
    """

    keep: int
    older_than: float


@dataclass(frozen=True)
class Verdict:
    """Whether an image is kept.

    Attributes:
        reasons: all reasons to keep the image, or the one to remove it.
    """

    image: Image
    kept: bool
    reasons: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for a result."""
        image = self.image
        return {
            **{name: getattr(image, name) for name in ("name", "digest", "build", "version", "created")},
            "verified": bool(image.verified),
            "channels": list(image.channels),
            "why": list(self.reasons),
        }


def verdicts_of(
    images: Sequence[Image],
    rule: RetentionRule,
    *,
    references: Mapping[ImageKey, Sequence[str]],
    now: float,
    being_removed: Collection[ImageKey] = (),
) -> list[Verdict]:
    """Return a verdict for each image. Each build is counted separately.

    Args:
        images: of one service, newest first.
        references: what refers to an image, as text.
        now: seconds since the epoch.
        being_removed: images whose removal an earlier run began. They are removed unless there are references to them.
    """
    usable: dict[str, list[Image]] = {image.build: [] for image in images}
    for image in images:
        if image.verified and not image.revoked and key_of(image) not in being_removed:
            usable[image.build].append(image)
    verdicts = []
    for image in images:
        reasons = list(references.get(key_of(image), ()))
        if key_of(image) not in being_removed:
            reasons += _reasons_to_keep(image, usable[image.build], rule, now)
        removal = _reason_to_remove(image, rule, key_of(image) in being_removed)
        verdicts.append(Verdict(image, bool(reasons), tuple(reasons) or (removal,)))
    return verdicts


def key_of(image: Image) -> ImageKey:
    """Return what identifies the image."""
    return image.digest, image.build


def _reasons_to_keep(image: Image, usable: Sequence[Image], rule: RetentionRule, now: float) -> list[str]:
    """The reasons other than references. ``usable``: the verified images of the same build that are not revoked."""
    reasons = []
    if image in usable[: max(1, rule.keep)]:
        reasons.append("the newest verified" if image == usable[0] else f"among the newest {rule.keep} verified")
    if not image.verified and not image.revoked and (not usable or image.created > usable[0].created):
        reasons.append("not verified yet, and newer than any verified one")
    age = now - datetime.fromisoformat(image.created).timestamp()
    if age < rule.older_than:
        reasons.append(f"baked {max(0.0, age) / 3600:.1f} h ago")
    return reasons


def _reason_to_remove(image: Image, rule: RetentionRule, being_removed: bool) -> str:
    if being_removed:
        return "an earlier run began to remove it"
    if image.revoked:
        return describe(image.revoked)
    if image.verified:
        return f"not among the newest {max(1, rule.keep)} verified"
    return "never verified, and older than a verified one"
