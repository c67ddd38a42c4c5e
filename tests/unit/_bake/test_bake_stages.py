# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.events import parse_line
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.heartbeat import heartbeat
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.stages import StageReporter, StageTimes, times_of
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image

STAGE = "1700000000,,ui,say,==> qemu: Waiting for SSH to become available..."
TASK = "1700000000,,ui,message,    qemu: TASK [Install nginx] ****************"
CHANGED = "1700000000,,ui,message,    qemu: changed: [localhost]"
FATAL = (
    "1700000000,,ui,message,    qemu: fatal: [localhost]: FAILED! => "
    '{"changed": false%!(PACKER_COMMA) "msg": "No package nginx-lite"}'
)
ITEM = (
    "1700000000,,ui,message,    qemu: failed: [localhost] (item=a) => "
    '{"msg": "non-zero return code"%!(PACKER_COMMA) "stderr": "first\\nlast words"}'
)
ERROR = "1700000000,,ui,error,==> qemu: [ERROR]: Task failed: Module failed."
IGNORED = "1700000000,,ui,message,    qemu: ...ignoring"


def reported(*lines: str) -> tuple[list[str], StageReporter]:
    report: list[str] = []
    times = iter(range(100))
    stages = StageReporter("shop 1", report.append, hide="MARKER", clock=lambda: float(next(times)))
    for line in lines:
        handled(stages, line)
    return report, stages


def handled(stages: StageReporter, line: str) -> None:
    event = parse_line(line)
    assert event
    stages.handle(event)


def test_stages_and_tasks_are_reported_with_the_seconds_since_the_start() -> None:
    report, stages = reported(STAGE, TASK, CHANGED)
    assert report == [
        "shop 1 [   1.0 s] Waiting for SSH to become available...",
        "shop 1 [   2.0 s] task: Install nginx",
    ]
    assert stages.failure == ""


def test_only_tasks_are_reported_from_the_guest_whatever_the_packer() -> None:
    """Packer 1.14 and later report output like a stage."""
    texts = ("Provisioning with shell script: /x", "Uploading a => b", "Gracefully halting...")
    script, upload, halt = (f"1700000000,,ui,say,==> qemu: {text}" for text in texts)
    as_stages = [line.replace("ui,message,    qemu", "ui,say,==> qemu") for line in (TASK, CHANGED)]
    report, _stages = reported(STAGE, script, *as_stages, upload, halt)
    assert [line.partition("] ")[2] for line in report] == [
        "Waiting for SSH to become available...",
        "Provisioning with shell script: /x",
        "task: Install nginx",
        "Uploading a => b",
        "Gracefully halting...",
    ]


def test_errors_that_a_program_in_the_guest_prints_are_shown_and_are_no_stages() -> None:
    report, stages, now = clocked()
    warning = "sudo: unable to resolve host debian"
    for at, level, text in ((1.0, "say", "Provisioning with shell script: /x"), (2.0, "error", warning)):
        now.append(at)
        handled(stages, f"1700000000,,ui,{level},==> openstack: {text}")
    assert report == ["shop 1 [   1.0 s] Provisioning with shell script: /x", f"shop 1 [   2.0 s] {warning}"]
    now.append(9.0)
    assert stages.record() == [{"name": "Provisioning with shell script", "seconds": 8.0}]


def test_the_marker_is_not_shown() -> None:
    report, _stages = reported("1700000000,,ui,message,    qemu: PLAY [Seal (MARKER)] ****")
    assert report == ["shop 1 [   1.0 s] play: Seal"]


@pytest.mark.parametrize("lines", [(TASK, FATAL), (TASK, ERROR, FATAL), (TASK, FATAL, ERROR)])
def test_a_failure_names_the_task_and_its_message(lines: tuple[str, ...]) -> None:
    assert reported(*lines)[1].failure == "task 'Install nginx' failed in the guest: No package nginx-lite"


def test_a_failed_command_is_reported_with_its_last_line() -> None:
    assert (
        reported(TASK, ITEM)[1].failure == "task 'Install nginx' failed in the guest: non-zero return code: last words"
    )


@pytest.mark.parametrize("answer", ['{"a":' * 100_000 + "}", '{"msg": }'], ids=["deep", "damaged"])
def test_a_failure_is_reported_whatever_the_guest_answers(answer: str) -> None:
    line = f"1700000000,,ui,message,    qemu: fatal: [localhost]: FAILED! => {answer}"
    assert reported(TASK, line)[1].failure.startswith("task 'Install nginx' failed in the guest: {")


