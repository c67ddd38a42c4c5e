# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings of a fleet whose instances Auto Scaling replaces, and mistakes in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import AutoScaling

GOOD = """\
schema: 1
service: shop
version: "1.0"
image: {base: {ami: ami-0123456789abcdef0, python: "3.11"}, provision: {playbook: site.yml}}
health: {http: {port: 8080}}
targets:
  prod:
    provider: aws
    network: {subnets: {eu-west-1a: subnet-01234567}}
    fleet:
      engine: autoscaling
      autoscaling: {group: shop}
      alarm: {command: ["true"]}
"""
USED_KEYS = "autoscaling, alarm, before_swap, after_swap, playbook_timeout"
ALL = """{group: shop, min_healthy: 90, max_healthy: 120, warmup: 2m, checkpoints: [20, 100], checkpoint_delay: 10m,
        bake_time: 5m, alarms: [errors, latency], auto_rollback: false, skip_matching: false, protected: refresh,
        standby: terminate, deadline: 2h, drop_user_data: true}"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site.yml").write_text("[]\n", encoding="utf-8")
    return tmp_path


def load(folder: Path, *changes: tuple[str, str]):
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "immutable.yml").write_text(text, encoding="utf-8")
    return load_definition(folder)


def test_only_the_group_is_required(folder: Path) -> None:
    fleet = load(folder).target("prod").fleet
    assert fleet.engine == "autoscaling" and fleet.alarm is not None
    assert fleet.autoscaling == AutoScaling("shop")


def test_every_setting_of_a_group_is_read(folder: Path) -> None:
    settings = load(folder, ("{group: shop}", ALL)).target("prod").fleet.autoscaling
    assert settings == AutoScaling(
        "shop",
        min_healthy=90,
        max_healthy=120,
        warmup=120.0,
        checkpoints=(20, 100),
        checkpoint_delay=600.0,
        bake_time=300.0,
        alarms=("errors", "latency"),
        auto_rollback=False,
        skip_matching=False,
        protected="refresh",
        standby="terminate",
        deadline=7200.0,
        drop_user_data=True,
    )


def test_a_group_has_settings_and_secrets(folder: Path) -> None:
    more = "    settings: {color: red}\n    secrets: {token: {ssm: /shop/token}}\n    fleet:"
    target = load(folder, ("    fleet:", more)).target("prod")
    assert target.settings == {"color": "red"} and target.secrets["token"].name == "/shop/token"


def test_the_engine_swap_is_the_default(folder: Path) -> None:
    group = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop/0123456789abcdef"
    own = ("      engine: autoscaling\n      autoscaling: {group: shop}\n", "      strategy: rolling\n")
    fleet = (
        load(folder, own, ("    fleet:", f'    traffic: {{target_groups: ["{group}"]}}\n    fleet:'))
        .target("prod")
        .fleet
    )
    assert (fleet.engine, fleet.autoscaling) == ("swap", None)


def test_a_target_does_not_inherit_keys_that_its_engine_ignores(folder: Path) -> None:
    other = "fleet: {size: 3, surge: 2, deadline: 1h}\ntargets:\n  local: {provider: qemu, base: {debian: bookworm}}"
    definition = load(folder, ("targets:", other))
    assert definition.target("local").fleet.size == 3
    assert definition.target("prod").fleet.deadline is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "engine: autoscaling",
            "engine: auto",
            'targets.prod.fleet.engine: "auto" is not a supported engine (allowed: swap, autoscaling)',
        ),
        (
            "engine: autoscaling\n",
            "engine: swap\n",
            "autoscaling: the engine is swap on target prod, which ignores this key; remove it or set engine: "
            "autoscaling",
        ),
        (
            "      autoscaling: {group: shop}\n",
            "",
            "the key is missing on target prod; engine: autoscaling requires it (allowed: a mapping with group)",
        ),
        ("{group: shop}", "{min_healthy: 90}", "autoscaling.group: the key is missing"),
        (
            "      alarm:",
            "      strategy: rolling\n      alarm:",
            f"ignores this key; remove it (allowed: {USED_KEYS})",
        ),
        (
            "      alarm:",
            "      strategy: reimage\n      alarm:",
            "Auto Scaling deletes a replaced root volume, so a bad image could not go back; remove this key",
        ),
        (
            "      alarm:",
            "      surge: 2\n      alarm:",
            "fleet.surge: the engine is autoscaling on target prod, which ignores this key",
        ),
        (
            "      alarm:",
            "      size: 2\n      alarm:",
            "fleet.size: the engine is autoscaling on target prod, which ignores this key",
        ),
        (
            "targets:",
            "fleet: {windows: []}\ntargets:",
            "fleet.windows: the engine is autoscaling, which ignores this key",
        ),
        (
            "targets:",
            "data: [{name: a, size: 1G, mount: /srv}]\ntargets:",
            "the slots of target prod own data volumes, which Auto Scaling does not move",
        ),
        (
            "provider: aws\n",
            "provider: qemu\n",
            "target prod uses the provider qemu, but only aws has Auto Scaling (allowed: swap)",
        ),
        (
            "    fleet:",
            "    secrets: {token: {env: TOKEN}}\n    fleet:",
            "targets.prod.secrets.token.env: the provider aws does not support secrets from env (allowed: ssm)",
        ),
        (
            "    fleet:",
            "    zones: [eu-west-1a]\n    fleet:",
            "targets.prod.zones: with engine: autoscaling the group and its launch template define this; remove "
            "this key",
        ),
        (
            "{group: shop}",
            "{group: shop, max_healthy: 100}",
            "max_healthy: with min_healthy 100 no instance could ever be replaced",
        ),
        (
            "{group: shop}",
            "{group: shop, min_healthy: 50, max_healthy: 200}",
            "from 50 to 200 percent is too wide for Auto Scaling (allowed: at most 100 between",
        ),
        ("{group: shop}", "{group: shop, min_healthy: 0}", "from 0 to 110 percent is too wide for Auto Scaling"),
        (
            "{group: shop}",
            "{group: shop, checkpoint_delay: 5m}",
            "there are no checkpoints to wait at; remove this key or set checkpoints",
        ),
        (
            "{group: shop}",
            "{group: shop, checkpoints: [50]}",
            "[50] would not replace all instances in increasing steps",
        ),
        (
            "{group: shop}",
            "{group: shop, checkpoints: [50, 20, 100]}",
            "a list of increasing integers, the last of which is 100",
        ),
        (
            "{group: shop}",
            "{group: shop, bake_time: 3d}",
            '"3d" is longer than Auto Scaling can wait (allowed: at most 2d)',
        ),
        ("{group: shop}", "{group: shop, bake_time: 172801}", "172801 is not a duration that Auto Scaling can wait"),
        (
            "{group: shop}",
            "{group: shop, protected: replace}",
            '"replace" is not a supported policy (allowed: wait, ignore, refresh)',
        ),
        ("{group: shop}", "{group: shop, alarms: [a, a]}", "does not name one to ten different alarms"),
    ],
)
def test_a_mistake_is_reported(folder: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(DefinitionError) as error:
        load(folder, (old, new))
    assert message in error.value.message
