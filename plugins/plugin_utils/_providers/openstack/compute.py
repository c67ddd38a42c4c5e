# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Servers of Nova. Their metadata says what they are, and each observation is one list.

Nova has no create token. A launch therefore looks for the token in the metadata of the fleet's servers first. What
remains is a request whose answer is lost and which Nova carries out only after that look: then a slot has two servers,
and a swap removes the one that it does not need.
"""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..._core.errors import ProviderError
from ..._openstack.connect import Connections
from ..._openstack.errors import CONFLICT, NOT_FOUND
from ..._openstack.metadata import MAX_ITEMS
from ..._openstack.rest import Rest
from .. import tags as tag_names
from ..cloud_texts import wants_public_address
from ..contract import STOPPED, STOPPING, VERIFY, Evidence, Instance, LaunchRequest
from ..ended_instance import EndedInstance
from ..seal_evidence import Boot, EvidenceRecord
from .consoles import Consoles
from .describe import (
    DELETING,
    ERROR,
    POWERING_OFF,
    REMOVED,
    boot_of,
    has_floating_address,
    instance_of,
    reports_evidence,
    started_at,
    state_of,
)
from .floating import FloatingAddresses
from .metadata import FORM, fleet_tag, store_tag, texts_of
from .names import Names
from .reimage import NovaReimager
from .server_groups import ServerGroups
from .servers import Resolved, Scope, server_request, token_of
from .volumes import CinderVolumes

MAX_THREADS = 4  # launches at the same time
FEW = 4  # servers that are read one by one, otherwise all of the store by one list
TRUE = "true"


class NovaCompute:
    """See ``contract.Compute``."""

    def __init__(
        self, connections: Connections, scope: Scope, volumes: CinderVolumes, evidence: EvidenceRecord
    ) -> None:
        self._compute = Rest(connections, "compute")
        self._consoles = Consoles(self._compute)
        self._scope = scope
        self._volumes = volumes
        self._evidence = evidence
        network = Rest(connections, "network")
        self._names = Names(self._compute, network)
        self._groups = ServerGroups(self._compute, scope.store)
        self._floating = FloatingAddresses(network)
        self.reimager = NovaReimager(self._compute, scope, volumes, self._known)

    @property
    def warnings(self) -> Sequence[str]:
        """A line for each console that could not be read."""
        return self._consoles.warnings

    def list(self, fleet: str) -> builtins.list[Instance]:
        return self._instances(fleet, self._servers(fleet))

    def ended(self, fleet: str) -> Sequence[EndedInstance]:  # noqa: ARG002  those of every fleet remain
        """Returns none: a server that could not be launched remains in the list, STOPPED, with its fault."""
        return ()

    def check_machine(self, machine: Mapping[str, Any]) -> None:
        """Looks up the flavor and the networks, so that a wrong name is known before anything is launched."""
        self._resolve(machine)

    def launch(self, requests: Sequence[LaunchRequest]) -> Sequence[Instance]:
        if not requests:
            return []
        fleet, machine = requests[0].fleet, requests[0].machine
        present = {texts_of(one).get(tag_names.TOKEN): one for one in reversed(self._servers(fleet))}
        resolved = self._resolve(machine, fleet)
        volumes = self._volumes.by_slot(requests)
        new = [request for request in requests if token_of(request, self._scope) not in present]

        def create(request: LaunchRequest) -> dict[str, Any]:
            return self._create(server_request(request, self._scope, resolved, volumes.get(request.slot, ())))

        # Two servers of a group that are placed at the same time may violate its policy, and one of them fails.
        created = _in_parallel(create, new, 1 if resolved.group else MAX_THREADS)
        known = {**present, **{texts_of(one).get(tag_names.TOKEN): one for one in created}}
        servers = [known[token_of(request, self._scope)] for request in requests]
        if machine.get("floating_network"):
            external, _name = self._names.network(machine["floating_network"])
            self._floating.give([str(one["id"]) for one in servers], external, resolved.networks[0])
        return [instance for instance in (instance_of(one, {}) for one in servers) if instance]

    def stop(self, ids: Sequence[str]) -> None:
        for one in self._known(ids):
            if state_of(one) not in (STOPPED, STOPPING):
                self._act(one, {"os-stop": None}, "stopping")

    def power_off(self, ids: Sequence[str]) -> None:
        """Nova itself ends a server that does not shut down, a minute after it was asked to by default.

        It has no way to end one sooner, apart from its removal.
        """
        found = self._known(ids)
        self._delete([one for one in found if tag_names.REMOVING in texts_of(one)])
        for one in found:
            texts = texts_of(one)
            if tag_names.REMOVING not in texts and state_of(one) != STOPPED and not one.get("OS-EXT-STS:task_state"):
                self._act(one, {"os-stop": None}, "stopping")

    def start(self, ids: Sequence[str]) -> None:
        """A server whose status is ERROR is rebooted, which is Nova's way to bring it back."""
        found = {str(one["id"]): one for one in self._known(ids)}
        missing = [each for each in ids if each not in found]
        if missing:
            raise ProviderError(f"there is no server {', '.join(missing)}")
        for one in found.values():
            failed = one.get("status") == ERROR
            if state_of(one) != STOPPED:
                continue
            began = max(int(time.time()), int(started_at(one)) + 1)  # another boot than any before
            self._set_metadata(one, FORM.tags_of({tag_names.STARTED: str(began)}))
            self._act(one, {"reboot": {"type": "HARD"}} if failed else {"os-start": None}, "starting")

    def remove(self, ids: Sequence[str]) -> None:
        """Servers that run shut down first. Then they await another call, which deletes them.

        Nova's own deletion would cut their power. A verification's server has nothing to lose. The mark follows the
        request to stop: a run that is interrupted between them leaves a stopped server, and nothing half removed.
        """
        found = self._known(ids)
        if not found:
            return
        public = [one for one in found if wants_public_address(texts_of(one)) or has_floating_address(one)]
        self._floating.remove([str(one["id"]) for one in public])
        leaving = [one for one in found if _shuts_down(one)]
        for one in leaving:
            if one.get("OS-EXT-STS:task_state") != POWERING_OFF:
                self._act(one, {"os-stop": None}, "stopping")
            if tag_names.REMOVING not in texts_of(one):
                self._set_metadata(one, FORM.tags_of({tag_names.REMOVING: TRUE}))
        deleted = [one for one in found if one not in leaving]
        self._delete(deleted)
        for fleet in {texts_of(one).get(tag_names.FLEET, "") for one in deleted}:
            self._groups.remove_unused(fleet, lambda fleet=fleet: self._staying(fleet, ids))  # type: ignore[misc]

    def _staying(self, fleet: str, deleted: Sequence[str]) -> builtins.list[str]:
        """IDs of the fleet's servers that nothing deletes."""
        there = [one for one in self._servers(fleet) if one.get("OS-EXT-STS:task_state") not in DELETING]
        return [str(one["id"]) for one in there if one["id"] not in deleted]

    def tag(self, ids: Sequence[str], tags: Mapping[str, str | None]) -> None:
        removed = {key for name, text in tags.items() if text is None for key in FORM.keys_of(name)}
        changed = {key for name in tags for key in FORM.keys_of(name)}
        for one in self._known(ids):
            present = one.get("metadata", {})
            room = MAX_ITEMS - sum(key not in changed for key in present)
            new = FORM.fitting({name: text for name, text in tags.items() if text is not None}, room)
            for key in sorted((changed & {*present}) - {*new} if new else removed & {*present}):
                self._compute.delete(f"/servers/{one['id']}/metadata/{key}", f"removing a mark of {one['id']}")
            if new:
                self._set_metadata(one, new)

    def fleets(self) -> Sequence[str]:
        names = {texts_of(one).get(tag_names.FLEET, "") for one in self._servers()}
        return sorted({name for name in names if name} | set(self._volumes.fleets()))

    def console(self, instance_id: str) -> str:
        return self._consoles.text(instance_id)

    def read_evidence(self, fleet: str, described: Sequence[Mapping[str, Any]]) -> Mapping[str, Evidence]:
        """By boot, the evidence of those that report any. See ``EvidenceRecord.evidence``."""
        boots = {
            boot_of(one): Boot(texts_of(one).get(tag_names.NONCE, ""), started_at(one), one)
            for one in described
            if reports_evidence(one)
        }
        return self._evidence.evidence(fleet, boots, self._consoles.read)

    def _instances(self, fleet: str, found: Sequence[Mapping[str, Any]]) -> builtins.list[Instance]:
        evidence = self.read_evidence(fleet, found)
        return [instance for instance in (instance_of(one, evidence) for one in found) if instance]

    def _servers(self, fleet: str = "") -> builtins.list[dict[str, Any]]:
        """The store's servers as Nova describes them, the oldest first."""
        tags = [store_tag(self._scope.store), *([fleet_tag(fleet)] if fleet else [])]
        listed = self._compute.pages(
            "/servers/detail",
            "servers",
            "reading servers",
            tags=",".join(tags),
            sort_key="created_at",
            sort_dir="asc",
        )
        ours = [one for one in listed if texts_of(one).get(tag_names.STORE) == self._scope.store]
        return [one for one in ours if one.get("status") not in REMOVED]

    def _known(self, ids: Sequence[str]) -> builtins.list[dict[str, Any]]:
        """The existing ones of these servers. Nova lists none by their IDs: a few are read one by one."""
        if len({*ids}) > FEW:
            return [one for one in self._servers() if one["id"] in ids]
        found = (self._compute.find(f"/servers/{each}", f"reading server {each}") for each in dict.fromkeys(ids))
        servers = [dict(answer["server"]) for answer in found if answer and isinstance(answer.get("server"), Mapping)]
        return [one for one in servers if one.get("status") not in REMOVED]

    def _resolve(self, machine: Mapping[str, Any], fleet: str = "") -> Resolved:
        networks = [self._names.network(given) for given in machine.get("networks", ())]
        if machine.get("floating_network"):
            self._names.network(machine["floating_network"])
        policy = machine.get("server_group")
        return Resolved(
            flavor=self._names.flavor(machine["flavor"]),
            networks=tuple(network for network, _name in networks),
            network_name=networks[0][1] if networks else "",
            group=self._groups.ensure(fleet, policy) if policy and fleet else "",
        )

    def _create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The new server, of which Nova's answer says little more than its ID."""
        server = body["server"]
        answer = self._compute.post("/servers", body, f"launching {server['name']}").get("server")
        if not isinstance(answer, Mapping) or "id" not in answer:
            raise ProviderError(f"launching {server['name']}: Nova's answer names no server")
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return {"id": answer["id"], "status": "BUILD", "created": created, "metadata": server["metadata"]}

    def _act(self, one: Mapping[str, Any], action: Mapping[str, Any], doing: str) -> None:
        """Tell Nova to do something. That the server is in another state by now is no error: the next look shows it."""
        try:
            self._compute.post(f"/servers/{one['id']}/action", action, f"{doing} {one['id']}")
        except ProviderError as error:
            locked = "is locked" in error.message
            if error.code != NOT_FOUND and (error.code != CONFLICT or locked):
                raise

    def _delete(self, servers: Sequence[Mapping[str, Any]]) -> None:
        for one in servers:
            if one.get("OS-EXT-STS:task_state") not in DELETING:
                self._compute.delete(f"/servers/{one['id']}", f"removing {one['id']}")

    def _set_metadata(self, one: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
        body = {"metadata": dict(metadata)}
        self._compute.post(f"/servers/{one['id']}/metadata", body, f"writing metadata of {one['id']}")


def _shuts_down(one: Mapping[str, Any]) -> bool:
    """Whether a server is to shut down in order before it is deleted."""
    runs = one.get("status") == "ACTIVE" and one.get("OS-EXT-STS:task_state") not in DELETING
    return runs and texts_of(one).get(tag_names.PURPOSE) != VERIFY


def _in_parallel(
    create: Callable[[LaunchRequest], dict[str, Any]], requests: Sequence[LaunchRequest], threads: int
) -> list[dict[str, Any]]:
    """Launch all. If some fail, the rest is launched nevertheless: the next launch finds it by its tokens."""
    if not requests:
        return []
    with ThreadPoolExecutor(max_workers=min(threads, len(requests))) as pool:
        futures = [pool.submit(create, request) for request in requests]
    return [future.result() for future in futures]