def test_an_ignored_failure_does_not_count() -> None:
    assert reported(TASK, FATAL, IGNORED)[1].failure == ""


def clocked(**options: Any) -> tuple[list[str], StageReporter, list[float]]:
    """The lines of a reporter whose clock shows the last number of a list."""
    report: list[str] = []
    now = [0.0]
    return report, StageReporter("shop 1", report.append, clock=lambda: now[-1], **options), now


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("Provisioning with shell script: /dev/shm/x/packer-shell123", "Provisioning with shell script"),
        ("Provisioning with shell script: /srv/shop/setup.sh", "Provisioning with shell script: /srv/shop/setup.sh"),
        ("Build 'qemu' finished after 1 minute 22 seconds.", "Build 'qemu' finished."),
    ],
)
def test_a_line_of_packer_is_shown_without_its_noise(line: str, shown: str) -> None:
    report, stages, _now = clocked()
    handled(stages, f"1700000000,,ui,say,==> qemu: {line}")
    assert report[-1].endswith(f" s] {shown}")


def test_stages_show_how_long_they_took_in_the_last_bake() -> None:
    report, stages, now = clocked(expected=StageTimes(95.0, {"task: Install nginx": 14.2}))
    for at, line in ((3.0, STAGE), (10.0, TASK), (24.0, TASK.replace("Install nginx", "Start it"))):
        now.append(at)
        handled(stages, line)
    assert report == [
        "shop 1 [   3.0 of about 95 s] Waiting for SSH to become available...",
        "shop 1 [  10.0 of about 95 s] task: Install nginx (last time 14 s)",
        "shop 1 [  24.0 of about 95 s] task: Start it",
    ]
    now.append(30.0)
    handled(stages, "1700000000,,ui,say,==> qemu: Provisioning with shell script: /dev/shm/x/packer-shell123")
    assert report[-1] == "shop 1 [  30.0 of about 95 s] Provisioning with shell script"
    now.append(32.0)
    assert stages.record() == [
        {"name": "Waiting for SSH to become available...", "seconds": 7.0},
        {"name": "task: Install nginx", "seconds": 14.0},
        {"name": "task: Start it", "seconds": 6.0},
        {"name": "Provisioning with shell script", "seconds": 2.0},
    ]


def test_a_long_stage_shows_a_sign_of_life_each_minute_with_the_last_line_of_output() -> None:
    console = ["booting"]
    report, stages, now = clocked(console=lambda: console[-1], expected=StageTimes(0.0, {"task: Install nginx": 14.2}))
    stages.sign_of_life()
    now.append(1.0)
    handled(stages, TASK)
    for at in (30.0, 62.0, 70.0, 130.0, 200.0):
        now.append(at)
        stages.sign_of_life()
    assert report[1:] == [
        "shop 1 [  62.0 s] still task: Install nginx (for 1 min 1 s, last time 14 s): booting",
        "shop 1 [ 130.0 s] still task: Install nginx (for 2 min 9 s, last time 14 s)",
        "shop 1 [ 200.0 s] still task: Install nginx (for 3 min 19 s, last time 14 s)",
    ]
    handled(stages, "1700000000,,ui,message,    qemu: Setting up \x1b[2Jpostgresql")
    now.append(300.0)
    stages.sign_of_life()
    assert report[-1].endswith("(for 4 min 59 s, last time 14 s): Setting up postgresql")


def test_the_times_of_a_record_are_read_with_care() -> None:
    image = Image("sha256:1", "qemu-x86_64", service="a", version="1", created="", artifact={}, base={}, inputs={})
    assert times_of(None) == times_of(image) == StageTimes()
    twice = [{"name": "a", "seconds": 2}, {"name": "a", "seconds": 3.5}]
    mixed = [*twice, {"name": "b", "seconds": "x"}, "c", {}, {"name": "d", "seconds": 5.5}]
    recorded = replace(image, seconds=9.0, provenance={"stages": mixed})
    assert times_of(recorded) == StageTimes(9.0, {"d": 5.5})
    assert times_of(replace(recorded, provenance={"stages": 7})) == StageTimes(9.0)


def test_a_heartbeat_beats_until_the_block_ends() -> None:
    beats, twice = [0], threading.Event()

    def beat() -> None:
        beats[0] += 1
        if beats[0] == 2:
            twice.set()

    with heartbeat(beat, interval=0.001):
        assert twice.wait(60)
    after = beats[0]
    assert [thread for thread in threading.enumerate() if thread.name == "heartbeat"] == [] and beats[0] == after
