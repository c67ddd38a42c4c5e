# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requests for the image of a channel and for the previous one, and what a failed swap rolls back to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError, ImageError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.files import file_sha256
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import (
    Base,
    Definition,
    FleetSpec,
    Provision,
    SecretRef,
    Target,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, HttpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.secrets import SecretFinder
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ledger import Ledger
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.prediction.predict import dry_run
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.prediction.services import simulated_services
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.requests import RequestBuilder
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.run import RunOptions
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.engine import Engine, FleetServices
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.observe import Observer
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import DISK_CHECKSUM, Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._images.channels import Channels
from ansible_collections.immutable.infra.plugins.plugin_utils._images.revocation import Revocations
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import SimulatedProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.world import Behavior
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore

BASE = Base("debian", "bookworm")
DEFINITION = Definition(
    path=Path("/d/immutable.yml"),
    service="shop",
    version="1",
    provision=Provision("p.yml"),
    verify=None,
    data=(),
    writable=(),
    shell="off",
    targets={},
    base=BASE,
)
TARGET = Target(
    name="local",
    provider="simulated",
    fleet=FleetSpec(size=3),
    health=Health(http=HttpProbe(8080)),
    base=BASE,
)


class Shop:
    """A store with two images, promoted one after the other, and a simulated fleet."""

    def __init__(self, folder: Path) -> None:
        self.store = FileStore(folder / "store")
        self.provider = SimulatedProvider()
        self.images = [self.promote(version) for version in ("1", "2")]
        self.lines: list[str] = []

    def promote(self, version: str) -> Image:
        image = Image(
            digest=f"sha256:{version * 64}",
            build="simulated",
            service="shop",
            version=version,
            created=f"2026-01-0{version}T00:00:00+00:00",
            artifact={},
            base={},
            inputs={},
            verified={"at": "2026-01-01"},
        )
        Catalogue(self.store).add(image)
        Channels(self.store).promote("shop", "prod", image, by="ann")
        return image

    def builder(self, **changes: object) -> RequestBuilder:
        return RequestBuilder(DEFINITION, replace(TARGET, **changes), self.store, SecretFinder())

    def services(self) -> FleetServices:
        services = simulated_services(self.provider, self.store, self.lines.append)
        return replace(services, revoked=Revocations(self.store).reasons)

    def run(self, request, **options: object) -> dict:
        return Engine(self.services()).run(request, RunOptions(**options))

    def versions(self) -> list[str]:
        return sorted(machine.instance.tags["version"] for machine in self.provider.world.machines.values())

    def settings(self) -> list[str]:
        return sorted({machine.instance.launch for machine in self.provider.world.machines.values()})


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_a_request_is_for_the_image_of_the_channel_or_a_named_one_of_its_history(shop):
    assert shop.builder().present("prod", None).intent.image == shop.images[1].digest
    assert shop.builder().present("prod", shop.images[0].name).intent.image == shop.images[0].digest
    with pytest.raises(ImageError, match="has no channel 'beta'"):
        shop.builder().present("beta", None)


OWNERS = {"uploads": "998:998"}
OTHERS = {"uploads": "997:998"}


@pytest.mark.parametrize(
    ("before", "after", "reown", "refused"),
    [
        pytest.param(OWNERS, OTHERS, False, True, id="changed"),
        pytest.param(OWNERS, OTHERS, True, False, id="taken over"),
        pytest.param(OWNERS, OWNERS, False, False, id="the same"),
        pytest.param({}, OTHERS, False, False, id="no record before"),
        pytest.param(OWNERS, {}, False, False, id="no record after"),
        pytest.param(OWNERS, {"index": "1:1"}, False, False, id="a new volume"),
    ],
)
def test_an_image_with_another_owner_of_the_data_is_refused_before_anything_stops(
    shop: Shop, before: dict[str, str], after: dict[str, str], reown: bool, refused: bool
) -> None:
    for image, owners, asked in zip(shop.images, (before, after), (False, reown), strict=True):
        inputs = {"owners": {"uploads": {"owner": "db", "reown": True}}} if asked else {}
        Catalogue(shop.store).add(replace(image, owners=owners, inputs=inputs))
    shop.run(shop.builder().present("prod", shop.images[0].name))
    if not refused:
        shop.run(shop.builder().present("prod", None))
        assert shop.versions() == ["2"] * 3
        shop.run(shop.builder().present("prod", shop.images[0].name))
    else:
        with pytest.raises(FleetError, match=r"998:998 \(uid:gid\) in shop-1-.* and 997:998 in shop-2-.*reown: true"):
            shop.builder().present("prod", None)
    assert shop.versions() == ["1"] * 3
    assert not shop.run(shop.builder().present("prod", shop.images[0].name))["changed"]


def test_a_rollback_is_never_refused_because_of_an_owner(shop: Shop) -> None:
    for image, owners in zip(shop.images, (OWNERS, OTHERS), strict=True):
        shop.run(shop.builder().present("prod", image.name))
        Catalogue(shop.store).add(replace(image, owners=owners))
    shop.run(shop.builder().rollback("prod"))
    assert shop.versions() == ["1"] * 3


def test_a_rollback_launches_the_previous_version_with_the_settings_it_had(shop):
    old = shop.builder(settings={"greeting": "old"})
    shop.run(old.present("prod", shop.images[0].name))
    launched = shop.settings()
    new = shop.builder(settings={"greeting": "new"})
    shop.run(new.present("prod", None))
    assert shop.versions() == ["2", "2", "2"]
    shop.run(new.rollback("prod"))
    assert shop.versions() == ["1", "1", "1"] and shop.settings() == launched
    assert not shop.run(new.rollback("prod"))["changed"]  # a second rollback goes no further back


def test_a_rollback_finds_the_old_settings_after_further_swaps(shop):
    first = shop.builder(settings={"greeting": "old"})
    shop.run(first.present("prod", shop.images[0].name))
    launched = shop.settings()
    for greeting in ("new", "newer", "newest"):
        shop.run(shop.builder(settings={"greeting": greeting}).present("prod", None))
    shop.run(shop.builder(settings={"greeting": "newest"}).rollback("prod"))
    assert shop.versions() == ["1", "1", "1"] and shop.settings() == launched


def test_a_rollback_skips_revoked_images(shop):
    shop.promote("3")
    Revocations(shop.store).revoke(shop.images[1], "ann", "it leaks")
    assert shop.builder().rollback("prod").intent.image == shop.images[0].digest
    Revocations(shop.store).revoke(shop.images[0], "ann", "so does this")
    with pytest.raises(
        ImageError,
        match="no image to roll back to .*it leaks.*so does this|no image to roll back to .*so does this.*it leaks",
    ):
        shop.builder().rollback("prod")


def test_a_rollback_goes_to_the_last_version_that_was_in_service(shop: Shop) -> None:
    """Not to one whose swaps failed, nor to one that was promoted and never launched."""
    shop.run(shop.builder().present("prod", shop.images[0].name))
    shop.provider.world.behaviors[shop.images[1].digest] = Behavior(gets_healthy=False)
    with pytest.raises(FleetError, match="was not healthy"):
        shop.run(shop.builder().present("prod", None))
    for version in ("3", "4"):
        shop.promote(version)
    shop.run(shop.builder().present("prod", None))
    assert shop.versions() == ["4"] * 3
    shop.run(shop.builder().rollback("prod"))
    assert shop.versions() == ["1"] * 3


def test_a_rollback_can_be_repeated_after_it_failed(shop: Shop) -> None:
    for image in shop.images:
        shop.run(shop.builder().present("prod", image.name))
    shop.provider.world.behaviors[shop.images[0].digest] = Behavior(gets_healthy=False)
    with pytest.raises(FleetError, match="was not healthy"):
        shop.run(shop.builder().rollback("prod"))
    assert shop.builder().rollback("prod").intent.image == shop.images[0].digest


def test_a_rollback_to_an_image_that_only_failed_is_refused(shop: Shop) -> None:
    shop.provider.world.behaviors[shop.images[0].digest] = Behavior(gets_healthy=False)
    with pytest.raises(FleetError, match="was not healthy"):
        shop.run(shop.builder().present("prod", shop.images[0].name))
    shop.run(shop.builder().present("prod", None))
    with pytest.raises(ImageError, match=r"no image to roll back to \(shop-1-1*: every swap to it failed\)"):
        shop.builder().rollback("prod")


def test_a_failed_swap_relaunches_what_it_removed(shop, monkeypatch):
    monkeypatch.setenv("SHOP_DB", "hunter2hunter2")
    secret = {"db": SecretRef("env", "SHOP_DB")}
    shop.run(shop.builder(secrets=secret).present("prod", shop.images[0].name))
    first = set(shop.provider.world.machines)

    def spoil(call: str) -> None:
        if call == "remove":  # the first old one is removed: from now on no new one gets healthy
            shop.provider.world.behaviors[shop.images[1].digest] = Behavior(gets_healthy=False)

    shop.provider.world.after = spoil
    with pytest.raises(FleetError, match="was not healthy"):
        shop.run(shop.builder(secrets=secret).present("prod", None))
    assert shop.versions() == ["1", "1", "1"]
    assert len(first & set(shop.provider.world.machines)) == 2
    recipes = [shop.store.read_blob(key) for key in shop.store.list("fleets/shop-local/recipes/")]
    assert recipes and not any(b"hunter2" in recipe for recipe in recipes)


@pytest.mark.parametrize(
    "spoil, why",
    [
        ("secret", "there is no environment variable SHOP_DB"),
        ("image", "the record of its image is missing"),
        ("recipe", "the store has no record of how it was launched"),
    ],
)
def test_a_request_says_in_advance_what_a_rollback_cannot_launch(shop, monkeypatch, spoil, why):
    monkeypatch.setenv("SHOP_DB", "hunter2hunter2")
    shop.run(shop.builder(secrets={"db": SecretRef("env", "SHOP_DB")}).present("prod", shop.images[0].name))
    if spoil == "secret":
        monkeypatch.delenv("SHOP_DB")
    elif spoil == "image":
        shop.store.delete(f"{shop.images[0].key}/record.json")
    else:
        for key in shop.store.list("fleets/shop-local/recipes/"):
            shop.store.delete(key)
    request = shop.builder().present("prod", None)
    assert why in request.intent.origin_problem and request.origin is None
    shop.provider.world.behaviors[shop.images[1].digest] = Behavior(gets_healthy=False)
    with pytest.raises(FleetError, match="was not healthy"):
        shop.run(request)
    assert shop.versions() == ["1", "1", "1"]  # no old instance was removed, so none had to be launched


def test_check_mode_predicts_with_measured_and_given_latencies(shop):
    shop.provider.world.latencies = replace(shop.provider.world.latencies, boot=77.0)
    shop.run(shop.builder().present("prod", shop.images[0].name))
    request = shop.builder().present("prod", None)
    observer = Observer(shop.provider, shop.provider.traffic("shop-local"), shop.provider.probe, "shop-local")
    shop.provider.world.calls.clear()
    result = dry_run(request, observer, shop.services(), {"drain": 11.0})
    assert result["changed"] and not shop.provider.world.calls
    assert (
        result["plan"]["latencies"]["boot"] == pytest.approx(77.0, abs=0.5)
        and result["plan"]["latencies"]["drain"] == 11.0
    )
    assert result["plan"]["lowest_in_service"] == 3 and result["plan"]["surge"] == 1 and result["plan"]["stops"] is None
    assert result["plan"]["duration"] > 3 * (77 + 11)
    assert any("expected: slot 0: launched" in line for line in shop.lines)


def test_check_mode_says_that_the_last_swap_to_the_image_failed(shop):
    shop.run(shop.builder().present("prod", shop.images[0].name))
    shop.provider.world.behaviors[shop.images[1].digest] = Behavior(gets_healthy=False)
    with pytest.raises(FleetError, match="was not healthy"):
        shop.run(shop.builder().present("prod", None))
    failed = Ledger(shop.store, "shop-local").records(1)[0]

    def planned(image: str | None):
        observer = Observer(shop.provider, shop.provider.traffic("shop-local"), shop.provider.probe, "shop-local")
        return dry_run(shop.builder().present("prod", image), observer, shop.services(), {})["plan"]

    assert planned(None)["last_failure"] == {
        "image_name": shop.images[1].name,
        "at": failed["ended"],
        "reason": failed["intent"]["reason"],
    }
    assert planned(shop.images[0].name)["last_failure"] is None


def test_check_mode_refuses_what_the_run_refuses(shop: Shop) -> None:
    shop.run(shop.builder().present("prod", shop.images[0].name))
    request = shop.builder().present("prod", None)
    shop.provider.probe = lambda instances: {each.id: "no connection within 2 s" for each in instances}
    observer = Observer(shop.provider, shop.provider.traffic("shop-local"), shop.provider.probe, "shop-local")
    with pytest.raises(FleetError, match="reaches none of them"):
        dry_run(request, observer, shop.services(), {})


def test_a_changed_disk_is_refused_before_anything_is_requested(shop: Shop, tmp_path: Path) -> None:
    disk = tmp_path / "disk.qcow2"
    disk.write_bytes(b"baked")
    for index, image in enumerate(shop.images):
        known = replace(image, artifact={"path": str(disk)}, checksums={DISK_CHECKSUM: file_sha256(disk)})
        Catalogue(shop.store).add(known)
        shop.images[index] = known
    shop.run(shop.builder().present("prod", None))
    before = shop.versions()
    disk.write_bytes(b"other")
    for request in (
        lambda: shop.builder().present("prod", None),
        lambda: shop.builder().present("prod", shop.images[0].name),
        lambda: shop.builder().rollback("prod"),
    ):
        with pytest.raises(ImageError, match="changed since it was baked"):
            request()
    assert shop.versions() == before


def test_a_rollback_does_not_launch_a_changed_disk(shop: Shop, tmp_path: Path) -> None:
    disk = tmp_path / "disk.qcow2"
    disk.write_bytes(b"baked")
    old = replace(shop.images[0], artifact={"path": str(disk)}, checksums={DISK_CHECKSUM: file_sha256(disk)})
    Catalogue(shop.store).add(old)
    shop.run(shop.builder().present("prod", old.name))
    disk.write_bytes(b"other")
    request = shop.builder().present("prod", None)
    assert request.origin is None and "changed since it was baked" in request.intent.origin_problem
