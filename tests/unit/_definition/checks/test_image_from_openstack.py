# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Targets on OpenStack whose image another target bakes in its own project, and mistakes in them."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.digest import bake_inputs, digest_of
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.summary import target_summary
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.cloud import Cloud

PLACE: dict[str, Any] = {
    "provider": "openstack",
    "machine": {"flavor": "m1.small"},
    "network": {"networks": ["private"]},
}
GOOD: dict[str, Any] = {
    "schema": 1,
    "service": "shop",
    "version": "1.0",
    "image": {"base": {"glance": {"name": "debian-12"}, "python": "3.11"}, "provision": {"playbook": "site.yml"}},
    "health": {"http": {"port": 8080}},
    "targets": {
        "staging": {**PLACE, "cloud": "staging", "build": {"flavor": "m1.medium", "plugin": "1.1.4"}},
        "prod": {**PLACE, "cloud": "prod", "image_from": {"share": "staging"}},
    },
}


def load(folder: Path, change: Callable[[dict[str, Any]], object] = lambda _targets: None) -> Definition:
    document = copy.deepcopy(GOOD)
    change(document["targets"])
    (folder / "site.yml").write_text("[]\n", encoding="utf-8")
    (folder / "immutable.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return load_definition(folder)


def test_a_target_has_the_image_of_the_project_that_bakes(tmp_path: Path) -> None:
    definition = load(tmp_path)
    staging, prod = definition.target("staging"), definition.target("prod")
    assert definition.baking_target("prod") == staging
    assert prod.build_cloud == staging.build_cloud == Cloud("staging")
    assert (prod.openstack, prod.build.flavor) == (Cloud("prod"), "m1.medium")
    assert staging.image_clouds == prod.image_clouds == (Cloud("prod"),)
    assert staging.image_users == prod.image_users == ()
    digests = {digest_of(bake_inputs(definition, target, {"image": "i"})) for target in (staging, prod)}
    assert len(digests) == 1
    assert target_summary(prod)["image_from"] == {"share": "staging"}
    assert not {"image_from", "image_users", "image_clouds"} & set(target_summary(staging))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda targets: targets["prod"].update(image_from={"copy": "staging"}),
            "the provider openstack copies no images between projects (allowed: share)",
        ),
        (lambda targets: targets["prod"].update(image_from={"share": "stagin"}), 'did you mean "staging"?'),
        (lambda targets: targets["prod"].update(build={"flavor": "m1.large"}), "build.flavor: has no effect"),
        (
            lambda targets: targets.update(staging={"provider": "qemu", "base": {"debian": "bookworm"}}),
            "has the provider qemu (allowed: a target on openstack)",
        ),
        (
            lambda targets: targets.update(
                staging={"provider": "simulated"}, prod={"provider": "qemu", "image_from": {"share": "staging"}}
            ),
            "the provider qemu ignores this key",
        ),
    ],
)
def test_what_cannot_be_shared_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    with pytest.raises(DefinitionError, match=re.escape(said)):
        load(tmp_path, change)
