# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A program between a worker and the tool that it runs, so that the tool does not outlive the worker.

It is a separate program. It gets its own source as text, because the worker may run from an archive, and its
configuration as JSON. It runs in its own session, and the child in another one. It holds the read end of a pipe from
the worker, the lifeline. A byte on it asks for the child's end, and end-of-file means that the worker died. In both
cases the child's process group gets SIGINT, after a grace period SIGTERM, and finally SIGKILL.

The supervisor also holds the read end of the child's output. Without a reader, SIGPIPE would end the child while it
cleans up. This does not rely on a handler or a ``finally`` of the worker, which may be killed at any time.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading

NOT_STARTED = 127
_MAX_TERM_GRACE = 10.0  # seconds between SIGTERM and SIGKILL


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
        threading.Thread(target=_end, args=(child.pid, config["grace"], stopping, ended), daemon=True).start()
        code = _wait(child, ended)
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
    for number, wait in ((signal.SIGINT, grace), (signal.SIGTERM, min(grace, _MAX_TERM_GRACE))):
        if ended.is_set():
            return
        _signal(group, number)
        if ended.wait(wait):
            return
    _signal(group, signal.SIGKILL)


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
