# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a task of Packer returns is bounded, whatever Packer prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.errors import PackerError
from ansible_collections.immutable.infra.plugins.module_utils._packer.events import parse_line
from ansible_collections.immutable.infra.plugins.module_utils._packer.runner import Packer
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.stages import StageReporter
from ansible_collections.immutable.infra.tests.support.packer_results import collect
from hypothesis import given
from hypothesis import strategies as st

LONG = 3_000_000  # characters of a line, as a real Packer passes them on
LIMIT = 400_000  # bytes of a result
# Prints what a real Packer prints of a script with such lines that fails.
FAKE = f"""#!{sys.executable}
import sys
if sys.argv[1] == "version":
    print("Packer v1.6.6")
    sys.exit()
long = {LONG} * "x"
for line in ("ui,message,    null: " + long, "ui,error,==> null: " + long, "ui,say,Error: " + long):
    print("1,," + line)
for number in range(5000):
    print(f"1,,ui,say,==> null: line {{number}}" + 1000 * "y")
print("1,,ui,error,Build 'null' errored after 1 second: " + long)
print("1,,error-count,1")
print("1,null,error," + long)
print(long)
sys.exit(1)
"""


@pytest.fixture
def packer(tmp_path: Path) -> Packer:
    program = tmp_path / "packer"
    program.write_text(FAKE)
    program.chmod(0o755)
    (tmp_path / "web.json").write_text("{}")
    return Packer(str(program))


def test_the_result_of_a_build_is_bounded_and_its_log_is_complete(packer: Packer, tmp_path: Path) -> None:
    log, reported = tmp_path / "build.log", []
    stages = StageReporter("shop", reported.append)
    with pytest.raises(PackerError) as caught:
        packer.build(tmp_path / "web.json", on_event=stages.handle, log_path=log)
    assert len(json.dumps({"msg": caught.value.message, **caught.value.details})) < LIMIT
    assert len(caught.value.details["output"]) > 100
    assert "characters left out" in caught.value.message
    assert len(stages.failure) < 5000
    assert log.stat().st_size > 5 * LONG


def test_a_validation_is_bounded(packer: Packer, tmp_path: Path) -> None:
    validation = packer.validate(tmp_path / "web.json")
    assert not validation.valid
    assert len(json.dumps(validation.as_dict())) < LIMIT


@given(st.lists(st.text(max_size=3000), max_size=20))
def test_any_lines_fit(lines: list[str]) -> None:
    events = [event for line in lines * 300 if (event := parse_line(f"1,,ui,say,{line}"))]
    assert len(json.dumps(collect(events).as_dict())) < LIMIT


def test_the_failure_of_a_guests_task_is_bounded() -> None:
    reported: list[str] = []
    stages = StageReporter("shop", reported.append)
    for number in range(10_000):
        line = f"TASK [task {number}] ****"
        event = parse_line(f"1,,ui,message,    null: {line}")
        assert event
        stages.handle(event)
    result = json.dumps({"msg": "m" * LONG, "stderr": "e" * LONG})
    event = parse_line(
        f"1,,ui,message,    null: fatal: [default]: FAILED! => {result.replace(',', '%!(PACKER_COMMA)')}"
    )
    assert event
    stages.handle(event)
    assert stages.failure.startswith("task 'task 9999' failed in the guest: mmm")
    assert len(stages.failure) < 5000
    assert len(reported) == 10_001  # the display shows a sample of them
