# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images are removed completely or not at all, even if a run is killed.

Images that are taken into use meanwhile are kept.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImageError, ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.progress import silent
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ledger import Ledger
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Intent, Version
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.upkeep.references import swapped_images
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._images.channels import Channels
from ansible_collections.immutable.infra.plugins.plugin_utils._images.prune import RetentionRule
from ansible_collections.immutable.infra.plugins.plugin_utils._images.pruner import Pruner
from ansible_collections.immutable.infra.plugins.plugin_utils._images.revocation import Revocations
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import LaunchRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.disk_images import DiskImages
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.image_users import image_users
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import SimulatedProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.tests.support.killed import ControllerKilled

BUILD = "qemu-x86_64"
NOW = datetime(2026, 3, 1, tzinfo=timezone.utc).timestamp()
ALL = RetentionRule(1, 0.0)


class Steps:
    """A guard that kills the run at one of its changing calls, or calls ``do`` before it."""

    def __init__(self, at: int = 0, do: Callable[[], object] | None = None) -> None:
        self.at, self.do, self.taken = at, do, 0

    def check(self) -> None:
        self.taken += 1
        if self.taken != self.at:
            return
        if self.do is None:
            raise ControllerKilled
        self.do()


class Shop:
    """A store with images 1 (the oldest) to 4, on a simulated provider whose disks are real."""

    def __init__(self, folder: Path) -> None:
        self.store = FileStore(folder / "store")
        self.provider = SimulatedProvider()
        self.machines = folder / "machines"
        self.provider.images = DiskImages(partial(image_users, self.machines), self.store.path("images"))
        self.images = [self._bake(number) for number in range(1, 5)]

    def _bake(self, number: int) -> Image:
        digest = f"{number}" * 64
        disk = self.store.path(f"images/{digest}/{BUILD}/disk.qcow2")
        disk.parent.mkdir(parents=True)
        disk.write_bytes(b"disk")
        self.store.write_blob(f"images/{digest}/{BUILD}/manifest.json.gz", b"files")
        at = f"2026-02-0{number}T00:00:00+00:00"
        facts: dict[str, Any] = {
            "version": f"{number}.0.0",
            "created": at,
            "verified": {"at": at},
            "artifact": {"path": str(disk)},
        }
        image = Image(digest=f"sha256:{digest}", build=BUILD, service="shop", base={}, inputs={}, **facts)
        Catalogue(self.store).add(image)
        return image

    def pruner(self, guard: Any = None) -> Pruner:
        return Pruner(
            service="shop",
            provider=self.provider,
            store=self.store,
            swaps=lambda: swapped_images(self.store),
            lock=lambda image: self.store.lock(f"bake-{image.hex[:12]}", "remove it"),
            guard=guard or Steps(),
            report=silent,
            now=lambda: NOW,
        )

    def prune(self, guard: Any = None, rule: RetentionRule = ALL) -> list[str]:
        """Prune, and return the first digits of the removed images."""
        return sorted(verdict.image.hex[0] for verdict in self.pruner(guard).prune(rule, "ann") if not verdict.kept)

    def remaining(self) -> list[str]:
        return sorted(image.hex[0] for image in Catalogue(self.store).list())

    def reasons(self, number: int) -> tuple[str, ...]:
        verdicts = self.pruner().plan(ALL)
        return next(verdict.reasons for verdict in verdicts if verdict.image.hex[0] == str(number))

    def files(self) -> set[str]:
        """The files of images in the store, without locks."""
        return {key for prefix in ("images/", "revoked/") for key in self.store.list(prefix)}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_an_image_is_removed_with_all_its_files(shop: Shop) -> None:
    assert shop.prune() == ["1", "2", "3"] and shop.remaining() == ["4"]
    assert shop.files() == {
        f"images/{'4' * 64}/{BUILD}/{name}" for name in ("disk.qcow2", "manifest.json.gz", "record.json")
    }
    assert shop.prune() == []


def test_a_plan_changes_nothing(shop: Shop) -> None:
    before = shop.files()
    assert [verdict.kept for verdict in shop.pruner().plan(ALL)] == [True, False, False, False]
    assert shop.files() == before


def test_images_of_channels_and_of_their_rollbacks_are_kept(shop: Shop) -> None:
    channels, (one, two, three, _four) = Channels(shop.store), shop.images
    for image in (one, two, three):
        channels.promote("shop", "prod", image, by="ann")
    Revocations(shop.store).revoke(two, "ann", "slow")
    assert shop.reasons(3) == ("shop's channel prod points at it",)
    assert shop.reasons(1) == ("a rollback of the channel prod would use it",)
    assert shop.prune() == ["2"]
    assert shop.files() >= {f"revoked/{'2' * 64}/{BUILD}.json"}, (
        "a bake from the same inputs makes the same image, which a user revoked"
    )
    assert channels.rollback_image("shop", "prod", three.digest).digest == one.digest


def intent(image: str, origin: str, status: str) -> Intent:
    version = Version(image=origin, image_name="shop", launch="l", size=1)
    return Intent(fleet="shop-local", image=image, image_name="shop", launch="l", size=1, status=status, origin=version)


@pytest.mark.parametrize(
    ("status", "doing"), [("open", "an unfinished swap"), ("done", "the last swap"), ("failed", "the last swap")]
)
def test_images_of_the_last_swap_of_any_fleet_are_kept(shop: Shop, status: str, doing: str) -> None:
    ledger = Ledger(shop.store, "shop-local")
    ledger.last()
    ledger.save(intent(shop.images[1].digest, shop.images[0].digest, status))
    assert shop.reasons(2) == (f"{doing} of shop-local is to it",) and shop.reasons(1) == (
        f"{doing} of shop-local is from it",
    )
    assert shop.prune() == ["3"]


