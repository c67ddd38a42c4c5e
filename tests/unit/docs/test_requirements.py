# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Python packages of a controller are the same wherever they are named."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LINES = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
WANTED = {line for line in LINES if line and not line.startswith("#")} - {"pip"}


def test_the_readme_installs_all_packages() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [line] = re.findall(r"^\$ (pip install .*jsonschema.*)$", readme, re.MULTILINE)
    assert set(shlex.split(line)[2:]) == WANTED


def test_the_quickstart_installs_no_library_of_one_cloud_alone() -> None:
    script = (ROOT / "tests/tools/with-collection").read_text(encoding="utf-8")
    [left_out] = re.findall(r"grep -Ev '\^\(#\|(.*)\)' requirements\.txt", script)
    after_comments = {line for above, line in zip(LINES, LINES[1:], strict=False) if re.match("#.* alone", above)}
    assert {line.partition(">=")[0] for line in after_comments} == {*left_out.replace("$", "").split("|")} - {"pip"}


def test_the_modules_name_the_oldest_versions_that_are_required() -> None:
    fragments = (ROOT / "plugins/doc_fragments/options.py").read_text(encoding="utf-8")
    named = {
        f"{name}>={version}" for name, version in re.findall(r"^  - ([\w-]+) >= ([\d.]+)", fragments, re.MULTILINE)
    }
    assert {"boto3", "openstacksdk"} <= {one.partition(">=")[0] for one in named} and named <= WANTED
