# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The only place where golden tests touch the code: plain data in, plain data out. What is renamed in the code is renamed here."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.immutable.infra.plugins.action import (
    channel,
    channel_info,
    definition_info,
    fleet,
    fleet_info,
    host_mark,
    image,
    image_info,
    image_prune,
    image_verify,
)
from ansible_collections.immutable.infra.plugins.doc_fragments import attributes, options, packer
from ansible_collections.immutable.infra.plugins.module_utils.seal import Spec, seal
from ansible_collections.immutable.infra.plugins.plugin_utils.action import Context
from ansible_collections.immutable.infra.plugins.plugin_utils.aws.clients import Clients
from ansible_collections.immutable.infra.plugins.plugin_utils.bake.base import fetch_base
from ansible_collections.immutable.infra.plugins.plugin_utils.bake.ebs import ebs_builder
from ansible_collections.immutable.infra.plugins.plugin_utils.bake.maker import Order
from ansible_collections.immutable.infra.plugins.plugin_utils.bake.memory import private_memory
from ansible_collections.immutable.infra.plugins.plugin_utils.bake.payload import make_payload
from ansible_collections.immutable.infra.plugins.plugin_utils.bake.user_template import TemplateOrder, template_inputs
from ansible_collections.immutable.infra.plugins.plugin_utils.bake.variables import BakeVariables
from ansible_collections.immutable.infra.plugins.plugin_utils.definition.digest import digest_of
from ansible_collections.immutable.infra.plugins.plugin_utils.definition.explain import compare, explain_lines
from ansible_collections.immutable.infra.plugins.plugin_utils.definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils.errors import ImmutableError
from ansible_collections.immutable.infra.plugins.plugin_utils.fleet.engine import Engine, How, Means
from ansible_collections.immutable.infra.plugins.plugin_utils.fleet.gates import OpenGates
from ansible_collections.immutable.infra.plugins.plugin_utils.fleet.launch import Secrets, payload_of, swap_request
from ansible_collections.immutable.infra.plugins.plugin_utils.fleet.lease import Lease
from ansible_collections.immutable.infra.plugins.plugin_utils.fleet.ledger import Ledger
from ansible_collections.immutable.infra.plugins.plugin_utils.fleet.measured import measured
from ansible_collections.immutable.infra.plugins.plugin_utils.fleet.model import Payload, Request
from ansible_collections.immutable.infra.plugins.plugin_utils.images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils.images.channels import Channels
from ansible_collections.immutable.infra.plugins.plugin_utils.images.copies import image_tags
from ansible_collections.immutable.infra.plugins.plugin_utils.images.manifest import Manifest
from ansible_collections.immutable.infra.plugins.plugin_utils.images.model import Image, amis_of
from ansible_collections.immutable.infra.plugins.plugin_utils.images.retirement import Retirements
from ansible_collections.immutable.infra.plugins.plugin_utils.providers.base import (
    Evidence,
    Instance,
    LaunchRequest,
    Member,
    Volume,
)
from ansible_collections.immutable.infra.plugins.plugin_utils.providers.clock import VirtualClock
from ansible_collections.immutable.infra.plugins.plugin_utils.providers.ec2_tags import read, written
from ansible_collections.immutable.infra.plugins.plugin_utils.providers.evidence import parse_evidence
from ansible_collections.immutable.infra.plugins.plugin_utils.providers.launch import (
    launch_document,
    members,
    user_data,
)
from ansible_collections.immutable.infra.plugins.plugin_utils.providers.registry import open_provider
from ansible_collections.immutable.infra.plugins.plugin_utils.providers.simulated import (
    Behaviour,
    Latencies,
    SimulatedProvider,
    World,
    seeded,
    seldom,
)
from ansible_collections.immutable.infra.plugins.plugin_utils.store.keys import identity
from ansible_collections.immutable.infra.plugins.plugin_utils.store.memory import MemoryStore
from ansible_collections.immutable.infra.plugins.plugin_utils.store.registry import open_store

ACTIONS = {
    "channel": channel, "channel_info": channel_info, "definition_info": definition_info, "fleet": fleet, "fleet_info": fleet_info,
    "host_mark": host_mark, "image": image, "image_info": image_info, "image_prune": image_prune, "image_verify": image_verify,
}  # fmt: skip
FRAGMENTS = {"attributes": attributes, "options": options, "packer": packer}
PAYLOAD = ("artifact", "ports", "authorized_keys", "settings", "secrets", "secret_refs", "machine", "tags")


class Free:
    """Nothing forbids a change."""

    def check(self) -> None:
        pass


