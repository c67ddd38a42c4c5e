# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plugins that Packer finds and those that a template requires, and how missing ones are installed."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

from . import mirror
from .errors import PackerError
from .flags import version_tuple
from .plugins import (
    PLUGIN_PATH_VARIABLE,
    PLUGINS_SINCE,
    REQUIRED_PLUGINS,
    Plugin,
    Requirement,
    is_bundled,
    json_requirements,
    parse_installed,
    parse_required,
)
from .runner import Packer
from .template_files import check_template
from .variables import is_hcl2

_REQUIRED_BLOCK = re.compile(r'^\s*(?:"required_plugins"\s*:|required_plugins\s*\{)', re.MULTILINE)


class InstalledPlugins:
    """The plugins of one Packer.

    Args:
        plugin_path: folder of plugins instead of the one that ``PACKER_PLUGIN_PATH`` or Packer itself uses.
        timeout: seconds for each call of Packer.

    Attributes:
        environment: to add to the environment of a Packer that uses the same plugins.
    """

    def __init__(self, packer: Packer, plugin_path: str | None = None, timeout: float | None = None) -> None:
        self._packer = packer
        self.environment = {PLUGIN_PATH_VARIABLE: plugin_path} if plugin_path else {}
        self._timeout = timeout
        self.version = version_tuple(packer.version())

    def plugins(self) -> list[Plugin]:
        """Return every plugin that Packer finds, or none if Packer is too old to list them. Raises PackerError."""
        if self.version < PLUGINS_SINCE:
            return []
        return parse_installed(self._output_of("plugins", "installed"))

    def requirements(self, template: str) -> list[Requirement]:
        """Return the plugins that a template requires. Raises PackerError.

        They are in the required_plugins of an HCL2 template. For a JSON template they follow from its components.
        """
        check_template(template)
        if not is_hcl2(template):
            return json_requirements(_read_json(template))
        if self.version >= PLUGINS_SINCE:
            return parse_required(self._output_of("plugins", "required", template))
        if any(_REQUIRED_BLOCK.search(text) for text in _texts(template)):
            raise PackerError(
                f"{template}: Packer 1.8.0 or later is needed to install its required_plugins;"
                f" this is {self._packer.version()}"
            )
        return []

    def missing(self, requirements: Iterable[Requirement], installed: Sequence[Plugin]) -> list[Requirement]:
        """Return the requirements that neither an installed nor a bundled plugin meets."""
        return [
            requirement
            for requirement in requirements
            if not requirement.is_met_by(installed) and not self._is_met_by_bundled(requirement)
        ]

    def _is_met_by_bundled(self, requirement: Requirement) -> bool:
        """Whether a bundled plugin is enough. A required version always needs an installed plugin."""
        any_version = not requirement.constraint and requirement.reason != REQUIRED_PLUGINS
        return any_version and is_bundled(requirement.source, self.version)

    def install(self, requirements: Sequence[Requirement], template: str | None, mirror_folder: str | None) -> None:
        """Install plugins.

        Args:
            requirements: the missing plugins.
            template: the HCL2 template with required_plugins.
            mirror_folder: where to take the plugins from; None for the network.

        Raises:
            PackerError: Packer fails, or a plugin is not available.
        """
        if requirements and self.version < PLUGINS_SINCE:
            raise PackerError(
                f"Packer 1.8.0 or later is needed to install plugins; this is {self._packer.version()}"
                f" (missing: {_names(requirements)})"
            )
        unknown = [requirement.reason for requirement in requirements if not requirement.source]
        if unknown:
            raise PackerError(f"the plugin for {', '.join(unknown)} is not known: add its source to 'plugins'")
        if mirror_folder:
            for requirement in requirements:
                self._install_from(mirror_folder, requirement)
            return
        by_init = [requirement for requirement in requirements if requirement.reason == REQUIRED_PLUGINS]
        if by_init and template:
            self._output_of("init", template)
        for requirement in requirements:
            if requirement not in by_init:
                constraint = [requirement.constraint] if requirement.constraint else []
                self._output_of("plugins", "install", requirement.source, *constraint)

    def _install_from(self, mirror_folder: str, requirement: Requirement) -> None:
        plugin = mirror.find(mirror_folder, requirement)
        with tempfile.TemporaryDirectory(prefix="packer-plugin-") as folder:
            binary = mirror.extract(plugin, folder)
            _code, usage = self._packer.run_command("plugins", "install", "-h", environment=self.environment)
            if any("-path" in line for line in usage):
                self._output_of("plugins", "install", f"--path={binary}", requirement.source)
            else:
                mirror.install(binary, requirement.source, self.folder())

    def folder(self) -> str:
        """Return the folder that Packer installs plugins in."""
        environment = {**os.environ, **self.environment}
        if environment.get(PLUGIN_PATH_VARIABLE):
            return environment[PLUGIN_PATH_VARIABLE].split(os.pathsep)[-1]
        home = environment.get("HOME") or os.path.expanduser("~")
        if environment.get("PACKER_CONFIG_DIR"):
            return os.path.join(environment["PACKER_CONFIG_DIR"], ".packer.d", "plugins")
        older = os.path.join(home, ".packer.d")
        if os.path.isdir(older):
            return os.path.join(older, "plugins")
        return os.path.join(environment.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "packer", "plugins")

    def _output_of(self, *arguments: str) -> list[str]:
        returncode, lines = self._packer.run_command(*arguments, environment=self.environment, timeout=self._timeout)
        if returncode:
            output = "\n".join(lines).strip()
            raise PackerError(f"packer {' '.join(arguments)} failed: {output or f'exit code {returncode}'}")
        return lines


def _names(requirements: Iterable[Requirement]) -> str:
    return ", ".join(
        f"{requirement.source or requirement.reason} {requirement.constraint}".strip() for requirement in requirements
    )


def _read_json(template: str) -> dict[str, Any]:
    try:
        with open(template, encoding="utf-8") as file:
            document = json.load(file)
    except (OSError, ValueError) as error:
        raise PackerError(f"cannot read {template}: {error}") from error
    if not isinstance(document, dict):
        raise PackerError(f"{template} is not a Packer template: expected a mapping")
    return document


def _texts(template: str) -> Iterable[str]:
    """The contents of an HCL2 template's files."""
    names = sorted(os.listdir(template)) if os.path.isdir(template) else [""]
    for path in (os.path.join(template, name) if name else template for name in names):
        if is_hcl2(path) and os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                yield file.read()
