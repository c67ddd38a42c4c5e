# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.prune import Rule, judge, key_of
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 3, 1, tzinfo=timezone.utc).timestamp()
DAY = 86400.0


def image(
    number: int, verified: bool = True, revoked: bool = False, build: str = "qemu-x86_64", days: float | None = None
) -> Image:
    """Of so many days ago; the higher the number, the older."""
    created = datetime.fromtimestamp(NOW - DAY * (number if days is None else days), timezone.utc).isoformat(
        timespec="seconds"
    )
    said = {"at": "2026-02-01T00:00:00+00:00", "by": "ann", "reason": "slow"} if revoked else None
    return Image(
        digest=f"sha256:{number:064x}", build=build, service="shop", version=f"1.0.{number}", created=created, artifact={"path": f"/{number}"},
        base={}, inputs={}, verified={"at": created} if verified else None, revoked=said,
    )  # fmt: skip


def going(
    images: list[Image], keep: int = 2, older_than: float = 0.0, held: dict | None = None, begun: set | None = None
) -> list[int]:
    verdicts = judge(images, held or {}, Rule(keep, older_than), NOW, begun or set())
    return [int(each.image.hex, 16) for each in verdicts if not each.stays]


def test_the_newest_verified_stay_and_older_ones_go() -> None:
    assert going([image(number) for number in range(1, 6)]) == [3, 4, 5]


def test_each_build_counts_by_itself() -> None:
    assert going(
        [
            image(1),
            image(2, build="aws-1-x86_64"),
            image(3),
            image(4, build="aws-1-x86_64"),
            image(5),
            image(6, build="aws-1-x86_64"),
        ]
    ) == [5, 6]


def test_what_was_revoked_or_never_verified_counts_for_nothing_and_goes() -> None:
    assert going([image(1), image(2, revoked=True), image(3, verified=False), image(4), image(5)]) == [2, 3, 5]


def test_what_is_still_to_be_verified_stays() -> None:
    assert going([image(1, verified=False), image(2, verified=False), image(3), image(4, verified=False)], keep=1) == [
        4
    ]
    assert going([image(1, verified=False), image(2, verified=False)]) == []
    assert going([image(1, verified=False, revoked=True), image(2)]) == [1]


def test_what_is_younger_stays() -> None:
    assert going([image(number) for number in range(1, 6)], keep=1, older_than=3.5 * DAY) == [4, 5]


def test_the_last_good_one_stays_whatever_is_asked_for() -> None:
    assert going([image(1), image(2)], keep=0) == [2]


def test_every_reason_to_stay_is_told_and_the_one_to_go() -> None:
    images = [image(1), image(2), image(3, revoked=True), image(4, verified=False), image(5)]
    held = {
        key_of(images[1]): ["shop's channel prod points at it", "instance i-1 runs it"],
        key_of(images[0]): ["channel"],
    }
    told = [each.why for each in judge(images, held, Rule(1, 1.5 * DAY), NOW)]
    assert told == [
        ("channel", "the newest verified", "baked 24.0 h ago"),
        ("shop's channel prod points at it", "instance i-1 runs it"),
        ("revoked by ann at 2026-02-01T00:00:00+00:00: slow",),
        ("never verified, and older than one that is",),
        ("not among the newest 1 verified",),
    ]


def test_what_an_earlier_run_began_to_remove_goes_unless_it_is_held() -> None:
    images = [image(1), image(2), image(3)]
    begun = {key_of(images[0]), key_of(images[1])}
    assert going(images, begun=begun) == [1, 2]
    assert going(images, begun=begun, held={key_of(images[0]): ["instance i-1 runs it"]}) == [2]


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
def test_nothing_that_is_needed_ever_goes(
    drawn: list[tuple[bool, bool, str, float, bool, bool]], keep: int, days: float
) -> None:
    images = [
        image(number, verified, revoked, build, age)
        for number, (verified, revoked, build, age, _held, _begun) in enumerate(drawn)
    ]
    held = {key_of(each): ["it is needed"] for each, facts in zip(images, drawn, strict=True) if facts[4]}
    begun = {key_of(each) for each, facts in zip(images, drawn, strict=True) if facts[5]}
    images.sort(key=lambda each: (each.created, each.digest), reverse=True)
    verdicts = judge(images, held, Rule(keep, days * DAY), NOW, begun)
    gone = {key_of(each.image) for each in verdicts if not each.stays}
    assert [each.image for each in verdicts] == images and all(each.why for each in verdicts)
    assert not gone & set(held)
    for build in ("a-1", "b-1"):
        good = [
            each
            for each in images
            if each.build == build and each.verified and not each.revoked and key_of(each) not in begun
        ]
        assert not gone & {key_of(each) for each in good[: max(1, keep)]}
        assert {
            key_of(each)
            for each in good[max(1, keep) :]
            if NOW - datetime.fromisoformat(each.created).timestamp() >= days * DAY
        } - set(held) <= gone
    # Judged again, what stays would stay: nothing is lost bit by bit.
    left = [each.image for each in verdicts if each.stays]
    again = judge(left, held, Rule(keep, days * DAY), NOW, begun)
    assert all(each.stays for each in again)


def test_a_verdict_is_plain_data() -> None:
    told = judge([replace(image(1), channels=("prod",))], {}, Rule(1, 0.0), NOW)[0].as_dict()
    assert told == {
        "name": "shop-1.0.1-000000000000", "digest": f"sha256:{1:064x}", "build": "qemu-x86_64", "version": "1.0.1", "created": "2026-02-28T00:00:00+00:00",
        "verified": True, "channels": ["prod"], "why": ["the newest verified"],
    }  # fmt: skip
