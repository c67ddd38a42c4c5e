# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The page that ``make bench`` writes has the words of its template, so that the next run changes figures only."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_page_has_the_words_of_its_template() -> None:
    template = (ROOT / "bench/page.md").read_text(encoding="utf-8")
    page = (ROOT / "docs/explanation/performance.md").read_text(encoding="utf-8")
    texts = re.split(r"\$(?:\w+|\{\w+\})", template)
    assert re.fullmatch(".*".join(map(re.escape, texts)), page, re.DOTALL)
