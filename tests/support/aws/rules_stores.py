# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parameters, buckets, objects, tags, and what policies deny."""

from __future__ import annotations

import json

from .answers import Answer, refusal
from .calls import Call
from .policies import matching
from .proxy import Proceed
from .requests import created
from .world import World

SECRETS = "/aws/reference/secretsmanager/"
STANDARD = 4 * 1024  # bytes of a standard parameter


def parameter_size(world: World, call: Call, proceed: Proceed) -> Answer:
    tier, size = call.parameters.get("Tier", "Standard"), len(call.parameters.get("Value", "").encode())
    if tier == "Standard" and size > STANDARD:
        message = f"Standard tier parameters support a maximum parameter value of {STANDARD} characters."
        return refusal(call, 400, "ValidationException", message)
    return proceed(call)


def secret_references(world: World, call: Call, proceed: Proceed) -> Answer:
    answer = proceed(call)
    names = [str(name).partition(":")[0] for name in call.parameters.get("Names", ())]
    references = {name.removeprefix(SECRETS): name for name in names if name.startswith(SECRETS)}
    if not answer.ok or not references:
        return answer
    document = json.loads(answer.text)
    found = [each for each in document["Parameters"] if each["Name"] in references]
    if call.parameters.get("WithDecryption"):
        for each in found:
            each["Name"] = references[each["Name"]]
    else:
        document["Parameters"] = [each for each in document["Parameters"] if each not in found]
        document["InvalidParameters"] += [references[each["Name"]] for each in found]
    return answer.with_text(json.dumps(document))


def private_bucket(world: World, call: Call, proceed: Proceed) -> Answer:
    answer = proceed(call)
    if answer.ok:
        protect_bucket(world.boto("s3", call.region), call.parameters["Bucket"])
    return answer


def protect_bucket(s3: object, bucket: str) -> None:
    """Set what each new bucket has on AWS from the start."""
    blocked = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=blocked)  # type: ignore[attr-defined]
    encrypted = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=encrypted)  # type: ignore[attr-defined]


def atomic_writes(world: World, call: Call, proceed: Proceed) -> Answer:
    """One write at a time: moto checks a condition and writes in two steps, and its server has many threads."""
    with world.object_writes:
        return proceed(call)


def reserved_tags(world: World, call: Call, proceed: Proceed) -> Answer:
    for name, value in call.parameters.items():
        if name.endswith(".Key") and "Tag" in name and str(value).lower().startswith("aws:"):
            return refusal(
                call,
                400,
                "InvalidParameterValue",
                f"Tag keys starting with 'aws:' are reserved for internal use ({value})",
            )
    return proceed(call)


def denied(world: World, call: Call, proceed: Proceed) -> Answer:
    """A statement that denies wins over all that allow."""
    for request in created(call) if world.settings.denied else ():
        if matching(world.settings.denied, request):
            if call.service == "s3":
                return refusal(call, 403, "AccessDenied", "Access Denied")
            message = f"You are not authorized to perform this operation. {request.action} on {request.resource} "
            return refusal(call, 403, "UnauthorizedOperation", f"{message}with an explicit deny")
    return proceed(call)
