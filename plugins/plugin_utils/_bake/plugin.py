# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes Packer use the version of a plugin that the definition pins.

A JSON template cannot require a version, so Packer gets a plugin folder that contains only that version.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...module_utils._packer.flags import version_tuple
from ...module_utils._packer.installed import InstalledPlugins
from ...module_utils._packer.plugins import HASHICORP, PLUGIN_PATH_VARIABLE, PLUGINS_SINCE
from ...module_utils._packer.runner import Packer
from .._core.errors import BakeError


def only_plugin(packer: Packer, name: str, *, version: str | None, folder: Path) -> Mapping[str, str]:
    """Link the pinned version of a plugin into ``folder`` and return what to add to Packer's environment.

    Args:
        name: of a plugin of HashiCorp, such as ``qemu``.
        version: None if the definition pins no version; then nothing is linked and the result is empty.

    Raises:
        BakeError: this version is not installed.
        PackerError: Packer does not work.
    """
    if version is None:
        return {}
    source = f"{HASHICORP}/{name}"
    if version_tuple(packer.version()) < PLUGINS_SINCE:
        raise BakeError(
            f"build.plugin requires version {version} of the plugin {source}, but Packer {packer.version()}"
            " can only use its bundled plugins"
        )
    plugins = InstalledPlugins(packer).plugins()
    plugin = next((plugin for plugin in plugins if (plugin.source, plugin.version) == (source, version)), None)
    if plugin is None:
        raise BakeError(
            f"Packer {packer.version()} does not find version {version} of the plugin {source},"
            f" which build.plugin requires; install it: packer plugins install {source} {version}"
            " (or use the module immutable.infra.packer_init)"
        )
    plugin_folder = folder / source
    plugin_folder.mkdir(parents=True)
    for file in (Path(plugin.path), Path(f"{plugin.path}_SHA256SUM")):
        (plugin_folder / file.name).symlink_to(file.absolute())
    return {PLUGIN_PATH_VARIABLE: str(folder)}
