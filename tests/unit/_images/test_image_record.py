# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the record of an image says."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image

AT = {"at": "2026-01-31T09:30:00+00:00"}


@pytest.mark.parametrize(
    ("verified", "why"),
    [
        (None, "it was never verified"),
        ({**AT, "verify": "sha256:2"}, "the tests changed since it was verified"),
        (AT, "the tests changed since it was verified"),
        ({**AT, "verify": "sha256:1"}, ""),
    ],
)
def test_an_image_is_verified_by_the_present_tests(verified: dict[str, Any] | None, why: str) -> None:
    image = Image(
        "sha256:0", "qemu-x86_64", "shop", "1", created="", artifact={}, base={}, inputs={}, verified=verified
    )
    assert image.verification_due("sha256:1") == why
