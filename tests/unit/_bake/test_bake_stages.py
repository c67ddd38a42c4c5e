# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.events import parse_line
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.stages import StageReporter

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
        event = parse_line(line)
        assert event
        stages.handle(event)
    return report, stages


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
