# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An ansible-core that runs in the guest: chosen for the guest's Python and architecture, whatever runs here."""
from __future__ import annotations

import compileall
import hashlib
import json
import py_compile
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from ..errors import BakeError
from ..progress import Report
from ..store.file import FileStore

# The newest ansible-core that a guest's Python can run.
CORE = {"3.10": "==2.17.14", "3.11": "==2.19.4", "3.12": "==2.19.4", "3.13": "==2.19.4"}
PLATFORMS = ("manylinux2014", "manylinux_2_17", "manylinux_2_28")
# Encryption stays on the controller, and the test tool is of no use in a guest.
UNWANTED_WHEELS = ("cryptography", "cffi", "pycparser", "typing_extensions")
UNWANTED_FILES = re.compile(r"^(ansible_test/|ansible/galaxy/data/|[^/]+\.dist-info/|[^/]+\.data/)")
LAYOUT = 1  # grows when what this file makes of the same wheels changes


def guest_ansible(python: str, architecture: str, wanted: str | None, store: FileStore, report: Report) -> Path:
    """A folder to put on the guest's ``sys.path``, kept in the store.

    Args:
        python: the guest's, such as ``3.11``.
        wanted: a version specifier for ansible-core, or None for the newest that runs there.

    Raises BakeError with pip's last words.
    """
    specifier = wanted or CORE.get(python)
    if specifier is None:
        raise BakeError(f"no ansible-core is known for the guest's Python {python} (known: {', '.join(CORE)}); say which with image.provision.ansible_core")
    compiled = sys.version_info[:2] == tuple(int(part) for part in python.split("."))
    key = hashlib.sha256(json.dumps([LAYOUT, python, architecture, specifier, compiled]).encode()).hexdigest()[:16]
    folder = store.path(f"cache/guest-ansible/{key}")
    with store.lock(f"guest-ansible-{key}", "fetch ansible-core for guests", wait=600.0):
        if not folder.exists():
            report(f"fetching ansible-core{specifier} for the guest's Python {python} on {architecture}")
            _make(folder, python, architecture, specifier, compiled)
    return folder


def _make(folder: Path, python: str, architecture: str, specifier: str, compiled: bool) -> None:
    wheels, unpacked = folder.with_suffix(".wheels"), folder.with_suffix(".new")
    for leftover in (wheels, unpacked):
        shutil.rmtree(leftover, ignore_errors=True)
        leftover.mkdir(mode=0o700, parents=True)
    _download(wheels, python, architecture, specifier)
    for wheel in sorted(wheels.glob("*.whl")):
        if not wheel.name.startswith(UNWANTED_WHEELS):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(unpacked, [name for name in archive.namelist() if not UNWANTED_FILES.match(name)])
    if compiled:
        # Reading source is slow in an emulated guest; unchecked, since unpacking there changes time stamps.
        compileall.compile_dir(str(unpacked), quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    shutil.rmtree(wheels)
    unpacked.rename(folder)


def _download(wheels: Path, python: str, architecture: str, specifier: str) -> None:
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--dest", str(wheels)]
    argv += ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    argv += [f"--platform={platform}_{architecture}" for platform in PLATFORMS]
    done = subprocess.run([*argv, f"ansible-core{specifier}"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = " / ".join(done.stderr.strip().splitlines()[-3:])
        raise BakeError(f"cannot fetch ansible-core{specifier} for Python {python}: {last}")
