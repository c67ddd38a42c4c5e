# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Gives what the seal writes the SELinux labels of the image's policy, on build machines whose kernel enforces one.

A file that is written beside another and renamed has the label of its folder, which is wrong for /etc/shadow. A tmpfs
has the label ``tmpfs_t``, which services may not write, unless its mount names another one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Callable, Iterable, List

from ._seal_changes import Changes, Refused

_ATTRIBUTE = "security.selinux"
_ENABLED = "/sys/fs/selinux/enforce"  # exists if the kernel has a policy (man 8 selinux)
_FOLDERS = "/usr/sbin:/usr/bin:/sbin:/bin"
# Programs below /usr/lib are libraries to the policy, so systemd would confine them like itself.
_PROGRAMS = "/usr/lib/immutable/"
_PROGRAM_TYPE = "bin_t"
_MANY = 500  # paths in one call

Run = Callable[[List[str]], None]


def mount_option(changes: Changes, path: str) -> str:
    """Return the option that gives the root of a tmpfs the label of its mount point, with a comma before it, or "".

    A label with categories has a comma, which an option in /etc/fstab cannot hold.
    """
    try:
        label = os.getxattr(changes.full_path(path), _ATTRIBUTE).rstrip(b"\0").decode("ascii")
    except (OSError, UnicodeDecodeError):
        return ""
    return f",rootcontext={label}" if label and not set(label) & set(', "\\\t\n') else ""


def restore_labels(changes: Changes, paths: Iterable[str]) -> None:
    """Label the paths as the policy says. Does nothing without SELinux, and for a root other than this machine's.

    Raises Refused if a program fails.
    """
    if changes.root == "/" and os.path.exists(_ENABLED):
        label_with(_run, changes, paths)


def label_with(run: Run, changes: Changes, paths: Iterable[str]) -> None:
    """Label the paths with the image's own programs. ``run`` takes their arguments."""
    found = sorted({path for path in paths if os.path.lexists(changes.full_path(path))})
    for start in range(0, len(found), _MANY):
        run(["restorecon", "-F", "--", *found[start : start + _MANY]])
    programs = [path for path in found if path.startswith(_PROGRAMS) and os.access(changes.full_path(path), os.X_OK)]
    if programs:
        run(["chcon", "-t", _PROGRAM_TYPE, "--", *programs])


def _run(argv: List[str]) -> None:
    program = shutil.which(argv[0], path=_FOLDERS)
    if program is None:
        raise Refused(f"SELinux is enabled, but the image has no {argv[0]} (package policycoreutils)")
    # This code has no AnsibleModule, so it cannot call run_command.
    done = subprocess.run(  # pylint: disable=ansible-bad-function
        [program, *argv[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise Refused(f"{argv[0]} cannot label what the seal wrote: {lines[-1] if lines else done.returncode}")
