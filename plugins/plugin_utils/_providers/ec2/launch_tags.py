# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tags of everything that launches an image say of the launch. Pure."""

from __future__ import annotations

from .. import tags as tag_names
from ..contract import LaunchRequest
from .describe import CONSOLE

# Tags that make an instance the one of a slot. A launch template's have none of them.
OF_SLOT = (tag_names.FLEET, tag_names.PURPOSE, tag_names.SLOTS, tag_names.PORTS, tag_names.ADDRESS)
# Tags that stay when an instance is reimaged.
KEPT = (tag_names.FLEET, tag_names.STORE, tag_names.PURPOSE, tag_names.NONCE, tag_names.SLOTS)


def launch_texts(request: LaunchRequest, store: str, ami: str) -> dict[str, str]:
    """The texts of an instance's tags, by name.

    Their order stays the same from release to release: a client token goes with one set of parameters.

    Args:
        store: the store's identity.
    """
    return {
        **request.tags,
        tag_names.FLEET: request.fleet,
        tag_names.STORE: store,
        tag_names.IMAGE: request.image,
        tag_names.AMI: ami,
        tag_names.LAUNCH: request.launch,
        tag_names.PURPOSE: request.purpose,
        tag_names.NONCE: request.nonce,
        tag_names.SLOTS: str(request.slot),
        tag_names.PORTS: ",".join(str(port) for port in request.ports),
        tag_names.EVIDENCE: request.machine.get("evidence", CONSOLE),
        tag_names.ADDRESS: request.machine.get("address", "private"),
    }
