# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two runs that verify an image of the same service and target."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import LockedError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.guard import Guard
from ansible_collections.immutable.infra.plugins.plugin_utils._core.progress import silent
from ansible_collections.immutable.infra.plugins.plugin_utils._core.task import Task
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.digest import verify_digest
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.plugins.plugin_utils._verification.open import VerifyOptions, verify_image
from ansible_collections.immutable.infra.tests.support.waiting import PATIENCE

DEFINITION = """
schema: 1
service: shop
version: "1"
image: {base: {debian: bookworm}, provision: {playbook: provision.yml}}
health: {http: {port: 80, path: /}}
targets: {local: {provider: simulated}}
"""
LOCK = "verify-shop-local"


class WatchedStore(FileStore):
    """A store that shows when a lock is asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked = threading.Event()

    @contextmanager
    def lock(self, name: str, purpose: str, wait: float = 0.0) -> Iterator[Any]:
        if name == LOCK and wait:
            self.asked.set()
        with super().lock(name, purpose, wait) as handles:
            yield handles


def test_a_run_that_waits_does_not_repeat_the_tests_of_the_other(tmp_path: Path) -> None:
    (tmp_path / "immutable.yml").write_text(DEFINITION, encoding="utf-8")
    (tmp_path / "provision.yml").write_text("[]", encoding="utf-8")
    definition, store = load_definition(tmp_path), WatchedStore(tmp_path / "store")
    target, task = definition.target("local"), Task(report=silent, guard=Guard())
    digest = "sha256:" + "a" * 64
    image = Image(
        digest=digest,
        build="qemu-x86_64",
        service="shop",
        version="1",
        created="2026-01-01T00:00:00+00:00",
        artifact={"path": "disk.qcow2"},
        base={},
        inputs={},
    )
    Catalogue(store).add(image)

    def verified(seconds: float) -> dict[str, Any]:
        return verify_image(definition, target, store, VerifyOptions(digest, lock_timeout=seconds), task=task)

    with ThreadPoolExecutor() as pool:
        with FileStore(tmp_path / "store").lock(LOCK, "verify shop-1"):
            with pytest.raises(LockedError, match="verify shop-1"):
                verified(0.0)
            waiting = pool.submit(verified, 10 * PATIENCE)
            store.asked.wait()
            record = {"at": "2026-01-02T00:00:00+00:00", "verify": verify_digest(definition, target)}
            Catalogue(store).mark_verified(image, record)
        result = waiting.result()
    assert (result["changed"], result["due"]) == (False, False)
    assert "it passed the same tests at 2026-01-02" in result["why"]
