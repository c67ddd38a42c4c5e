# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The document that an EC2 instance is launched with."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import LaunchRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.guest_document import (
    USER_DATA_LIMIT,
    user_data,
)


def request(**changes: Any) -> LaunchRequest:
    given: dict[str, Any] = {
        "token": "t",
        "fleet": "shop-aws",
        "slot": 0,
        "image": "sha256:a",
        "artifact": {},
        "launch": "l",
        "nonce": "n",
        **changes,
    }
    return LaunchRequest(**given)


def unpacked(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]


def test_secrets_are_references_and_volumes_serial_numbers() -> None:
    files = unpacked(user_data(request(secret_refs={"db": "/shop/db"}), {"b": "vol-0b", "a": "vol-0a"}, "eu-central-1"))
    assert json.loads(files["secrets.json"]) == {"region": "eu-central-1", "secrets": {"db": {"ssm": "/shop/db"}}}
    assert files["volumes"] == b"a vol0a\nb vol0b\n"
    assert files["nonce"] == b"n\n"


def test_the_document_names_the_volumes_that_were_created_blank() -> None:
    volumes = {"b": "vol-0b", "a": "vol-0a"}
    files = unpacked(user_data(request(), volumes, "eu-central-1", blank=["b", "a"]))
    assert files["blank"] == b"a blank\nb blank\n"
    assert "blank" not in unpacked(user_data(request(), volumes, "eu-central-1"))


def test_the_same_launch_has_the_same_bytes() -> None:
    one = user_data(request(settings={"a": 1, "b": 2}), {"a": "vol-1", "b": "vol-2"}, "r")
    assert one[4:8] == bytes(4), "no timestamp"
    assert one == user_data(request(settings={"b": 2, "a": 1}), {"b": "vol-2", "a": "vol-1"}, "r")


def test_secrets_in_clear_text_are_refused_by_name_only() -> None:
    with pytest.raises(ProviderError) as caught:
        user_data(request(secrets={"db": "hunter2hunter2"}), {}, "r")
    assert "never go into user data: db (" in caught.value.message and "hunter2" not in caught.value.message


def test_user_data_that_is_too_large_is_refused_before_it_is_sent() -> None:
    noise = "".join(f"{number * 7919 % 104729:x}" for number in range(USER_DATA_LIMIT))
    with pytest.raises(
        ProviderError, match=f"settings and keys of shop-aws are too large: .* EC2 accepts {USER_DATA_LIMIT}"
    ):
        user_data(request(settings={"noise": noise}), {}, "r")
