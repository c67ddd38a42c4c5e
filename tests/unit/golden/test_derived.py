# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The code derives the same data as 0.1.0: digests, fingerprints, tags, guest documents and Packer's input."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.unit.golden import capture, plain, produced


@pytest.mark.parametrize("name", produced.ENTRIES)
def test_the_same_is_derived_as_by_0_1_0(name: str, tmp_path: Path) -> None:
    plain.compare(name, produced.ENTRIES[name](tmp_path))


def test_every_golden_file_is_compared() -> None:
    there = {path.relative_to(plain.DATA).with_suffix("").as_posix() for path in plain.DATA.rglob("*.json")}
    entries = capture.entries()
    assert {name for name in there if not name.startswith("given/")} == set(entries)


def test_a_difference_is_seen() -> None:
    told = plain.golden("launches/notes")
    told["local"]["intent"]["surge"] = 1.0
    del told["local"]["recipe"]["tags"]["health"]
    with pytest.raises(AssertionError, match=r"(?s)local\.intent\.surge.*local\.recipe\.tags\.health"):
        plain.compare("launches/notes", told)
