# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Launch requests as the bodies of Nova's requests, within Nova's limits."""

from __future__ import annotations

import base64
import io
import os
import re
import tarfile
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import LaunchRequest, Volume
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.metadata import (
    FORM,
    fleet_tag,
    store_tag,
    texts_of,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.servers import (
    Resolved,
    Scope,
    server_request,
    token_of,
)

SCOPE = Scope("0123456789abcdef")
RESOLVED = Resolved(flavor="42", networks=("net-1", "net-2"), network_name="private")
REQUEST = LaunchRequest(
    token="shop-live-0-ffff-1",
    fleet="shop-live",
    slot=0,
    image="sha256:" + "a" * 64,
    artifact={"glance": "0b5c5d2e-7f34-4a36-9c5b-2f1a40e0f6b1"},
    launch="f" * 64,
    nonce="n" * 32,
    ports=(80, 22),
    settings={"mode": "live"},
    machine={"security_groups": ["group-1"], "config_drive": True},
    tags={"version": "1.2", "health": "h" * 600},
    zone="zone-1",
)


def server(request: LaunchRequest = REQUEST, **more: Any) -> dict[str, Any]:
    return dict(server_request(request, SCOPE, RESOLVED, **more)["server"])


def documents(user_data: str) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(user_data)), mode="r:gz") as archive:
        return {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]


def test_one_request_launches_one_server() -> None:
    body = server()
    assert body["name"] == "shop-live-0"
    assert body["networks"] == [{"uuid": "net-1"}, {"uuid": "net-2"}]
    assert body["security_groups"] == [{"name": "group-1"}]
    assert (body["imageRef"], body["flavorRef"]) == ("0b5c5d2e-7f34-4a36-9c5b-2f1a40e0f6b1", "42")
    assert (body["availability_zone"], body["config_drive"]) == ("zone-1", True)
    assert "min_count" not in body


def test_the_metadata_says_everything_and_keeps_novas_rules() -> None:
    metadata = server()["metadata"]
    assert all(re.fullmatch(r"[a-zA-Z0-9-_:. ]{1,255}", key) for key in metadata)
    assert all(len(value) <= 255 for value in metadata.values())
    texts = texts_of({"metadata": metadata})
    assert texts["health"] == "h" * 600
    assert (texts["fleet"], texts["slot"], texts["ports"], texts["network"]) == ("shop-live", "0", "80,22", "private")


def test_tags_find_the_servers_of_a_fleet_and_keep_novas_rules() -> None:
    tags = server(replace(REQUEST, fleet="s" * 31 + "-" + "t" * 63))["tags"]
    assert tags == [store_tag(SCOPE.store), fleet_tag("s" * 31 + "-" + "t" * 63)]
    assert all(re.fullmatch(r"[^,/]{1,60}", tag) for tag in tags)
    assert fleet_tag("shop-live") != fleet_tag("shop-lives")


def test_a_zone_a_group_and_security_groups_are_named_only_if_they_are_wanted() -> None:
    plain = server_request(replace(REQUEST, zone="", machine={}), SCOPE, RESOLVED)
    assert "availability_zone" not in plain["server"] and "security_groups" not in plain["server"]
    assert "os:scheduler_hints" not in plain
    grouped = server_request(REQUEST, SCOPE, replace(RESOLVED, group="group-2"))
    assert grouped["os:scheduler_hints"] == {"group": "group-2"}
    assert server_request(REQUEST, SCOPE, Resolved("42"))["server"]["networks"] == "none"


def test_the_document_is_in_the_user_data_with_the_serial_numbers_of_volumes() -> None:
    volume = Volume(
        "17ca7414-4fca-4029-aa84-e57a15078d13", fleet="shop-live", slot=0, name="db", size=1 << 30, created_blank=True
    )
    files = documents(server(volumes=[volume])["user_data"])
    assert files["nonce"] == b"n" * 32 + b"\n"
    assert files["volumes"] == b"db 17ca7414-4fca-4029-a\n"
    assert files["blank"] == b"db blank\n"


def test_a_document_that_nova_would_refuse_is_refused_before() -> None:
    noise = base64.b64encode(os.urandom(70000)).decode()
    with pytest.raises(ProviderError, match="too large: .* Nova accepts 49149"):
        server(replace(REQUEST, settings={"noise": noise}))


def test_too_much_metadata_is_refused_before() -> None:
    scope = Scope(SCOPE.store, {f"key {number}": "value" for number in range(115)})
    with pytest.raises(ProviderError, match=r"items of metadata, and Nova allows 128"):
        server_request(REQUEST, scope, RESOLVED)


def test_secrets_never_go_into_user_data() -> None:
    for change in ({"secrets": {"key": "hidden"}}, {"secret_refs": {"key": "/shop/key"}}):
        with pytest.raises(ProviderError, match="secrets never go into user data: key") as raised:
            server(replace(REQUEST, **change))
        assert "hidden" not in raised.value.message


def test_an_image_of_another_provider_is_refused() -> None:
    with pytest.raises(ProviderError, match="is not in Glance"):
        server(replace(REQUEST, artifact={"path": "/images/disk.qcow2"}))


def test_an_image_of_another_project_must_be_shared_with_this_one() -> None:
    scope = replace(SCOPE, project="q", region="R")
    baked = {**REQUEST.artifact, "project": "p", "region": "R"}
    with pytest.raises(ProviderError, match="is not shared with project q in R: verify it again to share it"):
        server_request(replace(REQUEST, artifact=baked), scope, RESOLVED)
    entry = {"glance": baked["glance"], "shared": True}
    for artifact in ({**baked, "accounts": {"q": {"R": entry}}}, {**baked, "project": "q"}):
        body = server_request(replace(REQUEST, artifact=artifact), scope, RESOLVED)["server"]
        assert body["imageRef"] == baked["glance"]


def test_a_token_belongs_to_its_launch_its_fleet_and_its_store() -> None:
    tokens = {
        token_of(REQUEST, SCOPE),
        token_of(replace(REQUEST, token="another"), SCOPE),
        token_of(replace(REQUEST, fleet="blog-live"), SCOPE),
        token_of(REQUEST, Scope("fedcba9876543210")),
    }
    assert len(tokens) == 4
    assert token_of(REQUEST, SCOPE) == token_of(replace(REQUEST, nonce="m" * 32), SCOPE)
    assert texts_of({"metadata": server()["metadata"]})["token"] == token_of(REQUEST, SCOPE)


def test_a_long_mark_is_cut_where_metadata_has_no_room() -> None:
    long = {"tainted": "because " * 200}
    assert len(FORM.fitting(long, 8)) == 7 and len(FORM.fitting(long, 2)) == 1
    assert set(FORM.fitting(long, 8)) <= set(FORM.keys_of("tainted"))
