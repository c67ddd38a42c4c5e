# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an object that a host put into the bucket says, and whether its identity document is of that instance. Pure.

The identity document names the instance, its AMI, its region and its account, and AWS signs it:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..._core.documents import parse_json
from ..contract import Evidence
from ..evidence import checked_evidence
from .replaced_root import boot_suffix

MAX_OBJECT = 16384  # bytes; a document has about 500, and a signature in Base64 less than 2,500
MAX_SHOWN = 64  # characters of a host's own text in a message
_PROFILE = re.compile(r"arn:(aws[a-z-]*):iam::(\d{12}):instance-profile/.+")
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]{1,8192}")
_UNPRINTABLE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True)
class Claim:
    """What a host wrote."""

    evidence: Evidence
    document: str  # JSON, as the metadata service returned it
    signature: str  # PKCS#7 in Base64, without the lines around it; it contains the document


def claim_in(data: bytes) -> Claim | None:
    """The claim in an object, or None if no host writes such an object."""
    try:
        found = parse_json(data) if len(data) <= MAX_OBJECT else None
    except ValueError:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("evidence"), dict):
        return None
    evidence, document, signature = checked_evidence(found["evidence"]), found.get("document"), found.get("rsa2048")
    if not evidence or not isinstance(document, str) or not isinstance(signature, str):
        return None
    return Claim(evidence, document, signature) if _BASE64.fullmatch(signature) else None


def arn_of(described: Mapping[str, Any], region: str) -> str:
    """The ARN of an instance, "" without an instance profile, which is in the same account."""
    found = _PROFILE.fullmatch(str((described.get("IamInstanceProfile") or {}).get("Arn", "")))
    return f"arn:{found[1]}:ec2:{region}:{found[2]}:instance/{described['InstanceId']}" if found else ""


def mismatch(document: str, described: Mapping[str, Any], region: str) -> str:
    """Why an identity document is not of the instance that EC2 describes; "" if it is.

    The AMI counts unless the root volume was replaced: the documentation does not say which of them EC2 then names.
    """
    try:
        found = parse_json(document)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return "its identity document is not a JSON object"
    account = _PROFILE.fullmatch(str((described.get("IamInstanceProfile") or {}).get("Arn", "")))
    expected = {
        "instanceId": described["InstanceId"],
        "imageId": described.get("ImageId", ""),
        "region": region,
        "accountId": account[2] if account else "",
    }
    if boot_suffix(described):
        del expected["imageId"]
    for name, wanted in expected.items():
        if found.get(name) != wanted:
            shown = _UNPRINTABLE.sub("?", str(found.get(name)))[:MAX_SHOWN]
            return f"its identity document has {name} {shown}, and EC2 describes {wanted}"
    return ""
