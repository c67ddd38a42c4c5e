# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""No table that depends on the provider forgets one: a new provider is added to each, or left out for a reason."""

from __future__ import annotations

import dataclasses
import json
from typing import get_args

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition import image_sources, messages
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.checks import target
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import ProviderName, Target
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.providers import RULES, providers_with
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.summary import target_summary
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import CloudKey
from ansible_collections.immutable.infra.plugins.plugin_utils._images import catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._images import open as images
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.registry import PROVIDERS, open_account
from ansible_collections.immutable.infra.plugins.plugin_utils._scaffold import from_template, service
from ansible_collections.immutable.infra.tests.support.targets import target_of

NAMES = set(get_args(ProviderName))
# Their instances run on this machine, or nowhere: there are no accounts, and no builder reports an image by its ID.
LOCAL = {"container", "qemu", "simulated"}
CLOUDS = NAMES - LOCAL


@pytest.mark.parametrize("table", [RULES, PROVIDERS], ids=["rules", "registry"])
def test_a_table_names_every_provider(table: dict[str, object]) -> None:
    assert set(table) == NAMES


def test_only_known_providers_have_checks_of_their_own() -> None:
    assert set(target._CHECKS) < NAMES


def test_a_real_provider_says_what_it_supports_and_the_simulated_one_stands_for_any() -> None:
    assert all(rules.keys is not None for name, rules in RULES.items() if name != "simulated")
    assert RULES["simulated"].keys is None and RULES["simulated"].uses(("cloud",))
    assert providers_with(("tags",)) == ["aws", "openstack"]
    assert providers_with(("cloud",)) == ["openstack"]


def test_the_schema_allows_exactly_these_providers() -> None:
    schema = json.loads(messages.SCHEMA.read_text(encoding="utf-8"))
    found = [each["enum"] for each in _objects(schema) if isinstance(each.get("enum"), list) and "qemu" in each["enum"]]
    assert found and all(set(names) == NAMES for names in found)


def _objects(value: object) -> list[dict[str, object]]:
    if isinstance(value, dict):
        return [value, *(inner for part in value.values() for inner in _objects(part))]
    return [inner for part in value for inner in _objects(part)] if isinstance(value, list) else []


def test_every_cloud_has_accounts_in_each_table_of_them() -> None:
    assert {name for name, openers in PROVIDERS.items() if openers.accounts} == CLOUDS
    assert {name for name, rules in RULES.items() if rules.hand_over} == CLOUDS
    assert set(image_sources._WITH_USERS) == CLOUDS


def test_every_cloud_has_artifacts_of_its_own_whose_form_the_catalogue_checks() -> None:
    keys = [openers.accounts.artifact for openers in PROVIDERS.values() if openers.accounts]
    assert sorted(keys) == sorted(get_args(CloudKey))
    assert set(catalogue._FORMS) == set(get_args(CloudKey))


def test_a_missing_manifest_of_every_cloud_says_what_its_bake_could_not_read() -> None:
    assert set(images._UNREAD) == CLOUDS


def test_a_summary_shows_no_settings_of_another_provider() -> None:
    # 0.1.0 showed the account on AWS for every target, and a result keeps its keys.
    fields = {field.name for field in dataclasses.fields(Target)} & NAMES - {"aws"}
    assert fields == {"openstack"}
    for name in NAMES:
        assert fields & set(target_summary(target_of(name))) == fields & {name}


def test_a_provider_without_accounts_is_refused_where_one_is_needed() -> None:
    for name in LOCAL:
        with pytest.raises(ProviderError, match=f"target local .* provider is {name} .*with accounts: aws, openstack"):
            open_account(target_of(name))


def test_a_first_definition_knows_every_provider() -> None:
    assert set(service.LOCAL_PROVIDERS) == LOCAL
    builders = {**from_template.PROVIDERS, **from_template._WRITTEN_BY_HAND}
    assert set(builders.values()) == NAMES - {"simulated"}  # Packer bakes nothing for it
    assert set(from_template._TAKERS) == set(from_template.PROVIDERS)
