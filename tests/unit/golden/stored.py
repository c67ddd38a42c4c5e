# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documents of a store: what the code reads from them and what it writes.

``ENTRIES`` is as in ``produced``.
"""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from ansible_collections.immutable.infra.tests.unit.golden import adapter, adapter_store, aws_replay, plain
from ansible_collections.immutable.infra.tests.unit.golden.produced import (
    BASE,
    DIGEST,
    SECRETS,
    definition_in,
    steady,
    store_in,
)

NOW = 1_000_010.0
QEMU, AWS = ("sha256:" + "1" * 64, "qemu-x86_64"), ("sha256:" + "2" * 64, "aws-123456789012-x86_64")


def given() -> dict[str, Any]:
    """Return documents of two images, one of them revoked and being removed, and of a channel."""
    records = plain.golden("given/images").values()
    keys = {f"images/{each['digest'][7:]}/{each['build']}/record.json": each for each in records}
    return {**plain.golden("given/documents"), **keys}


def intent(folder: Path) -> Any:
    seen, written = adapter_store.intent_read(plain.golden("given/intent"))
    _seen, defaults = adapter_store.intent_read({"fleet": "shop-prod"})
    return plain.plain({"seen": seen, "written": written, "defaults": defaults})


def resumed(folder: Path) -> Any:
    """Return the intent of a run for each kind of stored intent, and its launch tokens."""
    asked = {**plain.golden("launches/strategies")["canary"]["intent"], "fleet": "shop-prod"}
    left = {
        **plain.golden("given/intent"),
        **{name: asked[name] for name in ("goal", "image", "launch")},
        "status": "open",
    }
    found = {
        "the_same_aim": left,
        "forward": {**left, "stage": "forward"},
        "another_image": {**left, "image": "sha256:" + "4" * 64},
        "another_launch": {**left, "launch": "4" * 64},
        "done": {**left, "status": "done"},
        "failed": {**left, "status": "failed"},
        "absent": {**left, "goal": "absent", "status": "done"},
    }
    return plain.plain({name: adapter_store.intent_resumed(each, asked, NOW) for name, each in found.items()})


def closed(folder: Path) -> Any:
    told = {name: value for name, value in plain.golden("given/records")[0].items() if name not in ("intent", "ended")}
    return plain.plain(
        adapter_store.closed_swap(
            {**plain.golden("given/intent"), "status": "done"},
            told,
            plain.golden("launches/rich")["local"]["recipe"],
            NOW,
        )
    )


def relaunched(folder: Path) -> Any:
    images = plain.golden("given/images")
    recipes = {
        f"{name}/{target}": told["recipe"]
        for name in ("rich", "aws")
        for target, told in plain.golden(f"launches/{name}").items()
    }
    secrets = {**SECRETS, "mail": "another"}
    return plain.plain(
        {
            name: adapter.relaunched(recipe, images["aws" if name.startswith("aws") else "qemu"], secrets)
            for name, recipe in recipes.items()
        }
    )


def latencies(folder: Path) -> Any:
    return adapter_store.latencies_in(plain.golden("given/records"))


def images(folder: Path) -> Any:
    told = {name: adapter_store.image_read(given(), *key) for name, key in (("qemu", QEMU), ("aws", AWS))}
    return plain.plain({name: {"seen": seen, "written": written} for name, (seen, written) in told.items()})


def channels(folder: Path) -> Any:
    """Return what modules read from the documents, and what promoting, revoking and restoring an image writes."""
    definition_in(folder, "rich")
    store = store_in(folder)
    for key, document in given().items():
        store.write(key, document)
    third = {
        **plain.golden("given/images")["qemu"],
        "digest": DIGEST,
        "version": "1.5",
        "name": "shop-1.5-dddddddddddd",
    }
    third["created"] = "2021-01-05T00:00:00+00:00"
    store.write(f"images/{DIGEST[7:]}/qemu-x86_64/record.json", third)
    with steady():
        told: dict[str, Any] = {
            "image_info": adapter.run_action("image_info", folder),
            "channel_info": adapter.run_action("channel_info", folder),
        }
        told["promoted"] = adapter.run_action("channel", folder, channel="prod", image=DIGEST, note="a note")
        told["new"] = adapter.run_action("channel", folder, channel="next", image=DIGEST)
        told["same"] = adapter.run_action("channel", folder, channel="prod", image=DIGEST)["changed"]
        told["documents"] = {key: store.read(key)[0] for key in store.list("channels/")}
        told["revoked"] = adapter.run_action("channel", folder, state="revoked", image=DIGEST, note="a reason")
        told["refused"] = adapter.run_action("channel", folder, channel="late", image=DIGEST)["failed"]
        told["marks"] = {key: store.read(key)[0] for key in store.list("revoked/")}
        told["restored"] = adapter.run_action("channel", folder, state="unrevoked", image=DIGEST)["changed"]
        told["left"] = store.list("revoked/")
    for name in ("revoked", "promoted", "new"):  # texts for people
        told[name].pop("warnings", None)
    return plain.plain(told, {str(folder): "<folder>"})


def retirement(folder: Path) -> Any:
    unmarked = {key: document for key, document in given().items() if not key.startswith("revoked/")}
    revoked = copy.deepcopy(given())
    del revoked[f"revoked/{AWS[0][7:]}/{AWS[1]}.json"]["retired"]
    told = {
        "unmarked": adapter_store.retirement(unmarked, *AWS),
        "revoked": adapter_store.retirement(revoked, *AWS),
        "marked": adapter_store.retirement(given(), *AWS),
    }
    for name, each in told.items():
        each["documents"] = {key: document for key, document in each["documents"].items() if key.startswith("revoked/")}
        if name == "unmarked":
            each["documents"] = {
                key: {**document, "reason": "a text for people"} for key, document in each["documents"].items()
            }
    return plain.plain(told)


def leases(folder: Path) -> Any:
    held = plain.golden("given/lease")
    free, over = {**held, "released": True}, {**held, "until": NOW - 100.0}
    with steady():
        told = {
            "new": adapter_store.leased(None, NOW),
            "released": adapter_store.leased(None, NOW, "release"),
            "held": sorted(adapter_store.leased(held, NOW)),
            "held_details": adapter_store.leased(held, NOW)["details"],
            "free": adapter_store.leased(free, NOW),
            "over": adapter_store.leased(over, NOW),
        }
    for name in ("new", "released", "free", "over"):
        process = told[name]["document"]["holder"]
        process.update({each: f"<{type(process[each]).__name__}>" for each in ("id", "boot", "pids", "pid", "start")})
    return plain.plain(told)


def files(folder: Path) -> Any:
    """Return the file names of a store in a folder, the text of a document and the content of a lock."""
    store = store_in(folder)
    with steady():
        tag = store.write("fleets/shop-prod/intent.json", {"b": [1, {"a": None}], "a": "Grüße"})
        with adapter_store.locked(store, "bake-0123", "bake shop"):
            lock = json.loads((folder / "store/locks/bake-0123.lock").read_text(encoding="utf-8"))
            refused = adapter_store.lock_refusal(store, "bake-0123")
    parts = {name: str(lock[name]) in refused for name in ("pid", "user", "host", "since", "purpose")}
    return plain.plain(
        {
            "files": sorted(
                each.relative_to(folder / "store").as_posix()
                for each in (folder / "store").rglob("*")
                if each.is_file()
            ),
            "text": (folder / "store/fleets/shop-prod/intent.json").read_text(encoding="utf-8"),
            "tag": tag,
            "lock": {**lock, "pid": "<pid>"},
            "named_in_the_error": parts,
            "key": store.secret_key().hex(),
            "identity": adapter_store.store_identity(store),
        }
    )


def bases(folder: Path) -> Any:
    """Return the documents about two bases, one from a local disk and one from a URL."""
    definition_in(folder, "rich")
    document = folder / "immutable.yml"
    text, found = document.read_text(encoding="utf-8"), hashlib.sha256((folder / "base.qcow2").read_bytes()).hexdigest()
    text = text.replace("https://images.example.com/base.qcow2", (folder / "base.qcow2").as_uri()).replace(
        "1" * 64, found
    )
    document.write_text(text, encoding="utf-8")
    store = store_in(folder)
    adapter.run_action("definition_info", folder, target="local")
    path = adapter.fetched(folder, "other")
    named = hashlib.sha256(str((folder / "base.qcow2").resolve()).encode()).hexdigest()
    sums = {key.replace(named, "<path>"): store.read(key)[0] for key in store.list("cache/")}
    for each in sums.values():
        each["seen"] = [f"<{type(value).__name__}>" for value in each["seen"]]
    fetched = {key: store.read(key)[0] for key in store.list("bases/url-") if key.endswith(".json")}
    return plain.plain({"sums": sums, "fetched": fetched, "path": path, "built": BASE}, {str(folder): "<folder>"})


def bucket(folder: Path) -> Any:
    """Return the objects of a store in S3, the parameters of each write, and a lock."""
    made = aws_replay.Bucket()
    made.objects["shop/keys/secret.json"] = json.dumps({"key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}).encode()
    with aws_replay.answering(made), steady():
        store = adapter_store.store_at("s3://records/shop?region=eu-central-1&kms_key=alias/records")
        known = {"key": store.secret_key().hex(), "identity": adapter_store.store_identity(store)}
        store.write("fleets/shop-prod/intent.json", {"b": 1, "a": [2]}, expect="")
        store.write_blob("images/x/packer.log", b"log")
        with mock.patch.dict("os.environ", {"XDG_CACHE_HOME": str(folder)}):
            known["local"] = adapter_store.local_path(store, "logs/bake.log")
        with adapter_store.locked(store, "bake-0123", "bake shop"):
            lock = made.documents()["shop/locks/bake-0123.json"]
    lock["holder"].update(
        {each: f"<{type(lock['holder'][each]).__name__}>" for each in ("id", "boot", "pids", "pid", "start")}
    )
    objects = {key: data.decode() for key, data in made.objects.items() if "locks" not in key}
    return plain.plain({**known, "objects": objects, "lock": lock, "asked": made.asked[:3]}, {str(folder): "<folder>"})


def manifest(folder: Path) -> Any:
    text = json.dumps(plain.golden("given/manifest")).encode()
    seen, written = adapter_store.manifest_read(gzip.compress(text))
    return {"seen": seen, "written": gzip.decompress(written).decode("ascii")}


ENTRIES: dict[str, Callable[[Path], Any]] = {
    "store/intent": intent,
    "store/resumed": resumed,
    "store/closed": closed,
    "store/relaunched": relaunched,
    "store/latencies": latencies,
    "store/images": images,
    "store/channels": channels,
    "store/retirement": retirement,
    "store/leases": leases,
    "store/files": files,
    "store/bases": bases,
    "store/bucket": bucket,
    "store/manifest": manifest,
}
