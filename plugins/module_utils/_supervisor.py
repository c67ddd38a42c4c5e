# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The program that stands between a worker and the tool it runs, so that the tool never outlives the worker.

It runs as a program of its own, handed over as text (the worker may have come in an archive) with its configuration as JSON. It leads
its own session, and starts the child in yet another. It holds the read end of a pipe from the worker, the lifeline. A byte on it asks
for the child's end; end-of-file says that the worker died. Either way the child's process group gets INT, after a grace TERM, then KILL.

The supervisor also holds the read end of the child's output: without a reader, the child would die of SIGPIPE in the middle of
cleaning up. Nothing here relies on a handler or a ``finally`` of the worker, which may be killed at any moment.
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
_AFTER_TERM = 10.0  # at most so many seconds between TERM and KILL


def main(text: str) -> None:
    """Supervise one child and exit with its return code (128 + n where signal n ended it).

    Args:
        text: JSON object with ``argv`` (list), ``cwd`` (path or null), ``lifeline`` and ``output`` (descriptors to read), ``grace``
            (seconds between INT and TERM), ``remove`` (folders to remove at the end) and ``errors`` (path or null).
    """
    config = json.loads(text)
    stopping, ended = threading.Event(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A handler, unlike "ignore", is not inherited: the child starts with the defaults whatever the worker had set.
        signal.signal(number, lambda *_ignored: stopping.set())
    code = NOT_STARTED
    try:
        errors = os.open(config["errors"], os.O_WRONLY | os.O_CREAT, 0o600) if config["errors"] else subprocess.STDOUT
        child = subprocess.Popen(
            config["argv"], cwd=config["cwd"], stdin=subprocess.DEVNULL, stderr=errors, start_new_session=True
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
    os._exit(code)  # the threads may still be reading


def _watch(lifeline: int, output: int, stopping: threading.Event) -> None:
    while os.read(lifeline, 1):
        stopping.set()
    stopping.set()
    while os.read(output, 65536):  # nobody else reads any more
        pass


def _end(group: int, grace: float, stopping: threading.Event, ended: threading.Event) -> None:
    stopping.wait()
    for number, patience in ((signal.SIGINT, grace), (signal.SIGTERM, min(grace, _AFTER_TERM))):
        if ended.is_set():
            return
        _signal(group, number)
        if ended.wait(patience):
            return
    _signal(group, signal.SIGKILL)


def _wait(child: subprocess.Popen[bytes], ended: threading.Event) -> int:
    if hasattr(os, "waitid"):  # as long as the child is not reaped, its group's number cannot be given to strangers
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        ended.set()
        _signal(child.pid, signal.SIGKILL)  # what the child left behind in its group
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
