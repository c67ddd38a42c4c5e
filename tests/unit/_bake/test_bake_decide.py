# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.decide import Decision, decide
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image


def image(digits: str, build: str = "qemu-x86_64", **inputs: Any) -> Image:
    return Image(
        digest=f"sha256:{digits * 64}",
        build=build,
        service="shop",
        version="1",
        created="2026-01-01T00:00:00+00:00",
        artifact={},
        base={},
        inputs=inputs,
    )


def decision(images: list[Image], intact: bool = True, force: bool = False, **inputs: Any) -> Decision:
    digest = f"sha256:{'a' * 64}"
    return decide(digest=digest, build="qemu-x86_64", inputs=inputs, images=images, intact=intact, force=force)


@pytest.mark.parametrize(
    ("found", "due", "why"),
    [
        (decision([]), True, "it was never baked"),
        (decision([image("a", build="packer")]), True, "it was never baked"),
        (decision([image("a")]), False, "shop-1-aaaaaaaaaaaa was baked from the same inputs"),
        (decision([image("a")], force=True), True, "the bake is forced (force: true)"),
        (decision([image("a")], intact=False), True, "the artifact of shop-1-aaaaaaaaaaaa is missing"),
    ],
)
def test_a_decision_has_a_reason(found: Decision, due: bool, why: str) -> None:
    assert (found.due, found.why) == (due, why)


def test_differences_from_the_newest_image_are_listed() -> None:
    found = decision([image("c", port=1), image("b", port=9)], port=2, version="2")
    assert found.due
    assert found.why == 'it differs from shop-1-cccccccccccc: port: 1 -> 2; version: absent -> "2"'
    assert [difference["path"] for difference in found.differences] == ["port", "version"]
