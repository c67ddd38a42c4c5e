# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The real packer under its supervisor, also when its caller dies."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils import _supervised
from ansible_collections.immutable.infra.plugins.module_utils._packer import flags
from ansible_collections.immutable.infra.plugins.module_utils._packer.errors import PackerError
from ansible_collections.immutable.infra.plugins.module_utils._packer.events import Event, Ui
from ansible_collections.immutable.infra.plugins.module_utils._packer.runner import Packer
from ansible_collections.immutable.infra.plugins.module_utils._supervised import Supervised
from ansible_collections.immutable.infra.tests.support.held_time import hold_time

BOUND = 300.0  # seconds after which a test that waits for an event gives up
needs_packer = pytest.mark.skipif(not shutil.which("packer"), reason="packer is not installed")
needs_pidfd = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for foreign processes by pidfd")

HCL2 = """
variable "token" {
  type = string
}
source "null" "shell" {
  communicator = "none"
}
build {
  sources = ["source.null.shell"]
  provisioner "shell-local" {
    environment_vars = ["TOKEN=${var.token}"]
    inline           = ["echo the token is $TOKEN", "cat /proc/$PPID/cmdline | tr '\\\\0' ' '"]
  }
}
"""
SLOW = {
    "variables": {"token": ""},
    "builders": [{"type": "null", "name": "slow", "communicator": "none"}],
    # The script and the shell that starts it ignore the interrupt of their group, so that Packer itself ends them. If a
    # busy machine let one of them die before Packer has handled its own interrupt, the build would look failed.
    "provisioners": [
        {
            "type": "shell-local",
            "execute_command": ["/bin/sh", "-c", "trap '' INT; {{.Vars}} {{.Script}}"],
            "inline": ["echo pid $$ {{user `token`}}", "exec sleep 300"],
        }
    ],
}
CALLER = """
import sys
from ansible_collections.immutable.infra.plugins.module_utils._packer.runner import Packer
def show(event):
    print(getattr(event, "message", ""), flush=True)

Packer(watch_output=True).build(sys.argv[1], secrets={"token": "s3cret-token"}, remove=sys.argv[2:], on_event=show)
"""


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "web.pkr.hcl"
    path.write_text(HCL2)
    return path


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    path = tmp_path / "slow.json"
    path.write_text(json.dumps(SLOW))
    return path


