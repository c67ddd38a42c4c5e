# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A folder with Debian 12 and its Heat. Run this file to install it, which needs root and mmdebstrap.

The control plane of the tests has no Heat. This one runs beside it, in its network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PACKAGES = ("python3-heat", "python3-heatclient", "python3-openstackclient", "python3-pymysql", "python3-pastescript")
PATHS = ("doc", "man", "locale")
MOUNTED = "/mnt"  # where processes in the folder see the files of a run
# The arguments are the folder, the files of a run, and the command.
_ENTER = """
mount -t proc proc "$1/proc"; mount --bind /dev "$1/dev"; mount -t tmpfs tmpfs "$1/tmp"; mount --bind "$2" "$1/mnt"
root=$1; shift 2
exec chroot "$root" "$@"
"""


def folder() -> Path:
    """Where Heat is installed: beside the control plane, in what is kept between runs."""
    kept = os.environ.get("IMMUTABLE_OPENSTACK_CACHE")
    return (Path(kept) if kept else Path(__file__).resolve().parents[2] / ".cache/openstack") / "heat"


def install() -> None:
    """Install it, once. Raises CalledProcessError."""
    if folder().exists():
        return
    partial = folder().with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    command = [
        *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--pid", "--fork"),
        *("--kill-child", "--mount-proc", "mmdebstrap", "--quiet", "--variant=apt"),
        f"--include={','.join(PACKAGES)}",
        '--aptopt=APT::Install-Recommends "false"',
        '--aptopt=Acquire::Languages "none"',
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude=/usr/share/{path}/*" for path in PATHS),
        "bookworm",
        str(partial),
    ]
    subprocess.run(command, check=True)
    partial.rename(folder())


def inside(files: Path, argv: Sequence[str]) -> list[str]:
    """The command line that runs a command in the folder, and ends it with its parent.

    Args:
        files: folder that the command sees as MOUNTED.
    """
    enter = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "bash", "-ec", _ENTER]
    return [*enter, "enter", str(folder()), str(files), *argv]


def python(module: str, program: str, *arguments: str) -> list[str]:
    """A program of Heat, as Debian's packages of its services call it."""
    call = f"import sys; sys.argv[0] = {program!r}; from {module} import main; sys.exit(main())"
    return ["/usr/bin/python3", "-W", "ignore", "-c", call, *arguments]


if __name__ == "__main__":
    try:
        install()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"Heat cannot be installed, so it is not measured: {error}", file=sys.stderr)
