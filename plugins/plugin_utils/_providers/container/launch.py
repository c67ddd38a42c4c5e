# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files that a container is launched with: its settings and secrets, as files of its machine's folder."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from ..._core.errors import ProviderError
from ..._core.files import write_atomically
from ..container_engine import ContainerEngine
from ..contract import LaunchRequest
from ..guest_document import launch_document, members
from ..machine_document import LAUNCH
from .command import LAUNCH_FOLDER, SYSTEMD

_OWNER = re.compile(r"(?P<user>[0-9]{1,10})(?::(?P<group>[0-9]{1,10}))?")
_FOR_ALL = ("settings.env", "settings.json")
_SECRET = 0o400


def write_launch_files(engine: ContainerEngine, folder: Path, request: LaunchRequest) -> None:
    """Write what the container sees. Raises ProviderError."""
    files = members(request)
    if request.artifact["init"] == SYSTEMD:
        write_atomically(folder / LAUNCH, launch_document(files))
        return
    place = folder / LAUNCH_FOLDER
    shutil.rmtree(place, ignore_errors=True)
    (place / "secrets").mkdir(parents=True)
    for each in (place, place / "secrets"):
        each.chmod(0o755)  # the folder of the machine is closed to other users of this machine
    for name in _FOR_ALL:
        _write(place / name, files[name], 0o444)
    secrets = {name: data for name, data in files.items() if name.startswith("secrets/")}
    for name, data in secrets.items():
        _write(place / name, data, _SECRET)
    if secrets:
        _give(engine, place, secrets, _owner(engine, request))


def _write(path: Path, data: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _SECRET)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)


def _owner(engine: ContainerEngine, request: LaunchRequest) -> tuple[int, int]:
    """The numbers of the user and the group that the command runs as. Raises ProviderError."""
    user = engine.run("image", "inspect", "--format", "{{.Config.User}}", request.artifact["image"]).strip()
    if not user:
        return 0, 0
    numbers = _OWNER.fullmatch(user)
    if numbers is None:
        raise ProviderError(
            f"the image names its user {user[:80]!r}, but secrets need its number: bake the image again", permanent=True
        )
    return int(numbers["user"]), int(numbers["group"] or 0)


def _give(engine: ContainerEngine, place: Path, files: Mapping[str, bytes], owner: tuple[int, int]) -> None:
    """Make the secrets files of the command's user."""
    if owner == (0, 0):
        return
    paths = [str(place / name) for name in files]
    program = engine.inside(["chown", f"{owner[0]}:{owner[1]}", "--", *paths])
    if program[0] == "chown":
        for path in paths:
            os.chown(path, *owner)
        return
    engine.run(*program[len(engine.argv) :])
