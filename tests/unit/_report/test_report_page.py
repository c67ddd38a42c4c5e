# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The page is complete, accessible, bounded, loads nothing, and shows hostile text as text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._report import page as page_module
from ansible_collections.immutable.infra.plugins.plugin_utils._report.page import same_content
from ansible_collections.immutable.infra.tests.support import report_pages

VOID = {"meta", "input", "br", "img", "link"}
COLORS = re.compile(r"--([a-z]+): (#[0-9a-f]{6})")
FOLDER = Path(page_module.__file__).parent


class Tags(HTMLParser):
    """The elements of a page, with their attributes and texts."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page.decode("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def small() -> bytes:
    return report_pages.page(report_pages.small())


def test_every_part_is_on_the_page_without_a_script(small: bytes) -> None:
    text = " ".join("".join(Tags(small).texts).split())
    for part in (
        "Nothing is due",
        "3 of 3 in service",
        "commit4f1c9d2",
        "to prod, 2026-01-30 08:00 UTC, by ann: \u201cfixes the checkout\u201d",
        "boots, seals, health, verify.yml",
        "rolled back",
        "was not healthy within",
        "openssl",
        "1 of 2 hosts equal their image",
        "4755",
    ):
        assert part in text, part


def test_the_page_loads_nothing(small: bytes) -> None:
    tags = Tags(small)
    assert {name for name, _attributes in tags.elements} & {
        "img",
        "link",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
    } == set()
    for _name, attributes in tags.elements:
        assert not {"src", "srcset", "action", "style"} & attributes.keys()
        assert not any(attribute.startswith("on") for attribute in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    policy = next(each["content"] for each in tags.of("meta") if each.get("http-equiv") == "Content-Security-Policy")
    assert policy and "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy


def test_style_and_script_do_not_end_their_elements() -> None:
    for name in ("page.css", "page.js"):
        text = (FOLDER / name).read_text(encoding="utf-8")
        assert "</" not in text and "<!--" not in text
        assert "innerHTML" not in text and "url(" not in text and "@import" not in text


def test_hostile_text_is_text(small: bytes) -> None:
    page = report_pages.page(report_pages.hostile())
    before, after = Tags(small), Tags(page)
    assert {name for name, _attributes in after.elements} <= {name for name, _attributes in before.elements} | {"pre"}
    scripts = [each.get("type") for each in after.of("script")]
    assert scripts.count(None) == 1 and set(scripts) <= {None, "application/json"}
    assert "{{7*7}}" in "".join(after.texts) and "taken" in "".join(after.texts)
    assert b"\x1b" not in page and "\u202e".encode() not in page
    assert b"<script>document" not in page and b"<img" not in page


def test_a_page_is_complete_without_a_pointer(small: bytes) -> None:
    tags = Tags(small)
    assert tags.open == []
    assert tags.of("html") == [{"lang": "en"}]
    ids = [attributes["id"] for _name, attributes in tags.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for name, attributes in tags.elements:
        if name == "svg":
            assert attributes.get("aria-hidden") or attributes.get("aria-labelledby") in ids
        if name == "input":
            assert attributes["aria-label"]
        if attributes.get("class") == "scroll":  # the keyboard reaches what does not fit
            assert attributes["tabindex"] == "0" and attributes["aria-label"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_bars_have_contrast(scheme: str) -> None:
    """WCAG 2.2: 4.5 for text (1.4.3), 3 for what is drawn (1.4.11)."""
    style = (FOLDER / "page.css").read_text(encoding="utf-8")
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    colors = dict(COLORS.findall(light if scheme == "light" else dark.partition("* {")[0]))
    for ground in ("ground", "raised"):
        for name in ("text", "soft", "accent", "good", "bad", "wait"):
            assert contrast(colors[name], colors[ground]) >= 4.5, (scheme, name, ground)
        for name in ("booting", "checking", "new", "old", "draining", "stopping", "stopped", "unhealthy"):
            assert contrast(colors[name], colors[ground]) >= 3, (scheme, name, ground)


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    parts = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_fleet_of_a_thousand_fits() -> None:
    page = report_pages.page(report_pages.large())
    assert len(page) < 2_000_000
    assert len(Tags(page).elements) < 12_000


def test_only_the_time_of_writing_is_no_content(small: bytes) -> None:
    later = small.replace(report_pages.WRITTEN.encode(), b"2027-01-01T00:00:00Z")
    assert later != small and same_content(small, later)
    assert not same_content(small, small.replace(b"openssl", b"openssh"))
