# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Good documents of each kind, and what others may put in their place."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

NESTED = [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 500 + b"]" * 500]
NUMBERS = [b"1" * 5000, b"1e999", b"-1e999", b"NaN", b"Infinity", b"1" * 101]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["../../x", "sha256:aa", "qemu-x86_64", "{{ 1 }}", "\x1b[2J", "open", "present", "9" * 30])
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)

DIGEST, BUILD = "sha256:" + "a" * 64, "qemu-x86_64"
RECORD = {
    "digest": DIGEST,
    "build": BUILD,
    "service": "shop",
    "version": "1",
    "created": "2026-01-01T00:00:00+00:00",
    "artifact": {
        "path": "/x",
        "copies": {"eu": {"ami": "ami-1", "snapshots": []}},
        "ami": "ami-2",
        "region": "r",
        "snapshots": ["snap-1"],
        "accounts": {"2": {"r": {"ami": "ami-2", "shared": True, "roles": ["arn"]}}},
    },
    "base": {},
    "inputs": {"a": [1]},
    "provenance": {},
    "shell": "off",
    "verified": {"at": "now"},
    "seconds": 1.5,
}
ENTRY = {"image": DIGEST, "build": BUILD, "name": "shop-1", "at": "now", "by": "ann", "note": ""}
CHANNEL = {**ENTRY, "service": "shop", "channel": "prod", "history": [ENTRY]}
REVOCATION = {
    "image": DIGEST,
    "build": BUILD,
    "at": "now",
    "by": "ann",
    "reason": "slow",
    "retired": {"created": "now", "revoked": True},
}
METRIC = {"command": ["true"], "url": "", "path": "", "least": None, "most": 1.0}
VERSION = {
    "image": DIGEST,
    "image_name": "shop-1",
    "launch": "l",
    "size": 2,
    "volumes": [{"name": "a", "size": 1, "mount": "/srv", "kind": ""}],
}
INTENT = {
    **VERSION,
    "fleet": "shop-local",
    "goal": "present",
    "strategy": "canary",
    "stages": [{"instances": 1, "soak": 1.0, "metric": METRIC, "check": None, "approval": True}],
    "windows": [{"start": 1, "end": 2, "days": [0], "timezone": "UTC"}],
    "alarm": METRIC,
    "origin": VERSION,
    "retries": [[0, 1]],
    "restarted": ["a"],
    "passed": ["stage 1"],
    "serial": 3,
    "status": "open",
}
RECIPE = {
    "image": DIGEST,
    "build": BUILD,
    "size": 1,
    "volumes": VERSION["volumes"],
    "ports": [80],
    "authorized_keys": [],
    "settings": {},
    "secrets": {"a": ["env", "A"]},
    "machine": {},
    "tags": {"a": "b"},
}
LEASE = {
    "name": "shop-local",
    "purpose": "a swap",
    "holder": {"id": "x", "host": "h", "boot": "b", "pids": "p", "pid": 1, "start": "1", "user": "ann"},
    "since": 1.0,
    "epoch": 2,
    "turn": 0,
    "ttl": 60.0,
    "until": 1.0,
    "released": False,
}
MACHINE = {
    "fleet": "shop-local",
    "slot": 0,
    "image": DIGEST,
    "launch": "l",
    "nonce": "n",
    "purpose": "fleet",
    "tags": {},
    "disk": "/x",
    "ports": ["80"],
    "endpoints": {"80": 8080},
    "memory": 1,
    "cpus": 1,
    "reach": {"10.0.2.100:5432": "db.example.com:5432"},
    "created": 1.0,
    "started": 1.0,
}
VOLUME = {"slot": 0, "name": "a", "size": 1024, "kind": "raw", "attached_to": "x", "attached_at": 1.0}

MOMENT = {"seconds": 1.0, "event": "launched", "slot": 0, "instance": "a", "serving": 0, "healthy": 0, "draining": 0}
SWAP = {
    "intent": INTENT,
    "ended": "now",
    "timeline": [MOMENT, {**MOMENT, "seconds": 2.0, "event": "in service"}],
    "timeline_left_out": 1,
    "lowest_in_service": 1,
    "peak": 2,
    "downtime": 0.5,
}
ATTESTED = {
    "attested": False,
    "count": 1,
    "checked": 9,
    "msg": "it differs",
    "differences": [{"kind": "mode", "path": "/usr/bin/shop", "expected": "0755", "found": "4755"}],
}


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [path, *(below for key in keys for below in paths(value[key], (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def without(value: Any, path: tuple[Any, ...]) -> Any:
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1:
        del copy[path[0]]
    elif path:
        copy[path[0]] = without(value[path[0]], path[1:])
    return copy


def damaged(good: Any) -> st.SearchStrategy[bytes]:
    """Almost the good document: one part is another value, missing, or the text is cut off. Or anything else."""
    places = st.sampled_from(paths(good))
    almost = st.tuples(places, TREES).map(lambda change: replaced(good, *change)) | places.map(
        lambda place: without(good, place)
    )
    cut_off = st.integers(0, 400).map(lambda length: json.dumps(good).encode()[:length])
    texts = (almost | TREES).map(lambda tree: json.dumps(tree).encode())
    return texts | cut_off | st.binary(max_size=50) | st.sampled_from([*NESTED, *NUMBERS])
