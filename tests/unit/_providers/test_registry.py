# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.registry import (
    PROVIDERS,
    open_group,
    open_images,
    open_provider,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore
from ansible_collections.immutable.infra.tests.support.targets import target_of


def test_each_fleet_of_a_store_has_a_balancer_of_its_own(tmp_path: Path) -> None:
    provider = open_provider(target_of("qemu"), FileStore(tmp_path))
    try:
        for fleet in ("shop-local", "mail-local"):
            provider.traffic(fleet).ensure()
        endpoints = {provider.traffic(fleet).describe()["endpoint"] for fleet in ("shop-local", "mail-local")}
        assert len(endpoints) == 2
    finally:
        for fleet in ("shop-local", "mail-local"):
            provider.traffic(fleet).remove()


def test_an_unknown_provider_is_refused_with_the_names_that_are_known(tmp_path: Path) -> None:
    known = f"known: {', '.join(PROVIDERS)}"
    with pytest.raises(ProviderError, match=known):
        open_provider(target_of("clouds"), FileStore(tmp_path))
    with pytest.raises(ProviderError, match=known):
        open_images(target_of("clouds"))


@pytest.mark.parametrize("provider", ["aws", "qemu", "simulated"])
def test_only_a_target_whose_engine_is_autoscaling_has_a_group(provider: str) -> None:
    with pytest.raises(ProviderError, match="target local has no group of instances .allowed: provider aws with"):
        open_group(target_of(provider), MemoryStore(), "shop-local")
