# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which images of a service may go, and why each of the others stays. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .._image_model import Image
from .revocation import in_words

Key = tuple[str, str]  # digest and build


@dataclass(frozen=True)
class Rule:
    """What is asked for. At least one verified image always stays, whatever ``keep`` says."""

    keep: int  # how many of the newest verified ones stay
    older_than: float  # seconds: what is younger stays


@dataclass(frozen=True)
class Verdict:
    image: Image
    stays: bool
    why: tuple[str, ...]  # all reasons to stay, or the one to go

    def as_dict(self) -> dict[str, Any]:
        image = self.image
        told = {name: getattr(image, name) for name in ("name", "digest", "build", "version", "created")}
        return {**told, "verified": bool(image.verified), "channels": list(image.channels), "why": list(self.why)}


def judge(
    images: Sequence[Image], held: Mapping[Key, Sequence[str]], rule: Rule, now: float, begun: Collection[Key] = ()
) -> list[Verdict]:
    """A verdict for each of ``images``, which are of one service, the newest first. Each build counts by itself.

    Args:
        held: what refers to an image, in words.
        now: seconds since the epoch.
        begun: images whose removal an earlier run began. They go unless something holds them, and count for nothing.
    """
    good: dict[str, list[Image]] = {image.build: [] for image in images}
    for image in images:
        if image.verified and not image.revoked and key_of(image) not in begun:
            good[image.build].append(image)
    verdicts = []
    for image in images:
        why = list(held.get(key_of(image), ()))
        if key_of(image) not in begun:
            why += _reasons(image, good[image.build], rule, now)
        verdicts.append(Verdict(image, bool(why), tuple(why) or (_fault(image, rule, key_of(image) in begun),)))
    return verdicts


def key_of(image: Image) -> Key:
    return image.digest, image.build


def _reasons(image: Image, good: Sequence[Image], rule: Rule, now: float) -> list[str]:
    """To stay, of its own accord. ``good``: those of its build that may be used."""
    found = []
    if image in good[: max(1, rule.keep)]:
        found.append("the newest verified" if image == good[0] else f"among the newest {rule.keep} verified")
    if not image.verified and not image.revoked and (not good or image.created > good[0].created):
        found.append("not verified yet, and newer than any that is")
    age = now - datetime.fromisoformat(image.created).timestamp()
    if age < rule.older_than:
        found.append(f"baked {max(0.0, age) / 3600:.1f} h ago")
    return found


def _fault(image: Image, rule: Rule, begun: bool) -> str:
    if begun:
        return "an earlier run began to remove it"
    if image.revoked:
        return in_words(image.revoked)
    return (
        f"not among the newest {max(1, rule.keep)} verified"
        if image.verified
        else "never verified, and older than one that is"
    )
