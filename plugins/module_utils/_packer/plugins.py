# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packer's plugins: what they contain, which are installed, and which a template requires.

Packer before 1.9 bundles all plugins that were once part of it, 1.9 bundles some, and 1.10 and later only contain
``CORE``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import PackerError
from .versions import release, satisfies

PLUGINS_SINCE = (1, 8)  # the first version with the command 'plugins'
PLUGIN_PATH_VARIABLE = "PACKER_PLUGIN_PATH"
HASHICORP = "github.com/hashicorp"
REQUIRED_PLUGINS = "required_plugins"  # block of an HCL2 template
CORE = {
    "builders": {"file", "null"},
    "provisioners": {
        "breakpoint",
        "file",
        "hcp-sbom",
        "powershell",
        "shell",
        "shell-local",
        "sleep",
        "windows-restart",
        "windows-shell",
    },
    "post-processors": {"artifice", "checksum", "compress", "manifest", "provenance", "shell-local"},
}
# Plugins whose name is not the first word of their components. The longest match counts.
_PLUGIN_NAMES = {
    "azure-dtl": "azure",
    "chef-client": "chef",
    "chef-solo": "chef",
    "digitalocean-import": "digitalocean",
    "hyperv": "hyperv",
    "oracle": "oracle",
    "puppet-masterless": "puppet",
    "puppet-server": "puppet",
    "salt-masterless": "salt",
    "tencentcloud": "tencentcloud",
    "vsphere-template": "vsphere",
}
_HASHICORP_PLUGINS = {
    "alicloud", "amazon", "ansible", "azure", "chef", "cloudstack", "converge", "digitalocean", "docker",
    "googlecompute", "hashicups", "hcloud", "hyperone", "hyperv", "inspec", "jdcloud", "linode", "lxc", "lxd",
    "ncloud", "oneandone",
    "openstack", "oracle", "outscale", "parallels", "profitbricks", "proxmox", "puppet", "qemu", "salt", "scaleway",
    "tencentcloud", "triton", "ucloud", "vagrant", "virtualbox", "vmware", "vsphere", "yandex",
}  # fmt: skip
_BUNDLED_IN_1_9 = {
    "amazon",
    "ansible",
    "azure",
    "docker",
    "googlecompute",
    "qemu",
    "vagrant",
    "virtualbox",
    "vmware",
    "vsphere",
}
_HOST = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:\d+)?$")
_BINARY = re.compile(
    r"packer-plugin-(?P<name>.+)_v(?P<version>[^_]+)_x(?P<api>\d+\.\d+)"
    r"_(?P<system>[a-z0-9]+)_(?P<machine>[a-z0-9]+)(?:\.exe)?$"
)
_REQUIRED = re.compile(r'^(?P<accessor>\S+) (?P<source>\S+) (?P<constraint>"(?:[^"\\]|\\.)*")(?: .*)?$')
# The newer and the older error for a missing plugin. The older one may also mean a typing mistake.
_UNKNOWN = re.compile(r"\b([a-z-]+) (\S+)\s+is\s+unknown\s+by\s+Packer")
_UNKNOWN_LEGACY = re.compile(
    r"\bUnknown (builder|source|provisioner|post-processor)(?: type)? \"?([\w-]+)\"?$", re.MULTILINE
)


@dataclass(frozen=True)
class Plugin:
    """A plugin's binary.

    Attributes:
        source: such as ``github.com/hashicorp/qemu``; '' if the folders of a mirror do not show it.
        version: without ``v``.
    """

    source: str
    version: str
    path: str


@dataclass(frozen=True)
class Requirement:
    """A plugin that a template or a user requires.

    Attributes:
        source: '' if it is not known.
        constraint: on its version; '' for none.
        reason: what requires it, such as ``builder qemu``.
    """

    source: str
    constraint: str = ""
    reason: str = ""

    def is_met_by(self, plugins: Iterable[Plugin]) -> bool:
        """Return whether one of the plugins meets the requirement."""
        return any(plugin.source == self.source and satisfies(plugin.version, self.constraint) for plugin in plugins)


def check_source(source: str) -> str:
    """Return the source. Raises PackerError if it is not one."""
    parts = source.split("/")
    if (
        len(parts) < 3
        or not all(re.match(r"[\w.:-]+$", part) for part in parts)
        or not _HOST.match(parts[0])
        or ".." in parts
    ):
        raise PackerError(
            f"source: {source!r} is not the source of a plugin (allowed: a host and path, such as {HASHICORP}/qemu)"
        )
    return source


