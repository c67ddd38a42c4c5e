# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a valid definition is loaded."""

from __future__ import annotations

import json

import jsonschema
import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.messages import SCHEMA
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import (
    Base,
    DataVolume,
    FleetSpec,
    Metric,
    SecretRef,
    Simulation,
    Stage,
    Vaulted,
    Window,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import TcpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.summary import summary_of, target_summary

FULL = """\
schema: 1
service: shop
version: "1.10"
image:
  base: {debian: trixie}
  provision:
    playbook: provision.yml
    requirements: requirements.yml
    vars: {shop_port: 8080, shop_debug: off, shop_released: 2024-01-02, shop_token: !vault "$ANSIBLE_VAULT;1.1;AES256"}
    vars_files: [more.yml]
    ansible_core: "==2.19.4"
data: [{name: uploads, size: 10G, mount: /var/lib/shop, type: raw}]
writable: [/tmp]
seal: {shell: off}
health: {http: {port: 8080, path: /healthz, status: [200, 204]}, timeout: 1, deadline: 1m30s}
fleet: {size: 3, surge: 50%, drain: {timeout: 0}, stop_timeout: 2m}
targets:
  local: &local
    provider: qemu
    machine: {memory: 1G, cpus: 2}
    settings: {mail: me@example.com}
    secrets: {password: {env: SHOP_PASSWORD}, token: {variable: shop_token}}
  other:
    <<: *local
    base: {qcow2: base.qcow2, python: "3.9"}
    machine: {memory: 512M}
    build: {timeout: 2h}
    traffic: {port: 8000}
    health: {tcp: {port: 22, expect: "SSH-2.0"}}
    fleet: {size: 1}
"""


@pytest.fixture
def definition(tmp_path):
    for name in ("provision.yml", "requirements.yml", "more.yml", "base.qcow2"):
        (tmp_path / name).write_text("x")
    (tmp_path / "immutable.yml").write_text(FULL)
    return load_definition(tmp_path)


def test_values_are_loaded_with_their_units_converted(definition):
    assert (definition.service, definition.version, definition.shell, definition.writable) == (
        "shop",
        "1.10",
        "off",
        ("/tmp",),
    )
    assert definition.data == (DataVolume("uploads", 10 * 1024**3, "/var/lib/shop", "raw"),)
    assert set(summary_of(definition, definition.target("local"))["data"][0]) == {"name", "size", "mount", "type"}
    local = definition.target("local")
    assert local.base == Base("debian", "trixie", None, "3.13")
    assert (local.fleet.size, local.fleet.surge, local.fleet.drain_timeout, local.fleet.stop_timeout) == (
        3,
        "50%",
        0,
        120,
    )
    assert (local.health.http.status, local.health.timeout, local.health.boot_deadline, local.health.deadline) == (
        (200, 204),
        1,
        300,
        90,
    )
    assert (local.machine.memory, local.machine.cpus) == (1024**3, 2)
    assert local.secrets == {
        "password": SecretRef("env", "SHOP_PASSWORD"),
        "token": SecretRef("variable", "shop_token"),
    }


def test_variables_keep_their_types_and_ciphertext(definition):
    variables = dict(definition.provision.vars)
    assert variables.pop("shop_token") == Vaulted("$ANSIBLE_VAULT;1.1;AES256")
    assert variables == {"shop_port": 8080, "shop_debug": "off", "shop_released": "2024-01-02"}


def test_a_target_overrides_single_keys_and_inherits_the_others(definition):
    other = definition.target("other")
    assert other.settings == definition.target("local").settings
    assert other.base == Base("qcow2", "base.qcow2", None, "3.9")
    assert (other.fleet.size, other.fleet.surge) == (1, "50%")
    assert other.health.http.port == 8080 and other.health.tcp == TcpProbe(22, expect=b"SSH-2.0".hex())
    assert (other.machine.memory, other.machine.cpus, other.build.timeout, other.traffic.port) == (
        512 * 1024**2,
        1,
        7200,
        8000,
    )


SWAPPED = """\
schema: 1
service: shop
version: "1"
image: {base: {debian: trixie}, provision: {playbook: provision.yml}}
health: {http: {port: 80}}
fleet:
  size: 20
  strategy: canary
  unavailable: 1
  count_draining: false
  canary:
    - instances: 1
      soak: 5m
      metric: {url: "http://m/q", path: "data[0].rate", most: 0.01, every: 1m, timeout: 1s}
      check: check.yml
      approval: true
    - {instances: "25%", soak: 90, metric: {command: [./errors.sh, a b], least: 1, most: 2}}
  deadline: 1h
  max_age: 30d
  protected: ignore
  standby: replace
  windows: [{days: [tue, mon], from: "22:00", to: "05:30", timezone: Europe/Berlin}, {from: "00:00", to: "06:00"}]
  alarm: {command: [./alarm.sh]}
  before_swap: migrate.yml
  after_swap: announce.yml
  playbook_timeout: 10m
targets:
  prod:
    provider: simulated
    zones: [b, a]
    simulation: {boot: 1m, health: 1, check: 0, drain: 4, stop: 6s, spread: 0.2, fail_boot: 1, seed: 7}
  blue:
    provider: simulated
    fleet: {strategy: blue_green, keep_old: 10m, alarm: {url: "https://m", most: 3}, windows: []}
  once: {provider: simulated, fleet: {strategy: recreate, hot: true, max_age: 1d}}
"""


@pytest.fixture
def swapped(tmp_path):
    for name in ("provision.yml", "check.yml", "migrate.yml", "announce.yml", "errors.sh", "alarm.sh"):
        (tmp_path / name).touch(mode=0o755)
    (tmp_path / "immutable.yml").write_text(SWAPPED)
    return load_definition(tmp_path)


def test_every_setting_of_a_fleet_is_loaded(swapped):
    assert swapped.target("prod").fleet == FleetSpec(
        size=20,
        strategy="canary",
        unavailable=1,
        count_draining=False,
        canary=(
            Stage(
                instances=1,
                soak=300.0,
                metric=Metric(url="http://m/q", path="data[0].rate", most=0.01, every=60.0, timeout=1.0),
                check="check.yml",
                approval=True,
            ),
            Stage("25%", 90.0, Metric(command=("./errors.sh", "a b"), least=1.0, most=2.0)),
        ),
        deadline=3600.0,
        max_age=30 * 86400.0,
        protected="ignore",
        standby="replace",
        windows=(Window(1320, 330, (0, 1), "Europe/Berlin"), Window(0, 360)),
        alarm=Metric(command=("./alarm.sh",)),
        before_swap="migrate.yml",
        after_swap="announce.yml",
        playbook_timeout=600.0,
    )


def test_a_target_with_another_strategy_inherits_only_the_keys_that_it_uses(swapped):
    blue, once = swapped.target("blue").fleet, swapped.target("once").fleet
    assert (blue.canary, blue.keep_old, blue.unavailable, blue.before_swap, blue.windows) == (
        (),
        600,
        1,
        "migrate.yml",
        (),
    )
    assert blue.alarm == Metric(url="https://m", most=3.0)
    assert (once.canary, once.hot, once.unavailable, once.max_age, once.deadline) == ((), True, None, 86400, 3600)


def test_zones_and_a_simulation_are_loaded(swapped):
    prod = swapped.target("prod")
    assert prod.zones == ("b", "a")
    assert prod.simulation == Simulation(boot=60, health=1, check=0, drain=4, stop=6, spread=0.2, fail_boot=1, seed=7)
    assert swapped.target("blue").simulation == Simulation()


def test_the_files_of_all_fleets_are_listed_once(swapped):
    assert sorted(swapped.swap_files) == ["./alarm.sh", "./errors.sh", "announce.yml", "check.yml", "migrate.yml"]


def test_a_summary_has_lists_instead_of_tuples(swapped):
    summary = target_summary(swapped.target("prod"))
    assert json.loads(json.dumps(summary)) == summary
    assert summary["fleet"]["canary"][1]["metric"]["command"] == ["./errors.sh", "a b"]
    assert summary["zones"] == ["b", "a"]


def test_a_summary_is_json_without_ciphertext(definition):
    target = definition.target("other")
    text = json.dumps([summary_of(definition, target), target_summary(target)])
    assert "ANSIBLE_VAULT" not in text
    assert summary_of(definition, target)["base"]["kind"] == "qcow2"


def test_the_schema_is_valid_and_describes_every_key():
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] and schema["title"]
    objects = [schema, *schema["$defs"].values()]
    while objects:
        properties = objects.pop().get("properties", {})
        for name, each in properties.items():
            assert each.get("description"), name
            objects.append(each)


