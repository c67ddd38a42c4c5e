# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every test that docs/explanation/security.md names exists, and readers find the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/explanation/security.md"
NAMED = sorted(set(re.findall(r"`((?:containers|unit|vm|property)/[\w./]+)`", PAGE.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("test", NAMED)
def test_each_named_test_exists(test: str) -> None:
    assert (ROOT / "tests" / test).exists()


def test_the_page_names_a_test_for_most_of_what_it_claims() -> None:
    assert len(NAMED) > 15


@pytest.mark.parametrize("index", ["SECURITY.md", "README.md", "docs/docsite/rst/guides.rst"])
def test_readers_find_the_page(index: str) -> None:
    assert "docs/explanation/security.md" in (ROOT / index).read_text(encoding="utf-8")
