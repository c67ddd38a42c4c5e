# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compares a container with its image from outside: nothing in the container runs or answers.

It runs as root of the container's engine. The files are read through the root folder of the container's first process,
so they are what the service sees. A process of its own does that with this folder as its root, so no link in the
container leads out of it. What is mounted and what processes may do comes from the kernel.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import traceback
from dataclasses import asdict
from typing import Any, Dict, Iterator, List, Set

from ._attest import Comparison, Difference, HostComparison, NotCompared, require_schema
from ._container_mounts import Expected, lacking_options, unexplained, writable_kernel
from ._container_processes import ContainerProcesses
from ._manifest import load_manifest
from ._mounts import Mount, parse_mounts

# What an engine adds to the files of each container.
ADDED = ("/etc/mtab", "/.dockerenv")
ROOT_MODES = ("0555", "0755")  # of the root folder, whatever the image says
COPIED_UP = "a file in the container's own layer covers it"


def compare_container(manifest: Dict[str, Any], expected: Expected, proc: str = "/proc") -> Comparison:
    """Compare a running container with the manifest of its image, and with what it was launched with.

    Raises ValueError for another schema or shape, OSError if the container has ended or must not be inspected.
    """
    require_schema(manifest)
    process = os.path.join(proc, str(expected.pid))
    with open(os.path.join(process, "mountinfo"), "rb") as file:
        mounts = parse_mounts(file.read())
    root = os.open(os.path.join(process, "root"), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        comparison = _compared_in(root, manifest, expected, mounts)
    finally:
        os.close(root)
    own = {*manifest.get("data", []), *manifest.get("writable", []), *expected.data, *expected.tmpfs}
    files = {path for path, row in manifest["files"].items() if row[0] == "file"}
    _add_processes(comparison, expected, files=files, own=own, proc=proc)
    _add_own_layer(comparison, expected, mounts)
    comparison.differences.sort(key=lambda difference: (difference.path, difference.kind))
    return comparison


class _ContainerComparison(HostComparison):
    """Compares the files in the root folder of this process, which is the one of the container."""

    def __init__(self, manifest: Dict[str, Any], expected: Expected, mounts: List[Mount]) -> None:
        # Every mount point is explained or reported, so no mount is read.
        declared = {"covers": [*(manifest.get("covers") or []), *expected.tmpfs, *expected.data]}
        super().__init__({**manifest, **declared}, "/", mounts, None)
        self._expected = expected

    def _check_mounts(self) -> None:
        if not os.statvfs("/").f_flag & os.ST_RDONLY:
            self._add("unexpected_writable", "/", "ro", "rw")
        for path, what in unexplained(self._mounts, self._expected):
            self._add("covering", path, found=what)
        for path, wanted, found in lacking_options(self._mounts, self._expected):
            self._add("mount_options", path, ",".join(wanted), ",".join(found) or "none of them")
        for path in writable_kernel(self._mounts):
            self._add("unexpected_writable", path, "ro", "rw")
        present = {mount.point for mount in self._mounts}
        for path in sorted({*self._expected.tmpfs, *self._expected.data} - present):
            self._add("missing", path, "a mount", "nothing is mounted here")


def _compared_in(root: int, manifest: Dict[str, Any], expected: Expected, mounts: List[Mount]) -> Comparison:
    """Compare in a child process whose root is ``root``, and return its result."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            os.fchdir(root)
            os.chroot(".")
            sys.path.clear()  # nothing is loaded from the container
            answer = _plain(_ContainerComparison(manifest, expected, mounts).run())
            with os.fdopen(writing, "wb") as file:
                file.write(json.dumps(answer).encode("ascii"))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        data = file.read()
    _pid, status = os.waitpid(child, 0)
    if status:
        raise OSError("its files could not be read")
    return _comparison(json.loads(data.decode("ascii")))


def _plain(comparison: Comparison) -> Dict[str, Any]:
    return {
        "differences": [asdict(each) for each in comparison.differences],
        "not_compared": [asdict(each) for each in comparison.not_compared],
        "checked": comparison.checked,
        "refused": comparison.refused,
    }


def _comparison(answer: Dict[str, Any]) -> Comparison:
    return Comparison(
        [Difference(**each) for each in answer["differences"] if not _is_of_engine(each)],
        answer["checked"],
        answer["refused"],
        [NotCompared(**each) for each in answer["not_compared"]],
    )


def _is_of_engine(difference: Dict[str, Any]) -> bool:
    """Whether the engine makes this difference in each container."""
    kind, path = difference["kind"], difference["path"]
    return (kind == "added" and path in ADDED) or (kind == "mode" and path == "/" and difference["found"] in ROOT_MODES)


def _add_processes(comparison: Comparison, expected: Expected, *, files: Set[str], own: Set[str], proc: str) -> None:
    def is_own(path: str) -> bool:
        return any(path.startswith(folder.rstrip("/") + "/") for folder in own)

    processes = ContainerProcesses(
        expected.pid, expected.capabilities, is_program=files.__contains__, is_own=is_own, proc=proc
    )
    for kind, path, what in processes.problems():
        comparison.differences.append(Difference(kind, path, found=what))  # type: ignore[arg-type]
    for path, what in dict.fromkeys(processes.unchecked):
        comparison.not_compared.append(NotCompared("process", path, what))


def _add_own_layer(comparison: Comparison, expected: Expected, mounts: List[Mount]) -> None:
    """Find files that were put over those of the image, even if they are the same."""
    if not expected.upper:
        return
    known = {difference.path for difference in comparison.differences}
    covered = {mount.point for mount in mounts} - {"/"}
    for path in _files_below(expected.upper):
        hidden = path.startswith(("/dev/", "/proc/", "/run/", "/sys/"))
        if path in known or path in ADDED or hidden or any((path + "/").startswith(each + "/") for each in covered):
            continue
        comparison.differences.append(Difference("changed", path, found=COPIED_UP))


def _files_below(folder: str) -> Iterator[str]:
    """Yield what is below a folder and no folder itself, relative to it and with a slash in front."""
    pending = [""]
    while pending:
        at = pending.pop()
        with os.scandir(folder + at) as entries:
            for entry in entries:
                path = f"{at}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                else:
                    yield path


def main() -> None:
    """Read a request as JSON from standard input and write the answer as JSON to standard output."""
    request = json.loads(sys.stdin.buffer.read())
    try:
        manifest = load_manifest(base64.b64decode(request["manifest"]))
        answer = _plain(compare_container(manifest, Expected(**request["expected"])))
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        answer = {"problem": str(error)}
    sys.stdout.write(json.dumps(answer))


__all__ = ["compare_container", "main"]
