# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fixtures for the tests of the bake: a small definition, a store, and a store with a base."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import (
    Base,
    DataVolume,
    Definition,
    FleetSpec,
    Provision,
    Target,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, HttpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.tests.support.disks import HEADER
from ansible_collections.immutable.infra.tests.support.vaults import vault_loader

PLAYBOOK = """\
- hosts: web:&prod, db
  tasks:
    - ansible.builtin.debug: {msg: !unsafe "{{ raw }}"}
"""


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


@pytest.fixture
def define(tmp_path: Path) -> Callable[..., Definition]:
    """Return a function that makes a definition in a folder. Its keyword arguments are those of the provision."""

    def make(version: str = "1.0.0", **provision: Any) -> Definition:
        folder = tmp_path / "definition"
        folder.mkdir(exist_ok=True)
        (folder / "provision.yml").write_text(PLAYBOOK)
        (folder / "immutable.yml").write_text("the document itself\n")
        base = Base("debian", "bookworm")
        local = Target(name="local", provider="qemu", fleet=FleetSpec(), health=Health(http=HttpProbe(80)), base=base)
        return Definition(
            path=folder / "immutable.yml",
            service="shop",
            version=version,
            provision=Provision("provision.yml", **provision),
            verify=None,
            data=(DataVolume("uploads", 1024**3, "/var/lib/shop"),),
            writable=("/var/cache/shop",),
            shell="restricted",
            targets={"local": local, "staging": replace(local, name="staging")},
            base=base,
        )

    return make


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> DataLoader:
    """A loader that knows the vault password of the tests."""
    return vault_loader(monkeypatch)


@pytest.fixture
def debian(store: FileStore) -> FileStore:
    """The store with a Debian base in it."""
    facts = {
        "kind": "debian",
        "source": "bookworm",
        "path": "disk.qcow2",
        "sha256": "ab" * 32,
        "architecture": "x86_64",
        "python": "3.11",
        "recipe": "x",
    }
    folder = store.path("bases/debian-bookworm")
    folder.mkdir(parents=True)
    (folder / "base.json").write_text(json.dumps(facts))
    (folder / "disk.qcow2").write_bytes(HEADER)
    return store
