# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A definition that differs from what its channel has is named, by its version or by the inputs of its bake."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.unreleased import unreleased

EXAMPLE = load_definition(Path(__file__).resolve().parents[3] / "examples/rehearsal")
DEFINITION = replace(EXAMPLE, service="shop-eu", version="1.2.0-rc1")
DIGEST, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
NAME = "shop-eu-1.2.0-rc1-111111111111"


def test_a_released_definition_has_nothing_to_say() -> None:
    assert unreleased(DEFINITION, "prod", NAME) is None
    assert unreleased(DEFINITION, "prod", NAME, image=DIGEST, digest=DIGEST) is None
    assert unreleased(DEFINITION, "prod", NAME, image=DIGEST, digest=None) is None
    assert unreleased(DEFINITION, "prod", None) is None


def test_another_version_or_other_inputs_are_named() -> None:
    newer = replace(DEFINITION, version="1.3.0")
    failed = {"status": "failed", "image_name": "shop-eu-1.3.0-222222222222"}
    assert unreleased(newer, "prod", NAME, swap=failed) == (
        "the definition says 1.3.0, which failed: fix the cause and release a new version"
    )
    assert unreleased(newer, "prod", failed["image_name"], swap=failed) is None
    assert unreleased(newer, "prod", NAME, swap={**failed, "image_name": NAME}) is not None
    assert unreleased(newer, "prod", NAME) == (
        "the definition says 1.3.0, the channel prod has 1.2.0-rc1: release the definition"
    )
    assert unreleased(DEFINITION, "prod", NAME, image=DIGEST, digest=OTHER) == (
        f"the definition has other inputs than {NAME}, which the channel prod has: release the definition"
    )
