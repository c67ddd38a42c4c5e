# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Instance refreshes by Auto Scaling: started, watched, rolled back, and resumed by the next run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import (
    FleetError,
    GateError,
    ImageError,
    ProviderError,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import AutoScaling, Metric
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.autoscaling.decide import (
    AwaitRefresh,
    GroupSnapshot,
    RefreshProgress,
    decide,
    preferences,
    running_version,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.gates import OpenGates
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.run import RunOptions
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import ami_of
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._providers import group as h
from ansible_collections.immutable.infra.tests.support.killed import ControllerKilled
from ansible_collections.immutable.infra.tests.support.scaling import ID, IMAGE, NEW, OLD, REQUEST, Lab, Scaling

SPEC = AutoScaling("shop")
ENDLESS = (h.PENDING, h.IN_PROGRESS)


class Gates(OpenGates):
    def __init__(self, fails_after: int = 1000, failing: tuple[str, ...] = ()) -> None:
        self.played: list[str] = []
        self.readings, self.fails_after, self.failing = 0, fails_after, list(failing)

    def play(self, gate, intent, instances) -> None:
        self.played.append(gate.name)
        self.stage = [
            each.id
            for each in instances
            if each.slot in gate.slots and each.launch == intent.launch and each.image == intent.image
        ]
        if gate.name in self.failing:
            self.failing.remove(gate.name)
            raise GateError("the check failed")

    def read(self, metric) -> str:
        self.readings += 1
        return "12 errors a second" if self.readings > self.fails_after else ""


def versions(scaling: Scaling) -> set[str]:
    return {each.template.version for each in scaling.members}


def test_a_group_is_refreshed_to_the_image(tmp_path: Path) -> None:
    lab = Lab(Scaling().add(4), tmp_path)
    result = lab.run()
    assert lab.scaling.calls == ["create version", "start 2"] and lab.scaling.configured_version == "2"
    assert result["changed"] and result["refresh"]["status"] == "Successful" and result["launch"] == "lt-1:2"
    assert [(each["outdated"], each["serving"], each["launch"]) for each in result["instances"]] == [
        (False, True, "lt-1:2")
    ] * 4
    assert [each["event"].split(" ")[0] for each in result["timeline"]] == ["created", "started"]
    assert any("Baking, 0 %" in line for line in lab.lines)


def test_a_run_after_success_changes_nothing_and_takes_no_lease(tmp_path: Path) -> None:
    lab = Lab(Scaling().add(2), tmp_path)
    lab.run()
    lab.scaling.calls.clear()
    run = lab.controller()
    run._lease.acquire = None
    result = run.run()
    assert not result["changed"] and result["timeline"] == [] and lab.scaling.calls == []


@pytest.mark.parametrize("alias", ["$Latest", "$Default"])
def test_an_alias_is_pinned_before_there_is_a_newer_version(alias: str, tmp_path: Path) -> None:
    lab = Lab(Scaling(configured_version=alias).add(2), tmp_path)
    lab.run()
    assert lab.scaling.calls == ["pin 1", "create version", "start 2"] and lab.scaling.configured_version == "2"


def test_an_alias_that_all_instances_match_is_only_pinned(tmp_path: Path) -> None:
    lab = Lab(Scaling(configured_version="$Latest", images={"1": OLD, "2": NEW}).add(2, "2"), tmp_path)
    assert lab.run()["changed"] and lab.scaling.calls == ["pin 2"]
    assert not lab.run()["changed"]


@pytest.mark.parametrize("ended", [h.FAILED, h.CANCELLED, h.ROLLBACK_FAILED, h.ROLLED_BACK])
def test_an_unsuccessful_refresh_fails_the_task_and_the_group_launches_what_runs(ended: str, tmp_path: Path) -> None:
    lab = Lab(Scaling(script=(*ENDLESS, ended)).add(4), tmp_path)
    with pytest.raises(FleetError, match=f"the refresh r-0 ended as {ended}; the group launches lt-1:1") as error:
        lab.run()
    assert lab.scaling.configured_version == "1" and error.value.details["refresh"]["status"] == ended
    assert error.value.details["changed"]
    lab.scaling.script = (h.PENDING, h.SUCCESSFUL)
    assert lab.run()["refresh"]["id"] == "r-1" and versions(lab.scaling) == {"2"}


def test_a_group_that_launches_an_unused_version_is_set_to_what_runs(tmp_path: Path) -> None:
    scaling = Scaling(script=(h.IN_PROGRESS, h.CANCELLED)).add(4)
    scaling._run = lambda version, count: setattr(
        scaling, "configured_version", "2"
    )  # the group changed, but no instance yet
    lab = Lab(scaling, tmp_path)
    with pytest.raises(FleetError):
        lab.run()
    assert scaling.calls == ["create version", "start 2", "pin 1"] and scaling.configured_version == "1"
    assert any("the group now launches lt-1:1: its instances run this version" in line for line in lab.lines)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"gates": Gates(3), "alarm": Metric(command=("true",))}, "alarm: 12 errors a second"),
        ({"spec": replace(SPEC, deadline=100.0)}, "the swap took longer than its deadline of 100 s"),
    ],
)
def test_an_alarm_or_the_deadline_rolls_the_refresh_back(changes, reason: str, tmp_path: Path) -> None:
    lab = Lab(Scaling(script=ENDLESS).add(4), tmp_path, **changes)
    with pytest.raises(FleetError, match=reason):
        lab.run()
    assert lab.scaling.calls == ["create version", "start 2", "roll back"]
    assert versions(lab.scaling) == {"1"} and lab.scaling.configured_version == "1"


