# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an object of a host says, and whether its identity document is of that instance."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.identity import (
    MAX_OBJECT,
    arn_of,
    claim_in,
    mismatch,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.identity_signature import signed_document
from ansible_collections.immutable.infra.tests.support.aws.identity import signer

REGION = "eu-central-1"
PROFILE = {"Arn": "arn:aws:iam::123456789012:instance-profile/hosts/shop"}
INSTANCE = {"InstanceId": "i-1", "ImageId": "ami-1", "IamInstanceProfile": PROFILE}
IDENTITY = {"instanceId": "i-1", "imageId": "ami-1", "region": REGION, "accountId": "123456789012"}
EVIDENCE = {"digest": "sha256:1", "nonce": "n", "host_key": "", "shell": "off"}
BODY = {"evidence": EVIDENCE, "document": json.dumps(IDENTITY), "rsa2048": "AAAA\nBBBB="}


def body(**changes: Any) -> bytes:
    return json.dumps({**BODY, **changes}).encode()


def test_an_object_has_evidence_and_a_signed_document() -> None:
    claim = claim_in(body())
    assert claim and (claim.evidence.nonce, claim.document, claim.signature) == ("n", BODY["document"], BODY["rsa2048"])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b"\xff{}",
        body(evidence=[]),
        body(evidence={**EVIDENCE, "digest": "sha256:1\n"}),
        body(evidence={**EVIDENCE, "host_key": "{{ lookup('pipe', 'id') }}"}),
        body(document={}),
        body(rsa2048=1),
        body(rsa2048="-----END PKCS7-----"),
        body(rsa2048="A" * 8193),
        body(more="x" * MAX_OBJECT),
    ],
)
def test_everything_else_is_no_claim(data: bytes) -> None:
    assert claim_in(data) is None


def test_the_name_is_the_arn_that_iam_knows_the_instance_by() -> None:
    assert arn_of(INSTANCE, REGION) == "arn:aws:ec2:eu-central-1:123456789012:instance/i-1"
    china = {**INSTANCE, "IamInstanceProfile": {"Arn": "arn:aws-cn:iam::123456789012:instance-profile/shop"}}
    assert arn_of(china, "cn-north-1") == "arn:aws-cn:ec2:cn-north-1:123456789012:instance/i-1"
    assert arn_of({"InstanceId": "i-1"}, REGION) == ""


def test_the_document_names_the_instance_its_image_its_region_and_its_account() -> None:
    assert mismatch(json.dumps(IDENTITY), INSTANCE, REGION) == ""
    for name in IDENTITY:
        found = mismatch(json.dumps({**IDENTITY, name: "other"}), INSTANCE, REGION)
        assert found.startswith(f"its identity document has {name} other, and EC2 describes ")
        assert name in mismatch(json.dumps({**IDENTITY, name: None}), INSTANCE, REGION)
    shown = mismatch(json.dumps({**IDENTITY, "instanceId": "i-2\n\x1b[31m" + "x" * 500}), INSTANCE, REGION)
    assert "\n" not in shown and "\x1b" not in shown and len(shown) < 200
    assert mismatch("[]", INSTANCE, REGION) == "its identity document is not a JSON object"


def test_a_signed_document_is_read_from_its_signature() -> None:
    document, trusted = BODY["document"], signer().certificate + signer("another region").certificate
    assert isinstance(document, str)
    assert signed_document(signer().sign(document), trusted) == document


@pytest.mark.parametrize("certified", [False, True])
def test_a_signature_by_another_key_proves_nothing(certified: bool) -> None:
    """The command in AWS's documentation accepts a certificate that the message itself contains."""
    assert signed_document(signer("a host").sign("{}", certified=certified), signer().certificate) is None
    assert signed_document("AAAA", signer().certificate) is None


def test_without_openssl_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ProviderError, match="apt install openssl"):
        signed_document("AAAA", signer().certificate)
