# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files that the community expects: their links lead to existing files, and the list of guides is complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
REPOSITORY = "https://github.com/immutable-infra/immutable.infra"
PAGES = [
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "MAINTAINERS.md",
    "SECURITY.md",
    "roles/base_image/README.md",
    "roles/seal/README.md",
]
GUIDES = ROOT / "docs/docsite/rst/guides.rst"
ON_GITHUB = re.compile(re.escape(REPOSITORY) + r"/(?:blob|tree)/main/([\w./-]+)")


@pytest.mark.parametrize("page", [*PAGES, "docs/docsite/rst/guides.rst"])
def test_links_lead_to_files(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    relative = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    missing = [link for link in relative if not (ROOT / page).parent.joinpath(link).exists()]
    missing += [path for path in ON_GITHUB.findall(text) if not (ROOT / path).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES[4:])
def test_pages_that_galaxy_shows_have_absolute_links(page: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert links and all(link.startswith("https://") for link in links)


def test_the_guides_list_every_how_to_and_reference() -> None:
    listed = set(ON_GITHUB.findall(GUIDES.read_text(encoding="utf-8")))
    pages = {
        str(page.relative_to(ROOT))
        for folder in ("how-to", "reference")
        for page in (ROOT / "docs" / folder).glob("*.md")
    }
    assert pages <= listed


@pytest.mark.parametrize("role", ["base_image", "seal"])
def test_a_role_readme_lists_every_variable(role: str) -> None:
    spec = yaml.safe_load((ROOT / f"roles/{role}/meta/argument_specs.yml").read_text(encoding="utf-8"))
    readme = (ROOT / f"roles/{role}/README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)`", readme, re.MULTILINE) == list(spec["argument_specs"]["main"]["options"])


def test_every_module_is_in_the_action_group() -> None:
    groups = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))["action_groups"]
    assert groups["immutable"] == sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
