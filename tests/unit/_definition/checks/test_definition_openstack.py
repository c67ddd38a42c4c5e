# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a target on OpenStack must have, and what belongs to other providers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import DEFINITION_FILE, load_definition

GROUP = "0b5c5d2e-7f34-4a36-9c5b-2f1a40e0f6b1"
TARGET: dict[str, Any] = {
    "provider": "openstack",
    "cloud": "shop",
    "machine": {"flavor": "m1.small"},
    "network": {"networks": ["private"], "security_groups": [GROUP]},
}


def mistakes(folder: Path, target: dict[str, Any], **keys: Any) -> str:
    """What is wrong with a definition that has this target, apart from its base."""
    (folder / "provision.yml").write_text("---\n", encoding="utf-8")
    image = {"base": {"debian": "bookworm"}, "provision": {"playbook": "provision.yml"}}
    document = {
        "schema": 1,
        "service": "shop",
        "version": "1",
        "image": image,
        "health": {"http": {"port": 80}},
        **keys,
    }
    text = yaml.safe_dump({**document, "targets": {"live": target}})
    (folder / DEFINITION_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(DefinitionError) as raised:
        load_definition(folder)
    return "\n".join(line for line in raised.value.details["problems"] if "cannot bake from" not in line)


def test_a_complete_target_has_no_mistake_of_its_own(tmp_path: Path) -> None:
    assert mistakes(tmp_path, TARGET) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"network": {"security_groups": [GROUP]}}, "requires the networks"),
        ({"machine": {}}, "requires the flavor"),
        ({"network": {"networks": ["private"], "address": "public"}}, "without a floating one"),
        ({"network": {"networks": ["private"], "security_groups": ["sg-0123456789abcdef0"]}}, "allowed: a UUID"),
        ({"network": {"networks": ["private"], "subnets": {"a": "subnet-01234567"}}}, "openstack ignores this key"),
        ({"machine": {"flavor": "m1.small", "type": "t3.micro"}}, "openstack ignores this key"),
        ({"evidence": "bucket"}, "allowed: console, none"),
        ({"traffic": {"pool": GROUP, "port": 80}}, "remove this key or pool"),
        ({"tags": {"cost/center": "shop"}}, "is no key of Nova's metadata"),
        ({"tags": {"team": "s" * 256}}, "too long for Nova"),
        ({"secrets": {"key": {"env": "KEY"}}}, "it hands over none"),
    ],
)
def test_what_openstack_cannot_do_is_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    assert said in mistakes(tmp_path, {**TARGET, **change})


def test_keys_of_openstack_are_refused_on_other_providers(tmp_path: Path) -> None:
    said = mistakes(tmp_path, {**TARGET, "provider": "qemu"})
    for key in ("cloud", "machine.flavor", "network"):
        assert f"targets.live.{key}: the provider qemu ignores this key" in said


def test_an_auto_scaling_group_needs_aws(tmp_path: Path) -> None:
    fleet = {"engine": "autoscaling", "autoscaling": {"group": "shop"}}
    assert "engine: autoscaling is for groups on aws" in mistakes(tmp_path, TARGET, fleet=fleet)


def test_options_of_ebs_are_refused(tmp_path: Path) -> None:
    data = [{"name": "db", "size": "1G", "mount": "/srv/db", "type": "ssd-tier_1"}]
    assert mistakes(tmp_path, TARGET, data=data) == ""
