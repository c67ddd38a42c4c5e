# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plugins that a Packer finds, those that a template needs, and how what is missing is installed."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

from . import mirror, plugins
from .errors import PackerError
from .flags import version_tuple
from .plugins import Need, Plugin
from .runner import Packer
from .variables import is_hcl2

_REQUIRED_PLUGINS = re.compile(r'^\s*(?:"required_plugins"\s*:|required_plugins\s*\{)', re.MULTILINE)


class Installed:
    """The plugins of one Packer.

    Args:
        plugin_path: folder of plugins instead of the one that ``PACKER_PLUGIN_PATH`` or Packer itself names.
        timeout: seconds for each call of Packer.

    Attributes:
        environment: what Packer finds the same plugins by.
    """

    def __init__(self, packer: Packer, plugin_path: str | None = None, timeout: float | None = None) -> None:
        self._packer = packer
        self.environment = {"PACKER_PLUGIN_PATH": plugin_path} if plugin_path else {}
        self._timeout = timeout
        self.version = version_tuple(packer.version())

    def found(self) -> list[Plugin]:
        """Every plugin that Packer finds; none where Packer is too old to tell. Raises PackerError."""
        if self.version < plugins.PLUGINS_SINCE:
            return []
        return plugins.listed(self._tell("plugins", "installed"))

    def needs(self, template: str) -> list[Need]:
        """The plugins that a template asks for: in its required_plugins, or, where it is JSON, by what it uses. Raises PackerError."""
        if not os.path.exists(template):
            raise PackerError(f"there is no template {template}")
        if not is_hcl2(template):
            return plugins.of_json(_json(template))
        if self.version >= plugins.PLUGINS_SINCE:
            return plugins.required(self._tell("plugins", "required", template))
        if any(_REQUIRED_PLUGINS.search(text) for text in _texts(template)):
            raise PackerError(
                f"{template}: what stands in required_plugins is installed from Packer 1.8.0 on; this is {self._packer.version()}"
            )
        return []

    def missing(self, needs: Iterable[Need], there: Sequence[Plugin]) -> list[Need]:
        """Those of ``needs`` that neither Packer itself nor a plugin meets."""
        # A version that is asked for is a plugin's own, also where Packer holds some version of the same.
        return [
            need
            for need in needs
            if not need.met_by(there) and not (plugins.bundled(need.source, self.version) and self._takes_bundled(need))
        ]

    def _takes_bundled(self, need: Need) -> bool:
        return not need.constraint and need.reason != "required_plugins"

    def install(self, needs: Sequence[Need], template: str | None, source: str | None) -> None:
        """Install what is missing.

        Args:
            template: the HCL2 template that required_plugins stand in.
            source: a mirror's folder; None for the network.

        Raises:
            PackerError: with Packer's own words, or where a plugin cannot be had.
        """
        if needs and self.version < plugins.PLUGINS_SINCE:
            raise PackerError(
                f"plugins are installed from Packer 1.8.0 on; this is {self._packer.version()} (it lacks {_names(needs)})"
            )
        nameless = [need.reason for need in needs if not need.source]
        if nameless:
            raise PackerError(f"no plugin is known for {', '.join(nameless)}: name its source in 'plugins'")
        if source:
            for need in needs:
                self._from_mirror(need, source)
            return
        by_init = [need for need in needs if need.reason == "required_plugins"]
        if by_init and template:
            self._tell("init", template)
        for need in needs:
            if need not in by_init:
                self._tell("plugins", "install", need.source, *([need.constraint] if need.constraint else []))

    def _from_mirror(self, need: Need, source: str) -> None:
        plugin = mirror.find(source, need)
        with tempfile.TemporaryDirectory(prefix="packer-plugin-") as folder:
            binary = mirror.binary(plugin, folder)
            if any(
                "-path" in line
                for line in self._packer.tell("plugins", "install", "-h", environment=self.environment)[1]
            ):
                self._tell("plugins", "install", f"--path={binary}", need.source)
            else:
                mirror.lay(binary, need.source, self.folder())

    def folder(self) -> str:
        """Where Packer installs plugins."""
        environment = {**os.environ, **self.environment}
        if environment.get("PACKER_PLUGIN_PATH"):
            return environment["PACKER_PLUGIN_PATH"].split(os.pathsep)[-1]
        home = environment.get("HOME") or os.path.expanduser("~")
        if environment.get("PACKER_CONFIG_DIR"):
            return os.path.join(environment["PACKER_CONFIG_DIR"], ".packer.d", "plugins")
        older = os.path.join(home, ".packer.d")
        if os.path.isdir(older):
            return os.path.join(older, "plugins")
        return os.path.join(environment.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "packer", "plugins")

    def _tell(self, *arguments: str) -> list[str]:
        returncode, lines = self._packer.tell(*arguments, environment=self.environment, timeout=self._timeout)
        if returncode:
            said = "\n".join(lines).strip()
            raise PackerError(f"packer {' '.join(arguments)} failed: {said or f'exit code {returncode}'}")
        return lines


def _names(needs: Iterable[Need]) -> str:
    return ", ".join(f"{need.source or need.reason} {need.constraint}".strip() for need in needs)


def _json(template: str) -> dict[str, Any]:
    try:
        with open(template, encoding="utf-8") as file:
            document = json.load(file)
    except (OSError, ValueError) as error:
        raise PackerError(f"{template} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise PackerError(f"{template} is no Packer template: it holds no mapping")
    return document


def _texts(template: str) -> Iterable[str]:
    names = sorted(os.listdir(template)) if os.path.isdir(template) else [""]
    for path in (os.path.join(template, name) if name else template for name in names):
        if is_hcl2(path) and os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                yield file.read()