def run_action(
    name: str, folder: Path, *, check_mode: bool = False, variables: Mapping[str, Any] | None = None, **asked: Any
) -> dict[str, Any]:
    """The result of one task of a module that works on the controller, in this process; failed or not. Options have their documented defaults."""
    given = {**_defaults(name), "definition": str(folder), "store": str(folder / "store")}
    context = Context(
        report=lambda _line: None,
        guard=Free(),
        check_mode=check_mode,
        diff=False,
        task_vars=dict(variables or {}),
        template=lambda value: value,
        loader=None,
        folder=folder,
    )
    action = ACTIONS[name].ActionModule
    try:
        return dict(action.work(action.__new__(action), {**given, **asked}, context))
    except ImmutableError as error:
        return {**error.details, "failed": True, "msg": error.message}


def _defaults(name: str) -> dict[str, Any]:
    """Of each documented option of a module, by name."""
    documents = [
        yaml.safe_load(
            (Path(options.__file__).parents[1] / f"modules/{name}.py").read_text(encoding="utf-8").split('"""')[1]
        )
    ]
    for fragment in documents[0].get("extends_documentation_fragment", []):
        _namespace, _collection, file, *part = fragment.split(".")
        documents.append(
            yaml.safe_load(getattr(FRAGMENTS[file].ModuleDocFragment, (part or ["documentation"])[0].upper()))
        )
    return {
        option: spec.get("default")
        for document in documents
        for option, spec in (document.get("options") or {}).items()
    }


# Definitions and launches.


def launched(
    folder: Path,
    target: str,
    record: Mapping[str, Any],
    key: bytes,
    authorized: Sequence[str],
    secrets: Mapping[str, str],
) -> dict[str, Any]:
    """What a swap of a definition's target to an image is: the intent, what its instances get, and the recipe that is kept of it."""
    definition = load_definition(folder)
    chosen = definition.target(target)
    known = {reference.name: secrets[name] for name, reference in chosen.secrets.items()}
    found = Secrets(known, lambda value: value, lambda names: {name: known[name] for name in names})
    request = swap_request(definition, chosen, Image.from_dict(record), key, found, tuple(authorized))
    payload = {name: getattr(request.payload, name) for name in PAYLOAD}
    return {
        "service": request.service,
        "target": request.target,
        "intent": request.intent.as_dict(),
        "payload": payload,
        "recipe": dict(request.recipe),
    }


