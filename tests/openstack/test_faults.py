# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A swap while the control plane fails: promises hold, the message says what is wrong, and a later run completes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImmutableError
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.engine import SwapRun
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack import volumes
from ansible_collections.immutable.infra.tests.support.openstack.faults import hanging, lost_hypervisor, stuck_volume
from ansible_collections.immutable.infra.tests.support.openstack.projects import Project
from ansible_collections.immutable.infra.tests.support.openstack.swaplab import OLD, SwapLab
from ansible_collections.immutable.infra.tests.support.openstack.wire import Call
from keystoneauth1.exceptions import ConnectFailure


@pytest.fixture(autouse=True)
def _short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's tries follow each other quickly, because the tests wait for real."""
    monkeypatch.setattr(SwapRun, "retry_policy", replace(SwapRun.retry_policy, delay=0.2))


def answer_lost(what: str, times: int = 1) -> Callable[[Call, Callable[[], Any]], Any]:
    """A layer: the first of these calls reach the cloud, and their answers do not come back."""
    left = times

    def lose(call: Call, proceed: Callable[[], Any]) -> Any:
        nonlocal left
        answer = proceed()
        if call.what == what and left:
            left -= 1
            raise ConnectFailure("the connection was closed")
        return answer

    return lose


@pytest.mark.parametrize(
    ("strategy", "what"),
    [
        ("rolling", "POST servers"),
        ("rolling, data", "POST servers/ID/os-volume_attachments"),
        ("rolling, data", "DELETE servers/ID/os-volume_attachments/ID"),
        ("rolling", "DELETE servers/ID"),
    ],
)
def test_an_answer_is_lost(project: Project, strategy: str, what: str) -> None:
    """Nova has no create token, and no server is launched twice nevertheless."""
    lab = SwapLab(project, 2, strategy).with_old_image()
    with lab.wire.layer(answer_lost(what)):
        lab.run()
    assert sum(call.what == "POST servers" for call in lab.wire.calls) == lab.size
    lab.assert_settled()


def test_a_volume_whose_create_has_no_answer_is_not_created_twice(project: Project) -> None:
    lab = SwapLab(project, 1, "rolling, data")
    with lab.wire.layer(answer_lost("POST volumes")):
        lab.run(OLD)
    lab.assert_settled(OLD)


@pytest.mark.parametrize("resource", ["instances", "ram"])
def test_a_quota_is_reached(project: Project, resource: str) -> None:
    """The fleet serves as before. Once the quota is raised the same swap completes."""
    lab = SwapLab(project, 2, "rolling").with_old_image()
    project.admin.set_compute_quotas(project.name, **{resource: {"instances": 2, "ram": 128}[resource]})
    with pytest.raises(ImmutableError, match=f"Quota exceeded for {resource}"):
        lab.run()
    assert {each.image.id for each in lab.servers()} == {lab.glance[OLD]}
    assert lab.balancer.serving() == {each.id for each in lab.servers()} and not lab.broken_promises
    project.admin.set_compute_quotas(project.name, **{resource: 1000})
    lab.finish()


def test_a_quota_of_volumes_is_reached(project: Project) -> None:
    lab = SwapLab(project, 2, "rolling, data")
    project.admin.set_volume_quotas(project.name, volumes=1)
    with pytest.raises(ImmutableError, match="VolumeLimitExceeded"):
        lab.run(OLD)
    project.admin.set_volume_quotas(project.name, volumes=2)
    lab.finish(OLD)


def test_a_volume_is_stuck(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only an administrator can reset it. The message names the volume and its state."""
    lab = SwapLab(project, 1, "recreate, data").with_old_image()
    (volume,) = project.cloud.block_storage.volumes()
    with stuck_volume(project, volume.id), monkeypatch.context() as hurried:
        hurried.setattr(volumes, "TIMEOUT", 1.0)
        with pytest.raises(ImmutableError, match=f"{volume.id} is detaching"):
            lab.run()
    lab.finish()


NOT_SEALED, TIMED_OUT = "did not seal itself within 5 s", "timed out"


@pytest.mark.alone
@pytest.mark.parametrize(
    ("service", "strategy", "said"),
    [
        # A new server never leaves BUILD. Nova's API accepts the request, or hangs over it and carries it out later.
        ("nova-scheduler", "rolling", NOT_SEALED),
        pytest.param("nova-conductor", "rolling", NOT_SEALED, marks=pytest.mark.long),
        ("rabbit", "rolling", f"{NOT_SEALED}|{TIMED_OUT}"),
        ("nova-api", "rolling", TIMED_OUT),
        ("cinder-volume", "rolling, data", "did not .* within"),
    ],
)
def test_a_service_hangs(
    project: Project, monkeypatch: pytest.MonkeyPatch, service: str, strategy: str, said: str
) -> None:
    """The swap ends with the reason and without harm. Once the service answers, the same swap completes."""
    lab = SwapLab(project, 2, strategy).with_old_image()
    # Only what must pass is short: a busy machine may exceed it, too.
    deadlines = {"boot_deadline": 5.0} if NOT_SEALED in said else {}
    with hanging(service), monkeypatch.context() as hurried:
        hurried.setattr(volumes, "TIMEOUT", 2.0)
        if TIMED_OUT in said:
            hurried.setattr(project.cloud.session, "timeout", 2.0)
        with pytest.raises(ImmutableError, match=said):
            lab.run(**deadlines)
        assert lab.balancer.serving() and not lab.broken_promises
    lab.finish()


@pytest.mark.alone
def test_a_hypervisor_is_lost(project: Project) -> None:
    """Nova still calls its server ACTIVE. The swap replaces it, and Nova forgets it without its host's help."""
    lab = SwapLab(project, 2, "rolling").with_old_image()
    victim = lab.servers()[0]
    host = project.admin.compute.get_server(victim.id).compute_host
    with lost_hypervisor(project.admin, host):
        lab.dead.add(victim.id)
        lab.run(stop_timeout=5.0)
        assert victim.id not in {each.id for each in lab.servers()}
    lab.assert_settled()
