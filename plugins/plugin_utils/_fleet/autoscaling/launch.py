# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the instances of a group are launched with: the same document as a fleet's own instances. Pure.

Auto Scaling launches all instances of a launch template version alike. So there are no slots, and one nonce for all
instances of a version.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from ..._definition.launch import launch_fingerprint, machine_settings
from ..._definition.model import Definition, Target
from ..._definition.secrets import ResolveSecrets
from ..._image_model import Image
from ..._providers.contract import LaunchRequest
from ..recipes import descriptive_tags

OWN_SETTINGS = ("evidence", "metadata_hop_limit")  # of a machine, that a new version sets
ANY_SLOT = 0  # the document contains no slot


def group_request(
    definition: Definition,
    target: Target,
    image: Image,
    *,
    key: bytes,
    resolve: ResolveSecrets,
    authorized_keys: Sequence[str],
) -> LaunchRequest:
    """Return what any instance of the group is launched with.

    Args:
        key: the secret key of the store, for the launch fingerprint and the nonce.
        authorized_keys: public SSH keys that may log in.

    Raises FleetError if a secret is missing.
    """
    fleet, references = definition.fleet_name(target.name), dict(resolve(target.secrets)) if target.secrets else {}
    # The launch template has the other settings of a machine.
    machine = {name: value for name, value in machine_settings(target).items() if name in OWN_SETTINGS}
    covered = {**machine, "authorized_keys": list(authorized_keys), "secret_refs": references}
    launch = launch_fingerprint(key, image.digest, settings=target.settings, secrets={}, machine=covered)
    return LaunchRequest(
        token="",
        fleet=fleet,
        slot=ANY_SLOT,
        image=image.digest,
        artifact=image.artifact,
        launch=launch,
        nonce=hmac.new(key, f"nonce {fleet} {launch}".encode(), hashlib.sha256).hexdigest()[:32],
        authorized_keys=tuple(authorized_keys),
        settings=target.settings,
        secret_refs=references,
        machine=machine,
        tags=descriptive_tags(definition, target, image),
    )
