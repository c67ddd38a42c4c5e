# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: fleet
short_description: The running instances of services, with what is needed to connect to them
version_added: 0.1.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Lists the running instances of the definitions' fleets, as their providers tell them.
  - A host is named C(<service>-<target>-<slot>). In the midst of a swap a slot has two instances; the newer one's name ends in C(-2).
  - Hosts are in the groups C(service_<service>), C(target_<target>), C(image_<image>) and, for each channel that points at their image,
    C(channel_<channel>); in C(sealed) where they proved on their console to run what was launched, read-only; and in C(outdated) where
    they do not run the image of O(channel).
  - Hosts that M(immutable.infra.host_mark) marked are in C(tainted), C(protected) or C(standby), and their variable of that name, such as
    C(immutable_tainted), is true.
  - Host variables let Ansible connect by SSH. Host keys are those that the hosts told on their console, and they are always checked. Facts of
    the instance are in variables that begin with C(immutable_), such as C(immutable_slot) and C(immutable_image).
  - The source's file name ends in C(immutable_fleet.yml) or C(immutable_fleet.yaml).
extends_documentation_fragment:
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description: Marks the source as one for this plugin.
    type: str
    required: true
    choices: [immutable.infra.fleet]
  definitions:
    description: Paths of definitions, or of folders that hold a C(immutable.yml). A relative path starts at the source's folder.
    type: list
    elements: str
    required: true
  targets:
    description: Targets that are listed. All, where none is named.
    type: list
    elements: str
    default: []
  store:
    description: The store, a folder or C(s3://bucket/prefix). A relative path starts at the source's folder.
    type: str
    required: true
  channel:
    description: The channel that tells which image is due.
    type: str
    default: prod
"""

EXAMPLES = r"""
# shop.immutable_fleet.yml
plugin: immutable.infra.fleet
definitions: [/srv/shop]
store: /var/lib/immutable

# only one target, with a group and a variable of one's own
---
plugin: immutable.infra.fleet
definitions: [/srv/shop, /srv/blog]
targets: [local]
store: /var/lib/immutable
keyed_groups:
  - key: immutable_version
    prefix: version
compose:
  shop_url: "'http://' ~ immutable_endpoints['8080'] | join(':')"
"""

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable

from ..plugin_utils._core.errors import ImmutableError
from ..plugin_utils._definition.load import load_definition
from ..plugin_utils._fleet.open import open_fleet
from ..plugin_utils._store.registry import open_store, store_location

SUFFIXES = ("immutable_fleet.yml", "immutable_fleet.yaml")


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    NAME = "immutable.infra.fleet"

    def verify_file(self, path: str) -> bool:
        return super().verify_file(path) and path.endswith(SUFFIXES)

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        for host in self._cached_hosts(path, cache):
            self._add(host)

    def _cached_hosts(self, path: str, cache: bool) -> list[dict[str, Any]]:
        use_cache = self.get_option("cache")
        key = self.get_cache_key(path)
        if use_cache and cache and key in self._cache:
            cached: list[dict[str, Any]] = self._cache[key]
            return cached
        hosts = self._list(Path(path).parent.absolute())
        if use_cache:
            self._cache[key] = hosts
        return hosts

    def _list(self, folder: Path) -> list[dict[str, Any]]:
        try:
            store = open_store(store_location(folder, self.get_option("store")))
            definitions = [load_definition(folder / Path(each).expanduser()) for each in self.get_option("definitions")]
            known = {name for definition in definitions for name in definition.targets}
            wanted = set(self.get_option("targets")) or known
            if wanted - known:
                raise ImmutableError(
                    f"targets: no definition has {', '.join(sorted(wanted - known))} (known: {', '.join(sorted(known))})"
                )
            fleets = [
                open_fleet(definition, target, store)
                for definition in definitions
                for name, target in definition.targets.items()
                if name in wanted
            ]
            return [host.as_dict() for fleet in fleets for host in fleet.hosts(self.get_option("channel"))]
        except (ImmutableError, OSError) as error:
            raise AnsibleParserError(f"{self.NAME}: {error}") from error

    def _add(self, host: dict[str, Any]) -> None:
        name, variables = host["name"], host["variables"]
        self.inventory.add_host(name)
        for key, value in variables.items():
            self.inventory.set_variable(name, key, value)
        for group in host["groups"]:
            self.inventory.add_child(self.inventory.add_group(self._sanitize_group_name(group)), name)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)
