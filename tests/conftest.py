# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""For all tests: no process outlives the run; a cloud, which is moto behind the proxy, and a bucket in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support import reaper
from ansible_collections.immutable.infra.tests.support.aws.bucket import bucket
from ansible_collections.immutable.infra.tests.support.aws.fixtures import cloud, cloud_server, remember_service_models
from ansible_collections.immutable.infra.tests.support.aws.swaplab import clock
from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent
MARKED = (
    "containers",
    "openstack",
    "vm",
)  # their tests have a mark of this name: without it, no gate runs them
__all__ = ["bucket", "clock", "cloud", "cloud_server", "pytest_configure"]

# A busy machine must not fail a test, and each run has the same examples. Random searches are in ``tests/property``.
settings.register_profile("untimed", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_configure() -> None:
    """Also in each worker of pytest-xdist: a worker that crashes leaves nothing running either."""
    reaper.reap()
    remember_service_models()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for folder in MARKED:
            if HERE / folder in item.path.parents:
                item.add_marker(folder)
