# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A secret reaches the launch document as it is written, or it is refused before anything is launched."""

from __future__ import annotations

import json
import os
from datetime import date
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import SecretRef
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.secrets import SecretFinder
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import LaunchRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.guest_document import members
from hypothesis import given
from hypothesis import strategies as st

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=6,
)


def arrived(value: Any) -> bytes:
    """The content of the host's file for the value of an Ansible variable."""
    found = SecretFinder({"a": value}, lambda given: given)({"s": SecretRef("variable", "a")})
    return written(found["s"])


def written(secret: str) -> bytes:
    texts = dict.fromkeys(("token", "fleet", "image", "launch", "nonce"), "x")
    return members(LaunchRequest(**texts, slot=0, artifact={}, secrets={"s": secret}))["secrets/s"]


@given(TEXTS)
def test_a_text_arrives_as_it_is(text: str) -> None:
    assert arrived(text) == text.encode()


@given(st.integers())
def test_an_integer_arrives_as_its_digits(number: int) -> None:
    assert arrived(number) == str(number).encode()


@given(st.lists(JSON) | st.dictionaries(TEXTS, JSON))
def test_a_mapping_or_list_arrives_as_json(value: Any) -> None:
    assert json.loads(arrived(value)) == value


@given(st.binary(min_size=1).filter(lambda octets: b"\0" not in octets))
def test_any_bytes_of_the_environment_arrive(octets: bytes) -> None:
    os.environb[b"IMMUTABLE_TEST_SECRET"] = octets
    try:
        found = SecretFinder()({"s": SecretRef("env", "IMMUTABLE_TEST_SECRET")})
    finally:
        del os.environb[b"IMMUTABLE_TEST_SECRET"]
    assert written(found["s"]) == octets


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (True, "is a boolean; put it in quotes"),
        (1.1, "is a number with a fraction; put it in quotes"),
        (None, "is null; put it in quotes"),
        (date(2024, 2, 3), "is a date; put it in quotes"),
        (b"x", "is bytes; put it in quotes"),
        ("\ud800", "is not valid Unicode"),
        ({"a": ["\udcff"]}, "is not valid Unicode"),
        ([date(2024, 2, 3)], "contains a date, which JSON does not have; put it in quotes"),
        ({"a": float("nan")}, "contains a number with a fraction, which JSON does not have; put it in quotes"),
        ({True: 1}, "has a key that is a boolean; put it in quotes"),
    ],
)
def test_any_other_value_is_refused_by_name(value: Any, problem: str) -> None:
    finder = SecretFinder({"a": value, "b": "fine"}, lambda given: given)
    with pytest.raises(FleetError) as caught:
        finder({"s": SecretRef("variable", "a"), "t": SecretRef("variable", "b")})
    assert caught.value.message == f"secrets would not arrive as they are written: s (the Ansible variable a {problem})"
