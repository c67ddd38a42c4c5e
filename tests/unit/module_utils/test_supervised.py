# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a stopped child has started ends too, also outside the child's process group."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._supervised import Supervised

# Starts a program in a session of its own and says its process id, as a worker of ansible-playbook runs a task.
WORKER = """
import os, subprocess, sys
task = subprocess.Popen([sys.executable, "-ISc", sys.argv[1]], start_new_session=True, stdout=subprocess.PIPE)
assert task.stdout.read(6) == b"ready\\n"
print(task.pid, flush=True)
{then}
"""
# Ignores the interruption that the worker does not pass on either.
TASK = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
{before}
os.write(1, b"ready\\n")
signal.pause()
"""
CLEANS_UP = """
def clean_up(number, frame):
    open({path!r}, "w").close()
    sys.exit()
signal.signal(signal.SIGTERM, clean_up)
"""
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"


def supervised(task: str, grace: float, then: str = "task.wait()") -> Supervised:
    return Supervised([sys.executable, "-ISc", WORKER.format(then=then), task], grace=grace)


@contextmanager
def first_line(run: Supervised) -> Iterator[int]:
    """A descriptor of the process that the child names."""
    [line] = islice(run.lines(120.0), 1)
    task = os.pidfd_open(int(line))
    try:
        yield task
    finally:
        if not ended(task):
            signal.pidfd_send_signal(task, signal.SIGKILL)
        os.close(task)


def ended(process: int) -> bool:
    return bool(select.select([process], [], [], 0)[0])


@pytest.mark.parametrize(
    "then", ["task.wait()", "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); task.wait()"]
)
def test_what_left_the_group_ends_with_a_stopped_child(then: str) -> None:
    run = supervised(TASK.format(before=STUBBORN), grace=0.2, then=then)
    with run, first_line(run) as task:
        assert not ended(task)
        run.stop()
        run.wait()
        assert ended(task)


def test_what_left_the_group_can_clean_up(tmp_path: Path) -> None:
    run = supervised(TASK.format(before=CLEANS_UP.format(path=str(tmp_path / "cleaned up"))), grace=4.0)
    with run, first_line(run) as task:
        run.stop()
        run.wait()
        assert ended(task)
    assert (tmp_path / "cleaned up").exists()


def test_what_left_the_group_of_a_child_that_ended_by_itself_goes_on() -> None:
    run = supervised(TASK.format(before=""), grace=10.0, then="")
    with run, first_line(run) as task:
        run.wait()
        assert not ended(task)
