# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changing calls to AWS: launches, volumes, snapshots, image copies, parameters, marks and refreshes.

``ENTRIES`` is as in ``produced``.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.tests.unit.golden import adapter, aws_replay, plain, produced, recorded

ARN = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/shop/0123456789abcdef"
AT = {"$time": "2021-01-01T00:00:00+00:00"}


class Empty:
    """An account without instances. It knows created volumes; the first launch or copy ends the run."""

    def __init__(self) -> None:
        self.changing: list[dict[str, Any]] = []
        self.volumes: list[dict[str, Any]] = []
        self.parameters: dict[str, str] = {}

    def __call__(self, operation: str, asked: dict[str, Any]) -> Any:
        reads: Mapping[str, Any] = {
            "sts:GetCallerIdentity": {"Account": "123456789012"},
            "ec2:DescribeInstances": {"Reservations": []},
            "ec2:DescribeVolumes": {"Volumes": self.volumes},
            "ec2:DescribeImages": {"Images": []},
            "ec2:DescribeLaunchTemplateVersions": {"LaunchTemplateVersions": [{"LaunchTemplateData": {}}]},
            "elbv2:DescribeTargetHealth": {"TargetHealthDescriptions": []},
            "elbv2:DescribeTargetGroups": {"TargetGroups": [{"TargetGroupArn": ARN}]},
        }
        if operation in reads:
            return plain.restored(copy.deepcopy(reads[operation]))
        if operation == "ssm:GetParameters":
            named = [each.partition(":") for each in asked["Names"]]
            return {
                "Parameters": [
                    {"Name": name, "Selector": colon + at, "Version": int(at or 7)} for name, colon, at in named
                ]
            }
        if operation == "ssm:GetParameter":
            return {"Parameter": {"Value": self.parameters.get(asked["Name"], "ami-0")}}
        self.changing.append(aws_replay.noted(operation, asked))
        if operation == "ec2:CreateVolume":
            return plain.restored(self._created(asked))
        if operation == "ssm:PutParameter":
            self.parameters[asked["Name"]] = asked["Value"]
            return {}
        raise aws_replay.Stopped

    def _created(self, asked: Mapping[str, Any]) -> Any:
        number = len(self.volumes)
        made = {name: asked[name] for name in ("AvailabilityZone", "Size", "VolumeType")} | {"State": "available"}
        made |= {"VolumeId": f"vol-0000000000000000{number}", "Tags": asked["TagSpecifications"][0]["Tags"]}
        self.volumes.append({**made, "Attachments": []})
        return {**made, "CreateTime": {"$time": f"{plain.today()}"}}


def prepared(folder: Path, record: Mapping[str, Any], channel: str = "prod") -> Any:
    produced.definition_in(folder, "aws")
    store = produced.store_in(folder)
    store.write(f"images/{record['digest'][7:]}/{record['build']}/record.json", record)
    adapter.promoted(store, record, channel)
    return store


def launch(target: str) -> Callable[[Path], Any]:
    """Return the calls up to the first launch of a fleet, and the documents in the store at that point."""

    def made(folder: Path) -> Any:
        store, account = prepared(folder, plain.golden("given/images")["aws"]), Empty()
        with aws_replay.answering(account), produced.steady(), suppress(aws_replay.Stopped):
            told = adapter.run_action("fleet", folder, target=target)
            raise AssertionError(told)
        documents = {
            key: store.read(key)[0] for key in store.list("") if key.startswith(("fleets/", "volumes/", "leases/"))
        }
        holder = documents[f"leases/shop-{target}.json"]["holder"]
        holder.update({each: f"<{type(holder[each]).__name__}>" for each in ("id", "boot", "pids", "pid", "start")})
        return plain.plain({"calls": account.changing, "documents": documents})

    return made


def copied(folder: Path) -> Any:
    """Copy an image to the region of a target that shares it."""
    told = plain.golden("definitions/aws")["copied"]
    record = copy.deepcopy(plain.golden("given/images")["aws"])
    record["artifact"]["copies"], record["base"], record["verified"]["verify"] = (
        {},
        told["inputs"]["base"],
        told["verify_digest"],
    )
    prepared(folder, record)
    account = Empty()
    with aws_replay.answering(account), produced.steady(), suppress(aws_replay.Stopped):
        raise AssertionError(adapter.run_action("image_verify", folder, target="copied", image=record["digest"]))
    return account.changing


