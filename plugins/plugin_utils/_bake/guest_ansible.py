# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""ansible-core for the guest, from wheels for its Python and architecture, in a folder that is cached in the store.

The controller's own ansible-core cannot be used: the guest's Python decides which versions run, and PyYAML and
MarkupSafe contain machine code.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from .._core.errors import BakeError
from .._core.files import make_private_folder
from .._core.programs import child_environment, find_program, module_command, run_to_end
from .._core.progress import Report, silent
from .._store.base import Store
from . import guest_interpreter
from .wheel_hashes import hash_of

# The interpreter of Ansible's modules, in the folder.
INTERPRETER = "immutable_interpreter/python3"

# The newest ansible-core for each Python. Exact versions, so that a definition is always baked with the same tool.
CORES = {
    "3.9": "==2.15.13",
    "3.10": "==2.17.14",
    "3.11": "==2.19.4",
    "3.12": "==2.19.4",
    "3.13": "==2.19.4",
}
DEPENDENCIES = ("jinja2==3.1.6", "MarkupSafe==3.0.3", "packaging==25.0", "PyYAML==6.0.3")
# ansible-core imports it where Python's own importlib.resources lacks what it needs.
_DEPENDENCIES_OF = {"3.9": ("importlib_resources==5.0.7",)}
# The guest needs neither the vault (the controller decrypts), nor Galaxy, nor test tools.
_UNNEEDED = re.compile(
    r"ansible_test/|ansible/galaxy/|ansible/_internal/ansible_collections/.*/tests?/|[^/]+\.data/|.*\.(c|pyx|pxd|pyi)$"
)
_GLIBC = ("2_17", "2_28", "2_34")
_OTHER_FILE = re.compile(r"^ {4}(\S+)(?: from .*)?:\n\s+Expected sha256 (\S+)\n\s+Got\s+(\S+)", re.MULTILINE)  # of pip
RECIPE = 3  # increase it when the folder is built from the wheels in another way


def guest_ansible(
    store: Store, *, python: str, architecture: str, core: str | None = None, report: Report = silent
) -> Path:
    """Return a folder for the guest's ``sys.path``. It is built once and kept in the store.

    Args:
        python: the guest's Python, such as ``3.11``.
        architecture: in the words of pip's wheels, such as ``aarch64``.
        core: version specifier of ansible-core (``==2.19.4``), by default the one pinned for ``python``.

    Raises BakeError with pip's error, or if the package index has another file of a version whose hash is known.
    """
    requirements = [f"ansible-core{core or default_core(python)}", *dependencies(python)]
    compiler = _interpreter(python)
    inputs = json.dumps([RECIPE, python, architecture, requirements, compiler is not None])
    folder = store.local_path(f"cache/ansible/{hashlib.sha256(inputs.encode()).hexdigest()[:16]}")
    if folder.is_dir():
        return folder
    report(f"downloading {requirements[0]} for Python {python} on {architecture}")
    make_private_folder(folder.parent)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as name:
        work = Path(name)
        _download(requirements, python, architecture, work / "wheels")
        _unpack(sorted((work / "wheels").glob("*.whl")), work / "lib")
        if compiler:
            _compile(compiler, work / "lib")
        _add_interpreter(work / "lib" / INTERPRETER)
        try:
            os.rename(work / "lib", folder)
        except OSError:
            if not folder.is_dir():  # otherwise another run has created it
                raise
    return folder


def dependencies(python: str) -> tuple[str, ...]:
    """Return the other requirements for a guest's Python, as exact versions."""
    return (*DEPENDENCIES, *_DEPENDENCIES_OF.get(python, ()))


def default_core(python: str) -> str:
    """Return the version specifier pinned for a guest's Python. Raises BakeError for an unknown Python."""
    try:
        return CORES[python]
    except KeyError:
        raise BakeError(
            f"no version of ansible-core is pinned for a guest with Python {python} (known: {', '.join(CORES)});"
            " set provision.ansible_core"
        ) from None


def _platforms(architecture: str) -> list[str]:
    return [f"manylinux2014_{architecture}", *(f"manylinux_{glibc}_{architecture}" for glibc in _GLIBC)]


def _download(requirements: Sequence[str], python: str, architecture: str, folder: Path) -> None:
    argv = module_command(
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
    )
    argv += ["--implementation", "cp", "--python-version", python, "--dest", str(folder)]
    argv += [argument for platform in _platforms(architecture) for argument in ("--platform", platform)]
    abis = (f"cp{python.replace('.', '')}", "abi3", "none")
    argv += [argument for abi in abis for argument in ("--abi", abi)]
    known: dict[str, str] = {}
    unknown: list[str] = []
    for requirement in requirements:
        found = hash_of(requirement, python, architecture)
        if found:
            known[requirement] = found
        else:  # of a version of the user's choice, or for a Python or architecture that this release does not know
            unknown.append(requirement)
    hashed = folder.with_name("requirements.txt")
    hashed.write_text("".join(f"{name} --hash=sha256:{value}\n" for name, value in known.items()), encoding="utf-8")
    for arguments in (["--require-hashes", "--requirement", str(hashed)] if known else [], unknown):
        if arguments:
            _run_pip([*argv, *arguments], f"{requirements[0]} for the guest's Python {python}")


def _run_pip(argv: Sequence[str], what: str) -> None:
    """Run pip. Raises BakeError; ``what`` says what it downloads."""
    done = run_to_end(argv, env=child_environment())
    if done.returncode:
        other = _OTHER_FILE.search(done.stderr)
        if other:
            raise BakeError(
                f"the package index has another file of {other[1]} than the one that this release was tested with: "
                f"expected SHA-256 {other[2]}, got {other[3]}; use an index that has the files of PyPI",
                output=done.stderr,
            )
        lines = done.stderr.strip().splitlines()
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no error message"]
        hint = " (Debian: apt install python3-pip)" if "No module named pip" in done.stderr else ""
        raise BakeError(
            f"pip cannot download {what}: {errors[-1]}{hint}",
            output=done.stderr,
        )


def _unpack(wheels: Sequence[Path], folder: Path) -> None:
    folder.mkdir(mode=0o755)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if not _UNNEEDED.match(name):
                    archive.extract(name, folder)


def _interpreter(python: str) -> str | None:
    """An interpreter whose byte code the guest can use, or None if this machine has none."""
    if python == f"{sys.version_info[0]}.{sys.version_info[1]}":
        return sys.executable
    return find_program(f"python{python}")


def _compile(interpreter: str, folder: Path) -> None:
    """Byte-compile everything, also what Ansible sends as source. A file that does not compile stays source.

    Without it an emulated guest spends more time on compiling than on running. Python must not compare time stamps,
    because they change on the way to the guest.
    """
    argv = [
        interpreter,
        "-I",
        "-m",
        "compileall",
        "-q",
        "--invalidation-mode",
        "unchecked-hash",
        "-s",
        str(folder),
        str(folder),
    ]
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)


def _add_interpreter(path: Path) -> None:
    """Write the program that runs modules, with an empty folder for the byte code that it keeps."""
    (path.parent / "code").mkdir(parents=True)
    text = Path(guest_interpreter.__file__).read_text(encoding="utf-8")
    path.write_text(f"#!{guest_interpreter.PYTHON}\n{text}", encoding="utf-8")
    path.chmod(0o755)
