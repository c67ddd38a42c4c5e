# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plugins from a folder instead of the network: binaries or release archives with the names of their releases."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import zipfile
from collections.abc import Iterator

from .errors import PackerError
from .plugins import Plugin, Requirement, is_for, plugin_of
from .versions import release, satisfies

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}


def find(mirror: str, requirement: Requirement) -> Plugin:
    """Return the newest plugin of the mirror that meets the requirement.

    Raises PackerError with the available versions.
    """
    name = requirement.source.rpartition("/")[2]
    available = [
        plugin for plugin in _plugins(mirror) if _name(plugin) == name and plugin.source in ("", requirement.source)
    ]
    matching = [plugin for plugin in available if satisfies(plugin.version, requirement.constraint)]
    if not matching:
        versions = ", ".join(sorted({plugin.version for plugin in available})) or "none"
        wanted = f"{requirement.source} {requirement.constraint}".strip()
        raise PackerError(f"the mirror {mirror} has no {wanted} for this type of machine (its versions: {versions})")
    return max(matching, key=lambda plugin: release(plugin.version) or (0, 0, 0))


def extract(plugin: Plugin, folder: str) -> str:
    """Copy or unpack the plugin's binary into ``folder``, make it executable and return its path.

    Raises PackerError.
    """
    target = os.path.join(folder, _without_zip(os.path.basename(plugin.path)))
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
        raise PackerError(f"cannot read the plugin {plugin.path}: {error}") from error
    return target


def install(binary: str, source: str, plugin_path: str) -> None:
    """Install a plugin like ``packer plugins install --path``, for a Packer without this option. Raises PackerError."""
    folder = os.path.join(plugin_path, *source.split("/"))
    target = os.path.join(folder, os.path.basename(binary))
    try:
        os.makedirs(folder, exist_ok=True)
        with open(binary, "rb") as file:
            checksum = hashlib.sha256(file.read()).hexdigest()
        # The checksum is last, because Packer ignores a plugin without it.
        part = f"{target}.part"
        shutil.copyfile(binary, part)
        os.chmod(part, 0o755)  # noqa: S103  every user of the folder runs it
        os.replace(part, target)
        with open(f"{target}_SHA256SUM", "w", encoding="ascii") as file:
            file.write(checksum)
    except OSError as error:
        raise PackerError(f"cannot install the plugin into {folder}: {error.strerror}") from error


def _plugins(mirror: str) -> Iterator[Plugin]:
    if not os.path.isdir(mirror):
        raise PackerError(f"mirror: there is no folder {mirror}")
    system, machine = platform.system().lower(), _MACHINES.get(platform.machine(), platform.machine())
    for folder, _folders, files in os.walk(mirror):
        for name in files:
            path = os.path.join(folder, name)
            plugin = plugin_of(_without_zip(path))
            if plugin and is_for(plugin.path, system, machine):
                yield Plugin(plugin.source, plugin.version, path)


def _without_zip(path: str) -> str:
    return path[: -len(".zip")] if path.endswith(".zip") else path


def _name(plugin: Plugin) -> str:
    return os.path.basename(plugin.path)[len("packer-plugin-") :].partition("_v")[0]