@needs_packer
def test_secrets_are_not_in_events_results_or_logs(template: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    log = tmp_path / "build.log"
    result = Packer().build(template, secrets={"token": "s3cret-token"}, on_event=events.append, log_path=log)
    messages = [event.message for event in events if isinstance(event, Ui)]
    assert "the token is ********" in messages
    assert "s3cret-token" not in f"{events} {result} {log.read_text()}"
    assert "the token is ********" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert [build.status for build in result.builds] == ["succeeded"]


@needs_packer
def test_packer_cleans_up_after_a_timeout_and_reports_its_last_line(
    slow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The timeout begins when the script runs: on a busy machine, Packer may need longer to start it."""
    held = hold_time(monkeypatch, _supervised)

    def begin(event: Event) -> None:
        if isinstance(event, Ui) and "pid " in event.message:
            held.run()

    with pytest.raises(
        PackerError, match=r"timeout of 1 s expired; its last line: (==> )?(null\.)?slow: pid"
    ) as caught:
        Packer().build(slow, timeout=1, on_event=begin)
    assert caught.value.details["stopped_for"] == "timeout"
    assert caught.value.details["output"][-1] == "Cleanly cancelled builds after being interrupted."


@needs_packer
@needs_pidfd
def test_packer_ends_if_a_listener_fails(slow: Path) -> None:
    shells: list[int] = []

    def listen(event: Event) -> None:
        if isinstance(event, Ui) and event.message.startswith("pid "):
            shells.append(os.pidfd_open(int(event.message.split()[1])))
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        Packer().build(slow, on_event=listen)
    wait_for_end(shells[0])


def test_the_message_for_a_missing_packer_says_how_to_install_it(template: Path) -> None:
    with pytest.raises(PackerError, match="was not found.*install it"):
        Packer("no-such-packer").build(template)
    with pytest.raises(PackerError, match="not HashiCorp's Packer"):
        Packer(shutil.which("true")).version()


@needs_packer
@pytest.mark.parametrize("secrets", [{"token": "nul\0byte"}, {"to=ken": "x"}, {"token": "x" * 4000000}])
def test_a_value_that_cannot_be_in_the_environment_is_refused(template: Path, secrets: dict[str, str]) -> None:
    with pytest.raises(PackerError, match="^(cannot run|variable token:) ") as caught:
        Packer().build(template, secrets=secrets)
    assert len(caught.value.message) < 200


@needs_packer
@needs_packer
@pytest.mark.parametrize("name", ["a.pkr.hcl", "folder/b.pkr.hcl", "folder/notes"])
def test_a_pipe_as_a_template_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / name)
    template = tmp_path / ("folder" if "/" in name else name)
    for call in (Packer().build, Packer().validate, Packer().inspect):
        with pytest.raises(PackerError, match=rf"/{name} is a pipe, socket or device \(allowed: files and folders\)"):
            call(template)  # type: ignore[operator]


def test_missing_files_are_reported(tmp_path: Path, template: Path) -> None:
    with pytest.raises(PackerError, match="the template .*nowhere.* does not exist"):
        Packer().build(tmp_path / "nowhere.pkr.hcl")
    with pytest.raises(PackerError, match=r"the variable file .*absent\.json does not exist"):
        Packer().build(template, var_files=["absent.json"])
    with pytest.raises(PackerError, match=r"cannot write Packer's log .*no-folder"):
        Packer().build(template, secrets={"token": "s3cret-token"}, log_path=tmp_path / "no-folder" / "build.log")


@needs_packer
def test_the_cleanup_provisioner_runs_and_the_resources_stay(tmp_path: Path) -> None:
    template = tmp_path / "web.json"
    template.write_text(
        json.dumps(
            {
                "builders": [{"type": "null", "communicator": "none"}],
                "provisioners": [{"type": "shell-local", "inline": ["exit 3"]}],
                "error-cleanup-provisioner": {"type": "shell-local", "inline": ["echo cleaning up"]},
            }
        )
    )
    with pytest.raises(PackerError, match="status: 3") as caught:
        Packer().build(template, on_error="run-cleanup-provisioner")
    output = "\n".join(caught.value.details["output"])
    assert "null: cleaning up" in output and "aborting..." in output


def test_a_value_of_an_option_needs_the_version_that_added_it() -> None:
    with pytest.raises(
        PackerError, match=r"^on_error: run-cleanup-provisioner needs Packer 1\.6\.1 or later; this is 1"
    ):
        flags.arguments("build", {"on_error": "run-cleanup-provisioner"}, "1.6.0")
    for value, version in (("run-cleanup-provisioner", "1.6.1"), ("abort", "1.6.0")):
        assert flags.arguments("build", {"on_error": value}, version) == [f"-on-error={value}"]
    with pytest.raises(PackerError, match=r"^the option parallel_builds needs Packer 1\.4\.1"):
        flags.arguments("build", {"parallel_builds": 1}, "1.4.0")


def wait_for_end(pidfd: int) -> None:
    """Wait until the process has ended."""
    readable, _w, _x = select.select([pidfd], [], [], BOUND)
    os.close(pidfd)
    assert readable, "the process still runs"


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def kill_caller(caller: subprocess.Popen[str]) -> None:
    caller.kill()


def terminate_caller(caller: subprocess.Popen[str]) -> None:
    caller.terminate()


def stop_reading(caller: subprocess.Popen[str]) -> None:
    assert caller.stdout
    caller.stdout.close()


def kill_callers_parent(caller: subprocess.Popen[str]) -> None:
    caller.kill()  # the caller is a child of a shell, whose process the test knows


@needs_packer
@needs_pidfd
@pytest.mark.parametrize("end", [kill_caller, terminate_caller, stop_reading, kill_callers_parent])
def test_packer_does_not_outlive_its_caller(
    end: Callable[[subprocess.Popen[str]], None], slow: Path, tmp_path: Path
) -> None:
    temporary, log = tmp_path / "tmp", tmp_path / "packer.log"
    temporary.mkdir()
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    command = [sys.executable, "-c", CALLER, str(slow), str(secrets)]
    if end is kill_callers_parent:
        command = ["/bin/sh", "-c", '"$@"; exit 0', "sh", *command]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TMPDIR": str(temporary),
        "PACKER_LOG": "1",
        "PACKER_LOG_PATH": str(log),
    }
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as caller:
        assert caller.stdout
        shell = next(int(line.split()[1]) for line in caller.stdout if line.startswith("pid "))
        main = os.getpgid(shell)
        watched = [os.pidfd_open(pid) for pid in (shell, main, parent(main))]
        assert list(temporary.glob("packer-vars-*")) and secrets.exists()
        end(caller)
        for pidfd in watched:
            wait_for_end(pidfd)
    assert "Cleanly cancelled builds" in log.read_text(), log.read_text()
    assert not list(temporary.glob("packer-vars-*")) and not secrets.exists()


def kill_caller_of(program: str) -> None:
    """Run a program that prints the id of its child, kill the program, and wait until the child has ended."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", program]
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout
        child = os.pidfd_open(int(caller.stdout.readline()))
        caller.kill()
        wait_for_end(child)


@needs_pidfd
def test_a_child_can_write_any_amount_of_output_while_it_cleans_up_for_a_dead_caller(tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned"
    child = f"""
import os, pathlib, signal, sys
def clean(*_ignored):
    sys.stdout.write("x" * 1000000)
    sys.stdout.flush()
    pathlib.Path({str(cleaned)!r}).touch()
    os._exit(0)
signal.signal(signal.SIGINT, clean)
print(os.getpid(), flush=True)
signal.pause()
"""
    program = f"""
import sys
from ansible_collections.immutable.infra.plugins.module_utils._supervised import Supervised
from ansible_collections.immutable.infra.tests.support.held_time import hold_time
with Supervised([sys.executable, "-c", {child!r}]) as process:
    for line in process.lines():
        print(line, flush=True)
"""
    kill_caller_of(program)
    assert cleaned.exists()


@needs_pidfd
def test_the_lock_of_a_dead_caller_is_held_until_its_child_has_cleaned_up(tmp_path: Path) -> None:
    lock, found = tmp_path / "lock", tmp_path / "found"
    probe = f"flock -n {lock} true && echo free > {found} || echo held > {found}"
    program = f"""
import fcntl, os
from ansible_collections.immutable.infra.plugins.module_utils._supervised import Supervised
from ansible_collections.immutable.infra.tests.support.held_time import hold_time
handle = os.open({str(lock)!r}, os.O_RDWR | os.O_CREAT)
fcntl.flock(handle, fcntl.LOCK_EX)
script = "trap '{probe}; exit' INT; echo $PPID; while :; do sleep 0.1; done"
with Supervised(["/bin/sh", "-c", script], hold=[handle]) as process:
    for line in process.lines():
        print(line, flush=True)
"""
    kill_caller_of(program)
    assert found.read_text() == "held\n"
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_output_and_exit_code_are_those_of_the_child(tmp_path: Path) -> None:
    with Supervised(["/bin/sh", "-c", "echo out; echo err >&2; pwd; printf end; exit 5"], cwd=str(tmp_path)) as child:
        assert list(child.lines()) == ["out", "err", str(tmp_path), "end"]
        assert child.wait() == 5
    with Supervised(["/nonexistent/tool"]) as child:
        assert list(child.lines()) == ["cannot start /nonexistent/tool: No such file or directory"]
        assert child.wait() == 127
    with Supervised(["/bin/sh", "-c", "kill -9 $$"]) as child:
        assert child.wait() == 137


def test_a_child_that_ignores_signals_is_killed() -> None:
    ignore = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (2, 15)]"
    program = f"{ignore}; print('ready', flush=True); time.sleep(300)"
    with Supervised([sys.executable, "-c", program], grace=0.1) as child:
        for _line in child.lines():
            child.stop()
        assert child.wait() == 137
        assert child.stopped_for == "request"


@needs_pidfd
def test_processes_that_a_child_leaves_in_its_group_are_killed(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with Supervised(["/bin/sh", "-c", 'sleep 300 & echo $!; read line < "$1"', "sh", str(gate)]) as child:
        lines = child.lines()
        leftover = os.pidfd_open(int(next(lines)))
        gate.write_text("go on\n")
        assert not list(lines)
        assert child.wait() == 0
    wait_for_end(leftover)


def test_a_child_starts_with_default_signals() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Supervised(["/bin/sh", "-c", "grep SigIgn /proc/self/status"]) as child:
            (line,) = child.lines()
    finally:
        signal.signal(signal.SIGINT, before)
    assert int(line.split()[1], 16) & (1 << (signal.SIGINT - 1)) == 0


def test_errors_can_be_separate_from_the_output(tmp_path: Path) -> None:
    with Supervised(["/bin/sh", "-c", "echo out; echo err >&2"], errors=str(tmp_path / "errors")) as child:
        assert list(child.lines()) == ["out"]
    assert (tmp_path / "errors").read_text() == "err\n"


@needs_pidfd
def test_the_function_meanwhile_can_end_a_silent_child(tmp_path: Path) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    pids: list[int] = []

    def meanwhile() -> None:
        if not pids:
            pids.append(os.pidfd_open(int(started.read_text())))
        else:
            raise InterruptedError("no more")

    with (
        pytest.raises(InterruptedError, match="no more"),
        Supervised(["/bin/sh", "-c", f"echo $$ > {started}; exec sleep 300"], meanwhile=meanwhile) as child,
    ):
        list(child.lines())
    wait_for_end(pids[0])


def test_the_function_meanwhile_is_not_called_after_the_end_of_the_context() -> None:
    calls: list[bool] = []
    with Supervised(["/bin/true"], meanwhile=lambda: calls.append(True)) as child:
        child.wait()
    assert not calls
