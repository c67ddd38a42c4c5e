# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import base64
import json
import shlex
import urllib.parse

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._secret_forms import secret_forms
from hypothesis import given
from hypothesis import strategies as st

SECRETS = ["s3cret-value", 'it\'s <"quoted"> & escaped, ä\\n', "a b+c/d"]


@pytest.mark.parametrize("secret", SECRETS)
def test_encodings_are_included(secret: str) -> None:
    forms = secret_forms(secret.encode())
    expected = [
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        urllib.parse.quote(secret),
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote_plus(secret),
        secret.replace(",", "%!(PACKER_COMMA)"),
        base64.b64encode(secret.encode()).decode(),
        base64.urlsafe_b64encode(secret.encode()).decode(),
    ]
    assert {form.encode() for form in expected} <= forms
    assert any(form in shlex.quote(secret).encode() for form in forms)


@given(st.binary(min_size=6, max_size=30), st.binary(max_size=4), st.binary(max_size=4))
def test_a_secret_within_a_longer_base64_text_is_included(secret: bytes, before: bytes, after: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert any(form in encode(before + secret + after) for form in secret_forms(secret))
