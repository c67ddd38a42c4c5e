# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.decide import Decision, decide
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image


def image(digits: str, build: str = "qemu-x86_64", **inputs: Any) -> Image:
    return Image(f"sha256:{digits * 64}", build, "shop", "1", "2026-01-01T00:00:00+00:00", {}, {}, inputs)


def asked(images: list[Image], digits: str = "a", whole: bool = True, force: bool = False, **inputs: Any) -> Decision:
    return decide(f"sha256:{digits * 64}", "qemu-x86_64", inputs, images, whole=whole, force=force)


@pytest.mark.parametrize(
    ("decision", "due", "why"),
    [
        (asked([]), True, "it was never baked"),
        (asked([image("a", build="packer")]), True, "it was never baked"),
        (asked([image("a")]), False, "shop-1-aaaaaaaaaaaa was baked from the same inputs"),
        (asked([image("a")], force=True), True, "asked for by force"),
        (asked([image("a")], whole=False), True, "the artifact of shop-1-aaaaaaaaaaaa is gone"),
    ],
)
def test_a_bake_is_due_for_a_reason(decision: Decision, due: bool, why: str) -> None:
    assert (decision.due, decision.why) == (due, why)


def test_what_differs_from_the_newest_image_is_named() -> None:
    decision = asked([image("c", port=1), image("b", port=9)], port=2, version="2")
    assert decision.due
    assert decision.why == 'it differs from shop-1-cccccccccccc: port: 1 -> 2; version: absent -> "2"'
    assert [each["path"] for each in decision.differences] == ["port", "version"]
