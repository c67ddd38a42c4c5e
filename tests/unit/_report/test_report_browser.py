# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The page in a real browser, without a window. Without Chromium these tests are skipped. In CI they fail."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support import report_pages
from ansible_collections.immutable.infra.tests.support.browser import Browser, find_browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    program = find_browser()
    if program is None:
        message = "pages cannot be tested: there is no Chromium"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return Browser(program, tmp_path_factory.mktemp("browser"))


def test_a_moment_of_a_swap_is_shown(browser: Browser, tmp_path: Path) -> None:
    known = report_pages.small()
    middle = next(each for each in known["fleets"][0]["swaps"][1]["timeline"] if each["event"] == "draining")
    dom = browser.dom(_write(tmp_path, known), f"swap-2@{middle['seconds']}")
    card = dom.partition('id="swap-2"')[2].partition("</article>")[0]
    assert '<div class="scrub">' in card, "the controls stay hidden"
    assert 'visibility="hidden"' not in card, "the cursor stays hidden"
    assert "of 3 in service, 1 new in service" in card.partition("<output")[2].partition("</output>")[0]
    assert card.count("now") == 1


def test_hostile_text_does_nothing(browser: Browser, tmp_path: Path) -> None:
    dom = browser.dom(_write(tmp_path, report_pages.hostile()))
    assert "<title>shop: report</title>" in dom and "<img" not in dom
    assert "taken" in dom, "the text itself is shown"


def test_a_fleet_of_a_thousand_is_shown(browser: Browser, tmp_path: Path) -> None:
    dom = browser.dom(_write(tmp_path, report_pages.large()), "swap-1@200")
    assert "of 1000 in service" in dom and "slot 900" in dom


def _write(folder: Path, known: dict[str, object]) -> Path:
    file = folder / "report.html"
    file.write_bytes(report_pages.page(known))
    return file