def plugin_of(path: str) -> Plugin | None:
    """Return the plugin in a file with the name that Packer requires, else None.

    The source comes from the folders, if they show it.
    """
    found = _BINARY.match(os.path.basename(path))
    if not found:
        return None
    folders = os.path.dirname(path).split(os.sep)
    hosts = [index for index, folder in enumerate(folders) if _HOST.match(folder) and len(folders) - index >= 3]
    source = "/".join(folders[hosts[-1] :]) if hosts else ""
    return Plugin(source if source.endswith("/" + found.group("name")) else "", found.group("version"), path)


def is_for(path: str, system: str, machine: str) -> bool:
    """Return whether a file is a plugin's binary for this type of machine, in Go's words (``linux``, ``amd64``)."""
    found = _BINARY.match(os.path.basename(path))
    return bool(found and found.group("system", "machine") == (system, machine))


def parse_installed(lines: Iterable[str]) -> list[Plugin]:
    """Parse the output of ``packer plugins installed``. Returns the plugins ordered by source and version."""
    found = [plugin for line in lines if (plugin := plugin_of(line.strip())) and plugin.source]
    return sorted(found, key=lambda plugin: (plugin.source, release(plugin.version) or (0, 0, 0)))


def parse_required(lines: Iterable[str]) -> list[Requirement]:
    """Parse the output of ``packer plugins required`` for an HCL2 template."""
    found = [match for line in lines if (match := _REQUIRED.match(line.strip()))]
    return [
        Requirement(match.group("source"), json.loads(match.group("constraint")), REQUIRED_PLUGINS) for match in found
    ]


def source_of(kind: str) -> str:
    """Return the source of the HashiCorp plugin that contains a builder, provisioner or post-processor, or ''."""
    prefix = max((name for name in _PLUGIN_NAMES if kind == name or kind.startswith(name + "-")), key=len, default="")
    name = _PLUGIN_NAMES.get(prefix, kind.split("-")[0])
    return f"{HASHICORP}/{name}" if name in _HASHICORP_PLUGINS else ""


def is_bundled(source: str, packer: tuple[int, ...]) -> bool:
    """Return whether this version of Packer contains the plugin."""
    bundled = _HASHICORP_PLUGINS if packer < (1, 9) else _BUNDLED_IN_1_9 if packer < (1, 10) else set()
    return source.startswith(f"{HASHICORP}/") and source.rpartition("/")[2] in bundled


def json_requirements(document: Mapping[str, Any]) -> list[Requirement]:
    """Return the plugins that contain a JSON template's builders, provisioners and post-processors, each once."""
    found: dict[str, Requirement] = {}
    for section, core in CORE.items():
        for kind in _kinds(document.get(section)):
            if kind not in core:
                source = source_of(kind)
                found.setdefault(source or kind, Requirement(source, "", f"{section[:-1]} {kind}"))
    return list(found.values())


def _kinds(part: Any) -> Iterable[str]:
    """The types in one section. Post-processors may be names, mappings, or lists of both."""
    for item in part if isinstance(part, list) else ():
        if isinstance(item, list):
            yield from _kinds(item)
        elif isinstance(item, Mapping) and isinstance(item.get("type"), str):
            yield item["type"]
        elif isinstance(item, str):
            yield item


def requirements_in_errors(text: str) -> list[Requirement]:
    """Return the plugins that are missing according to Packer's errors about a template."""
    kinds = {name.strip('"'): kind for kind, name in _UNKNOWN.findall(text)}
    kinds.update({name: kind for kind, name in _UNKNOWN_LEGACY.findall(text) if name not in kinds and source_of(name)})
    return [Requirement(source_of(name), "", f"{kind} {name}") for name, kind in kinds.items()]


def install_command(requirement: Requirement, template: str = "") -> str:
    """Return the command that installs the plugin, or '' if its source is not known."""
    if requirement.reason == REQUIRED_PLUGINS:
        return f"packer init {template}"
    if not requirement.source:
        return ""
    constraint = f" {json.dumps(requirement.constraint)}" if requirement.constraint else ""
    return f"packer plugins install {requirement.source}{constraint}"
