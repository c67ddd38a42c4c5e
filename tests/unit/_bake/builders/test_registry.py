# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders import registry
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import StoreError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import BASE_KINDS, Definition
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore


def test_every_kind_of_base_has_a_builder() -> None:
    assert set(registry._BY_BASE) == set(BASE_KINDS)


def test_the_base_of_a_target_is_resolved_by_its_kind(define: Callable[..., Definition], debian: FileStore) -> None:
    definition = define()
    found = registry.resolve_base(definition.targets["local"], debian, definition.folder)
    assert found is not None
    assert (found["kind"], found["sha256"]) == ("debian", "ab" * 32)


def test_only_a_bake_for_the_provider_qemu_needs_a_store_in_a_folder(define: Callable[..., Definition]) -> None:
    local = define().targets["local"]
    with pytest.raises(StoreError, match="a bake for the provider qemu keeps its disks and bases in the store"):
        registry.check_store(local, MemoryStore())
    registry.check_store(replace(local, provider="simulated"), MemoryStore())


def test_details_of_an_artifact_come_from_the_builder_that_knows_its_id() -> None:
    assert registry.artifact_details("eu-west-1:ami-0a") == {"amis": {"eu-west-1": "ami-0a"}}
    assert registry.artifact_details("VM") == {}


def test_a_base_says_whether_its_cloud_is_asked() -> None:
    asking = {kind for kind, builder in registry._BY_BASE.items() if builder.asks_cloud}
    assert asking == {"ami", "glance"}
