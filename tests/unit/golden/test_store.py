# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documents of a 0.1.0 store are read without loss and written with the same keys and values."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.unit.golden import adapter, adapter_store, plain, stored


@pytest.mark.parametrize("name", stored.ENTRIES)
def test_documents_are_read_and_written_as_by_0_1_0(name: str, tmp_path: Path) -> None:
    plain.compare(name, stored.ENTRIES[name](tmp_path))


def test_an_intent_keeps_each_field() -> None:
    """The captured intent has no default value except the fleet's name, so a lost field shows."""
    kept, told = plain.golden("given/intent"), plain.golden("store/intent")
    assert [name for name in kept if kept[name] == told["defaults"][name]] == ["fleet"]
    assert told["seen"] == told["written"] == kept


def test_a_record_of_an_image_keeps_each_field() -> None:
    for record in plain.golden("given/images").values():
        told = plain.golden("store/images")["qemu" if record["build"].startswith("qemu") else "aws"]
        assert told["written"] == record
        assert {name: told["seen"][name] for name in record} == record


def test_unknown_keys_are_ignored() -> None:
    kept = plain.golden("given/intent")
    seen, written = adapter_store.intent_read({**kept, "of_a_later_release": 1})
    assert written == kept and seen == kept


def test_the_folder_of_a_bakes_secrets_is_found_by_its_name(tmp_path: Path) -> None:
    one, again = adapter.memory_folder("bake-0123", tmp_path), adapter.memory_folder("bake-0123", tmp_path)
    assert (
        one == again and one.name.startswith("immutable-") and one.name.endswith("-bake-0123") and len(one.name) == 32
    )
