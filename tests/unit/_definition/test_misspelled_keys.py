# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A key that is misspelled is one mistake, not also a key that is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
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


def problems(folder: Path, old: str, new: str) -> list[str]:
    (folder / "provision.yml").write_text("- hosts: all\n", encoding="utf-8")
    (folder / "immutable.yml").write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(DefinitionError) as error:
        load_definition(folder)
    return [problem.partition(" (allowed")[0].partition("allowed")[0] for problem in error.value.details["problems"]]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("service:", "sevice:", 'immutable.yml:2: sevice: unknown key (did you mean "service"? '),
        ("{port:", "{prot:", 'immutable.yml:7: health.http.prot: unknown key (did you mean "port"? '),
    ],
)
def test_a_misspelled_key_is_reported_once(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert problems(tmp_path, old, new) == [expected]


def test_a_key_that_resembles_none_leaves_the_missing_one_missing(tmp_path: Path) -> None:
    assert problems(tmp_path, "service: shop", "quirks: 1") == [
        "immutable.yml:1: service: the key is missing",
        "immutable.yml:2: quirks: unknown key",
    ]
