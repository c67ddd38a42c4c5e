# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""No table that is keyed by provider forgets one: a new provider cannot skip a check by not being listed."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._definition import messages
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.checks import target
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.launch import MACHINE_SETTINGS
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import ProviderName
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.registry import PROVIDERS

NAMES = set(get_args(ProviderName))
REAL = NAMES - {"simulated"}  # the simulated provider takes the place of another one and accepts what that accepts


@pytest.mark.parametrize("table", [MACHINE_SETTINGS, PROVIDERS], ids=["machine settings", "registry"])
def test_a_table_names_every_provider(table: dict[str, object]) -> None:
    assert set(table) == NAMES


@pytest.mark.parametrize("name", ["VOLUME_TYPES", "BASES_BY_PROVIDER", "SECRETS_BY_PROVIDER"])
def test_a_check_names_every_real_provider(name: str) -> None:
    assert set(getattr(target, name)) == REAL


def test_the_schema_allows_exactly_these_providers() -> None:
    schema = json.loads(messages.SCHEMA.read_text(encoding="utf-8"))
    found = [each["enum"] for each in _objects(schema) if isinstance(each.get("enum"), list) and "qemu" in each["enum"]]
    assert found and all(set(names) == NAMES for names in found)


def _objects(value: object) -> list[dict[str, object]]:
    if isinstance(value, dict):
        return [value, *(inner for part in value.values() for inner in _objects(part))]
    return [inner for part in value for inner in _objects(part)] if isinstance(value, list) else []
