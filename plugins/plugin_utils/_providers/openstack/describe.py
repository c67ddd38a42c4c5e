# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Nova and Cinder describe, as the other rooms see it. Pure.

Sources: https://docs.openstack.org/api-ref/compute/ and https://docs.openstack.org/api-ref/block-storage/v3/
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Final

from ..._core.gibibytes import GIB
from .. import tags as tag_names
from ..cloud_texts import (
    NO_EVIDENCE,
    endpoints_of,
    is_data_volume,
    purpose_of,
    tags_of,
    trusted_evidence,
    wants_public_address,
)
from ..contract import PENDING, RUNNING, STOPPED, STOPPING, Evidence, Instance, InstanceState, Volume
from ..root_state import FAILED, ORIGINAL, RootState
from .metadata import texts_of

ERROR: Final = "ERROR"
REMOVED = ("DELETED", "SOFT_DELETED")  # statuses of servers that do not exist any more
DOWN = ("SHUTOFF", "SHELVED", "SHELVED_OFFLOADED")
BUILDING = ("BUILD", "REBUILD", "REBOOT", "HARD_REBOOT")
DELETING = ("deleting", "soft-deleting", "force-deleting")  # task states
POWERING_OFF: Final = "powering-off"
STARTING = ("powering-on", "reboot_started_hard", "rebooting_hard", "rebuilding", "rebuild_spawning", "spawning")
POWER_RUNNING: Final = 1  # power states
POWER_UNKNOWN: Final = 0
MAX_REASON = 300  # characters
SERIAL_LENGTH = 20  # characters of a volume's id that virtio shows to the guest


def state_of(described: Mapping[str, Any]) -> InstanceState:
    """The state of a server, without regard to its evidence: PENDING, RUNNING, STOPPING or STOPPED.

    A server in the status ERROR that never ran is down. One that ran may still run on its host, so it counts as
    stopping until Nova says that its power is off.
    """
    status, task = described.get("status", ""), described.get("OS-EXT-STS:task_state") or ""
    if task in DELETING or awaits_removal(described):
        return STOPPING
    if status == ERROR:
        ran = described.get("OS-SRV-USG:launched_at")
        on = described.get("OS-EXT-STS:power_state") in (POWER_RUNNING, POWER_UNKNOWN, None)
        return STOPPING if ran and on else STOPPED
    if status in DOWN:
        return PENDING if task in STARTING else STOPPED
    if task == POWERING_OFF:
        return STOPPING
    return PENDING if status in BUILDING else RUNNING


def awaits_removal(described: Mapping[str, Any]) -> bool:
    """Whether a server whose removal has begun is down, so that it can be deleted."""
    down = described.get("status") in (*DOWN, ERROR) and not described.get("OS-EXT-STS:task_state")
    return down and tag_names.REMOVING in texts_of(described)


def reports_evidence(described: Mapping[str, Any]) -> bool:
    """Whether the console may show evidence of the present boot. While a server starts it may show an earlier one."""
    idle = not described.get("OS-EXT-STS:task_state")
    on_console = texts_of(described).get(tag_names.EVIDENCE) != NO_EVIDENCE
    return state_of(described) == RUNNING and idle and on_console


def started_at(described: Mapping[str, Any]) -> float:
    """When the present boot began: Nova says so of launches and rebuilds, a mark of starts by this collection."""
    return max(_launched_at(described), float(texts_of(described).get(tag_names.STARTED, "0")))


def boot_of(described: Mapping[str, Any]) -> str:
    """The identity of one boot of one server."""
    return f"{described['id']}@{int(started_at(described))}"


def instance_of(described: Mapping[str, Any], evidence: Mapping[str, Evidence]) -> Instance | None:
    """The instance that Nova describes, or None if it belongs to no fleet or does not exist any more.

    Args:
        evidence: what is known so far, by boot.
    """
    texts, status = texts_of(described), described.get("status", "")
    if status in REMOVED or tag_names.SLOT not in texts or tag_names.FLEET not in texts:
        return None
    state = state_of(described)
    found = evidence_of(described, texts, evidence) if state == RUNNING else None
    return Instance(
        id=str(described["id"]),
        fleet=texts[tag_names.FLEET],
        slot=int(texts[tag_names.SLOT]),
        image=texts.get(tag_names.IMAGE, ""),
        launch=texts.get(tag_names.LAUNCH, ""),
        state=PENDING if state == RUNNING and found is None else state,
        purpose=purpose_of(texts),
        created=_launched_at(described) if tag_names.PREVIOUS in texts else _time(described.get("created")),
        nonce=texts.get(tag_names.NONCE, ""),
        endpoints=endpoints_of(texts, _address_of(described, texts)),
        evidence=found,
        tags=tags_of(texts),
        started=started_at(described),
        stopping_since=_time(described.get("updated")) if state == STOPPING else 0.0,
        awaits_removal=awaits_removal(described),
        zone=str(described.get("OS-EXT-AZ:availability_zone") or ""),
        stop_reason=reason_of(described) if state == STOPPED else "",
        root=root_of(described, texts),
    )


