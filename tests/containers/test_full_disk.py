# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A disk that is full in the middle of a swap: the store, the engine and the data volumes are on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.containers.conftest import COMMAND
from ansible_collections.immutable.infra.tests.support import engine_store
from ansible_collections.immutable.infra.tests.support.machines import Service
from ansible_collections.immutable.infra.tests.support.swap_checks import complete_after_a_full_disk, small_file_system

pytestmark = pytest.mark.long


@pytest.fixture
def cramped(keeper: Service, own_store: Path, tmp_path: Path) -> Iterator[Service]:
    """The same service with a store of its own, on a small file system. Its images are elsewhere."""
    with small_file_system(own_store / "store", "1g") as store:
        for name in ("images", "bases", "cache"):
            (store / name).symlink_to(keeper.store / name)
        service = Service(
            tmp_path / "keeper",
            keeper.name,
            size=2,
            shell="off",
            data=True,
            target="cramped",
            store=store,
            provider="container",
            command=keeper.name.endswith(COMMAND),
        )
        try:
            service.play("release")
            yield service
            service.remove()
            assert service.machines() == []
        finally:
            engine_store.remove(store)


@pytest.mark.parametrize("mark", ["slot 0: launched", "slot 0: sealed", "slot 0: told to stop"])
def test_a_full_disk_under_the_store(cramped: Service, mark: str) -> None:
    complete_after_a_full_disk(cramped, mark)
