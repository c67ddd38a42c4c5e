# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The settings of Packer's openstack builder, how Packer logs in, and which image a base is. Nothing calls a cloud."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builder import BakeJob
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.base_glance import newest_first
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.openstack import builder_settings
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.openstack_access import (
    packer_access,
    packer_variables,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.openstack_network import BuildNetwork
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.variables import BakeVariables
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.glance_image import GlanceReference
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Build, Definition, Machine
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.root_volume import RootVolume

ID = "6a0b7a52-3f0e-4f0e-9a5c-0d6a8f1b2c3d"
NAME = "immutable-0123456789abcdef-bake-abababababab"
MARKS = {"immutable:digest": "sha256:ab", "immutable:bake": "bake-ab"}
NETWORK = BuildNetwork(("net-1",), ("group-1",))


@pytest.fixture
def settings(define: Callable[..., Definition]) -> Callable[..., dict[str, Any]]:
    def make(
        zones: tuple[str, ...] = (), tags: dict[str, str] | None = None, network: BuildNetwork = NETWORK, **build: Any
    ) -> dict[str, Any]:
        definition = define(version="1.0.0")
        target = replace(
            definition.targets["local"],
            provider="openstack",
            build=Build(**build),
            zones=zones,
            tags=tags or {},
            machine=Machine(flavor="m1.small"),
        )
        job = BakeJob(
            definition=definition,
            target=target,
            digest=f"sha256:{'ab' * 32}",
            build="openstack-1-x86_64",
            inputs={},
            base={"image": ID},
            variables=BakeVariables({}, {}, {}),
        )
        return builder_settings(job, NAME, MARKS, network)

    return make


def test_the_build_machine_is_like_the_instances_unless_told_otherwise(settings: Callable[..., dict[str, Any]]) -> None:
    made = settings(zones=("az1", "az2"))
    assert (made["flavor"], made["availability_zone"], made["config_drive"]) == ("m1.small", "az1", True)
    assert (made["networks"], made["security_groups"]) == (["net-1"], ["group-1"])
    other = settings(zones=("az1",), flavor="m1.large", zone="az9", config_drive=False)
    assert (other["flavor"], other["availability_zone"], other["config_drive"]) == ("m1.large", "az9", False)
    assert "security_groups" not in settings(network=BuildNetwork(("net-1",)))


def test_image_and_build_machine_have_the_name_of_the_bake_and_its_marks(
    settings: Callable[..., dict[str, Any]],
) -> None:
    own = {"metadata": {"cost": "1"}, "instance_metadata": {"cost": "2", "team": "mine"}}
    made = settings(tags={"team": "shop"}, options=own)
    assert (made["image_name"], made["instance_name"], made["image_visibility"]) == (NAME, NAME, "private")
    assert made["metadata"] == {"cost": "1", "team": "shop", **MARKS}
    assert made["instance_metadata"] == {"cost": "2", "team": "shop", **MARKS}


def test_a_volume_has_the_name_of_the_bake(settings: Callable[..., dict[str, Any]]) -> None:
    assert not [name for name in settings() if "volume" in name]
    made = settings(volume=RootVolume(10 * 1024**3, "fast", "nova"))
    assert (made["use_blockstorage_volume"], made["volume_name"], made["volume_size"]) == (True, NAME, 10)
    assert (made["volume_type"], made["volume_availability_zone"], made["image_disk_format"]) == (
        "fast",
        "nova",
        "qcow2",
    )


def test_options_cannot_replace_what_the_bake_sets(settings: Callable[..., dict[str, Any]]) -> None:
    made = settings(options={"flavor": "x", "image_name": "x", "ssh_ip_version": "6", "force_delete": True})
    assert (made["flavor"], made["image_name"]) == ("m1.small", NAME)
    assert (made["ssh_ip_version"], made["force_delete"]) == ("6", True)


def configuration(verify: Any = True, cert: Any = None, **settings: Any) -> Any:
    return SimpleNamespace(config=settings, get_requests_verify_args=lambda: (verify, cert))


def test_packer_gets_the_credentials_in_a_file_alone() -> None:
    auth = {"auth_url": "https://keystone", "application_credential_id": "id", "application_credential_secret": "hush"}
    access = packer_access(
        configuration(
            "/etc/ca.pem",
            ("/c.pem", "/k.pem"),
            auth_type="v3applicationcredential",
            auth=auth,
            region_name="R",
            interface="internal",
        )
    )
    [cloud] = json.loads(access.document)["clouds"].values()
    assert cloud == {"auth_type": "v3applicationcredential", "auth": auth, "region_name": "R"}
    assert access.options == {
        "cloud": "immutable-bake",
        "region": "R",
        "endpoint_type": "internal",
        "cacert": "/etc/ca.pem",
        "cert": "/c.pem",
        "key": "/k.pem",
    }
    assert access.secrets == ("hush",)
    assert "hush" not in repr(access)


def test_an_unverified_cloud_stays_unverified() -> None:
    access = packer_access(configuration(False, auth={"password": "hush", "username": "u", "passcode": None}))
    assert access.options == {"cloud": "immutable-bake", "insecure": True}
    assert json.loads(access.document)["clouds"]["immutable-bake"]["auth"] == {"password": "hush", "username": "u"}


def test_a_way_to_log_in_that_packer_does_not_know_is_refused() -> None:
    with pytest.raises(BakeError, match="application credential"):
        packer_access(configuration(auth_type="v3oidcpassword", auth={}))


def test_nothing_else_of_the_environment_reaches_packer() -> None:
    added = packer_variables({"OS_PASSWORD": "x", "OS_CLOUD": "y", "SDK_REGION": "z", "HOME": "/root"}, "/dev/shm/c")
    assert added == {"OS_PASSWORD": "", "OS_CLOUD": "", "SDK_REGION": "", "OS_CLIENT_CONFIG_FILE": "/dev/shm/c"}


def image(name: str, created: str = "2026-01-01T00:00:00Z", **more: Any) -> dict[str, Any]:
    return {"id": f"id-{name}-{created}", "name": name, "status": "active", "created_at": created, **more}


def test_the_newest_image_that_matches_is_first() -> None:
    images = [
        image("debian-12-a", "2026-01-01T00:00:00Z"),
        image("debian-12-b", "2026-03-01T00:00:00Z"),
        image("debian-12-c", "2026-02-01T00:00:00Z"),
        image("debian-11", "2026-09-01T00:00:00Z"),
        image("debian-12-d", "2026-09-01T00:00:00Z", status="queued"),
    ]
    found = newest_first(images, GlanceReference(name="debian-12-*"), "")
    assert [one["name"] for one in found] == ["debian-12-b", "debian-12-c", "debian-12-a"]


def test_owner_and_properties_are_compared_again() -> None:
    """A service that does not know a filter ignores it."""
    images = [image("a", owner="me", os_distro="debian"), image("b", owner="you", os_distro="debian"), image("c")]
    reference = GlanceReference(properties={"os_distro": "debian"})
    assert [one["name"] for one in newest_first(images, reference, "me")] == ["a"]
    assert len(newest_first(images, reference, "")) == 2


def test_brackets_in_a_name_are_not_wildcards() -> None:
    assert newest_first([image("a[bc]")], GlanceReference(name="a[bc]"), "")
    assert not newest_first([image("ab")], GlanceReference(name="a[bc]"), "")