def verified(folder: Path) -> Any:
    """Return the calls up to the first launch of a verification, and the names of its locks."""
    record = copy.deepcopy(plain.golden("given/images")["aws"])
    record["verified"] = None
    prepared_for_tests = {**record, "verified": plain.golden("given/images")["aws"]["verified"]}
    store, account = prepared(folder, prepared_for_tests), Empty()
    store.write(f"images/{record['digest'][7:]}/{record['build']}/record.json", record)
    with aws_replay.answering(account), produced.steady(), suppress(aws_replay.Stopped):
        raise AssertionError(adapter.run_action("image_verify", folder, target="prod", image=record["digest"]))
    calls = [each for each in account.changing if each["call"] in ("ec2:CreateVolume", "ec2:RunInstances")]
    asked = calls[-1]["asked"]
    random = {asked["ClientToken"]: "<token>", asked["UserData"]["nonce"]["text"].strip(): "<nonce>"}
    del asked["UserData"]["authorized_keys"]  # made for this run
    return {"calls": plain.plain(calls, random), "locks": store.list("locks/")}


def published(folder: Path) -> Any:
    """Publish a promoted image in each region that has it."""
    record, account = plain.golden("given/images")["aws"], Empty()
    prepared(folder, record, "another")
    with aws_replay.answering(account), produced.steady():
        told = adapter.run_action("channel", folder, target="prod", channel="prod", image=record["digest"])
    return {"calls": account.changing, "published": told["published"]}


def marked(folder: Path) -> Any:
    """Set and remove marks on hosts of a recorded fleet."""
    kept = plain.golden("fleets/ec2")
    recorded.restored(kept, folder)
    account = aws_replay.Account(kept["calls"], {"ec2:CreateTags": {}, "ec2:DeleteTags": {}})
    ids = sorted({each["id"] for each in kept["results"]["fleet"]["instances"]})
    account.also(ids)
    with aws_replay.answering(account), produced.steady():
        adapter.run_action("host_mark", folder, target="prod", hosts=ids, mark="tainted", reason="it drifted")
        adapter.run_action("host_mark", folder, target="prod", hosts=["shop-prod-0"], mark="protected", state="absent")
    return account.changing


def detached(folder: Path) -> Any:
    """Detach a volume from a stopped host, which makes a snapshot."""
    account = Empty()
    tags = plain.golden("calls/launch")["calls"][0]["asked"]["TagSpecifications"][0]["Tags"]
    attached = {"InstanceId": "i-0000000000000000a", "State": "attached", "AttachTime": AT}
    volume = {"VolumeId": "vol-00000000000000000", "Size": 10, "VolumeType": "io2", "Tags": tags, "State": "in-use"}
    account.volumes.append({**volume, "AvailabilityZone": "eu-central-1a", "Attachments": [attached]})
    prepared(folder, plain.golden("given/images")["aws"])
    with aws_replay.answering(account), produced.steady(), suppress(aws_replay.Stopped):
        adapter.detach(folder, "prod", ["vol-00000000000000000"])
    return account.changing


def removed(folder: Path) -> Any:
    """Remove a volume. The store counts removals, because the token of a removed volume is used up."""
    account = Empty()
    tags = plain.golden("calls/launch")["calls"][0]["asked"]["TagSpecifications"][0]["Tags"]
    volume = {"VolumeId": "vol-00000000000000000", "Size": 10, "VolumeType": "io2", "Tags": tags, "State": "available"}
    account.volumes.append({**volume, "AvailabilityZone": "eu-central-1a", "Attachments": []})
    store = prepared(folder, plain.golden("given/images")["aws"])
    store.write("volumes/shop-prod.json", {"removals": 4})
    with aws_replay.answering(account), produced.steady(), suppress(aws_replay.Stopped):
        adapter.remove_volumes(folder, "prod", ["vol-00000000000000000"])
    return {"calls": account.changing, "document": store.read("volumes/shop-prod.json")[0]}


