# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import (
    Base,
    DataVolume,
    Definition,
    FleetSpec,
    Metric,
    Provision,
    SecretRef,
    Stage,
    Target,
    Window,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import (
    Health,
    HttpProbe,
    Https,
    TcpProbe,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.secrets import SecretFinder
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ledger import Ledger
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import Intent
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.recipes import payload_of, swap_request
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import MemoryStore
from ansible_collections.immutable.infra.tests.support.certificates import issue

BASE = Base("debian", "bookworm")
DATA = Definition(
    path=Path("/d/immutable.yml"),
    service="shop",
    version="1",
    provision=Provision("p.yml"),
    verify=None,
    data=(),
    writable=(),
    shell="restricted",
    targets={},
    base=BASE,
)
IMAGE = Image(
    digest="sha256:" + "a" * 64,
    build="qemu-x86_64",
    service="shop",
    version="1",
    created="2026-01-01T00:00:00+00:00",
    artifact={"path": "disk.qcow2"},
    base={},
    inputs={},
)


def target(**changes) -> Target:
    return Target(
        **{
            "name": "local",
            "provider": "simulated",
            "fleet": FleetSpec(size=5),
            "health": Health(http=HttpProbe(8080)),
            "base": BASE,
            **changes,
        }
    )


def request(spec: Target, data: bool = False, resolve=lambda references: {}):
    volumes = (DataVolume("uploads", 1024, "/data"),) if data else ()
    definition = replace(DATA, data=volumes, targets={"local": spec})
    return swap_request(definition, spec, IMAGE, key=b"k" * 32, resolve=resolve, authorized_keys=("ssh-ed25519 A",))


def swap(definition: Definition) -> Intent:
    return swap_request(
        definition, target(), IMAGE, key=b"k" * 32, resolve=lambda references: {}, authorized_keys=()
    ).intent


def test_secrets_come_from_the_environment_and_from_variables_and_are_never_shown(monkeypatch):
    monkeypatch.setenv("SHOP_DB", "hunter2hunter2")
    spec = target(secrets={"db": SecretRef("env", "SHOP_DB"), "mail": SecretRef("variable", "mail_password")})
    resolve = SecretFinder({"mail_password": "{{ x }}"}, lambda value: value.replace("{{ x }}", "opensesame"))
    made = request(spec, resolve=resolve)
    assert made.payload.secrets == {"db": "hunter2hunter2", "mail": "opensesame"}
    for shown in (repr(made), str(made.intent.as_dict()), json.dumps(made.recipe)):
        assert "hunter2" not in shown and "opensesame" not in shown


def test_a_stored_recipe_launches_the_same_instances_again(monkeypatch):
    monkeypatch.setenv("SHOP_DB", "hunter2hunter2")
    spec = target(secrets={"db": SecretRef("env", "SHOP_DB")}, settings={"a": 1})
    made = request(spec, data=True, resolve=SecretFinder())
    assert payload_of(json.loads(json.dumps(made.recipe)), IMAGE, SecretFinder()) == made.payload


def test_a_secret_that_the_host_fetches_is_passed_by_name_and_another_version_is_another_launch():
    one, other = (
        request(
            target(secrets={"db": SecretRef("ssm", "/shop/db")}),
            resolve=SecretFinder(pin=lambda names, at=at: {name: f"{name}:{at}" for name in names}),
        )
        for at in (1, 2)
    )
    assert (one.payload.secrets, one.payload.secret_refs) == ({}, {"db": "/shop/db:1"})
    assert one.intent.launch != other.intent.launch


def test_every_missing_secret_is_named():
    spec = target(secrets={"db": SecretRef("env", "NOT_SET_ANYWHERE"), "mail": SecretRef("variable", "nor_this")})
    with pytest.raises(FleetError) as caught:
        SecretFinder()(spec.secrets)
    assert caught.value.message == (
        "secrets are missing: db (there is no environment variable NOT_SET_ANYWHERE), "
        "mail (there is no Ansible variable nor_this)"
    )


def test_every_probed_port_is_requested_once():
    health = Health(http=HttpProbe(8080), tcp=TcpProbe(5432))
    assert request(target(health=health)).payload.ports == (8080, 5432, 22)
    assert request(target(health=Health(http=HttpProbe(80), tcp=TcpProbe(80)))).payload.ports == (80, 22)


@pytest.mark.parametrize("surge, count", [(2, 2), ("25%", 2), ("1%", 1)])
def test_a_percentage_of_surge_is_rounded_up(surge, count):
    assert request(target(fleet=FleetSpec(size=5, surge=surge))).intent.surge == count


@pytest.mark.parametrize(
    "data, unavailable, count", [(False, None, 0), (True, None, 1), (False, "50%", 2), (True, 2, 2)]
)
def test_unavailable_is_0_or_1_with_data_and_a_percentage_is_rounded_down(data, unavailable, count):
    assert request(target(fleet=FleetSpec(size=5, unavailable=unavailable)), data).intent.unavailable == count


def test_0_unavailable_with_data_is_refused():
    with pytest.raises(FleetError, match="a volume cannot be in two places"):
        request(target(fleet=FleetSpec(size=3, unavailable=0)), data=True)


def test_settings_and_secrets_change_the_fingerprint_and_limits_do_not():
    one = request(target()).intent
    assert request(target(settings={"a": 1})).intent.launch != one.launch
    secret = target(secrets={"db": SecretRef("env", "SHOP_DB")})
    assert (
        len(
            {
                one.launch,
                *(
                    request(secret, resolve=lambda _references, value=value: {"db": value}).intent.launch
                    for value in ("x", "y")
                ),
            }
        )
        == 3
    )
    assert request(target(fleet=FleetSpec(size=2, drain_timeout=1.0))).intent.launch == one.launch


def test_a_volume_that_must_grow_is_a_reason_to_swap():
    small, large = (replace(DATA, data=(DataVolume("uploads", size, "/data"),)) for size in (1024, 2048))
    assert swap(small).launch != swap(large).launch


@pytest.mark.parametrize(
    "fleet, surge, floor",
    [
        (FleetSpec(size=5, strategy="blue_green"), 5, 5),
        (FleetSpec(size=5, strategy="recreate"), 0, 0),
        (FleetSpec(size=5, strategy="recreate", hot=True), 5, 0),
        (FleetSpec(size=5, strategy="canary", canary=(Stage(1),)), 1, 5),
    ],
)
def test_each_strategy_has_its_own_surge_and_floor(fleet, surge, floor):
    intent = request(target(fleet=fleet)).intent
    assert (intent.surge, intent.floor) == (surge, floor)


def test_an_intent_survives_the_store():
    metric = Metric(command=("./rate", "now"), path="a.b", most=1.0)
    stages = (Stage("10%", 60.0, metric, check="check.yml", approval=True), Stage(2))
    windows = (Window(60, 120, (0, 4), "Europe/Berlin"),)
    spec = FleetSpec(
        size=5, strategy="canary", canary=stages, windows=windows, alarm=metric, before_swap="migrate.yml", max_age=60.0
    )
    intent = request(target(fleet=spec, zones=("a", "b")), data=True).intent
    intent = replace(
        intent.begin_rollback("r", "c", ("words",)),
        origin=intent.target,
        retries=((1, 2),),
        restarted=("x",),
        passed=("stage 1",),
    )
    assert Intent.from_dict(json.loads(json.dumps(intent.as_dict()))) == intent
    assert intent.stages[0].instances == 1


def test_a_recipe_keeps_the_cas_that_its_hosts_are_verified_by():
    """They are neither in a tag nor in the fingerprint of the launch, and a recipe without CAs stays as it was."""
    plain = request(target())
    https = Https("shop.example.com", issue("Example CA", ca=True).pem)
    secured = request(target(health=Health(http=HttpProbe(8080, https=https))))
    assert secured.intent.launch == plain.intent.launch
    assert set(secured.recipe) - set(plain.recipe) == {"authorities"}
    assert https.ca not in secured.recipe["tags"]["health"] and https.fingerprint in secured.recipe["tags"]["health"]
    ledger = Ledger(MemoryStore(), "shop-local", SimpleNamespace(check=lambda: None))
    ledger.keep_recipe(secured.intent.launch, secured.recipe)
    assert ledger.authorities(secured.intent.launch) == https.ca
    ledger.keep_recipe("ab", plain.recipe)
    assert [ledger.authorities(launch) for launch in ("ab", "cd", "", "../intent", "A")] == [""] * 5
