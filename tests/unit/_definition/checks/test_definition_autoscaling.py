# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a fleet may say whose instances Auto Scaling replaces, and what it says in vain."""

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
GOES_BY = "autoscaling, alarm, before_swap, after_swap, playbook_timeout"
ALL = """{group: shop, min_healthy: 90, max_healthy: 120, warmup: 2m, checkpoints: [20, 100], checkpoint_delay: 10m, bake_time: 5m,
        alarms: [errors, latency], auto_rollback: false, skip_matching: false, protected: refresh, standby: terminate, deadline: 2h}"""


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


def test_only_the_group_has_to_be_named(folder: Path) -> None:
    fleet = load(folder).target("prod").fleet
    assert fleet.engine == "autoscaling" and fleet.alarm is not None
    assert fleet.autoscaling == AutoScaling("shop")


def test_all_that_a_group_says_is_read(folder: Path) -> None:
    told = load(folder, ("{group: shop}", ALL)).target("prod").fleet.autoscaling
    assert told == AutoScaling(
        "shop",
        90,
        120,
        120.0,
        (20, 100),
        600.0,
        300.0,
        ("errors", "latency"),
        False,
        False,
        "refresh",
        "terminate",
        7200.0,
    )


def test_the_other_engine_is_the_default(folder: Path) -> None:
    group = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop/0123456789abcdef"
    own = ("      engine: autoscaling\n      autoscaling: {group: shop}\n", "      strategy: rolling\n")
    fleet = (
        load(folder, own, ("    fleet:", f'    traffic: {{target_groups: ["{group}"]}}\n    fleet:'))
        .target("prod")
        .fleet
    )
    assert (fleet.engine, fleet.autoscaling) == ("swap", None)


def test_a_target_takes_nothing_over_that_its_engine_ignores(folder: Path) -> None:
    other = "fleet: {size: 3, surge: 2, deadline: 1h}\ntargets:\n  local: {provider: qemu, base: {debian: bookworm}}"
    definition = load(folder, ("targets:", other))
    assert definition.target("local").fleet.size == 3
    assert definition.target("prod").fleet.deadline is None


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "engine: autoscaling",
            "engine: auto",
            'targets.prod.fleet.engine: "auto" is not an engine that is known here (allowed: swap, autoscaling)',
        ),
        (
            "engine: autoscaling\n",
            "engine: swap\n",
            "autoscaling: the engine is swap on target prod, which does not go by this (allowed: leave it out",
        ),
        (
            "      autoscaling: {group: shop}\n",
            "",
            "the key is missing on target prod, engine: autoscaling needs it (allowed: a mapping with group)",
        ),
        ("{group: shop}", "{min_healthy: 90}", "autoscaling.group: the key is missing"),
        (
            "      alarm:",
            "      strategy: rolling\n      alarm:",
            f"go by this (allowed: leave it out; it goes by {GOES_BY})",
        ),
        (
            "      alarm:",
            "      surge: 2\n      alarm:",
            "fleet.surge: the engine is autoscaling on target prod, which does not go by this",
        ),
        (
            "      alarm:",
            "      size: 2\n      alarm:",
            "fleet.size: the engine is autoscaling on target prod, which does not go by this",
        ),
        (
            "targets:",
            "fleet: {windows: []}\ntargets:",
            "fleet.windows: the engine is autoscaling, which does not go by this",
        ),
        (
            "targets:",
            "data: [{name: a, size: 1G, mount: /srv}]\ntargets:",
            "slots own data volumes, which Auto Scaling does not move, on target prod",
        ),
        (
            "provider: aws\n",
            "provider: qemu\n",
            "the provider of target prod is qemu, and only aws has Auto Scaling (allowed: swap)",
        ),
        (
            "    fleet:",
            "    settings: {A: b}\n    fleet:",
            "targets.prod.settings: the group and its launch template say this",
        ),
        (
            "    fleet:",
            "    zones: [eu-west-1a]\n    fleet:",
            "targets.prod.zones: the group and its launch template say this",
        ),
        (
            "{group: shop}",
            "{group: shop, max_healthy: 100}",
            "max_healthy: at min_healthy 100 nothing could ever be replaced",
        ),
        (
            "{group: shop}",
            "{group: shop, min_healthy: 50, max_healthy: 200}",
            "from 50 to 200 percent is too wide for Auto Scaling (allowed: 100 between",
        ),
        ("{group: shop}", "{group: shop, min_healthy: 0}", "from 0 to 110 percent is too wide for Auto Scaling"),
        (
            "{group: shop}",
            "{group: shop, checkpoint_delay: 5m}",
            "there is no checkpoint to wait at (allowed: leave it out, or checkpoints)",
        ),
        ("{group: shop}", "{group: shop, checkpoints: [50]}", "[50] would not end with all instances replaced"),
        (
            "{group: shop}",
            "{group: shop, checkpoints: [50, 20, 100]}",
            "a list of rising integers, the last of which is 100",
        ),
        (
            "{group: shop}",
            "{group: shop, bake_time: 3d}",
            '"3d" is longer than Auto Scaling can wait (allowed: up to 2d)',
        ),
        ("{group: shop}", "{group: shop, bake_time: 172801}", "172801 is not a time that Auto Scaling can wait"),
        (
            "{group: shop}",
            "{group: shop, protected: replace}",
            '"replace" is not a policy that is known here (allowed: wait, ignore, refresh)',
        ),
        ("{group: shop}", "{group: shop, alarms: [a, a]}", "does not name one to ten different alarms"),
    ],
)
def test_what_does_not_fit_is_told(folder: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(DefinitionError) as error:
        load(folder, (old, new))
    assert told in error.value.message
