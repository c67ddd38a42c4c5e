# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The size of a YAML document is known before any of it is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._core import bounded_yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._core.bounded_yaml import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_VALUES,
    BoundedLoader,
    TooLargeError,
    check_bounds,
)
from hypothesis import given
from hypothesis import strategies as st


def load(text: str) -> Any:
    return yaml.load(text, Loader=BoundedLoader)


def layers(width: int, levels: int, form: str) -> str:
    lines = [f"l{i}: &l{i} {form % ', '.join([f'*l{i - 1}'] * width)}" for i in range(1, levels)]
    return "\n".join(["l0: &l0 {a: 1}", *lines, ""])


@pytest.mark.parametrize("form", ["[%s]", "{<<: [%s]}", "{k: [%s]}"])
def test_nothing_is_built_from_aliases_that_stand_for_too_much(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedLoader, "construct_document", lambda *_arguments: pytest.fail("it was built"))
    with pytest.raises(TooLargeError, match="^line [5-8]: it has more than 20000 values"):
        load(layers(10, 9, form))


@pytest.mark.parametrize("text", ["[" * (MAX_DEPTH + 2), layers(1, MAX_DEPTH + 2, "[%s]")])
def test_depth_is_limited_with_and_without_aliases(text: str) -> None:
    with pytest.raises(TooLargeError, match="more than 100 mappings and lists inside each other"):
        load(text)
    load("[" * MAX_DEPTH + "]" * MAX_DEPTH)


def test_the_values_of_the_file_itself_are_limited() -> None:
    assert len(load("\n".join(f"k{i}: v" for i in range(MAX_VALUES - 1)))) == MAX_VALUES - 1
    with pytest.raises(TooLargeError):
        load("\n".join(f"k{i}: v" for i in range(MAX_VALUES)))


@pytest.mark.parametrize("text", ["&a [*a]", "&a {<<: *a}", "&a {? *a : 1}", "x: &a {b: [{c: *a}]}"])
def test_a_value_that_contains_itself_is_refused(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match="an alias refers to a value that contains it"):
        load(text)


@given(
    st.recursive(st.integers() | st.text("ab<*&"), lambda part: st.lists(part) | st.dictionaries(st.text("ab"), part))
)
def test_other_documents_are_read_as_by_any_safe_loader(data: Any) -> None:
    text = yaml.safe_dump([data, data])  # with anchors and aliases
    assert load(text) == yaml.safe_load(text) == [data, data]


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=10))
def test_the_count_is_that_of_the_data_that_is_built(graph: list[list[int]]) -> None:
    lines = []
    for number, uses in enumerate(graph):
        known = [f"*l{each}" for each in uses if each < number]
        lines.append(f"- &l{number} [{', '.join(known)}]")
    text = "\n".join(lines)

    def count(value: Any) -> int:
        return 1 + sum(map(count, value))

    built = count(yaml.safe_load(text))
    for allowed in (built - 1, built):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bounded_yaml, "MAX_VALUES", allowed)
            try:
                load(text)
                assert allowed == built
            except TooLargeError:
                assert allowed < built


def test_a_file_is_checked_before_another_loader_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "vars.yml"
    check_bounds(file)  # missing: for the loader to report
    for text in ("a: !vault |\n  $ANSIBLE_VAULT\n", "a: [", "\x00", "a: &a [*a]"):
        file.write_text(text)
        check_bounds(file)
    file.write_text(layers(10, 9, "[%s]"))
    with pytest.raises(TooLargeError):
        check_bounds(file)
    with file.open("wb") as handle:
        handle.truncate(MAX_BYTES + 1)
    with pytest.raises(TooLargeError, match=f"more than {MAX_BYTES} bytes"):
        check_bounds(file)
