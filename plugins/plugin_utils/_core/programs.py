# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Start programs and Python modules without running code from the working folder, which a user's files may fill."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...module_utils._supervised import Supervised

# ``python -m`` puts the working folder first in sys.path. ``-P`` prevents that, but needs Python 3.11. ``-I`` ignores
# packages that the user installed, too. PYTHONSAFEPATH would reach the programs that a playbook runs.
_RUN_MODULE = (
    "import sys; sys.path[:] = [path for path in sys.path if path.startswith('/')]; del sys.argv[0]; "
    "import runpy; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)
_GRACE = 5.0  # seconds to end after a signal
_SEARCH_PATHS = ("PATH", "PYTHONPATH")


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a Python module of this interpreter's own installation, like ``python -m``.

    Run it with ``child_environment``. Its working folder is not searched for modules.
    """
    return [sys.executable, "-c", _RUN_MODULE, module, *arguments]


def child_environment(**variables: str) -> dict[str, str]:
    """Return this process's environment with ``variables``, without relative folders in the search paths.

    A relative or empty entry would mean another folder as soon as the child's working folder is another one.
    """
    environment = {**os.environ, **variables}
    for name in _SEARCH_PATHS:
        if name in environment:
            environment[name] = os.pathsep.join(
                folder for folder in environment[name].split(os.pathsep) if os.path.isabs(folder)
            )
    environment["PATH"] = environment.get("PATH") or os.defpath
    if not environment.get("PYTHONPATH"):
        environment.pop("PYTHONPATH", None)
    return environment


def drop_relative_search_paths() -> None:
    """Remove relative folders from this process's own search paths, for programs that are started by their name."""
    environment = child_environment()
    for name in _SEARCH_PATHS:
        if name in environment:
            os.environ[name] = environment[name]
        else:
            os.environ.pop(name, None)


def ansible_config(configured: str | None, folder: Path) -> str:
    """Return the configuration file for a child of Ansible: the parent's, or an empty one in ``folder``.

    Without any, Ansible would read the ``ansible.cfg`` in the child's working folder.
    """
    if configured and os.path.exists(configured):
        return configured
    empty = folder / "ansible.cfg"
    empty.touch(mode=0o600)
    return str(empty)


def run_to_end(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program that may take long and return its output, like ``subprocess.run``.

    If this process is killed, the program and what it started end, too. They would go on writing where the next run
    writes. Raises FileNotFoundError if there is no such program.
    """
    if shutil.which(argv[0]) is None:
        raise FileNotFoundError(2, "No such program", argv[0])
    with (
        tempfile.NamedTemporaryFile(prefix="immutable-errors-") as errors,
        Supervised(argv, env=env, cwd=None if cwd is None else str(cwd), grace=_GRACE, errors=errors.name) as child,
    ):
        output = "".join(f"{line}\n" for line in child.lines())
        code = child.wait()
        return subprocess.CompletedProcess(argv, code, output, errors.read().decode("utf-8", "replace"))


def find_program(name: str, folders: Sequence[str] = ()) -> str | None:
    """Return the absolute path of a program in PATH or else in ``folders``, or None.

    Relative entries of PATH are ignored.
    """
    return shutil.which(name, path=os.pathsep.join([child_environment()["PATH"], *folders]))
