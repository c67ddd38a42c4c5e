# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What IAM decides about a call: the actions, the resources and the condition keys of the request.

Source: the service authorization reference of each service, such as
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
"""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.immutable.infra.plugins.plugin_utils._aws.actions import action_of

from .calls import Call
from .policies import Request

ACCOUNT = "123456789012"  # moto's
# Kinds of resources that a call creates, each with an identifier that does not exist yet.
CREATED: Mapping[str, tuple[str, ...]] = {
    "RunInstances": ("instance", "volume", "network-interface"),
    "CreateVolume": ("volume",),
    "CreateSnapshot": ("snapshot",),
    "CopyImage": ("image", "snapshot"),
    "CreateImage": ("image", "snapshot"),
    "RegisterImage": ("image",),
    "CreateKeyPair": ("key-pair",),
    "ImportKeyPair": ("key-pair",),
    "CreateSecurityGroup": ("security-group",),
    "CreateLaunchTemplate": ("launch-template",),
}
WITHOUT_ACCOUNT = ("image", "snapshot")  # kinds whose ARNs name no account
ENCRYPTION = "x-amz-server-side-encryption"


def arn(kind: str, one: str, region: str) -> str:
    """The ARN of a resource of EC2."""
    return f"arn:aws:ec2:{region}:{'' if kind in WITHOUT_ACCOUNT else ACCOUNT}:{kind}/{one}"


def created(call: Call) -> list[Request]:
    """The requests for what a call creates: the call itself, and CreateTags where the call sets tags."""
    if call.service == "s3":
        return [_object(call)]
    requests = []
    for kind in CREATED.get(call.action, ()):
        tags = {f"aws:RequestTag/{key}": value for key, value in tags_of(call, kind).items()}
        resource = arn(kind, "*", call.region)
        requests.append(Request(f"ec2:{call.action}", resource, tags))
        if tags:
            requests.append(Request("ec2:CreateTags", resource, {**tags, "ec2:CreateAction": call.action}))
    return requests


def tags_of(call: Call, kind: str) -> dict[str, str]:
    """The tags that a call sets on what it creates of this kind."""
    parameters, number = call.parameters, 1
    found: dict[str, str] = {}
    while f"TagSpecification.{number}.ResourceType" in parameters:
        at = f"TagSpecification.{number}"
        if parameters[f"{at}.ResourceType"] == kind:
            keys = [name for name in parameters if name.startswith(f"{at}.Tag.") and name.endswith(".Key")]
            found.update({parameters[key]: parameters.get(key[:-3] + "Value", "") for key in keys})
        number += 1
    return found


def _object(call: Call) -> Request:
    keys = {f"s3:{name}": value for name, value in call.parameters.items() if name.startswith(ENCRYPTION)}
    return Request(
        action_of("s3", call.action), f"arn:aws:s3:::{call.parameters['Bucket']}/{call.parameters['Key']}", keys
    )
