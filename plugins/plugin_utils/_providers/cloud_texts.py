# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every cloud writes on instances and volumes, and reads from them. Pure.

A text is the value of one of the names in ``tags``. How a cloud keeps texts is in ``text_tags``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from . import tags as tag_names
from .contract import FLEET, Evidence, LaunchRequest, Purpose

# Where an instance reports its evidence: values of the text EVIDENCE that all clouds know.
CONSOLE: Final = "console"
NO_EVIDENCE: Final = "none"


def launch_texts(request: LaunchRequest, store: str) -> dict[str, str]:
    """The texts of a new instance, apart from its slot and what only one cloud knows.

    Args:
        store: the store's identity.
    """
    return {
        **request.tags,
        tag_names.FLEET: request.fleet,
        tag_names.STORE: store,
        tag_names.IMAGE: request.image,
        tag_names.LAUNCH: request.launch,
        tag_names.PURPOSE: request.purpose,
        tag_names.NONCE: request.nonce,
        tag_names.PORTS: ",".join(str(port) for port in request.ports),
        tag_names.EVIDENCE: request.machine.get("evidence", CONSOLE),
        tag_names.ADDRESS: request.machine.get("address", "private"),
    }


def purpose_of(texts: Mapping[str, str]) -> Purpose:
    """What an instance was launched for."""
    return cast(Purpose, texts.get(tag_names.PURPOSE, FLEET))


def tags_of(texts: Mapping[str, str]) -> dict[str, str]:
    """The tags of an instance: the texts that are no other fields of it."""
    return {name: text for name, text in texts.items() if name not in tag_names.FIELD_TAGS}


def wants_public_address(texts: Mapping[str, str]) -> bool:
    """Whether an instance is reached by its public address."""
    return texts.get(tag_names.ADDRESS) == "public"


def endpoints_of(texts: Mapping[str, str], address: str | None) -> dict[int, tuple[str, int]]:
    """The endpoints of an instance by guest port. Without an address there are none."""
    ports = [int(port) for port in texts.get(tag_names.PORTS, "").split(",") if port]
    return {port: (address, port) for port in ports} if address else {}


def trusted_evidence(texts: Mapping[str, str]) -> Evidence:
    """The evidence of an instance whose image the cloud vouches for.

    Nothing proves the seal: the target's settings say that this is enough.
    """
    return Evidence(
        digest=texts.get(tag_names.IMAGE, ""),
        nonce=texts.get(tag_names.NONCE, ""),
        host_key="",
        shell=texts.get(tag_names.SHELL, ""),
    )


def is_data_volume(texts: Mapping[str, str]) -> bool:
    """Whether a volume is the data volume of a slot."""
    return {tag_names.SLOT, tag_names.VOLUME, tag_names.FLEET} <= texts.keys()
