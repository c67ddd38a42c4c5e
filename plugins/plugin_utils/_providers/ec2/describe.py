# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What EC2 describes, as the rooms see it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from ..contract import FLEET, PENDING, RUNNING, STOPPED, STOPPING, Evidence, Instance, Volume
from .run_instances import ATTEMPT, GIB
from .tags import read

STATES = {
    "pending": PENDING,
    "running": RUNNING,
    "stopping": STOPPING,
    "shutting-down": STOPPING,
    "stopped": STOPPED,
}  # what is terminated is no more
ALIVE = tuple(STATES)
PAGES = {"PageSize": 1000}  # the most that EC2 takes; asked for no size it answers all at once, which may time out
VOLUME_STATES = ("creating", "available", "in-use")
OURS = (
    "fleet",
    "store",
    "image",
    "ami",
    "launch",
    "purpose",
    "nonce",
    "slots",
    "ports",
    "evidence",
    "address",
)  # told by fields of Instance
_SINCE = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)")


def boot_of(described: Mapping[str, Any]) -> str:
    """Names one boot of one instance: EC2 tells a new launch time at each start."""
    return f"{described['InstanceId']}@{int(described['LaunchTime'].timestamp())}"


def reads_console(described: Mapping[str, Any]) -> bool:
    return described["State"]["Name"] == "running" and read(described.get("Tags", ())).get("evidence") != "none"


def instance_of(
    described: Mapping[str, Any], known: Mapping[str, Evidence], stopping: Callable[[str], float]
) -> Instance | None:
    """None for what is not of a fleet. ``known``: evidence by boot. ``stopping``: since when it stops, where EC2 does not tell."""
    tags, index = read(described.get("Tags", ())), described.get("AmiLaunchIndex", 0)
    slot = _own(tags.get("slots", ""), index)
    if not slot.isdigit() or "fleet" not in tags:
        return None
    if ATTEMPT in tags:
        tags[ATTEMPT] = _own(tags[ATTEMPT], index)
    state = STATES[described["State"]["Name"]]
    evidence = _evidence(described, tags, known) if state == RUNNING else None
    started = described["LaunchTime"].timestamp()
    return Instance(
        id=described["InstanceId"],
        fleet=tags["fleet"],
        slot=int(slot),
        image=tags.get("image", ""),
        launch=tags.get("launch", ""),
        state=PENDING if state == RUNNING and evidence is None else state,
        purpose=tags.get("purpose", FLEET),
        created=min([started, *_attached(described)]),
        nonce=tags.get("nonce", ""),
        endpoints=_endpoints(described, tags),
        evidence=evidence,
        tags={name: text for name, text in tags.items() if name not in OURS},
        started=started,
        stopping_since=(_since(described) or stopping(described["InstanceId"])) if state == STOPPING else 0.0,
        zone=described.get("Placement", {}).get("AvailabilityZone", ""),
    )


def volume_of(described: Mapping[str, Any]) -> Volume | None:
    """None for what is no data volume of a slot."""
    tags = read(described.get("Tags", ()))
    if not tags.get("slot", "").isdigit() or "volume" not in tags or "fleet" not in tags:
        return None
    attachment = next((each for each in described.get("Attachments", ()) if each.get("State") != "detached"), None)
    return Volume(
        id=described["VolumeId"],
        fleet=tags["fleet"],
        slot=int(tags["slot"]),
        name=tags["volume"],
        size=described["Size"] * GIB,
        attached_to=attachment["InstanceId"] if attachment else None,
        attached_at=attachment["AttachTime"].timestamp() if attachment and "AttachTime" in attachment else 0.0,
        kind=described.get("VolumeType", ""),
        zone=described.get("AvailabilityZone", ""),
    )


def _own(texts: str, index: int) -> str:
    """An instance's own of what is told of all that one call launched."""
    each = texts.split(",")
    return each[index] if index < len(each) else ""


def _attached(described: Mapping[str, Any]) -> list[float]:
    """When its root disk came, which is when it was launched first: each start moves the launch time."""
    root = described.get("RootDeviceName")
    disks = [
        disk["Ebs"] for disk in described.get("BlockDeviceMappings", ()) if disk["DeviceName"] == root and "Ebs" in disk
    ]
    return [disk["AttachTime"].timestamp() for disk in disks if "AttachTime" in disk]


def _evidence(described: Mapping[str, Any], tags: Mapping[str, str], known: Mapping[str, Evidence]) -> Evidence | None:
    if tags.get("evidence") != "none":
        return known.get(boot_of(described))
    if described.get("ImageId") != tags.get("ami"):
        return None
    # EC2's word for the image, nobody's for the seal: the target said that this is enough.
    return Evidence(digest=tags.get("image", ""), nonce=tags.get("nonce", ""), host_key="", shell=tags.get("shell", ""))


def _endpoints(described: Mapping[str, Any], tags: Mapping[str, str]) -> dict[int, tuple[str, int]]:
    address = described.get("PublicIpAddress" if tags.get("address") == "public" else "PrivateIpAddress")
    return (
        {int(port): (address, int(port)) for port in tags.get("ports", "").split(",") if port.isdigit()}
        if address
        else {}
    )


def _since(described: Mapping[str, Any]) -> float:
    """When it was told to stop, from EC2's words, such as "User initiated (2026-01-31 12:00:00 GMT)". 0 where they do not say."""
    found = _SINCE.search(described.get("StateTransitionReason") or "")
    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc).timestamp() if found else 0.0
