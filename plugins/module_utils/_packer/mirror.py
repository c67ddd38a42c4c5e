# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plugins from a folder instead of the network: binaries, or their release archives, named as they are released."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import zipfile
from collections.abc import Iterator

from .errors import PackerError
from .plugins import Need, Plugin, is_for, plugin_of
from .versions import release, satisfies

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}


def find(mirror: str, need: Need) -> Plugin:
    """The newest that fits. Raises PackerError, with what there is, where none does."""
    name = need.source.rpartition("/")[2]
    there = [plugin for plugin in _plugins(mirror) if _name(plugin) == name and plugin.source in ("", need.source)]
    fitting = [plugin for plugin in there if satisfies(plugin.version, need.constraint)]
    if not fitting:
        versions = ", ".join(sorted({plugin.version for plugin in there})) or "none"
        wanted = f"{need.source} {need.constraint}".strip()
        raise PackerError(f"the mirror {mirror} has no {wanted} for this kind of machine (its versions: {versions})")
    return max(fitting, key=lambda plugin: release(plugin.version) or (0, 0, 0))


def binary(plugin: Plugin, folder: str) -> str:
    """Path of the plugin's binary, executable; taken out of its archive, or copied, to ``folder``. Raises PackerError."""
    target = os.path.join(folder, _unzipped(os.path.basename(plugin.path)))
    try:
        if plugin.path.endswith(".zip"):
            with zipfile.ZipFile(plugin.path) as archive, archive.open(os.path.basename(target)) as source, open(
                target, "wb"
            ) as file:
                shutil.copyfileobj(source, file)
        else:
            shutil.copyfile(plugin.path, target)
        os.chmod(target, 0o700)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise PackerError(f"the plugin cannot be taken from {plugin.path}: {error}") from error
    return target


def lay(binary_path: str, source: str, plugin_path: str) -> None:
    """Do what ``packer plugins install --path`` does, for a Packer that does not know it. Raises PackerError."""
    folder = os.path.join(plugin_path, *source.split("/"))
    target = os.path.join(folder, os.path.basename(binary_path))
    try:
        os.makedirs(folder, exist_ok=True)
        with open(binary_path, "rb") as file:
            checksum = hashlib.sha256(file.read()).hexdigest()
        # The checksum is last: without it Packer does not see the plugin.
        part = f"{target}.part"
        shutil.copyfile(binary_path, part)
        os.chmod(part, 0o755)  # noqa: S103  every user of the folder runs it
        os.replace(part, target)
        with open(f"{target}_SHA256SUM", "w", encoding="ascii") as file:
            file.write(checksum)
    except OSError as error:
        raise PackerError(f"the plugin cannot be laid into {folder}: {error.strerror}") from error


def _plugins(mirror: str) -> Iterator[Plugin]:
    if not os.path.isdir(mirror):
        raise PackerError(f"mirror: there is no folder {mirror}")
    system, machine = platform.system().lower(), _MACHINES.get(platform.machine(), platform.machine())
    for folder, _folders, files in os.walk(mirror):
        for name in files:
            path = os.path.join(folder, name)
            plugin = plugin_of(_unzipped(path))
            if plugin and is_for(plugin.path, system, machine):
                yield Plugin(plugin.source, plugin.version, path)


def _unzipped(path: str) -> str:
    return path[: -len(".zip")] if path.endswith(".zip") else path


def _name(plugin: Plugin) -> str:
    return os.path.basename(plugin.path)[len("packer-plugin-") :].partition("_v")[0]
