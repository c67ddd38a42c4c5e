# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""ansible-core for the guest: wheels for *its* Python and architecture, unpacked, pruned and byte-compiled, as one cached folder.

The controller's own ansible-core is of no use there: the guest's Python decides which versions can run, and PyYAML and
MarkupSafe bring machine code.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from .._core.errors import BakeError
from .._core.progress import Report, silent
from .._store.base import Store

# The newest ansible-core that each Python can run, exactly, so that the same definition bakes with the same tool.
CORES = {
    "3.10": "==2.17.14",
    "3.11": "==2.19.4",
    "3.12": "==2.19.4",
    "3.13": "==2.19.4",
}
REQUIRED = ("jinja2==3.1.6", "MarkupSafe==3.0.3", "packaging==25.0", "PyYAML==6.0.3")
# Neither the vault (decrypted on the controller), nor Galaxy, nor test tools are needed in the guest.
_UNNEEDED = re.compile(
    r"ansible_test/|ansible/galaxy/|ansible/_internal/ansible_collections/.*/tests?/|[^/]+\.data/|.*\.(c|pyx|pxd|pyi)$"
)
_GLIBC = ("2_17", "2_28", "2_34")
RECIPE = 1  # raise it when what is made of the wheels changes


def guest_ansible(
    store: Store, python: str, architecture: str, core: str | None = None, report: Report = silent
) -> Path:
    """A folder to put on the guest's ``sys.path``, made once and kept in the store.

    Args:
        python: the guest's Python, such as ``3.11``.
        core: version specifier of ansible-core (``==2.19.4``), by default the one pinned for ``python``.

    Raises BakeError with pip's own last words.
    """
    wanted = [f"ansible-core{core or default_core(python)}", *REQUIRED]
    compiler = _interpreter(python)
    key = hashlib.sha256(json.dumps([RECIPE, python, architecture, wanted, compiler is not None]).encode()).hexdigest()[
        :16
    ]
    folder = store.local(f"cache/ansible/{key}")
    if folder.is_dir():
        return folder
    report(f"fetching {wanted[0]} for Python {python} on {architecture}")
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as name:
        work = Path(name)
        _download(wanted, python, architecture, work / "wheels")
        _unpack(sorted((work / "wheels").glob("*.whl")), work / "lib")
        if compiler:
            _compile(compiler, work / "lib")
        try:
            os.rename(work / "lib", folder)
        except OSError:
            if not folder.is_dir():  # else another run was faster
                raise
    return folder


def default_core(python: str) -> str:
    """The specifier pinned for a guest's Python. Raises BakeError for a Python without one."""
    try:
        return CORES[python]
    except KeyError:
        raise BakeError(
            f"no ansible-core is known for a guest with Python {python} (known: {', '.join(CORES)}); set provision.ansible_core"
        ) from None


def _platforms(architecture: str) -> list[str]:
    return [f"manylinux2014_{architecture}", *(f"manylinux_{glibc}_{architecture}" for glibc in _GLIBC)]


def _download(wanted: Sequence[str], python: str, architecture: str, folder: Path) -> None:
    argv = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
    ]
    argv += ["--implementation", "cp", "--python-version", python, "--dest", str(folder)]
    argv += [argument for platform in _platforms(architecture) for argument in ("--platform", platform)]
    abis = (f"cp{python.replace('.', '')}", "abi3", "none")
    argv += [argument for abi in abis for argument in ("--abi", abi)]
    done = subprocess.run([*argv, *wanted], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (
            [line for line in done.stderr.strip().splitlines() if line.startswith("ERROR")]
            or done.stderr.strip().splitlines()
            or ["it said nothing"]
        )
        hint = " (Debian: apt install python3-pip)" if "No module named pip" in done.stderr else ""
        raise BakeError(
            f"pip cannot fetch {wanted[0]} for the guest's Python {python}: {said[-1]}{hint}", output=done.stderr
        )


def _unpack(wheels: Sequence[Path], folder: Path) -> None:
    folder.mkdir(mode=0o755)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if not _UNNEEDED.match(name):
                    archive.extract(name, folder)


def _interpreter(python: str) -> str | None:
    """An interpreter of the guest's version, whose byte code the guest can use, or None."""
    if python == f"{sys.version_info[0]}.{sys.version_info[1]}":
        return sys.executable
    return shutil.which(f"python{python}")


def _compile(interpreter: str, folder: Path) -> None:
    """Byte-compile everything but modules, which travel as source. Unchecked: time stamps change on the way.

    An emulated guest spends far longer on compiling than on running. A file that does not compile stays source.
    """
    argv = [
        interpreter,
        "-I",
        "-m",
        "compileall",
        "-q",
        "--invalidation-mode",
        "unchecked-hash",
        "-x",
        r"/ansible/modules/",
        "-s",
        str(folder),
        str(folder),
    ]
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
