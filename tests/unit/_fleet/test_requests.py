# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a task asks for: the channel's image, what was promoted before it, and what a failed swap goes back to, with a store in a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError, ImageError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import (
    Base,
    Definition,
    FleetSpec,
    Health,
    HttpProbe,
    Provision,
    SecretRef,
    Target,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.secrets import Secrets
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.gates import OpenGates
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ports import NoGuard, NoLease
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.prediction.predict import foresee
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.requests import RequestBuilder
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.engine import (
    Engine,
    FleetServices,
    RunOptions,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.observe import Observer
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._images.channels import Channels
from ansible_collections.immutable.infra.plugins.plugin_utils._images.revocation import Revocations
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.clock import event_driven_pace
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.simulated.provider import (
    Behaviour,
    SimulatedProvider,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore

BASE = Base("debian", "bookworm")
DEFINITION = Definition(Path("/d/immutable.yml"), "shop", "1", Provision("p.yml"), None, (), (), "off", {}, BASE)
TARGET = Target("local", "simulated", FleetSpec(size=3), Health(http=HttpProbe(8080)), BASE)


class House:
    """A store with three images promoted one after the other, and a simulated fleet."""

    def __init__(self, folder: Path) -> None:
        self.store = FileStore(folder / "store")
        self.provider = SimulatedProvider()
        self.images = [self.promote(version) for version in ("1", "2")]
        self.lines: list[str] = []

    def promote(self, version: str) -> Image:
        image = Image(
            f"sha256:{version * 64}",
            "simulated",
            "shop",
            version,
            f"2026-01-0{version}T00:00:00+00:00",
            {},
            {},
            {},
            verified={"at": "then"},
        )
        Catalogue(self.store).add(image)
        Channels(self.store).promote("shop", "prod", image, "ann")
        return image

    def asker(self, **changes: object) -> RequestBuilder:
        return RequestBuilder(DEFINITION, replace(TARGET, **changes), self.store, Secrets())

    def means(self) -> FleetServices:
        revoked = Revocations(self.store).reasons
        return FleetServices(
            provider=self.provider,
            store=self.store,
            prober=self.provider.probe,
            guard=NoGuard(),
            lease=NoLease(),
            gates=OpenGates(),
            report=self.lines.append,
            revoked=revoked,
            pace=event_driven_pace,
        )

    def run(self, request, **how: object) -> dict:
        return Engine(self.means()).run(request, RunOptions(**how))

    def versions(self) -> list[str]:
        return sorted(machine.instance.tags["version"] for machine in self.provider.world.machines.values())

    def settings(self) -> list[str]:
        return sorted({machine.instance.launch for machine in self.provider.world.machines.values()})


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_the_channels_image_is_asked_for_and_one_of_its_history_by_name(house):
    assert house.asker().present("prod", None).intent.image == house.images[1].digest
    assert house.asker().present("prod", house.images[0].name).intent.image == house.images[0].digest
    with pytest.raises(ImageError, match="has no channel 'beta'"):
        house.asker().present("beta", None)


def test_a_rollback_launches_the_version_before_with_its_settings_of_then(house):
    old = house.asker(settings={"greeting": "old"})
    house.run(old.present("prod", house.images[0].name))
    launched = house.settings()
    new = house.asker(settings={"greeting": "new"})
    house.run(new.present("prod", None))
    assert house.versions() == ["2", "2", "2"]
    house.run(new.rollback("prod"))
    assert house.versions() == ["1", "1", "1"] and house.settings() == launched
    assert not house.run(new.rollback("prod"))["changed"]  # asked again, it goes no further back


def test_a_rollback_knows_the_settings_of_then_after_further_swaps(house):
    first = house.asker(settings={"greeting": "old"})
    house.run(first.present("prod", house.images[0].name))
    launched = house.settings()
    for greeting in ("new", "newer", "newest"):
        house.run(house.asker(settings={"greeting": greeting}).present("prod", None))
    house.run(house.asker(settings={"greeting": "newest"}).rollback("prod"))
    assert house.versions() == ["1", "1", "1"] and house.settings() == launched


def test_a_rollback_passes_over_what_is_revoked(house):
    house.promote("3")
    Revocations(house.store).revoke(house.images[1], "ann", "it leaks")
    assert house.asker().rollback("prod").intent.image == house.images[0].digest
    Revocations(house.store).revoke(house.images[0], "ann", "so does this")
    with pytest.raises(
        ImageError,
        match="no image to go back to .*it leaks.*so does this|no image to go back to .*so does this.*it leaks",
    ):
        house.asker().rollback("prod")


def test_a_failed_swap_launches_what_it_removed_again(house, monkeypatch):
    monkeypatch.setenv("SHOP_DB", "hunter2hunter2")
    secret = {"db": SecretRef("env", "SHOP_DB")}
    house.run(house.asker(secrets=secret).present("prod", house.images[0].name))
    first = set(house.provider.world.machines)

    def spoil(call: str) -> None:
        if call == "remove":  # the first old one goes: from now on no new one gets well
            house.provider.world.behaviours[house.images[1].digest] = Behaviour(gets_healthy=False)

    house.provider.world.after = spoil
    with pytest.raises(FleetError, match="was not healthy"):
        house.run(house.asker(secrets=secret).present("prod", None))
    assert house.versions() == ["1", "1", "1"]
    assert len(first & set(house.provider.world.machines)) == 2
    recipes = [house.store.read_blob(key) for key in house.store.list("fleets/shop-local/recipes/")]
    assert recipes and not any(b"hunter2" in recipe for recipe in recipes)


@pytest.mark.parametrize(
    "spoil, why",
    [
        ("secret", "there is no environment variable SHOP_DB"),
        ("image", "its record is gone"),
        ("recipe", "does not know how"),
    ],
)
def test_what_cannot_be_launched_again_is_said_before_and_stops_the_way_back(house, monkeypatch, spoil, why):
    monkeypatch.setenv("SHOP_DB", "hunter2hunter2")
    house.run(house.asker(secrets={"db": SecretRef("env", "SHOP_DB")}).present("prod", house.images[0].name))
    if spoil == "secret":
        monkeypatch.delenv("SHOP_DB")
    elif spoil == "image":
        house.store.delete(f"{house.images[0].key}/record.json")
    else:
        for key in house.store.list("fleets/shop-local/recipes/"):
            house.store.delete(key)
    request = house.asker().present("prod", None)
    assert why in request.intent.origin_problem and request.origin is None
    house.provider.world.behaviours[house.images[1].digest] = Behaviour(gets_healthy=False)
    with pytest.raises(FleetError, match="was not healthy"):
        house.run(request)
    assert house.versions() == ["1", "1", "1"]  # nothing of it had gone, so nothing had to be launched


def test_check_mode_predicts_with_what_swaps_took_and_with_what_is_given(house):
    house.provider.world.latencies = replace(house.provider.world.latencies, boot=77.0)
    house.run(house.asker().present("prod", house.images[0].name))
    request = house.asker().present("prod", None)
    observer = Observer(house.provider, house.provider.traffic("shop-local"), house.provider.probe, "shop-local")
    house.provider.world.calls.clear()
    told = foresee(request, observer, house.means(), {"drain": 11.0})
    assert told["changed"] and not house.provider.world.calls
    assert (
        told["plan"]["latencies"]["boot"] == pytest.approx(77.0, abs=0.5) and told["plan"]["latencies"]["drain"] == 11.0
    )
    assert told["plan"]["lowest_in_service"] == 3 and told["plan"]["surge"] == 1 and told["plan"]["stops"] is None
    assert told["plan"]["duration"] > 3 * (77 + 11)
    assert any("would be  slot 0: launched" in line for line in house.lines)
