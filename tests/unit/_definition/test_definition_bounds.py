# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The work that a definition can cause is bounded, whatever is in it."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.bounded_yaml import MAX_BYTES, MAX_VALUES
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition import document, messages
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition

GOOD = """\
schema: 1
service: shop
version: "1.4.2"
image:
  base: {debian: bookworm}
  provision: {playbook: provision.yml}
health: {http: {port: 8080}}
fleet: {size: 3}
targets:
  local: {provider: qemu}
"""
TOO_MANY = "the definition has more than 20000 values, counting those behind each use of an alias"


@pytest.fixture
def folder(tmp_path):
    for name in ("provision.yml", "verify.yml"):
        (tmp_path / name).write_text("[]\n")
    return tmp_path


def problems(folder, text: str) -> list[str]:
    (folder / "immutable.yml").write_text(text)
    with pytest.raises(DefinitionError) as caught:
        load_definition(folder)
    return [line.removeprefix("immutable.yml:") for line in caught.value.details["problems"]]


def test_aliases_of_aliases_are_limited(folder):
    layers = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 12))
    assert problems(folder, "l0: &l0 [1]\n" + layers) == [f"6: {TOO_MANY}"]


@pytest.mark.parametrize("escape", ["\\UFFFFFFFF", "\\U00110000"])
def test_an_escape_that_is_no_character_is_a_mistake_with_its_line(folder, escape):
    assert problems(folder, f'schema: 1\nservice: "{escape}"\n') == [
        "2: this is not YAML: an escape in a text in double quotes is no character"
    ]


def test_merges_of_merges_are_limited(folder):
    layers = "".join(f"l{i}: &l{i} {{<<: [{', '.join([f'*l{i - 1}'] * 10)}]}}\n" for i in range(1, 8))
    assert problems(folder, "l0: &l0 {}\n" + layers) == [f"6: {TOO_MANY}"]


@pytest.mark.parametrize("width, levels", [(2, 16), (1, 200)])
def test_a_chain_of_aliases_is_limited(folder, width, levels):
    layers = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * width)}]\n" for i in range(1, levels))
    [line] = problems(folder, "l0: &l0 {}\n" + layers)
    assert line.endswith(("inside each other", TOO_MANY))


def test_values_that_contain_themselves_are_read_in_bounded_steps(folder, monkeypatch):
    steps = []
    read = document._Reader.read
    monkeypatch.setattr(document._Reader, "read", lambda *arguments: steps.append(1) or read(*arguments))
    names = [f"n{i}" for i in range(20)]
    inner = "".join(
        f"&{name} [{', '.join(f'*{known}' for known in names[:i])}{', ' if i else ''}" for i, name in enumerate(names)
    )
    problems(folder, f"a: {inner}{']' * 20}\n" + "".join(f"k{name}: [*{name}, *{name}]\n" for name in names))
    assert 0 < len(steps) <= 2 * MAX_VALUES + 1


@pytest.mark.parametrize(
    "number", ["9" * 5000, "0x" + "f" * 5000, "1" + ":59" * 2000, "1." + "0" * 5000, "!!int '" + "1" * 101 + "'"]
)
def test_a_huge_number_is_refused_before_it_is_read(folder, number):
    [line] = problems(folder, GOOD.replace("{size: 3}", f"{{size: {number}}}"))
    assert line.startswith("8: the definition has a number of ") and line.endswith("(allowed: 100); put text in quotes")


def test_a_huge_file_is_refused_before_it_is_read(folder):
    [line] = problems(folder, "#" * (MAX_BYTES + 1))
    assert line == f"{folder / 'immutable.yml'}: has more than {MAX_BYTES} bytes"


def test_only_the_first_mistakes_are_searched_for(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(messages, "suggestion", lambda word, _known: asked.append(word) or "")
    lines = problems(folder, GOOD + "".join(f"key{i}: 1\n" for i in range(5000)))
    assert (len(lines), len(asked)) == (document.MAX_PROBLEMS, document.MAX_PROBLEMS)


def test_items_that_cannot_be_sorted_are_compared_in_one_pass(folder, monkeypatch):
    monkeypatch.setattr(messages.jsonschema._utils, "equal", lambda *_pair: pytest.fail("compared in pairs"))
    files = ", ".join([*(f"f{i}" for i in range(50)), "{}", "1"])
    assert problems(folder, GOOD.replace("provision.yml}", f"provision.yml, vars_files: [{files}]}}"))
    twice = GOOD.replace("provision.yml}", "provision.yml, vars_files: [verify.yml, verify.yml]}")
    assert len(problems(folder, twice)) == 1
