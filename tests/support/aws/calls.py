# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One call of AWS's API, as it is read from a request."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

READING = re.compile("(Describe|Get|List|Head|Search|BatchGet|Lookup|AssumeRole|Decode)")
SCOPE = re.compile(r"Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
S3_PARTS = {  # sub-resources, and how their calls are named after Get, Put or Delete
    "publicAccessBlock": "PublicAccessBlock", "encryption": "BucketEncryption", "versioning": "BucketVersioning", "policy": "BucketPolicy",
    "policyStatus": "BucketPolicyStatus", "tagging": "Tagging", "ownershipControls": "BucketOwnershipControls", "lifecycle": "BucketLifecycle",
    "acl": "Acl", "location": "BucketLocation", "object-lock": "ObjectLockConfiguration", "retention": "ObjectRetention",
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    service: str  # as in the credential scope: ec2, elasticloadbalancing, autoscaling, ssm, s3, sts, ...
    action: str
    parameters: Mapping[
        str, Any
    ]  # query services: flat ("InstanceId.1"); JSON services: the document; s3: Bucket, Key, query and conditions
    region: str = ""
    access_key: str = ""
    agent: str = ""  # who called, by its own word
    protocol: str = "query"  # query | json | s3 | cbor | other
    begun: float = 0.0  # monotonic seconds
    seconds: float = field(default=0.0, compare=False)
    status: int = 0  # of HTTP; 0 where the connection was dropped

    @property
    def changing(self) -> bool:
        return not READING.match(self.action)

    def listed(self, name: str) -> list[str]:
        """A query service's list: the values of Name.1, Name.2 (or Name.member.1) in their order."""
        pattern = re.compile(re.escape(name) + r"(?:\.member)?\.(\d+)$")
        found = [(int(match[1]), value) for key, value in self.parameters.items() if (match := pattern.match(key))]
        return [value for _number, value in sorted(found)]

    def filters(self) -> dict[str, list[str]]:
        """EC2's filters by name."""
        numbers = [key.split(".")[1] for key in self.parameters if re.fullmatch(r"Filter\.\d+\.Name", key)]
        return {self.parameters[f"Filter.{number}.Name"]: self.listed(f"Filter.{number}.Value") for number in numbers}

    def with_filters(self, filters: Mapping[str, list[str]]) -> Call:
        kept = {key: value for key, value in self.parameters.items() if not key.startswith("Filter.")}
        for number, (name, values) in enumerate(filters.items(), 1):
            kept[f"Filter.{number}.Name"] = name
            kept.update({f"Filter.{number}.Value.{place}": value for place, value in enumerate(values, 1)})
        return replace(self, parameters=kept)

    def form(self) -> bytes:
        """A query call as the body of a request."""
        return urllib.parse.urlencode({"Action": self.action, **self.parameters}).encode()


def parse(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Call:
    """``headers`` has lower-case names."""
    split = urllib.parse.urlsplit(target)
    query = dict(urllib.parse.parse_qsl(split.query, keep_blank_values=True))
    scope = SCOPE.search(headers.get("authorization", "") or "Credential=" + query.get("X-Amz-Credential", ""))
    region, service, key = (scope["region"], scope["service"], scope["key"]) if scope else ("", "s3", "")
    action, parameters, protocol = _action(service, method, split.path, query, headers, body)
    return Call(service, action, parameters, region, key, headers.get("user-agent", ""), protocol)


def _action(
    service: str, method: str, path: str, query: dict[str, str], headers: Mapping[str, str], body: bytes
) -> tuple[str, dict[str, Any], str]:
    if target := headers.get("x-amz-target"):
        return target.rpartition(".")[2], json.loads(body or b"{}"), "json"
    if headers.get("smithy-protocol") == "rpc-v2-cbor":
        return path.rpartition("/")[2], {}, "cbor"
    if service == "s3":
        return (*_s3(method, path, query, headers), "s3")
    form = {**query, **dict(urllib.parse.parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))}
    if "Action" in form:
        return form.pop("Action"), form, "query"
    return f"{method} {path}", form, "other"


def _s3(method: str, path: str, query: dict[str, str], headers: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    bucket, _slash, key = urllib.parse.unquote(path).lstrip("/").partition("/")
    told = ("if-match", "if-none-match", "x-amz-copy-source", "x-amz-server-side-encryption")
    parameters: dict[str, Any] = {
        "Bucket": bucket,
        "Key": key,
        **query,
        **{name: headers[name] for name in told if name in headers},
    }
    return _s3_name(method, bucket, key, query, "x-amz-copy-source" in headers), parameters


def _s3_name(method: str, bucket: str, key: str, query: dict[str, str], copy: bool) -> str:
    verb = {"GET": "Get", "PUT": "Put", "DELETE": "Delete", "HEAD": "Head", "POST": "Post"}.get(method, method)
    part = next((name for name in S3_PARTS if name in query), None)
    if part:
        kind = ("Object" if key else "Bucket") if part in ("tagging", "acl") else ""
        return verb + kind + S3_PARTS[part]
    if not bucket:
        return "ListBuckets"
    if not key:
        named = {
            "GET": "ListObjectsV2" if "list-type" in query else "ListObjects",
            "PUT": "CreateBucket",
            "POST": "DeleteObjects",
        }
        return "ListObjectVersions" if "versions" in query else named.get(method, verb + "Bucket")
    if "uploads" in query:
        return "CreateMultipartUpload"
    if "uploadId" in query:
        return {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}.get(
            method, "ListParts"
        )
    return "CopyObject" if method == "PUT" and copy else verb + "Object"
