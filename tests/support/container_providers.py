# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The provider of containers without a load balancer, and what its volumes can be on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container.provider import ContainerProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import ContainerEngine
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Traffic


def no_balancer(_fleet: str) -> Traffic:
    raise ProviderError("no balancer is needed here")


@contextmanager
def opened_provider(store: Path, engine: ContainerEngine, fleet: str) -> Iterator[ContainerProvider]:
    """The provider of a store. At the end, all instances of the fleet are removed."""
    provider = ContainerProvider(store / "container", engine, no_balancer, store / "images")
    try:
        yield provider
    finally:
        ids = [instance.id for instance in provider.compute.list(fleet)]
        provider.compute.remove(ids)
        provider.compute.power_off(ids)
        assert provider.compute.list(fleet) == []


def volume_kinds() -> list[Any]:
    """The types of volumes as parameters of a test."""
    root = os.geteuid() == 0 and os.path.exists("/dev/loop-control")
    return ["folder", pytest.param("image", marks=pytest.mark.skipif(not root, reason="loop mounts need root"))]
