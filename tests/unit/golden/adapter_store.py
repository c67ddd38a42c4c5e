# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read and write the documents of a store; see ``adapter``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImmutableError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Metric
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.lease import Lease
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ledger import Ledger
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import VolumeSpec
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.prediction.measured import measured
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import amis_of
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._images.retirement import Retirements
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.manifest import Manifest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.clock import VirtualClock
from ansible_collections.immutable.infra.plugins.plugin_utils._store.keys import store_id
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore
from ansible_collections.immutable.infra.plugins.plugin_utils._store.registry import open_store


def store_of(documents: Mapping[str, Any]) -> Any:
    store = MemoryStore()
    for key, document in documents.items():
        store.write(key, document)
    return store


def documents_of(store: Any) -> dict[str, Any]:
    return {key: store.read(key)[0] for key in store.list("") if store.read(key)}


def intent_read(document: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the attributes of a stored intent, and the document that the code writes for it."""
    store = store_of({"fleets/shop-prod/intent.json": document})
    ledger = Ledger(store, "shop-prod")
    intent = ledger.last()
    assert intent is not None
    ledger.save(intent)
    kept = json.loads(json.dumps(store.read("fleets/shop-prod/intent.json")[0]))
    return {name: _data(getattr(intent, name)) for name in kept}, kept


def intent_resumed(stored: Mapping[str, Any], asked: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return the intent of a run that finds ``stored`` and is asked for ``asked``."""
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
        found = {name: getattr(value, name) for name in value.__dataclass_fields__}
        # Without the fields that a later release added, which must have their default.
        if isinstance(value, Metric):
            assert (found.pop("headers"), found.pop("ca")) == ((), "")
        if isinstance(value, VolumeSpec):
            assert (found.pop("iops"), found.pop("throughput"), found.pop("kms_key")) == (0, 0, "")
        return {name: _data(each) for name, each in found.items()}
    return [_data(each) for each in value] if isinstance(value, tuple) else value


def closed_swap(
    intent: Mapping[str, Any], told: Mapping[str, Any], recipe: Mapping[str, Any], at: float
) -> dict[str, Any]:
    """Return the documents of a fleet after a swap has ended."""
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
    """Return the image as results show it, and the record that the code writes for it."""
    store = store_of(documents)
    found = Catalogue(store).get(digest, build)
    assert found is not None
    seen = {**found.as_dict(), "amis": amis_of(found.artifact)}
    Catalogue(store).add(found)
    return seen, store.read(f"{found.key}/record.json")[0]


def retirement(documents: Mapping[str, Any], digest: str, build: str) -> dict[str, Any]:
    """Begin the removal of an image. Return the documents, and whether the code sees the removal."""
    store = store_of(documents)
    found = Catalogue(store).get(digest, build)
    assert found is not None
    Retirements(store).begin(found, "alice")
    return {
        "documents": documents_of(store),
        "begun": Retirements(store).is_pending(found),
        "all": sorted(map(list, Retirements(store).pending())),
    }


def leased(document: Mapping[str, Any] | None, now: float, act: str = "hold") -> dict[str, Any]:
    """Try to take a lease. Return the stored lease, or the error of a lease that another run holds."""
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
    """Open a store by its location."""
    return open_store(location)


def store_identity(store: Any) -> str:
    return store_id(store)


def local_path(store: Any, key: str) -> Path:
    return store.local_path(key)


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
