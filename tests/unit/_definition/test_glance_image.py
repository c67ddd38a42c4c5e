# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""References to Glance images as text, and the keys of a definition that name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.glance_image import (
    GlanceReference,
    glance_reference,
    glance_source,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import DEFINITION_FILE, load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Build, Definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.openstack_options import (
    REFUSED,
    refused_options,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.root_volume import RootVolume
from hypothesis import given
from hypothesis import strategies as st

ID = "6a0b7a52-3f0e-4f0e-9a5c-0d6a8f1b2c3d"
GROUP = "0b5c5d2e-7f34-4a36-9c5b-2f1a40e0f6b1"
TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=40)


def load(folder: Path, base: Any, **build: Any) -> Definition:
    (folder / "provision.yml").write_text("---\n", encoding="utf-8")
    target = {
        "provider": "openstack",
        "cloud": "shop",
        "machine": {"flavor": "m1.small"},
        "network": {"networks": ["private"], "security_groups": [GROUP]},
        **({"build": build} if build else {}),
    }
    document = {
        "schema": 1,
        "service": "shop",
        "version": "1",
        "image": {"base": {"glance": base, "python": "3.11"}, "provision": {"playbook": "provision.yml"}},
        "health": {"http": {"port": 80}},
        "targets": {"live": target},
    }
    (folder / DEFINITION_FILE).write_text(yaml.safe_dump(document), encoding="utf-8")
    return load_definition(folder)


@given(
    st.fixed_dictionaries(
        {}, optional={"name": TEXT, "owner": st.just("self"), "properties": st.dictionaries(st.just("os_distro"), TEXT)}
    )
)
def test_a_reference_survives_its_text(data: dict[str, Any]) -> None:
    found = glance_reference(glance_source(data))
    assert found == GlanceReference(
        name=data.get("name", ""), owner=data.get("owner", ""), properties=data.get("properties", {})
    )


def test_an_id_is_its_own_text() -> None:
    assert glance_reference(ID) == GlanceReference(image=ID)


def test_a_base_is_named_by_id_name_or_properties(tmp_path: Path) -> None:
    assert load(tmp_path, ID).base.source == ID
    assert load(tmp_path, {"name": "debian-12-*", "owner": "self"}).base.source == "name=debian-12-*&owner=self"
    by_properties = {"properties": {"os_version": "12", "os_distro": "debian"}}
    assert load(tmp_path, by_properties).base.source == "os_distro=debian&os_version=12"


@pytest.mark.parametrize(
    "base", ["debian-12", {}, {"owner": "self"}, {"properties": {}}, {"properties": {"status": "queued"}}, {"name": ""}]
)
def test_a_base_that_identifies_nothing_is_refused(base: Any, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"image\.base\.glance"):
        load(tmp_path, base)


def test_the_keys_of_the_build_machine(tmp_path: Path) -> None:
    assert load(tmp_path, ID).targets["live"].build == Build(ssh_username="debian")
    keys: dict[str, Any] = {
        "flavor": "m1.large",
        "networks": ["build"],
        "security_groups": [GROUP],
        "floating_network": "public",
        "zone": "az1",
        "config_drive": False,
        "ssh_username": "ubuntu",
    }
    made = load(tmp_path, ID, **keys, volume={"size": "10G", "type": "fast", "zone": "z"}).targets["live"].build
    wanted = {name: tuple(value) if isinstance(value, list) else value for name, value in keys.items()}
    assert made == Build(**wanted, volume=RootVolume(10 * 1024**3, "fast", "z"))


@pytest.mark.parametrize(
    ("build", "said"),
    [
        ({"volume": {"size": "1500M"}}, "a volume has whole gigabytes"),
        ({"security_groups": ["sg-0123456789abcdef0"]}, "allowed: a UUID"),
        ({"type": "t3.small"}, "openstack ignores this key"),
        ({"options": {"password": "x"}}, "credentials come from clouds.yaml"),
        ({"options": {"metadata": {"immutable:store": "x"}}}, "reserved for the bake"),
        ({"options": {"instance_metadata": "x"}}, "must be a mapping"),
    ],
)
def test_what_a_bake_cannot_use_is_refused(build: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=said):
        load(tmp_path, ID, **build)


def test_other_options_are_passed_on() -> None:
    assert not list(refused_options({"ssh_interface": "private", "metadata": {"team": "shop"}, "force_delete": True}))
    assert [name for name, _why in refused_options(dict.fromkeys(REFUSED, "x"))] == list(REFUSED)
