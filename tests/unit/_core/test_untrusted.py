# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Data from outside reaches Ansible unchanged, and no text of it is a template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.immutable.infra.plugins.plugin_utils._core.untrusted import untrusted_json
from ansible_collections.immutable.infra.tests.support import traps
from hypothesis import given
from hypothesis import strategies as st

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
KEYS = TEXTS.filter(lambda key: not key.startswith("__ansible_"))  # as every key of this project
DATA = st.recursive(
    TEXTS | st.integers(-(10**9), 10**9) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def load(data: Any) -> Any:
    return DataLoader().load(untrusted_json({"data": data}).decode("ascii"))["data"]


@given(DATA)
def test_ansible_loads_what_was_given(data: Any) -> None:
    assert load(data) == data


def test_no_text_is_a_template(tmp_path: Path) -> None:
    hostile = traps.template(tmp_path / "ran")
    templar = Templar(loader=DataLoader(), variables={"outside": load({"a": [hostile, {"b": hostile}]})})
    assert templar.template(load(hostile)) == hostile
    assert templar.template(load([hostile, {"b": hostile}])) == [hostile, {"b": hostile}]
    assert not list(tmp_path.iterdir())
