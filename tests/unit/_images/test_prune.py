# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.prune import (
    RetentionRule,
    Verdict,
    key_of,
    verdicts_of,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 3, 1, tzinfo=timezone.utc).timestamp()
DAY = 86400.0


def image(
    number: int, verified: bool = True, revoked: bool = False, build: str = "qemu-x86_64", days: float | None = None
) -> Image:
    """An image that was baked ``days`` ago, by default ``number`` days."""
    created = datetime.fromtimestamp(NOW - DAY * (number if days is None else days), timezone.utc).isoformat(
        timespec="seconds"
    )
    revocation = {"at": "2026-02-01T00:00:00+00:00", "by": "ann", "reason": "slow"} if revoked else None
    return Image(
        digest=f"sha256:{number:064x}",
        build=build,
        service="shop",
        version=f"1.0.{number}",
        created=created,
        artifact={"path": f"/{number}"},
        base={},
        inputs={},
        verified={"at": created} if verified else None,
        revoked=revocation,
    )


def verdicts(images: list[Image], rule: RetentionRule, **options: Any) -> list[Verdict]:
    return verdicts_of(images, rule, now=NOW, **{"references": {}, **options})


def removed(images: list[Image], keep: int = 2, older_than: float = 0.0, **options: Any) -> list[int]:
    found = verdicts(images, RetentionRule(keep, older_than), **options)
    return [int(verdict.image.hex, 16) for verdict in found if not verdict.kept]


def test_the_newest_verified_images_are_kept() -> None:
    assert removed([image(number) for number in range(1, 6)]) == [3, 4, 5]


def test_each_build_is_counted_separately() -> None:
    assert removed(
        [
            image(1),
            image(2, build="aws-1-x86_64"),
            image(3),
            image(4, build="aws-1-x86_64"),
            image(5),
            image(6, build="aws-1-x86_64"),
        ]
    ) == [5, 6]


def test_revoked_and_unverified_images_do_not_count_and_are_removed() -> None:
    assert removed([image(1), image(2, revoked=True), image(3, verified=False), image(4), image(5)]) == [2, 3, 5]


def test_an_image_that_waits_for_its_verification_is_kept() -> None:
    assert removed(
        [image(1, verified=False), image(2, verified=False), image(3), image(4, verified=False)], keep=1
    ) == [4]
    assert removed([image(1, verified=False), image(2, verified=False)]) == []
    assert removed([image(1, verified=False, revoked=True), image(2)]) == [1]


def test_younger_images_are_kept() -> None:
    assert removed([image(number) for number in range(1, 6)], keep=1, older_than=3.5 * DAY) == [4, 5]


def test_the_last_verified_image_is_kept_even_with_keep_0() -> None:
    assert removed([image(1), image(2)], keep=0) == [2]


def test_a_verdict_has_all_reasons_to_keep_or_the_one_to_remove() -> None:
    images = [image(1), image(2), image(3, revoked=True), image(4, verified=False), image(5)]
    references = {
        key_of(images[1]): ["shop's channel prod points at it", "instance i-1 runs it"],
        key_of(images[0]): ["channel"],
    }
    found = verdicts(images, RetentionRule(1, 1.5 * DAY), references=references)
    assert [verdict.reasons for verdict in found] == [
        ("channel", "the newest verified", "baked 24.0 h ago"),
        ("shop's channel prod points at it", "instance i-1 runs it"),
        ("revoked by ann at 2026-02-01T00:00:00+00:00: slow",),
        ("never verified, and older than a verified one",),
        ("not among the newest 1 verified",),
    ]


def test_an_interrupted_removal_is_resumed_unless_there_are_references() -> None:
    images = [image(1), image(2), image(3)]
    begun = {key_of(images[0]), key_of(images[1])}
    assert removed(images, being_removed=begun) == [1, 2]
    assert removed(images, being_removed=begun, references={key_of(images[0]): ["instance i-1 runs it"]}) == [2]


@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.booleans(),
            st.sampled_from(["a-1", "b-1"]),
            st.floats(0, 20),
            st.booleans(),
            st.booleans(),
        ),
        max_size=12,
    ),
    st.integers(-1, 5),
    st.floats(0, 20),
)
def test_no_image_that_is_needed_is_removed(
    drawn: list[tuple[bool, bool, str, float, bool, bool]], keep: int, days: float
) -> None:
    images = [
        image(number, verified=verified, revoked=revoked, build=build, days=age)
        for number, (verified, revoked, build, age, _needed, _begun) in enumerate(drawn)
    ]
    references = {key_of(each): ["it is needed"] for each, facts in zip(images, drawn, strict=True) if facts[4]}
    begun = {key_of(each) for each, facts in zip(images, drawn, strict=True) if facts[5]}
    images.sort(key=lambda each: (each.created, each.digest), reverse=True)
    rule, options = RetentionRule(keep, days * DAY), {"references": references, "being_removed": begun}
    found = verdicts(images, rule, **options)
    removed_keys = {key_of(verdict.image) for verdict in found if not verdict.kept}
    assert [verdict.image for verdict in found] == images and all(verdict.reasons for verdict in found)
    assert not removed_keys & set(references)
    for build in ("a-1", "b-1"):
        usable = [
            each
            for each in images
            if each.build == build and each.verified and not each.revoked and key_of(each) not in begun
        ]
        assert not removed_keys & {key_of(each) for each in usable[: max(1, keep)]}
        assert {
            key_of(each)
            for each in usable[max(1, keep) :]
            if NOW - datetime.fromisoformat(each.created).timestamp() >= days * DAY
        } - set(references) <= removed_keys
    # A second run removes nothing more.
    remaining = [verdict.image for verdict in found if verdict.kept]
    assert all(verdict.kept for verdict in verdicts(remaining, rule, **options))


def test_a_verdict_is_plain_data() -> None:
    [verdict] = verdicts([replace(image(1), channels=("prod",))], RetentionRule(1, 0.0))
    assert verdict.as_dict() == {
        "name": "shop-1.0.1-000000000000",
        "digest": f"sha256:{1:064x}",
        "build": "qemu-x86_64",
        "version": "1.0.1",
        "created": "2026-02-28T00:00:00+00:00",
        "verified": True,
        "channels": ["prod"],
        "why": ["the newest verified"],
    }
