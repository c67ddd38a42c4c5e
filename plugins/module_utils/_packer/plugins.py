# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packer's plugins: which hold what, which are there, and which a template needs.

Before 1.9 Packer holds all plugins that were once part of it, in 1.9 some of them, from 1.10 on only what ``CORE`` names.
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
REQUIRED_SINCE = (1, 7)  # the first that reads required_plugins
HASHICORP = "github.com/hashicorp"
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
# Plugins whose name is not the first word of what they hold; the longest that fits counts.
_HOLDERS = {
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
_KNOWN = {
    "alicloud", "amazon", "ansible", "azure", "chef", "cloudstack", "converge", "digitalocean", "docker", "googlecompute", "hashicups", "hcloud",
    "hyperone", "hyperv", "inspec", "jdcloud", "linode", "lxc", "lxd", "ncloud", "oneandone", "openstack", "oracle", "outscale", "parallels", "profitbricks",
    "proxmox", "puppet", "qemu", "salt", "scaleway", "tencentcloud", "triton", "ucloud", "vagrant", "virtualbox", "vmware", "vsphere", "yandex",
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
    r"packer-plugin-(?P<name>.+)_v(?P<version>[^_]+)_x(?P<api>\d+\.\d+)_(?P<system>[a-z0-9]+)_(?P<machine>[a-z0-9]+)(?:\.exe)?$"
)
_REQUIRED = re.compile(r'^(?P<accessor>\S+) (?P<source>\S+) (?P<constraint>"(?:[^"\\]|\\.)*")(?: .*)?$')
# The newer and the older complaint; the older one may as well be about a slip of the pen.
_UNKNOWN = re.compile(r"\b([a-z-]+) (\S+)\s+is\s+unknown\s+by\s+Packer")
_UNKNOWN_BEFORE = re.compile(
    r"\bUnknown (builder|source|provisioner|post-processor)(?: type)? \"?([\w-]+)\"?$", re.MULTILINE
)


@dataclass(frozen=True)
class Plugin:
    """A plugin's binary. ``source`` is such as ``github.com/hashicorp/qemu``, '' in a mirror that does not tell; ``version`` has no v."""

    source: str
    version: str
    path: str


@dataclass(frozen=True)
class Need:
    """A plugin that something needs: ``source`` ('' where it is not known), the ``constraint`` on its version and what for."""

    source: str
    constraint: str = ""
    reason: str = ""

    def met_by(self, plugins: Iterable[Plugin]) -> bool:
        return any(plugin.source == self.source and satisfies(plugin.version, self.constraint) for plugin in plugins)


def check_source(source: str) -> str:
    """The source itself. Raises PackerError where it is none."""
    parts = source.split("/")
    if (
        len(parts) < 3
        or not all(re.match(r"[\w.:-]+$", part) for part in parts)
        or not _HOST.match(parts[0])
        or ".." in parts
    ):
        raise PackerError(
            f"source: {source!r} is no plugin's source; write its host and path, such as {HASHICORP}/qemu"
        )
    return source


def plugin_of(path: str) -> Plugin | None:
    """The plugin in a file that is named and placed as Packer wants it, else None. In a mirror only the name may be given."""
    found = _BINARY.match(os.path.basename(path))
    if not found:
        return None
    folders = os.path.dirname(path).split(os.sep)
    hosts = [index for index, folder in enumerate(folders) if _HOST.match(folder) and len(folders) - index >= 3]
    source = "/".join(folders[hosts[-1] :]) if hosts else ""
    return Plugin(source if source.endswith("/" + found.group("name")) else "", found.group("version"), path)


def is_for(path: str, system: str, machine: str) -> bool:
    """Whether a file is a plugin's binary for this kind of machine, in Go's words (``linux``, ``amd64``)."""
    found = _BINARY.match(os.path.basename(path))
    return bool(found and found.group("system", "machine") == (system, machine))


def listed(lines: Iterable[str]) -> list[Plugin]:
    """What ``packer plugins installed`` tells, by source and version."""
    found = [plugin for line in lines if (plugin := plugin_of(line.strip())) and plugin.source]
    return sorted(found, key=lambda plugin: (plugin.source, release(plugin.version) or (0, 0, 0)))


def required(lines: Iterable[str]) -> list[Need]:
    """What ``packer plugins required`` tells of an HCL2 template."""
    found = [match for line in lines if (match := _REQUIRED.match(line.strip()))]
    return [Need(match.group("source"), json.loads(match.group("constraint")), "required_plugins") for match in found]


def source_of(kind: str) -> str:
    """The source of the plugin that holds a builder, provisioner or post-processor of HashiCorp's; '' where it is not known."""
    fitting = max((name for name in _HOLDERS if kind == name or kind.startswith(name + "-")), key=len, default="")
    name = _HOLDERS.get(fitting, kind.split("-")[0])
    return f"{HASHICORP}/{name}" if name in _KNOWN else ""


def bundled(source: str, packer: tuple[int, ...]) -> bool:
    """Whether this version of Packer holds the plugin itself."""
    held = _KNOWN if packer < (1, 9) else _BUNDLED_IN_1_9 if packer < (1, 10) else set()
    return source.startswith(f"{HASHICORP}/") and source.rpartition("/")[2] in held


def of_json(document: Mapping[str, Any]) -> list[Need]:
    """The plugins that a JSON template's builders, provisioners and post-processors come from, each once."""
    found: dict[str, Need] = {}
    for section, core in CORE.items():
        for kind in _kinds(document.get(section)):
            if kind not in core:
                source = source_of(kind)
                found.setdefault(source or kind, Need(source, "", f"{section[:-1]} {kind}"))
    return list(found.values())


def _kinds(part: Any) -> Iterable[str]:
    """Post-processors may be names, mappings, or lists of both."""
    for one in part if isinstance(part, list) else ():
        if isinstance(one, list):
            yield from _kinds(one)
        elif isinstance(one, Mapping) and isinstance(one.get("type"), str):
            yield one["type"]
        elif isinstance(one, str):
            yield one


def of_complaints(text: str) -> list[Need]:
    """The plugins that Packer itself misses, from what it says of a template."""
    kinds = {name.strip('"'): kind for kind, name in _UNKNOWN.findall(text)}
    kinds.update({name: kind for kind, name in _UNKNOWN_BEFORE.findall(text) if name not in kinds and source_of(name)})
    return [Need(source_of(name), "", f"{kind} {name}") for name, kind in kinds.items()]


def command_for(need: Need, template: str = "") -> str:
    """What would install it; '' where its source is not known."""
    if need.reason == "required_plugins":
        return f"packer init {template}"
    return (
        f"packer plugins install {need.source}{f' {json.dumps(need.constraint)}' if need.constraint else ''}"
        if need.source
        else ""
    )
