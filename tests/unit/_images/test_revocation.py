# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImageError
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images import catalogue as imported
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._images.channels import Channels
from ansible_collections.immutable.infra.plugins.plugin_utils._images.revocation import Revocations
from ansible_collections.immutable.infra.plugins.plugin_utils._store.base import Store
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore

ROOT = Path(imported.__file__).parents[6]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")


def image(number: int, **more: Any) -> Image:
    facts: dict[str, Any] = {
        "build": "qemu-x86_64",
        "verified": {"at": "now"},
        "created": f"2026-01-0{number}T00:00:00+00:00",
        **more,
    }
    digest = "sha256:" + str(number) * 64
    return Image(digest=digest, version=f"{number}.0", service="shop", artifact={}, base={}, inputs={}, **facts)


class CountingStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def read(self, key: str) -> Any:
        self.calls.append(key)
        return super().read(key)

    def list(self, prefix: str) -> Any:
        self.calls.append("list")
        return super().list(prefix)


@pytest.fixture(params=[MemoryStore, None], ids=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    make: Callable[[], Store] | None = request.param
    return make() if make else FileStore(tmp_path)


def promoted(store: Store, *images: Image) -> Channels:
    channels = Channels(store)
    for each in images:
        Catalogue(store).add(each)
        channels.promote("shop", "prod", each, by="ann")
    return channels


def test_a_revoked_image_cannot_be_promoted_or_put_in_service(store: Store) -> None:
    one, two = image(1), image(2)
    channels, revocations = promoted(store, one, two), Revocations(store)
    assert revocations.revoke(two, "bob", "it loses orders")
    assert not revocations.revoke(two, "eve", "another reason"), "the first revocation remains"
    why = r"shop-2.0-222222222222 was revoked by bob at 20\d\d-.*: it loses orders"
    with pytest.raises(ImageError, match=why):
        channels.promote("shop", "canary", two, by="ann")
    with pytest.raises(ImageError, match=why):
        channels.preview("shop", "prod", two, by="ann")
    with pytest.raises(ImageError, match=why):
        channels.require_promoted("shop", "prod")
    assert channels.require_promoted("shop", "prod", one.digest).digest == one.digest
    assert [found.revoked and found.revoked["by"] for found in Catalogue(store).list()] == ["bob", None]
    assert revocations.restore(two) and not revocations.restore(two)
    assert channels.require_promoted("shop", "prod").digest == two.digest


def test_a_revocation_is_independent_of_the_record(store: Store) -> None:
    promoted(store, image(1))
    Revocations(store).revoke(image(1), "bob", "bad")
    [found] = Catalogue(store).list()
    Catalogue(store).mark_verified(found, {"at": "later"})
    Revocations(store).restore(found)
    assert [again.revoked for again in Catalogue(store).list()] == [None]


def test_another_build_of_the_same_inputs_is_another_image(store: Store) -> None:
    Revocations(store).revoke(image(1), "bob", "bad")
    assert Revocations(store).of(image(1, build="aws-x86_64")) is None
    assert list(Revocations(store).reasons("qemu-x86_64")) == list(Revocations(store).reasons()) == [image(1).digest]
    assert Revocations(store).reasons("aws-x86_64") == {}


def test_a_second_call_lists_once_and_reads_only_new_documents() -> None:
    store = CountingStore()
    revocations = Revocations(store)
    assert revocations.reasons() == {}
    for number in (1, 2):
        Revocations(store).revoke(image(number), "bob", "bad")
    assert set(revocations.reasons()) == {image(1).digest, image(2).digest}
    Revocations(store).revoke(image(3), "bob", "worse")
    Revocations(store).restore(image(1))
    store.calls.clear()
    assert [text.rpartition(": ")[2] for text in revocations.reasons().values()] == ["bad", "worse"]
    assert len(store.calls) == 2 and store.calls[0] == "list"
    store.calls.clear()
    revocations.reasons()
    assert store.calls == ["list"]


def test_a_rollback_uses_the_newest_usable_image_before_the_running_one(store: Store) -> None:
    one, two, three = image(1), image(2), image(3)
    channels = promoted(store, one, two, three)

    def rollback(running: Image, **more: Any) -> str:
        return channels.rollback_image("shop", "prod", running.digest, **more).digest

    assert rollback(three) == two.digest
    assert rollback(two) == one.digest, "a second rollback goes further back"
    assert rollback(image(4)) == three.digest, "an image that was never promoted is the newest"
    channels.promote("shop", "prod", one, by="ann")
    assert rollback(one) == three.digest
    Revocations(store).revoke(two, "bob", "it loses orders")
    assert rollback(three) == one.digest
    Catalogue(store).add(image(1, verified=None))
    why = r"\(shop-2.0-222222222222: revoked by bob at 20.*: it loses orders; shop-1.0-111111111111: not verified\)"
    with pytest.raises(ImageError, match=rf"channel prod of shop has no image to roll back to {why}; promote one"):
        rollback(three)
    store.delete(f"{one.key}/record.json")
    with pytest.raises(ImageError, match="shop-1.0-111111111111: its record is missing"):
        rollback(three)
    with pytest.raises(ImageError, match="no other image was promoted before"):
        rollback(three, build="aws-x86_64")
    with pytest.raises(ImageError, match="channel blue of shop has no image"):
        channels.rollback_image("shop", "blue", three.digest)


DEFINITION = """
schema: 1
service: shop
version: "1.0"
image:
  base: {debian: bookworm}
  provision: {playbook: provision.yml}
health: {http: {port: 8080, path: /healthz}}
targets:
  local: {provider: simulated}
"""


@pytest.mark.skipif(not PLAYBOOK.exists(), reason="ansible-playbook is not installed")
def test_the_module_revokes_once_and_supports_check_mode(tmp_path: Path) -> None:
    (tmp_path / "immutable.yml").write_text(DEFINITION)
    (tmp_path / "provision.yml").write_text("- hosts: all\n  tasks: []\n")
    promoted(FileStore(tmp_path / "store"), image(1), image(2))
    common = {"definition": "immutable.yml", "store": "store"}
    revoke = {**common, "state": "revoked", "image": "shop-2.0-222222222222", "note": "it loses orders"}
    unrevoke = {**common, "state": "unrevoked", "image": "shop-2.0-222222222222"}
    promote = {**common, "channel": "canary", "image": "shop-2.0-222222222222"}
    tasks: list[dict[str, Any]] = [
        {"immutable.infra.channel": revoke, "check_mode": True},
        {"immutable.infra.channel": revoke},
        {"immutable.infra.channel": {**revoke, "note": "again"}},
        {"immutable.infra.channel": promote, "ignore_errors": True},
        {"immutable.infra.channel": unrevoke, "check_mode": True},
        {"immutable.infra.channel": unrevoke},
        {"immutable.infra.channel": unrevoke},
        {"immutable.infra.channel": promote},
        {"immutable.infra.channel": {**revoke, "note": ""}, "ignore_errors": True},
        {"immutable.infra.channel": {**common, "image": "shop-2.0-222222222222"}, "ignore_errors": True},
    ]
    results = [{**task, "diff": True, "register": f"r{number}"} for number, task in enumerate(tasks)]
    all_results = "{{ [" + ", ".join(f"r{number}" for number in range(len(tasks))) + "] | to_json }}"
    results.append({"ansible.builtin.copy": {"dest": str(tmp_path / "results.json"), "content": all_results}})
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": results}]))
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT), "ANSIBLE_LOCALHOST_WARNING": "false"}
    argv = [
        PLAYBOOK,
        "-i",
        "localhost,",
        "-c",
        "local",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
        tmp_path / "play.yml",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "results.json").read_text())
    assert [each["changed"] for each in found] == [True, True, False, False, True, True, False, True, False, False]
    assert [each["failed"] for each in found] == [False, False, False, True, False, False, False, False, True, True]
    assert [each["image"]["revoked"] and each["image"]["revoked"]["reason"] for each in found[:3]] == [
        "it loses orders"
    ] * 3
    assert found[0]["diff"] == found[1]["diff"] == {"before": "not revoked\n", "after": "revoked: it loses orders\n"}
    assert found[5]["diff"] == {"before": "revoked: it loses orders\n", "after": "not revoked\n"}
    assert "channels of shop still point at it: prod;" in found[1]["warnings"][0]
    assert "was revoked by" in found[3]["msg"]
    assert found[8]["msg"] == "state=revoked needs note"
    assert found[9]["msg"] == "state=promoted needs channel"
