# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A refresh continues in AWS while it cannot be observed, so failed reads end a run late, and say what continues."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.autoscaling.run import PATIENCE
from ansible_collections.immutable.infra.plugins.plugin_utils._providers import group as h
from ansible_collections.immutable.infra.tests.support.scaling import Lab, Scaling


def failing(scaling: Scaling, since: int, until: float, permanent: bool = False) -> list[float]:
    """Let the reads of refreshes fail from one to another. Return the times of the failures, once they happen."""
    read, reads, failures = scaling.refreshes, [], []

    def refreshes() -> list[h.Refresh]:
        reads.append(1)
        if since <= len(reads) < until:
            failures.append(scaling.clock.now())
            raise ProviderError("group shop: Rate exceeded", code="Throttling", permanent=permanent)
        return read()

    scaling.refreshes = refreshes
    return failures


def test_failed_reads_do_not_end_a_run_while_the_refresh_continues(tmp_path: Path) -> None:
    scaling = Scaling(script=(h.PENDING, h.IN_PROGRESS, h.IN_PROGRESS, h.SUCCESSFUL)).add(2)
    failures = failing(scaling, 6, 26)
    lab = Lab(scaling, tmp_path)
    result = lab.run()
    assert result["refresh"]["status"] == h.SUCCESSFUL and len(failures) == 20
    assert scaling.calls == ["create version", "start 2"]
    assert max(later - earlier for earlier, later in zip(failures, failures[1:], strict=False)) <= 15.0


def test_reads_that_keep_failing_end_the_run_with_what_continues_and_the_next_run_joins(tmp_path: Path) -> None:
    scaling = Scaling(script=(h.PENDING, h.IN_PROGRESS, h.IN_PROGRESS, h.SUCCESSFUL)).add(2)
    read = scaling.refreshes
    failures = failing(scaling, 6, float("inf"))
    lab = Lab(scaling, tmp_path)
    with pytest.raises(ProviderError) as error:
        lab.run()
    assert error.value.message == (
        "group shop: Rate exceeded; the refresh r-0 of shop-prod continues in AWS, and the next run joins it"
    )
    assert failures[-1] - failures[0] + 30.0 >= PATIENCE and len(failures) < 70
    scaling.refreshes = read
    assert lab.run()["refresh"]["id"] == "r-0" and scaling.calls == ["create version", "start 2"]


def test_a_permanent_failure_ends_the_run_at_once_and_says_what_continues(tmp_path: Path) -> None:
    scaling = Scaling(script=(h.PENDING, h.IN_PROGRESS)).add(2)
    failures = failing(scaling, 6, float("inf"), permanent=True)
    with pytest.raises(ProviderError) as error:
        Lab(scaling, tmp_path).run()
    assert len(failures) == 1 and error.value.message.endswith("continues in AWS, and the next run joins it")
