# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Instances of a refreshed group prove that they sealed themselves, and a version carries settings and secrets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import AutoScaling, SecretRef
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.autoscaling.launch import group_request
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.run import RunOptions
from ansible_collections.immutable.infra.plugins.plugin_utils._providers import group as h
from ansible_collections.immutable.infra.tests.support.killed import ControllerKilled
from ansible_collections.immutable.infra.tests.support.scaling import IMAGE, NEW, OLD, Lab, Scaling

SPEC = AutoScaling("shop")
ENDLESS = (h.PENDING, h.IN_PROGRESS)


def sealed(result) -> list[bool | None]:
    return [each["sealed"] for each in result["instances"]]


def versions(scaling: Scaling) -> set[str]:
    return {each.template.version for each in scaling.members}


def midway(scaling: Scaling) -> Scaling:
    """Replace half of the members as soon as a refresh runs, as Auto Scaling does while it is in progress."""
    effect = scaling._effect

    def also(status: str, refresh: h.Refresh) -> None:
        effect(status, refresh)
        if status == h.IN_PROGRESS and not any(each.template == refresh.template for each in scaling.members):
            scaling._run(refresh.template.version, len(scaling.members) // 2)

    scaling._effect = also
    return scaling


def test_every_instance_of_a_refreshed_group_is_sealed(tmp_path: Path) -> None:
    result = Lab(Scaling().add(3), tmp_path).run()
    assert sealed(result) == [True] * 3 and [each["problem"] for each in result["instances"]] == [""] * 3


def test_a_run_waits_for_evidence_that_is_later_than_the_refresh(tmp_path: Path) -> None:
    lab = Lab(Scaling(seals_after=200.0).add(2), tmp_path)
    result = lab.run()
    assert sealed(result) == [True] * 2 and lab.scaling.calls == ["create version", "start 2"]
    assert any("i-0: it has not sealed itself yet" in line for line in lab.lines)


def test_without_waiting_a_later_run_reads_the_evidence(tmp_path: Path) -> None:
    scaling = Scaling(script=(h.SUCCESSFUL,), seals_after=50.0).add(2)
    lab = Lab(scaling, tmp_path)
    results = []
    while not results or results[-1]["paused"]:
        results.append(lab.run(RunOptions(wait=False)))
        scaling.clock.wait(20.0)
    assert "it has not sealed itself yet" in results[-2]["paused"] and sealed(results[-1]) == [True] * 2
    assert scaling.calls == ["create version", "start 2"]


def test_an_unsealed_instance_rolls_the_refresh_back(tmp_path: Path) -> None:
    scaling = midway(Scaling(script=ENDLESS, unsealing={"2"}).add(4))
    with pytest.raises(FleetError, match=r"i-0 did not seal itself within 300 s: it has not sealed itself yet"):
        Lab(scaling, tmp_path).run()
    assert scaling.calls == ["create version", "start 2", "roll back"]
    assert versions(scaling) == {"1"} and scaling.configured_version == "1"


def test_an_unsealed_instance_of_an_ended_refresh_brings_the_old_version_back(tmp_path: Path) -> None:
    scaling = Scaling(unsealing={"2"}).add(2)
    lab = Lab(scaling, tmp_path, spec=replace(SPEC, checkpoints=(50, 100), bake_time=60.0))
    used = []
    start = scaling.start
    scaling.start = lambda template, preferences: used.append(preferences) or start(template, preferences)
    with pytest.raises(FleetError, match="did not seal itself within 300 s"):
        lab.run()
    assert scaling.calls == ["create version", "start 2", "start 1"]
    assert versions(scaling) == {"1"} and scaling.configured_version == "1"
    assert used[0]["CheckpointPercentages"] == [50, 100] and "CheckpointPercentages" not in used[1]
    assert (used[1]["BakeTime"], used[1]["AutoRollback"]) == (0, False)


def test_the_next_run_resumes_the_way_back(tmp_path: Path) -> None:
    scaling = Scaling(unsealing={"2"}, killed_at=3).add(2)
    lab = Lab(scaling, tmp_path)
    with pytest.raises(ControllerKilled):
        lab.run()
    scaling.killed_at = -1
    with pytest.raises(FleetError, match="did not seal itself within 300 s"):
        lab.run()
    assert scaling.calls == ["create version", "start 2", "start 1"] and versions(scaling) == {"1"}


def test_changed_settings_make_a_refresh_due_and_unchanged_ones_do_not(tmp_path: Path) -> None:
    scaling = Scaling(images={"1": OLD}).add(2)
    assert Lab(scaling, tmp_path, settings={"color": "red"}).run()["changed"]
    assert not Lab(scaling, tmp_path, settings={"color": "red"}).run()["changed"]
    assert Lab(scaling, tmp_path, settings={"color": "blue"}).run()["changed"]
    assert scaling.calls == ["create version", "start 2", "create version", "start 3"]
    assert scaling.images == {"1": OLD, "2": NEW, "3": NEW}


def test_user_data_of_the_templates_own_is_refused_unless_it_may_be_dropped(tmp_path: Path) -> None:
    scaling = Scaling(user_data={"1"}).add(2)
    with pytest.raises(FleetError, match=r"launch template lt-1:1 has user data of its own.*drop_user_data: true"):
        Lab(scaling, tmp_path).run()
    with pytest.raises(FleetError, match="has user data of its own"):
        Lab(scaling, tmp_path).controller().predict()
    assert scaling.calls == []
    lab = Lab(scaling, tmp_path, spec=replace(SPEC, drop_user_data=True))
    steps = lab.controller().predict()["plan"]["steps"]
    assert steps[0]["action"] == "create a version of lt-1 from version 1 with ami-new, without its user data"
    assert lab.run()["changed"]


def test_a_version_of_an_earlier_release_stays_and_its_instances_cannot_seal(tmp_path: Path) -> None:
    scaling = Scaling(images={"1": NEW}, made_by_an_earlier_release={"1"}).add(2)
    result = Lab(scaling, tmp_path).run()
    assert not result["changed"] and sealed(result) == [None] * 2


def request(tmp_path: Path, key: bytes = b"key", version: int = 1, **changes):
    lab = Lab(Scaling(), tmp_path, settings=changes.pop("settings", None))
    target = replace(lab.definition.targets["prod"], secrets={"password": SecretRef("ssm", "/shop/password")})
    parameters = {"key": key, "authorized_keys": ("ssh-ed25519 AAAA",), **changes}
    return group_request(
        lab.definition,
        target,
        IMAGE,
        resolve=lambda references: {"password": f"/shop/password:{version}"},
        **parameters,
    )


def test_the_launch_of_a_group_covers_all_that_its_document_contains(tmp_path: Path) -> None:
    first = request(tmp_path)
    assert first == request(tmp_path) and first.secret_refs == {"password": "/shop/password:1"}
    assert first.authorized_keys == ("ssh-ed25519 AAAA",) and not first.volumes
    others = [
        request(tmp_path, settings={"color": "red"}),
        request(tmp_path, version=2),
        request(tmp_path, authorized_keys=()),
        request(tmp_path, key=b"of another store"),
    ]
    assert len({each.launch for each in [first, *others]}) == len({each.nonce for each in [first, *others]}) == 5