def test_a_refresh_that_was_asked_to_end_is_not_asked_again_at_once(tmp_path: Path) -> None:
    scaling = Scaling(
        script=ENDLESS, rollback_script=(h.IN_PROGRESS, h.IN_PROGRESS, h.ROLLING_BACK, h.ROLLED_BACK)
    ).add(2)
    with pytest.raises(FleetError, match="deadline"):
        Lab(scaling, tmp_path, spec=replace(SPEC, deadline=100.0)).run()
    assert scaling.calls == ["create version", "start 2", "roll back"]


def test_an_image_that_is_revoked_during_a_refresh_is_rolled_back(tmp_path: Path) -> None:
    scaling = Scaling(script=ENDLESS).add(2)
    lab = Lab(
        scaling,
        tmp_path,
        revoked=lambda: {IMAGE.digest: "revoked by ann: it leaks"} if scaling.observations > 6 else {},
    )
    with pytest.raises(FleetError, match=r"shop-2.0-111111111111 was revoked by ann: it leaks"):
        lab.run()
    assert scaling.calls[-1] == "roll back" and versions(scaling) == {"1"}


def test_an_irreversible_refresh_is_cancelled(tmp_path: Path) -> None:
    scaling = Scaling(script=ENDLESS, refusals=["", "", h.NO_WAY_BACK]).add(4)
    with pytest.raises(FleetError, match="deadline.*2 instances do not run"):
        Lab(scaling, tmp_path, spec=replace(SPEC, deadline=100.0)).run()
    assert scaling.calls == ["create version", "start 2", "roll back", "cancel"] and scaling.configured_version == "1"


def test_an_image_named_by_a_parameter_cannot_be_rolled_back_to(tmp_path: Path) -> None:
    scaling = Scaling(images={"1": "resolve:ssm:/ami"}, script=ENDLESS).add(2)
    with pytest.raises(FleetError, match="allowed: auto_rollback: false") as error:
        Lab(scaling, tmp_path).run()
    assert scaling.calls == [] and not error.value.details["changed"]
    with pytest.raises(FleetError, match="deadline"):
        Lab(scaling, tmp_path, spec=replace(SPEC, auto_rollback=False, deadline=60.0)).run()
    assert scaling.calls[-1] == "cancel"


def test_a_running_refresh_to_the_image_is_watched(tmp_path: Path) -> None:
    scaling = Scaling(images={"1": OLD, "2": NEW}).add(2)
    scaling.begin("2", (h.IN_PROGRESS, h.SUCCESSFUL))
    result = Lab(scaling, tmp_path).run()
    assert scaling.calls == [] and result["changed"] and result["refresh"]["id"] == "r-0"


