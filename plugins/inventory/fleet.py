# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: fleet
short_description: Running instances of services, with their connection details
version_added: 0.1.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Lists the running instances of the definitions' fleets, as the providers report them.
  - The name of a host is C(<service>-<target>-<slot>). During a swap, a slot can have two instances. The name of the
    newer one ends in C(-2).
  - Each host is in the groups C(service_<service>), C(target_<target>) and C(image_<image>), and in
    C(channel_<channel>) for each channel that points to its image.
  - A host is in C(sealed) if it proved on its console that it is sealed and runs what was launched. It is in
    C(outdated) if it does not run the image of O(channel).
  - Hosts that M(immutable.infra.host_mark) marked are in C(tainted), C(protected) or C(standby). Their variable of
    that name, such as C(immutable_tainted), is true.
  - Host variables contain the SSH connection details. Host keys come from the hosts' consoles and are always checked.
  - Containers have no SSH server. Their host variables name the connection plugin
    P(immutable.infra.container#connection) instead, unless the definition says C(shell=off). They contain the
    container's name, engine and folder in any case, so M(immutable.infra.host_attest) can compare it from outside.
    Variables whose names start with C(immutable_), such as C(immutable_slot) and C(immutable_image), contain facts
    about the instance.
  - The name of the inventory source ends in C(immutable_fleet.yml) or C(immutable_fleet.yaml).
seealso:
  - plugin: immutable.infra.container
    plugin_type: connection
extends_documentation_fragment:
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description: Name of this plugin.
    type: str
    required: true
    choices: [immutable.infra.fleet]
  definitions:
    description:
      - Paths of definitions, or of folders that contain a C(immutable.yml).
      - A relative path is relative to the folder of the inventory source.
    type: list
    elements: str
    required: true
  targets:
    description: Names of the targets to list. By default, all targets are listed.
    type: list
    elements: str
    default: []
  store:
    description:
      - The store, a folder or C(s3://bucket/prefix).
      - A relative path is relative to the folder of the inventory source.
    type: str
    required: true
  channel:
    description: Name of the channel whose image the fleets should run.
    type: str
    default: prod
  prove_again:
    description:
      - Read the evidence of every host again, because hosts may have been rebooted.
      - Without it, SSH refuses the new host key of a host that was rebooted.
      - On AWS and OpenStack, this is one call for each host. It has no effect on the providers C(qemu) and
        C(container).
    type: bool
    default: false
    version_added: 0.3.0
"""

EXAMPLES = r"""
# shop.immutable_fleet.yml
plugin: immutable.infra.fleet
definitions: [/srv/shop, /srv/blog]
store: /var/lib/immutable

# The rest is optional: only one target, an additional group and an additional variable.
targets: [local]
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
from ansible.utils.unsafe_proxy import wrap_var

from ..module_utils._plain_text import plain_text
from ..plugin_utils._core.bounded_yaml import TooLargeError, check_bounds
from ..plugin_utils._core.errors import ImmutableError
from ..plugin_utils._definition.load import load_definition
from ..plugin_utils._fleet.open import open_fleet
from ..plugin_utils._store.registry import open_store, resolve_location

SUFFIXES = ("immutable_fleet.yml", "immutable_fleet.yaml")


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    NAME = "immutable.infra.fleet"

    def verify_file(self, path: str) -> bool:
        return super().verify_file(path) and path.endswith(SUFFIXES)

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        try:
            check_bounds(Path(path))
        except TooLargeError as error:
            raise AnsibleParserError(f"{path}: {error}") from error
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
            store = open_store(resolve_location(folder, self.get_option("store")))
            definitions = [load_definition(folder / Path(each).expanduser()) for each in self.get_option("definitions")]
            known = {name for definition in definitions for name in definition.targets}
            wanted = set(self.get_option("targets")) or known
            if wanted - known:
                unknown, allowed = ", ".join(sorted(wanted - known)), ", ".join(sorted(known))
                raise ImmutableError(f"targets: no definition has {unknown} (known: {allowed})")
            fleets = [
                open_fleet(definition, target, store)
                for definition in definitions
                for name, target in definition.targets.items()
                if name in wanted
            ]
            channel, again = self.get_option("channel"), self.get_option("prove_again")
            return [host.as_dict() for fleet in fleets for host in fleet.hosts(channel, prove_again=again)]
        except (ImmutableError, OSError) as error:
            raise AnsibleParserError(plain_text(f"{self.NAME}: {error}")) from error

    def _add(self, host: dict[str, Any]) -> None:
        # Tags and addresses come from outside. Before ansible-core 2.19, every text is a template unless it is marked.
        name, variables = host["name"], wrap_var(host["variables"])
        self.inventory.add_host(name)
        for key, value in variables.items():
            self.inventory.set_variable(name, key, value)
        for group in host["groups"]:
            self.inventory.add_child(self.inventory.add_group(self._sanitize_group_name(group)), name)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)

    def _compose(self, template: str, variables: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The value of a user's expression. What it takes from a tag does not become a template either."""
        return wrap_var(super()._compose(template, variables, *args, **kwargs))
