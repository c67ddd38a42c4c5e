# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What EC2 describes, as the other rooms see it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from ..._core.gibibytes import GIB
from .. import tags as tag_names
from ..cloud_texts import (
    CONSOLE,
    NO_EVIDENCE,
    endpoints_of,
    is_data_volume,
    purpose_of,
    tags_of,
    trusted_evidence,
    wants_public_address,
)
from ..contract import PENDING, RUNNING, STOPPED, STOPPING, Evidence, Instance, InstanceState, Volume
from ..ended_instance import EndedInstance
from ..volume_options import VolumeOptions
from .replaced_root import awaits_root, boot_suffix, replaced_root, root_disk, root_state
from .tags import from_aws

# A terminated instance does not exist any more, but is described for a while.
STATES: Mapping[str, InstanceState] = {
    "pending": PENDING,
    "running": RUNNING,
    "stopping": STOPPING,
    "shutting-down": STOPPING,
    "stopped": STOPPED,
}
ALIVE = tuple(STATES)
TERMINATED = "terminated"
DESCRIBED = (*ALIVE, TERMINATED)
# Reasons of a launch that EC2 accepted and that failed afterwards, with what helps where AWS's words do not say so:
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html. All other reasons are no fault of the
# launch: a person or the guest ended the instance, or EC2 took it back.
LAUNCH_FAILED: Mapping[str, str] = {
    "Client.InternalError": "often because the launching identity may not use the KMS key of a disk: kms:CreateGrant, "
    "kms:Decrypt and kms:GenerateDataKeyWithoutPlaintext",
    "Client.InvalidSnapshot.NotFound": "",
    "Client.VolumeLimitExceeded": "",
    "Server.InsufficientInstanceCapacity": "",
    "Server.InternalError": "",
}
MAX_REASON = 300  # characters
PAGES = {"PageSize": 1000}  # the maximum of EC2; without a page size it answers all at once, which may time out
VOLUME_STATES = ("creating", "available", "in-use")
# Where an instance reports its evidence, as the tag says.
BUCKET = "bucket"
_STOPPED_AT = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)")


def boot_of(described: Mapping[str, Any]) -> str:
    """The identity of one boot of one instance: EC2 sets a new launch time at each start."""
    return f"{described['InstanceId']}@{int(described['LaunchTime'].timestamp())}{boot_suffix(described)}"


def nonce_of(described: Mapping[str, Any]) -> str:
    """The nonce of its launch, "" if it has none."""
    return from_aws(described.get("Tags", ())).get(tag_names.NONCE, "")


def evidence_source(described: Mapping[str, Any]) -> str:
    """Where the instance reports its evidence: one of the values of the tag. An earlier release may have set none."""
    return from_aws(described.get("Tags", ())).get(tag_names.EVIDENCE, CONSOLE)


def reports_evidence(described: Mapping[str, Any]) -> bool:
    """Whether the instance reports evidence, and can have done so by now."""
    running = described["State"]["Name"] == "running" and not awaits_root(described)
    return running and evidence_source(described) != NO_EVIDENCE


def instance_of(
    described: Mapping[str, Any],
    evidence: Mapping[str, Evidence],
    stopping_since: Callable[[str], float],
    task: Mapping[str, Any] | None = None,
) -> Instance | None:
    """The instance that EC2 describes, or None if it belongs to no fleet.

    Args:
        evidence: what is known so far, by boot.
        stopping_since: by instance id, since when it has been stopping, if EC2 does not say.
        task: that replaces its root volume.
    """
    tags, index = from_aws(described.get("Tags", ())), described.get("AmiLaunchIndex", 0)
    slot = at_index(tags.get(tag_names.SLOTS, ""), index)
    if not slot or tag_names.FLEET not in tags:
        return None
    if tag_names.ATTEMPT in tags:
        tags[tag_names.ATTEMPT] = at_index(tags[tag_names.ATTEMPT], index)
    instance_id, state = described["InstanceId"], STATES[described["State"]["Name"]]
    found = evidence_of(described, tags, evidence) if state == RUNNING else None
    started = described["LaunchTime"].timestamp()
    created = min([started, *_root_attach_times(described)])
    if replaced := replaced_root(tags, instance_id):
        # The clocks of EC2 and the controller, which wrote the tag, may differ.
        created = max([float(replaced.at), *([] if awaits_root(described) else _root_attach_times(described))])
        started = max(started, created)
    return Instance(
        id=instance_id,
        fleet=tags[tag_names.FLEET],
        slot=int(slot),
        image=tags.get(tag_names.IMAGE, ""),
        launch=tags.get(tag_names.LAUNCH, ""),
        state=PENDING if state == RUNNING and found is None else state,
        purpose=purpose_of(tags),
        created=created,
        nonce=tags.get(tag_names.NONCE, ""),
        endpoints=endpoints_of(
            tags, described.get("PublicIpAddress" if wants_public_address(tags) else "PrivateIpAddress")
        ),
        evidence=found,
        tags=tags_of(tags),
        started=started,
        stopping_since=(_stop_time(described) or stopping_since(instance_id)) if state == STOPPING else 0.0,
        zone=described.get("Placement", {}).get("AvailabilityZone", ""),
        stop_reason=_reason(described) if state == STOPPED else "",
        root=root_state(described, task),
    )