@pytest.mark.parametrize("owner", ["db", "db:backup", "_apt:www-data"])
def test_a_volume_may_name_its_owner(definition, tmp_path, owner):
    (tmp_path / "immutable.yml").write_text(FULL.replace("type: raw}", f"owner: '{owner}', reown: true}}"))
    loaded = load_definition(tmp_path)
    assert (loaded.data[0].owner, loaded.data[0].reown) == (owner, True)
    summary = summary_of(loaded, loaded.target("local"))["data"][0]
    assert (summary["owner"], summary["reown"]) == (owner, True)


def test_nothing_on_a_volume_is_executed_if_it_says_so(definition, tmp_path):
    loaded = load_definition(tmp_path)
    assert loaded.data[0].noexec is False
    assert "noexec" not in summary_of(loaded, loaded.target("local"))["data"][0]
    (tmp_path / "immutable.yml").write_text(FULL.replace("type: raw}", "noexec: true}"))
    loaded = load_definition(tmp_path)
    assert summary_of(loaded, loaded.target("local"))["data"][0]["noexec"] is loaded.data[0].noexec is True
    (tmp_path / "immutable.yml").write_text(FULL.replace("type: raw}", "noexec: 'yes'}"))
    with pytest.raises(DefinitionError, match=r"data\[0\].noexec: .*allowed: true or false"):
        load_definition(tmp_path)


@pytest.mark.parametrize("owner", ["1000", "db:", ":db", "db backup", "a:b:c", "$(id)"])
def test_an_owner_is_named_and_not_numbered(definition, tmp_path, owner):
    (tmp_path / "immutable.yml").write_text(FULL.replace("type: raw}", f"owner: '{owner}'}}"))
    with pytest.raises(DefinitionError, match="is not a valid owner"):
        load_definition(tmp_path)