def test_a_running_refresh_to_another_image_is_cancelled_first(tmp_path: Path) -> None:
    scaling = Scaling(images={"1": OLD, "2": NEW, "3": "ami-third"}).add(2)
    scaling.begin("3", ENDLESS)
    lab = Lab(scaling, tmp_path)
    assert lab.run()["refresh"]["id"] == "r-1"
    assert scaling.calls == ["cancel", "start 2"] and versions(scaling) == {"2"}
    assert any("cancelling the refresh r-0: its target is lt-1:3" in line for line in lab.lines)


@pytest.mark.parametrize("kill", [1, 2, 3])
def test_the_next_run_resumes_a_killed_run(kill: int, tmp_path: Path) -> None:
    scaling, gates = Scaling(configured_version="$Latest", killed_at=kill).add(2), Gates()
    lab = Lab(scaling, tmp_path, gates=gates, before_swap="before.yml", after_swap="after.yml")
    with pytest.raises(ControllerKilled):
        lab.run()
    scaling.killed_at = -1
    lab.run()
    assert scaling.calls == ["pin 1", "create version", "start 2"]
    assert gates.played == ["before_swap", "after_swap"] and len(scaling.history) == 1


def test_the_next_run_resumes_a_rollback(tmp_path: Path) -> None:
    scaling = Scaling(script=ENDLESS, killed_at=3).add(2)
    lab = Lab(scaling, tmp_path, spec=replace(SPEC, deadline=100.0))
    with pytest.raises(ControllerKilled):
        lab.run()
    scaling.killed_at = -1
    with pytest.raises(FleetError, match="deadline"):
        lab.run()
    assert scaling.calls == ["create version", "start 2", "roll back"] and versions(scaling) == {"1"}


def test_gates_that_fail_stop_the_run_and_run_again(tmp_path: Path) -> None:
    scaling, gates = Scaling().add(2), Gates(failing=("before_swap", "after_swap"))
    lab = Lab(scaling, tmp_path, gates=gates, before_swap="before.yml", after_swap="after.yml")
    Catalogue(lab.store).add(IMAGE)
    with pytest.raises(FleetError, match="before_swap: the check failed"):
        lab.run()
    assert scaling.calls == []
    with pytest.raises(FleetError, match="after_swap: the check failed"):
        lab.run()
    assert versions(scaling) == {"2"}
    lab.run()
    assert gates.played == ["before_swap", "before_swap", "after_swap", "after_swap"] and len(scaling.history) == 1
    assert gates.stage == ["i-0", "i-1"]


def test_without_waiting_a_later_run_reports_the_failure(tmp_path: Path) -> None:
    lab = Lab(Scaling(script=(h.PENDING, h.IN_PROGRESS, h.FAILED)).add(2), tmp_path)
    assert "r-0 is running" in lab.run(RunOptions(wait=False))["paused"]
    with pytest.raises(FleetError, match="ended as Failed"):
        for _run in range(3):
            lab.run(RunOptions(wait=False))


def test_a_refresh_that_is_not_listed_yet_is_not_started_twice(tmp_path: Path) -> None:
    scaling = Scaling(unlisted_for=3).add(2)
    Lab(scaling, tmp_path).run()
    assert scaling.calls == ["create version", "start 2"]


def test_another_refresh_that_starts_first_is_waited_for(tmp_path: Path) -> None:
    scaling = Scaling(images={"1": OLD, "2": NEW}, refusals=[h.RUNS_ALREADY]).add(2)
    Lab(scaling, tmp_path).run()
    assert scaling.calls == ["start 2", "start 2"] and len(scaling.history) == 1


def test_permanent_errors_are_not_retried(tmp_path: Path) -> None:
    scaling = Scaling(refusals=["AccessDenied"]).add(2)
    with pytest.raises(ProviderError, match="AccessDenied"):
        Lab(scaling, tmp_path).run()
    assert scaling.calls == ["create version"]


@pytest.mark.parametrize(
    ("spec", "kept"),
    [(replace(SPEC, protected="ignore"), {"protected": True}), (replace(SPEC, standby="ignore"), {"state": "Standby"})],
)
def test_instances_left_alone_are_reported_and_start_no_refresh(spec: AutoScaling, kept, tmp_path: Path) -> None:
    scaling = Scaling().add(2).add(1, **kept)
    lab = Lab(scaling, tmp_path, spec=spec)
    assert lab.run()["left_alone"] == [0]  # the oldest, since the others are new
    scaling.calls.clear()
    assert not lab.run()["changed"] and scaling.calls == []


