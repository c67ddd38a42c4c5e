# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""No table that is keyed by provider forgets one: a new provider cannot skip a check by not being listed."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._definition import messages
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.checks import target
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import ProviderName
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.providers import RULES, providers_with
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.registry import PROVIDERS

NAMES = set(get_args(ProviderName))


@pytest.mark.parametrize("table", [RULES, PROVIDERS], ids=["rules", "registry"])
def test_a_table_names_every_provider(table: dict[str, object]) -> None:
    assert set(table) == NAMES


def test_only_known_providers_have_checks_of_their_own() -> None:
    assert set(target._CHECKS) < NAMES


def test_a_real_provider_says_what_it_supports_and_the_simulated_one_stands_for_any() -> None:
    assert all(rules.keys is not None for name, rules in RULES.items() if name != "simulated")
    assert RULES["simulated"].keys is None and RULES["simulated"].uses(("cloud",))
    assert providers_with(("tags",)) == ["aws", "openstack"]


def test_the_schema_allows_exactly_these_providers() -> None:
    schema = json.loads(messages.SCHEMA.read_text(encoding="utf-8"))
    found = [each["enum"] for each in _objects(schema) if isinstance(each.get("enum"), list) and "qemu" in each["enum"]]
    assert found and all(set(names) == NAMES for names in found)


def _objects(value: object) -> list[dict[str, object]]:
    if isinstance(value, dict):
        return [value, *(inner for part in value.values() for inner in _objects(part))]
    return [inner for part in value for inner in _objects(part)] if isinstance(value, list) else []