def evidence_of(
    described: Mapping[str, Any], texts: Mapping[str, str], evidence: Mapping[str, Evidence]
) -> Evidence | None:
    """What proves that a running server has sealed itself, or None."""
    if texts.get(tag_names.EVIDENCE) != NO_EVIDENCE:
        return evidence.get(boot_of(described))
    image = described.get("image")
    if not isinstance(image, Mapping) or image.get("id") != texts.get(tag_names.GLANCE):
        return None
    return trusted_evidence(texts)


def reason_of(described: Mapping[str, Any]) -> str:
    """Why a server is down, in Nova's words; "" if it does not say."""
    status, fault = str(described.get("status", "")), described.get("fault")
    if status == ERROR:
        message = fault.get("message", "") if isinstance(fault, Mapping) else ""
        return f"{ERROR}: {' '.join(str(message).split())}"[:MAX_REASON].rstrip(": ")
    return "" if status == "SHUTOFF" else status


def root_of(described: Mapping[str, Any], texts: Mapping[str, str]) -> RootState:
    """What Nova says of the rebuild of a server; the same as for any other server without one."""
    previous = texts.get(tag_names.PREVIOUS, "").partition(" ")[0]
    failed = bool(previous) and described.get("status") == ERROR
    return (
        RootState(previous, FAILED if failed else "", reason_of(described) if failed else "") if previous else ORIGINAL
    )


def address_of(described: Mapping[str, Any], network: str, floating: bool) -> str:
    """The address by which a server is reached, IPv4 if it has one; "" if it has none yet.

    Args:
        network: name of the network of the address.
        floating: whether a floating address is wanted, otherwise a fixed one.
    """
    networks = described.get("addresses")
    entries = networks.get(network, ()) if isinstance(networks, Mapping) else ()
    wanted = "floating" if floating else "fixed"
    found = [
        (entry.get("version", 4), str(entry["addr"]))
        for entry in entries
        if isinstance(entry, Mapping) and "addr" in entry and entry.get("OS-EXT-IPS:type", "fixed") == wanted
    ]
    return min(found)[1] if found else ""


def has_floating_address(described: Mapping[str, Any]) -> bool:
    """Whether a server has any floating address."""
    networks = described.get("addresses")
    entries = [entry for each in networks.values() for entry in each] if isinstance(networks, Mapping) else []
    return any(isinstance(entry, Mapping) and entry.get("OS-EXT-IPS:type") == "floating" for entry in entries)


def volume_of(described: Mapping[str, Any]) -> Volume | None:
    """The data volume that Cinder describes, or None if it is not the data volume of a slot."""
    texts = texts_of(described)
    if not is_data_volume(texts):
        return None
    attachments = [one for one in described.get("attachments") or () if isinstance(one, Mapping)]
    attachment = next((one for one in attachments if one.get("server_id")), None)
    return Volume(
        id=str(described["id"]),
        fleet=texts[tag_names.FLEET],
        slot=int(texts[tag_names.SLOT]),
        name=texts[tag_names.VOLUME],
        size=int(described.get("size", 0)) * GIB,
        attached_to=str(attachment["server_id"]) if attachment else None,
        attached_at=_time(attachment.get("attached_at")) if attachment else 0.0,
        kind=str(described.get("volume_type") or ""),
        zone=texts.get(tag_names.ZONE, ""),
        created_blank=texts.get(tag_names.BLANK) == "true",
    )


def serial_of(volume_id: str) -> str:
    """What a guest sees of a volume as the serial number of its disk."""
    return volume_id[:SERIAL_LENGTH]


def _address_of(described: Mapping[str, Any], texts: Mapping[str, str]) -> str:
    return address_of(described, texts.get(tag_names.NETWORK, ""), wants_public_address(texts))


def _launched_at(described: Mapping[str, Any]) -> float:
    """When the server was launched, or rebuilt; until Nova says so, when it was created."""
    return _time(described.get("OS-SRV-USG:launched_at")) or _time(described.get("created"))


def _time(text: Any) -> float:
    """Seconds since the epoch of a time in UTC, with or without its zone; 0 if there is none."""
    try:
        found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return 0.0
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()