def test_a_successful_refresh_that_leaves_an_old_instance_is_a_failure(tmp_path: Path) -> None:
    scaling = Scaling().add(2).add(1, protected=True)
    with pytest.raises(FleetError, match="was successful, but these instances run another version: i-2"):
        Lab(scaling, tmp_path).run()


def test_check_mode_predicts_the_steps(tmp_path: Path) -> None:
    scaling = Scaling(configured_version="$Latest").add(3)
    result = Lab(scaling, tmp_path).controller().predict()
    steps = [each["action"] for each in result["plan"]["steps"]]
    assert (
        scaling.calls == []
        and result["changed"]
        and [each.split(" ")[0] for each in steps] == ["let", "create", "refresh"]
    )
    assert steps[-1] == "refresh 3 instances of shop to the new version"
    other = Scaling(images={"1": OLD, "2": NEW, "3": "x"}).add(3)
    other.begin("3", ENDLESS)
    steps = [each["action"] for each in Lab(other, tmp_path).controller().predict()["plan"]["steps"]]
    assert steps[0].startswith("cancel the refresh r-0") and steps[1] == "refresh 3 instances of shop to lt-1:2"
    there = Scaling(images={"1": NEW}).add(3)
    assert not Lab(there, tmp_path).controller().predict()["changed"]


def test_every_preference_is_spelled_out() -> None:
    group = Scaling().add(1).group()
    expected = {
        "MinHealthyPercentage": 100,
        "MaxHealthyPercentage": 110,
        "InstanceWarmup": 60,
        "BakeTime": 0,
        "AutoRollback": True,
        "SkipMatching": True,
        "ScaleInProtectedInstances": "Wait",
        "StandbyInstances": "Wait",
    }
    assert preferences(SPEC, group) == expected
    full = AutoScaling(
        "shop",
        min_healthy=90,
        max_healthy=120,
        warmup=5.0,
        checkpoints=(50, 100),
        checkpoint_delay=60.0,
        bake_time=30.0,
        alarms=("a",),
        auto_rollback=False,
        skip_matching=False,
        protected="refresh",
        standby="terminate",
    )
    assert preferences(full, group) == {
        "MinHealthyPercentage": 90,
        "MaxHealthyPercentage": 120,
        "InstanceWarmup": 5,
        "BakeTime": 30,
        "AutoRollback": False,
        "SkipMatching": False,
        "ScaleInProtectedInstances": "Refresh",
        "StandbyInstances": "Terminate",
        "CheckpointPercentages": [50, 100],
        "CheckpointDelay": 60,
        "AlarmSpecification": {"Alarms": ["a"]},
    }


def test_a_refresh_with_an_unknown_status_is_watched() -> None:
    scaling = Scaling(images={"1": OLD, "2": NEW}).add(1)
    refresh = h.Refresh("r", "Pondering", template=h.LaunchTemplate(ID, "2"))
    wanted = scaling.desired_launch(scaling.group(), NEW, "shop", REQUEST)
    snapshot = GroupSnapshot(0.0, scaling.group(), (refresh,), wanted)
    assert decide(snapshot, RefreshProgress(), SPEC) == AwaitRefresh(
        refresh, "the refresh r is Pondering", decisive=True
    )


def test_the_running_version() -> None:
    group = Scaling().add(1, "1").add(2, "2").group()
    assert running_version(group, None).version == "1"
    assert running_version(group, h.LaunchTemplate(ID, "2")).version == "2"
    assert running_version(replace(group, template=h.LaunchTemplate(ID, "3")), h.LaunchTemplate(ID, "4")).version == "2"
    assert running_version(replace(group, members=()), h.LaunchTemplate(ID, "4")).version == "4"


def test_the_ami_is_the_one_of_the_groups_region() -> None:
    artifact = {"ami": "ami-1", "region": "eu-west-1", "copies": {"us-east-1": {"ami": "ami-2"}}}
    assert ami_of(artifact, "eu-west-1", "shop") == "ami-1"
    assert ami_of(artifact, "us-east-1", "shop") == "ami-2"
    with pytest.raises(ImageError, match=r"shop has no AMI in eu-north-1 \(it has one in: eu-west-1, us-east-1\)"):
        ami_of(artifact, "eu-north-1", "shop")