def test_what_a_fleet_ran_before_its_last_image_is_kept(shop: Shop) -> None:
    ledger, (one, two, *_others) = Ledger(shop.store, "shop-local"), shop.images
    ledger.last()
    ledger.close(intent(one.digest, one.digest, "done"), 1.0, {})
    ledger.close(replace(intent(two.digest, two.digest, "done"), serial=1), 2.0, {})
    assert shop.reasons(1) == ("a rollback of shop-local would use it",)


def test_an_image_that_an_instance_of_any_fleet_runs_is_kept(shop: Shop) -> None:
    shop.provider.compute.launch(
        [
            LaunchRequest(
                token="t",
                fleet="shop-other",
                slot=0,
                image=shop.images[0].digest,
                artifact=shop.images[0].artifact,
                launch="l",
                nonce="n",
            )
        ]
    )
    assert shop.reasons(1)[0].endswith("of shop-other runs it") and shop.prune() == ["2", "3"]


def test_an_image_that_a_machine_without_a_fleet_runs_from_is_kept(shop: Shop) -> None:
    folder = shop.machines / "shop-local" / "m1"
    folder.mkdir(parents=True)
    (folder / "machine.json").write_text(json.dumps({"disk": shop.images[1].artifact["path"]}))
    assert shop.reasons(2) == ("machine m1 of shop-local runs from its disk",) and shop.prune() == ["1", "3"]


def test_an_image_that_is_being_baked_is_kept(shop: Shop) -> None:
    with shop.store.lock(f"bake-{'2' * 12}", "bake shop"):
        assert shop.prune() == ["1", "3"]
    assert shop.prune() == ["2"]


def test_an_interrupted_run_is_resumed_and_incomplete_images_cannot_be_used(tmp_path: Path) -> None:
    kills = 0
    for at in itertools.count(1):
        folder = tmp_path / str(at)
        folder.mkdir()
        shop = Shop(folder)
        try:
            shop.prune(Steps(at))
            break
        except ControllerKilled:
            kills += 1
        for image in Catalogue(shop.store).list("shop"):
            if not Path(image.artifact["path"]).exists() or not shop.store.read_blob(f"{image.key}/manifest.json.gz"):
                with pytest.raises(ImageError, match="it is being removed"):
                    Channels(shop.store).promote("shop", "prod", image, by="ann")
                with pytest.raises(ImageError, match="let immutable.infra.image_prune finish"):
                    Revocations(shop.store).restore(image)
        shop.prune(rule=RetentionRule(4, 0.0))  # finishes the interrupted removal even though the rule keeps the images
        complete = {
            image.hex: image for image in Catalogue(shop.store).list("shop") if Path(image.artifact["path"]).exists()
        }
        assert set(shop.remaining()) == {digest[0] for digest in complete} and "4" in shop.remaining()
        assert shop.files() == {
            f"{image.key}/{name}"
            for image in complete.values()
            for name in ("disk.qcow2", "manifest.json.gz", "record.json")
        }
        shop.prune()
        assert shop.remaining() == ["4"] and not shop.store.list("revoked/")
    assert kills > 12


def test_an_image_that_is_taken_into_use_after_the_first_check_is_kept_and_usable(shop: Shop) -> None:
    ledger = Ledger(shop.store, "shop-local")
    ledger.last()
    guard = Steps(1, lambda: ledger.save(intent(shop.images[1].digest, shop.images[1].digest, "open")))
    assert shop.prune(guard) == ["1", "3"]
    assert Catalogue(shop.store).find("shop-2.0.0-222222222222").revoked is None


def test_a_mark_does_not_apply_to_an_image_that_was_baked_again(shop: Shop) -> None:
    with pytest.raises(ControllerKilled):
        shop.prune(Steps(4))  # all three are marked
    Catalogue(shop.store).add(replace(shop.images[0], created="2026-02-28T00:00:00+00:00"))
    assert shop.prune() == ["2", "3", "4"]
    assert Catalogue(shop.store).list()[0].revoked is None


def test_concurrent_runs_keep_an_image_that_was_baked_in_the_meantime(shop: Shop) -> None:
    def other() -> None:
        assert shop.prune() == ["1", "2"]  # the first run is at the third
        Catalogue(shop.store).add(replace(shop.images[1], created="2026-02-28T00:00:00+00:00"))

    shop.prune(Steps(7, other))
    assert shop.remaining() == ["2", "4"]


def test_a_disk_outside_the_store_stays_whatever_its_record_says(shop: Shop, tmp_path: Path) -> None:
    private = tmp_path / "private.txt"
    private.write_bytes(b"of the user")
    linked = shop.store.path("images/link")
    linked.symlink_to(private)
    for image, path in zip(shop.images[:2], (str(private), str(linked)), strict=True):
        Catalogue(shop.store).add(replace(image, artifact={"path": path}))
    verdicts = {verdict.image.version: verdict for verdict in shop.pruner().prune(ALL, "ann")}
    assert private.read_bytes() == b"of the user" and linked.is_symlink()
    for version, path in (("1.0.0", private), ("2.0.0", linked)):
        assert verdicts[version].kept and verdicts[version].reasons == (f"its disk {path} is not in this store",)
    assert not verdicts["3.0.0"].kept
    with pytest.raises(ProviderError, match="is not in this store, so it is not removed"):
        shop.provider.images.remove({"path": str(private)})
