# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One call of AWS's API, parsed from an HTTP request."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

READ_ACTION = re.compile("(Describe|Get|List|Head|Search|BatchGet|Lookup|AssumeRole|Decode)")
SCOPE = re.compile(r"Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
# Sub-resources, and the rest of a call's name after Get, Put or Delete.
S3_SUBRESOURCES = {
    "publicAccessBlock": "PublicAccessBlock",
    "encryption": "BucketEncryption",
    "versioning": "BucketVersioning",
    "policy": "BucketPolicy",
    "policyStatus": "BucketPolicyStatus",
    "tagging": "Tagging",
    "ownershipControls": "BucketOwnershipControls",
    "lifecycle": "BucketLifecycle",
    "acl": "Acl",
    "location": "BucketLocation",
    "object-lock": "ObjectLockConfiguration",
    "retention": "ObjectRetention",
}


@dataclass(frozen=True)
class Call:
    service: str  # as in the credential scope: ec2, elasticloadbalancing, autoscaling, ssm, s3, sts, ...
    action: str
    # Query services: flat ("InstanceId.1"). JSON services: the document. S3: Bucket, Key, query and conditions.
    parameters: Mapping[str, Any]
    region: str = ""
    access_key: str = ""
    agent: str = ""  # User-Agent
    protocol: str = "query"  # query | json | s3 | cbor | other
    started: float = 0.0  # monotonic seconds
    seconds: float = field(default=0.0, compare=False)
    status: int = 0  # of HTTP; 0 if the connection was dropped

    @property
    def changing(self) -> bool:
        return not READ_ACTION.match(self.action)

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
            kept.update({f"Filter.{number}.Value.{index}": value for index, value in enumerate(values, 1)})
        return replace(self, parameters=kept)

    def form(self) -> bytes:
        """A query call as the body of a request."""
        return urllib.parse.urlencode({"Action": self.action, **self.parameters}).encode()


@dataclass(frozen=True)
class HttpRequest:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    body: bytes


def parse(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Call:
    """``headers`` has lower-case names."""
    split = urllib.parse.urlsplit(target)
    query = dict(urllib.parse.parse_qsl(split.query, keep_blank_values=True))
    request = HttpRequest(method=method, path=split.path, query=query, headers=headers, body=body)
    scope = SCOPE.search(headers.get("authorization", "") or "Credential=" + query.get("X-Amz-Credential", ""))
    region, service, key = (scope["region"], scope["service"], scope["key"]) if scope else ("", "s3", "")
    action, parameters, protocol = _action(service, request)
    return Call(
        service=service,
        action=action,
        parameters=parameters,
        region=region,
        access_key=key,
        agent=headers.get("user-agent", ""),
        protocol=protocol,
    )


def _action(service: str, request: HttpRequest) -> tuple[str, dict[str, Any], str]:
    """Name, parameters and protocol of the call."""
    if target := request.headers.get("x-amz-target"):
        return target.rpartition(".")[2], json.loads(request.body or b"{}"), "json"
    if request.headers.get("smithy-protocol") == "rpc-v2-cbor":
        return request.path.rpartition("/")[2], {}, "cbor"
    if service == "s3":
        return (*_s3(request), "s3")
    if service == "ebs":
        return (*_ebs(request), "json")
    text = request.body.decode("utf-8", "replace")
    form = {**request.query, **dict(urllib.parse.parse_qsl(text, keep_blank_values=True))}
    if "Action" in form:
        return form.pop("Action"), form, "query"
    return f"{request.method} {request.path}", form, "other"


def _ebs(request: HttpRequest) -> tuple[str, dict[str, Any]]:
    _root, _snapshots, snapshot, *rest = request.path.split("/")
    parameters: dict[str, Any] = {"SnapshotId": snapshot, **request.query}
    if request.method != "GET":
        return f"{request.method} {request.path}", parameters
    if len(rest) == 1:
        return "ListSnapshotBlocks", parameters
    return "GetSnapshotBlock", {**parameters, "BlockIndex": rest[1]}


def _s3(request: HttpRequest) -> tuple[str, dict[str, Any]]:
    bucket, _slash, key = urllib.parse.unquote(request.path).lstrip("/").partition("/")
    recorded = (
        "if-match",
        "if-none-match",
        "x-amz-copy-source",
        "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id",
    )
    parameters: dict[str, Any] = {
        "Bucket": bucket,
        "Key": key,
        **request.query,
        **{name: request.headers[name] for name in recorded if name in request.headers},
    }
    return _s3_name(request, bucket, key), parameters


def _s3_name(request: HttpRequest, bucket: str, key: str) -> str:
    method, query = request.method, request.query
    verb = {"GET": "Get", "PUT": "Put", "DELETE": "Delete", "HEAD": "Head", "POST": "Post"}.get(method, method)
    part = next((name for name in S3_SUBRESOURCES if name in query), None)
    if part:
        kind = ("Object" if key else "Bucket") if part in ("tagging", "acl") else ""
        return verb + kind + S3_SUBRESOURCES[part]
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
    return "CopyObject" if method == "PUT" and "x-amz-copy-source" in request.headers else verb + "Object"
