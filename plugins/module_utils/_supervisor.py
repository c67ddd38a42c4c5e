# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A program between a worker and the tool that it runs, so that the tool does not outlive the worker.

It is a separate program. It gets its own source as text, because the worker may run from an archive, and its
configuration as JSON. It runs in its own session, and the child in another one. It holds the read end of a pipe from
the worker, the lifeline. A byte on it asks for the child's end, and end-of-file means that the worker died. In both
cases the child's process group gets SIGINT, after a grace period SIGTERM, and finally SIGKILL. Descendants that left
the group get SIGTERM and SIGKILL if they outlive it.

The supervisor also holds the read end of the child's output. Without a reader, SIGPIPE would end the child while it
cleans up. This does not rely on a handler or a ``finally`` of the worker, which may be killed at any time.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time

NOT_STARTED = 127
_MAX_TERM_GRACE = 10.0  # seconds between SIGTERM and SIGKILL
_KILL_TIMEOUT = 60.0  # seconds until a killed process is gone


def main(text: str) -> None:
    """Supervise one child and exit with its exit code (128 + n if signal n ended it).

    Args:
        text: JSON object with ``argv`` (list), ``cwd`` (path or null), ``lifeline`` and ``output`` (descriptors to
            read), ``grace`` (seconds between SIGINT and SIGTERM), ``remove`` (folders to remove at the end),
            ``errors`` (path or null) and ``inherit`` (descriptors that the child inherits).
    """
    config = json.loads(text)
    stopping, ended = threading.Event(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A handler is not inherited, unlike SIG_IGN, so the child starts with the default signals.
        signal.signal(number, lambda *_ignored: stopping.set())
    code = NOT_STARTED
    try:
        errors = os.open(config["errors"], os.O_WRONLY | os.O_CREAT, 0o600) if config["errors"] else subprocess.STDOUT
        # This code has no AnsibleModule, so it cannot call run_command.
        child = subprocess.Popen(  # pylint: disable=ansible-bad-function
            config["argv"],
            cwd=config["cwd"],
            stdin=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
            pass_fds=config["inherit"],
        )
    except OSError as error:
        sys.stdout.write(f"cannot start {config['argv'][0]}: {error.strerror}\n")
        sys.stdout.flush()
    else:
        threading.Thread(target=_watch, args=(config["lifeline"], config["output"], stopping), daemon=True).start()
        ending = threading.Thread(target=_end, args=(child.pid, config["grace"], stopping, ended), daemon=True)
        ending.start()
        code = _wait(child, ended)
        if stopping.is_set():
            ending.join()
    for folder in config["remove"]:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(code)  # even if the threads still read


def _watch(lifeline: int, output: int, stopping: threading.Event) -> None:
    while os.read(lifeline, 1):
        stopping.set()
    stopping.set()
    while os.read(output, 65536):  # the worker does not read any more
        pass


def _end(group: int, grace: float, stopping: threading.Event, ended: threading.Event) -> None:
    stopping.wait()
    cleaned_up = time.monotonic() + grace
    outside = _Outside(group)
    for number, wait in ((signal.SIGINT, grace), (signal.SIGTERM, min(grace, _MAX_TERM_GRACE))):
        if ended.is_set():
            break
        outside.find()
        _signal(group, number)
        if ended.wait(wait):
            break
    else:
        outside.find()
        _signal(group, signal.SIGKILL)
        outside.kill()
        return
    outside.wait(cleaned_up - time.monotonic())
    outside.send(signal.SIGTERM)
    outside.wait(min(grace, _MAX_TERM_GRACE))
    outside.kill()


class _Outside:
    """Descendants of a process that left its process group, so that a signal to the group does not reach them.

    ansible-playbook runs each worker in a session of its own (ansible-core 2.19 and newer). It passes signals on, but
    not if it is killed, and a task can ignore them. A daemon is not found, because its parent has ended.
    """

    def __init__(self, group: int) -> None:
        self._group = group
        self._handles: dict[int, int] = {}  # a descriptor for each process number: numbers are used again

    def find(self) -> None:
        """Look for more of them."""
        if not hasattr(os, "pidfd_open"):  # since Python 3.9, on Linux
            return
        fresh = {}
        for pid in _descendants(self._group) - set(self._handles):
            try:
                fresh[pid] = os.pidfd_open(pid)
            except OSError:
                pass  # it has just ended
        same = _descendants(self._group)
        for pid, handle in fresh.items():
            if pid in same:
                self._handles[pid] = handle
            else:  # the number may belong to another process by now
                os.close(handle)

    def wait(self, seconds: float) -> None:
        """Wait until all of them have ended."""
        deadline = time.monotonic() + seconds
        for handle in self._handles.values():
            select.select([handle], [], [], max(0.0, deadline - time.monotonic()))

    def kill(self) -> None:
        """Kill those that have not ended. Return once they have: a killed process does not end at once."""
        self.send(signal.SIGKILL)
        self.wait(_KILL_TIMEOUT)

    def send(self, number: int) -> None:
        """Send a signal to those that have not ended."""
        for handle in self._handles.values():
            try:
                signal.pidfd_send_signal(handle, number)
            except (ProcessLookupError, PermissionError):
                pass


def _descendants(group: int) -> set[int]:
    """The descendants of the leader of a process group that are not in the group."""
    children: dict[int, list[tuple[int, int]]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                # The name of the process may contain spaces and parentheses (source: proc_pid_stat(5)).
                _state, parent, its_group = file.read().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue  # it has just ended
        children.setdefault(int(parent), []).append((int(name), int(its_group)))
    found = children.get(group, [])[:]
    for pid, _its_group in found:
        found += children.get(pid, [])
    return {pid for pid, its_group in found if its_group != group}


def _wait(child: subprocess.Popen[bytes], ended: threading.Event) -> int:
    if hasattr(os, "waitid"):  # until the child is reaped, no other process group can get its number
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        ended.set()
        _signal(child.pid, signal.SIGKILL)  # processes that the child left behind in its group
    code = child.wait()
    ended.set()
    return code if code >= 0 else 128 - code


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass


if __name__ == "__main__":
    main(sys.argv[1])
