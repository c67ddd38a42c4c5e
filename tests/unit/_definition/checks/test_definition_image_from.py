# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Targets whose image another target bakes, and mistakes in them."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Account
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.digest import bake_inputs, digest_of
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.summary import target_summary

ROLE = "arn:aws:iam::222222222222:role/deploy"
PLACE = {
    "provider": "aws",
    "region": "eu-west-1",
    "network": {"subnets": {"eu-west-1a": "subnet-01234567"}},
    "traffic": {"target_groups": ["arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop/0123456789"]},
}
GOOD: dict[str, Any] = {
    "schema": 1,
    "service": "shop",
    "version": "1.0",
    "image": {"base": {"ami": "ami-01234567", "python": "3.11"}, "provision": {"playbook": "site.yml"}},
    "health": {"http": {"port": 8080}},
    "targets": {
        "build": {**PLACE, "build": {"region": "eu-central-1", "kms_key": "alias/images", "plugin": "1.3.2"}},
        "prod": {**PLACE, "role": ROLE, "image_from": {"copy": "build"}, "build": {"kms_key": "alias/shop"}},
    },
}


def load(folder: Path, change: Callable[[dict[str, Any]], object] = lambda _targets: None) -> Definition:
    document = copy.deepcopy(GOOD)
    change(document["targets"])
    (folder / "site.yml").write_text("[]\n", encoding="utf-8")
    (folder / "immutable.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return load_definition(folder)


def test_a_target_has_the_image_of_the_target_that_bakes(tmp_path: Path) -> None:
    definition = load(tmp_path)
    build, prod = definition.target("build"), definition.target("prod")
    assert definition.baking_target("prod") == build == definition.baking_target("build")
    assert prod.build_account == build.build_account == Account("eu-central-1")
    assert (prod.aws, prod.build.kms_key) == (Account("eu-west-1", role=ROLE), "alias/shop")
    assert build.image_users == prod.image_users == (prod.aws,)
    digests = {digest_of(bake_inputs(definition, target, {"ami": "ami-1"})) for target in (build, prod)}
    assert len(digests) == 1
    assert target_summary(prod)["image_from"] == {"copy": "build"}
    assert not {"image_from", "image_users"} & set(target_summary(build))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda targets: targets["prod"]["image_from"].update(share="build"), "does not name exactly one target"),
        (lambda targets: targets["prod"].update(image_from={"copy": "biuld"}), 'did you mean "build"?'),
        (lambda targets: targets["prod"].update(image_from={"copy": "prod"}), "cannot come from itself"),
        (
            lambda targets: targets["build"].update(image_from={"copy": "prod"}),
            "cannot come from build, which bakes no image of its own",
        ),
        (lambda targets: targets["prod"]["build"].update(region="eu-west-1"), "build.region: has no effect"),
        (lambda targets: targets["prod"].update(base={"ami": "ami-89abcdef", "python": "3.11"}), "base: has no effect"),
        (lambda targets: targets["build"]["build"].pop("kms_key"), "encrypted with the account's default key"),
        (
            lambda targets: targets["build"]["build"].update(kms_key="alias/aws/ebs"),
            "AWS shares no snapshot that is encrypted with the account's default key",
        ),
        (lambda targets: targets["prod"].pop("role"), "grants its use to a role"),
        (
            lambda targets: targets["prod"].update(image_from={"share": "build"}, build={}),
            "shares a copy of the AMI in eu-west-1",
        ),
        (
            lambda targets: (
                targets["build"]["build"].pop("region"),
                targets["prod"].update(image_from={"share": "build"}),
            ),
            "build.kms_key: has no effect, because this target launches the AMI of target build itself",
        ),
        (
            lambda targets: targets.update(build={"provider": "qemu", "base": {"debian": "bookworm"}}),
            "has the provider qemu (allowed: a target on aws)",
        ),
    ],
)
def test_what_cannot_be_shared_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    with pytest.raises(DefinitionError, match=re.escape(said)):
        load(tmp_path, change)


def test_images_without_encryption_need_neither_key_nor_role(tmp_path: Path) -> None:
    def plain(targets: dict[str, Any]) -> None:
        targets["build"]["build"] = {"encrypt": False}
        del targets["prod"]["role"], targets["prod"]["build"]

    assert load(tmp_path, plain).target("prod").build.encrypt is False