def evidence(folder: Path) -> Any:
    """Read consoles and return the evidence document that the store keeps."""
    kept = copy.deepcopy(plain.golden("fleets/ec2"))
    del kept["documents"]["evidence/shop-prod.json"]
    for group in next(each for each in kept["calls"] if each["call"] == "ec2:DescribeInstances")["answer"][
        "Reservations"
    ]:
        for each in group["Instances"]:
            tags = {tag["Key"]: tag["Value"] for tag in each["Tags"]}
            said = {
                "digest": tags["immutable:image"],
                "nonce": tags["immutable:nonce"],
                "host_key": "ssh-ed25519 A",
                "shell": "off",
            }
            answer = {"Output": f"IMMUTABLE-SEALED {json.dumps(said)}\n", "Timestamp": each["LaunchTime"]}
            asked = {"InstanceId": each["InstanceId"], "Latest": True}
            kept["calls"].append({"call": "ec2:GetConsoleOutput", "asked": asked, "answer": answer})
    found = recorded.replayed(kept, folder, tasks=("fleet",))
    return {"document": found["documents"]["evidence/shop-prod.json"], "changed": found["results"]["fleet"]["changed"]}


def refresh(folder: Path) -> Any:
    """Return the changes to a group that still launches the previous version, up to the start of a refresh.

    The launch template has a version that 0.1.0 made for the image. Its instances could not seal, so it is not used.
    """
    kept = copy.deepcopy(plain.golden("fleets/group_before"))
    created = {"LaunchTemplateVersion": {"LaunchTemplateId": template_of(kept), "VersionNumber": 3}}
    changes = {
        "ec2:CreateLaunchTemplateVersion": created,
        "autoscaling:StartInstanceRefresh": aws_replay.Stopped,
    }
    return recorded.replayed(kept, folder, changes, ("fleet",))["changing"]


def template_of(kept: Mapping[str, Any]) -> str:
    (described, *_more) = (each for each in kept["calls"] if each["call"] == "ec2:DescribeLaunchTemplateVersions")
    return str(described["answer"]["LaunchTemplateVersions"][0]["LaunchTemplateId"])


def started(folder: Path) -> Any:
    """Return the start of a refresh to the created version. 0.1.0 used the second one, which it had made before."""
    calls = copy.deepcopy(refresh(folder)[1:])
    desired = calls[0]["asked"]["DesiredConfiguration"]["LaunchTemplate"]
    assert desired["Version"] == "3"
    desired["Version"] = "2"
    return calls


def created(folder: Path) -> Any:
    """Return the creation of a version, without what 0.1.0 did not give to it: the launch document and its tags."""
    asked = copy.deepcopy(refresh(folder)[0])
    data, token = asked["asked"]["LaunchTemplateData"], asked["asked"]["ClientToken"]
    assert data.pop("UserData") and data.pop("MetadataOptions")
    for kind in data["TagSpecifications"]:
        kind["Tags"] = [tag for tag in kind["Tags"] if tag["Key"] in ("immutable:image", "immutable:image_name")]
    content = token.split("-")[1]
    earlier = plain.golden("calls/template")[0]["asked"]["ClientToken"].split("-")[1]  # of the version without them
    for name in ("ClientToken", "VersionDescription"):
        assert content in asked["asked"][name]
        asked["asked"][name] = asked["asked"][name].replace(content, earlier)
    return [asked]


def rolled_back(folder: Path) -> Any:
    """Return the first launch of a rollback, which uses the recipe in the store."""
    found = recorded.replayed(
        plain.golden("fleets/ec2"), folder, {"ec2:RunInstances": aws_replay.Stopped}, ("rollback",)
    )
    return {"calls": found["changing"], "intent": found["documents"]["fleets/shop-prod/intent.json"]}


ENTRIES: dict[str, Callable[[Path], Any]] = {
    "calls/launch": launch("prod"),
    "calls/launch_plain": launch("plain"),
    "calls/copy": copied,
    "calls/verify": verified,
    "calls/publish": published,
    "calls/mark": marked,
    "calls/snapshot": detached,
    "calls/remove": removed,
    "calls/evidence": evidence,
    "calls/rollback": rolled_back,
    "calls/refresh": started,
    "calls/template": created,
}