def ended_of(described: Mapping[str, Any]) -> EndedInstance | None:
    """The instance of a fleet if it died at its launch, else None. One that still shuts down counts."""
    code = described.get("StateReason", {}).get("Code", "")
    if described["State"]["Name"] not in (TERMINATED, "shutting-down") or code not in LAUNCH_FAILED:
        return None
    tags, index = from_aws(described.get("Tags", ())), described.get("AmiLaunchIndex", 0)
    slot = at_index(tags.get(tag_names.SLOTS, ""), index)
    if not slot or tag_names.FLEET not in tags:
        return None
    tags[tag_names.ATTEMPT] = at_index(tags.get(tag_names.ATTEMPT, ""), index)
    return EndedInstance(described["InstanceId"], tags[tag_names.FLEET], int(slot), _reason(described), tags=tags)


def _reason(described: Mapping[str, Any]) -> str:
    """Why the instance is in its state, in AWS's words."""
    given = described.get("StateReason", {})
    code, message = str(given.get("Code", "")), str(given.get("Message", ""))
    text = (message if code in message else f"{code}: {message}")[:MAX_REASON]
    advice = LAUNCH_FAILED.get(code, "")
    return f"{text} ({advice})" if advice else text


def volume_of(described: Mapping[str, Any]) -> Volume | None:
    """The data volume that EC2 describes, or None if it is not the data volume of a slot."""
    tags = from_aws(described.get("Tags", ()))
    if not is_data_volume(tags):
        return None
    attachments = described.get("Attachments", ())
    attachment = next((attachment for attachment in attachments if attachment.get("State") != "detached"), None)
    return Volume(
        id=described["VolumeId"],
        fleet=tags[tag_names.FLEET],
        slot=int(tags[tag_names.SLOT]),
        name=tags[tag_names.VOLUME],
        size=described["Size"] * GIB,
        attached_to=attachment["InstanceId"] if attachment else None,
        attached_at=attachment["AttachTime"].timestamp() if attachment and "AttachTime" in attachment else 0.0,
        kind=described.get("VolumeType", ""),
        options=VolumeOptions(
            described.get("Iops", 0), described.get("Throughput", 0), tags.get(tag_names.KMS_KEY, "")
        ),
        zone=described.get("AvailabilityZone", ""),
        created_blank=tags.get(tag_names.BLANK) == "true",
    )


def at_index(texts: str, index: int) -> str:
    """The text of one instance in a tag that holds the texts of all instances of one call."""
    parts = texts.split(",")
    return parts[index] if index < len(parts) else ""


def _root_attach_times(described: Mapping[str, Any]) -> list[float]:
    """When the root disk was attached, which is the first launch: each start changes the launch time."""
    disk = root_disk(described)
    return [disk["AttachTime"].timestamp()] if disk and "AttachTime" in disk else []


def evidence_of(
    described: Mapping[str, Any], tags: Mapping[str, str], evidence: Mapping[str, Evidence]
) -> Evidence | None:
    """What proves that a running instance has sealed itself, or None.

    Args:
        tags: of the instance, by name.
        evidence: what was read so far, by boot.
    """
    if awaits_root(described):
        return None  # what runs is not what the tags say
    if tags.get(tag_names.EVIDENCE) != NO_EVIDENCE:
        return evidence.get(boot_of(described))
    if described.get("ImageId") != tags.get(tag_names.AMI) and not boot_suffix(described):
        return None
    return trusted_evidence(tags)


def _stop_time(described: Mapping[str, Any]) -> float:
    """When it was asked to stop, from a reason such as "User initiated (2026-01-31 12:00:00 GMT)"; 0 if unknown."""
    found = _STOPPED_AT.search(described.get("StateTransitionReason") or "")
    try:
        return (
            datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc).timestamp() if found else 0.0
        )
    except ValueError:
        return 0.0  # such as the 31st of a month with 30 days
