# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plugin of Packer that builds an image, where the definition pins its version.

A template in JSON cannot say which version it wants; so Packer is shown a folder that holds no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...module_utils._packer.flags import version_tuple
from ...module_utils._packer.installed import Installed
from ...module_utils._packer.plugins import HASHICORP, PLUGINS_SINCE
from ...module_utils._packer.runner import Packer
from .._core.errors import BakeError


def only_plugin(packer: Packer, name: str, version: str | None, folder: Path) -> Mapping[str, str]:
    """What to add to Packer's environment, after the pinned version was linked into ``folder``; nothing where none is pinned.

    Raises:
        BakeError: it is not installed.
        PackerError: Packer does not answer.
    """
    if version is None:
        return {}
    source = f"{HASHICORP}/{name}"
    if version_tuple(packer.version()) < PLUGINS_SINCE:
        raise BakeError(
            f"build.plugin asks for version {version} of the plugin {source}, but Packer {packer.version()} can only use what it holds itself"
        )
    found = next(
        (plugin for plugin in Installed(packer).found() if (plugin.source, plugin.version) == (source, version)), None
    )
    if found is None:
        raise BakeError(
            f"Packer {packer.version()} does not find version {version} of the plugin {source}, which build.plugin asks for; "
            f"install it: packer plugins install {source} {version} (or use the module immutable.infra.packer_init)"
        )
    place = folder / source
    place.mkdir(parents=True)
    for file in (Path(found.path), Path(f"{found.path}_SHA256SUM")):
        (place / file.name).symlink_to(file.absolute())
    return {"PACKER_PLUGIN_PATH": str(folder)}
