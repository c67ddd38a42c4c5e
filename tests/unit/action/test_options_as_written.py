# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An option of text that YAML reads as something else is refused, through a real ansible-playbook."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TASK = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - immutable.infra.channel:
        service: shop
        channel: prod
        image: IMAGE
        store: STORE
        lock_timeout: 0.5
"""


def run(folder: Path, image: str) -> str:
    store = folder / "store"
    (folder / "play.yml").write_text(TASK.replace("IMAGE", image).replace("STORE", str(store)), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", str(folder / "play.yml")],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("1.10", "image: 1.1 is a number, and 1.10 would be 1.1; put it in quotes"),
        ("yes", "image: True is a boolean, not text; put it in quotes"),
        ("2024-02-03", "image: 2024-02-03 is a date, not text; put it in quotes"),
    ],
)
def test_a_value_that_is_no_text_is_refused(tmp_path: Path, image: str, message: str) -> None:
    assert message in run(tmp_path, image)


def test_text_and_integers_are_text(tmp_path: Path) -> None:
    for image in ('"1.10"', "7"):
        assert "put it in quotes" not in run(tmp_path, image)
