# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tags of everything that launches an image say of the launch. Pure."""

from __future__ import annotations

from .. import tags as tag_names
from ..cloud_texts import launch_texts
from ..contract import LaunchRequest

# Tags that make an instance the one of a slot. A launch template's have none of them.
OF_SLOT = (tag_names.FLEET, tag_names.PURPOSE, tag_names.SLOTS, tag_names.PORTS, tag_names.ADDRESS)
# Tags that stay when an instance is reimaged.
KEPT = (tag_names.FLEET, tag_names.STORE, tag_names.PURPOSE, tag_names.NONCE, tag_names.SLOTS)
# A client token goes with one set of parameters, so the order of the tags stays the same from release to release.
_ORDER = (
    *(tag_names.FLEET, tag_names.STORE, tag_names.IMAGE, tag_names.AMI, tag_names.LAUNCH, tag_names.PURPOSE),
    *(tag_names.NONCE, tag_names.SLOTS, tag_names.PORTS, tag_names.EVIDENCE, tag_names.ADDRESS),
)


def instance_texts(request: LaunchRequest, store: str, ami: str) -> dict[str, str]:
    """The texts of an instance's tags, by name: those of the request, then the others in their order.

    Args:
        store: the store's identity.
    """
    texts = {**launch_texts(request, store), tag_names.AMI: ami, tag_names.SLOTS: str(request.slot)}
    return {**request.tags, **{name: texts[name] for name in _ORDER}}