def explained(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return explain_lines(compare(before, after))


def inputs_digest(inputs: Mapping[str, Any]) -> str:
    return digest_of(inputs)


def relaunched(recipe: Mapping[str, Any], record: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """What instances get that are launched again by a recipe of the store."""
    payload = payload_of(
        recipe, Image.from_dict(record), lambda references: {name: secrets[name] for name in references}
    )
    return {name: getattr(payload, name) for name in PAYLOAD}


def guest_documents(request: Mapping[str, Any], volumes: Mapping[str, str], region: str) -> dict[str, Any]:
    """The launch document as QEMU and as EC2 hand it over: mode and text of each member."""
    lists = {"ports", "authorized_keys"}
    asked = LaunchRequest(**{name: tuple(value) if name in lists else value for name, value in request.items()})
    on_ec2 = LaunchRequest(**{**asdict(asked), "secrets": {}})
    return {"qemu": members_of(launch_document(members(asked))), "ec2": members_of(user_data(on_ec2, volumes, region))}


def members_of(document: bytes) -> dict[str, Any]:
    with tarfile.open(fileobj=io.BytesIO(document)) as archive:
        return {
            each.name: {"mode": f"{each.mode:04o}", "text": archive.extractfile(each).read().decode()}
            for each in archive
        }  # type: ignore[union-attr]


def evidence_in(console: str) -> dict[str, str] | None:
    found = parse_evidence(console)
    return {name: getattr(found, name) for name in ("digest", "nonce", "host_key", "shell")} if found else None


def ec2_tags(texts: Mapping[str, str]) -> dict[str, Any]:
    tags = written(texts)
    return {"tags": tags, "read": read(tags)}


def sealed(root: Path, files: Path, spec: Mapping[str, Any]) -> list[str]:
    """Seal a tree as the role does in the build machine. Returns the changed paths."""
    data = tuple((each["name"], each["mount"]) for each in spec["data"])
    folders = [str(files / name) for name in ("launch", "seal")]
    return seal(
        str(root),
        folders,
        Spec(spec["service"], spec["version"], spec["digest"], spec["shell"], tuple(spec["writable"]), data),
    )


# Bakes.


def packer_bake(folder: Path, target: str, base: Mapping[str, Any], digest: str, store: str) -> dict[str, Any]:
    """What Packer makes on AWS, with which tags, and with which names."""
    definition = load_definition(folder)
    order = Order(
        definition, definition.target(target), digest, "aws-123456789012-x86_64", {}, base, BakeVariables({}, {}, {})
    )
    tags = image_tags(digest, definition.service, definition.version, store)
    return {"tags": tags, "builder": ebs_builder(order, Clients(order.target.build_account), tags, (1, 11))}


def bake_payload(folder: Path, digest: str, empty: Path) -> dict[str, Any]:
    """Members of what is sent into the build machine, with the texts of those that are made for it."""
    payload = make_payload(
        load_definition(folder), digest, empty, None, {"port": 8080}, "immutable-payload-0123456789abcdef"
    )
    with tarfile.open(fileobj=io.BytesIO(payload.archive)) as archive:
        own = ("run.py", "site.json", "inventory.json", "vars.json")
        texts = {name: archive.extractfile(name).read().decode() for name in own}  # type: ignore[union-attr]
        made = {name: text if name == "run.py" else json.loads(text) for name, text in texts.items()}
        return {"folder": payload.folder, "names": sorted(archive.getnames()), "made": made}


def template_bake(folder: Path, order: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a user's own template, and their digest."""
    paths = {name: tuple(folder / path for path in order[name]) for name in ("var_files", "extra")}
    inputs = template_inputs(
        TemplateOrder(
            order["service"],
            order["version"],
            folder / order["template"],
            order["vars"],
            secrets=order["secrets"],
            **paths,
        )
    )
    return {"inputs": inputs, "digest": digest_of(inputs)}


def memory_folder(name: str, fallback: Path) -> Path:
    with private_memory(name, fallback) as folder:
        return folder


# The store.


def store_of(documents: Mapping[str, Any]) -> Any:
    store = MemoryStore()
    for key, document in documents.items():
        store.write(key, document)
    return store


def documents_of(store: Any) -> dict[str, Any]:
    return {key: store.read(key)[0] for key in store.list("") if store.read(key)}


def intent_read(document: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The intent as the code sees it, attribute by attribute, and the document that it writes of it."""
    store = store_of({"fleets/shop-prod/intent.json": document})
    ledger = Ledger(store, "shop-prod")
    intent = ledger.last()
    assert intent is not None
    ledger.save(intent)
    kept = json.loads(json.dumps(store.read("fleets/shop-prod/intent.json")[0]))
    return {name: _data(getattr(intent, name)) for name in kept}, kept


def intent_resumed(stored: Mapping[str, Any], asked: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The intent that a run follows which finds ``stored`` and was asked for ``asked``."""
    wanted = Ledger(store_of({"fleets/shop-prod/intent.json": asked}), "shop-prod").last()
    assert wanted is not None
    followed, resumed = Ledger(store_of({"fleets/shop-prod/intent.json": stored}), "shop-prod").intent(wanted, now)
    return {
        "resumed": resumed,
        "intent": followed.as_dict(),
        "token": followed.token(1, 0),
        "second_token": followed.token(1, 1),
    }


def _data(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {name: _data(getattr(value, name)) for name in value.__dataclass_fields__}
    return [_data(each) for each in value] if isinstance(value, tuple) else value


def closed_swap(
    intent: Mapping[str, Any], told: Mapping[str, Any], recipe: Mapping[str, Any], at: float
) -> dict[str, Any]:
    """All that the store holds of a fleet once a swap has ended."""
    store = store_of({"fleets/shop-prod/intent.json": intent})
    ledger = Ledger(store, "shop-prod")
    read_intent = ledger.last()
    assert read_intent is not None
    ledger.keep_recipe(read_intent.launch, recipe)
    ledger.close(read_intent, at, told)
    return documents_of(store)


def latencies_in(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return measured(records)


def image_read(documents: Mapping[str, Any], digest: str, build: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The image as results show it, and the record that is written of it."""
    store = store_of(documents)
    found = Catalogue(store).get(digest, build)
    assert found is not None
    seen = {**found.as_dict(), "amis": amis_of(found.artifact)}
    Catalogue(store).add(found)
    return seen, store.read(f"{found.key}/record.json")[0]


def retirement(documents: Mapping[str, Any], digest: str, build: str) -> dict[str, Any]:
    """The documents once the image's removal has begun, and whether the code finds that out."""
    store = store_of(documents)
    found = Catalogue(store).get(digest, build)
    assert found is not None
    Retirements(store).begin(found, "alice")
    return {
        "documents": documents_of(store),
        "begun": Retirements(store).is_begun(found),
        "all": sorted(map(list, Retirements(store).begun())),
    }


def leased(document: Mapping[str, Any] | None, now: float, act: str = "hold") -> dict[str, Any]:
    """A lease as the store holds it after a run tried to take it, and what it was told where it could not."""
    clock, key = VirtualClock(now), "leases/shop-prod.json"
    store = store_of({key: document} if document else {})
    lease = Lease(store, "shop-prod", "swap of shop-prod", clock, monotonic=clock.now, alive=lambda _holder: None)
    try:
        lease.acquire()
    except ImmutableError as error:
        return {"refused": error.message, "details": error.details}
    if act == "release":
        lease.release()
    return {"document": store.read(key)[0], "epoch": lease.epoch}


def store_at(location: str) -> Any:
    """The store that a user names so."""
    return open_store(location)


def store_identity(store: Any) -> str:
    return identity(store)


@contextmanager
def locked(store: Any, name: str, purpose: str) -> Iterator[None]:
    with store.lock(name, purpose):
        yield


def lock_refusal(store: Any, name: str) -> str:
    try:
        with store.lock(name, "another"):
            return ""
    except ImmutableError as error:
        return error.message


def manifest_read(data: bytes) -> tuple[dict[str, Any], bytes]:
    manifest = Manifest.from_gzip(data)
    return manifest.as_dict(), manifest.to_gzip()


def fetched(folder: Path, target: str) -> str:
    """Bring the base of a target into the store. Returns its path there."""
    chosen = load_definition(folder).target(target)
    return str(fetch_base(chosen.base, open_store(folder / "store"), folder).relative_to(folder / "store"))


def promoted(store: Any, record: Mapping[str, Any], channel_name: str) -> None:
    Channels(store).promote(record["service"], channel_name, Image.from_dict(record), "alice")


def detach(folder: Path, target: str, volumes: Sequence[str]) -> None:
    open_provider(load_definition(folder).target(target), open_store(folder / "store")).volumes.detach(volumes)


def remove_volumes(folder: Path, target: str, volumes: Sequence[str]) -> None:
    open_provider(load_definition(folder).target(target), open_store(folder / "store")).volumes.remove(volumes)


# The simulated cloud, for whole swaps.


def simulated_run(
    kept: Mapping[str, Any] | None,
    asked: Mapping[str, Any],
    killed_at: int = 0,
    sick: Sequence[str] = (),
    now: float = 1_000_000.0,
) -> dict[str, Any]:
    """One run of the engine on a fleet that was ``kept``, or on none.

    Args:
        kept: as this function returns it: ``instances``, ``volumes``, ``members``, ``healthy``, ``now`` and ``documents``.
        asked: the intent, and what instances get (``ports``, ``tags``) by ``payload``.
        killed_at: the changing call after which the run is killed; 0 for none.
        sick: digests of images whose instances never get healthy.
    """
    world = _world(kept) if kept else World(clock=VirtualClock(now))
    world.behaviours.update({digest: Behaviour(gets_healthy=False) for digest in sick})
    store, provider, lines = store_of(kept["documents"] if kept else {}), SimulatedProvider(world), []

    def after(_call: str) -> None:
        if len(world.calls) == killed_at:
            raise Killed

    world.after = after
    fleet_name = asked["intent"]["fleet"]
    intent = Ledger(store_of({f"fleets/{fleet_name}/intent.json": asked["intent"]}), fleet_name).last()
    assert intent is not None
    payload = Payload(ports=tuple(asked["payload"]["ports"]), tags=asked["payload"]["tags"])
    lease = Lease(
        store, fleet_name, "a swap", provider.clock, monotonic=provider.clock.now, alive=lambda _holder: False
    )
    means = Means(provider, store, provider.probe, Free(), lease, OpenGates(), lines.append, dict, seldom)
    result: dict[str, Any] = {}
    with suppress(Killed):
        try:
            result = Engine(means).run(Request("shop", "prod", intent, payload, payload, {"a": "recipe"}), How())
        except ImmutableError as error:
            result = {**error.details, "failed": True}
    return {"result": result, "calls": list(world.calls), **_kept(provider, store, fleet_name)}


class Killed(BaseException):
    """Ends a run as a kill does."""


def _kept(provider: Any, store: Any, fleet_name: str) -> dict[str, Any]:
    instances = provider.compute.list(fleet_name)
    verdicts = provider.probe(instances)
    return {
        "now": provider.clock.now(),
        "instances": [asdict(each) for each in instances],
        "volumes": [asdict(each) for each in provider.volumes.list(fleet_name)],
        "members": [asdict(each) for each in provider.traffic(fleet_name).members()],
        "healthy": sorted(each for each, verdict in verdicts.items() if verdict is True),
        "documents": documents_of(store),
    }


def _world(kept: Mapping[str, Any]) -> Any:
    instances = [
        Instance(
            **{
                **each,
                "endpoints": {int(port): tuple(address) for port, address in each["endpoints"].items()},
                "evidence": Evidence(**each["evidence"]) if each["evidence"] else None,
            }
        )
        for each in kept["instances"]
    ]
    volumes, members_now = [Volume(**each) for each in kept["volumes"]], [Member(**each) for each in kept["members"]]
    return seeded(instances, volumes, members_now, set(kept["healthy"]), kept["now"], Latencies())
