# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SSM parameters with their versions, as instances are launched with them."""

from __future__ import annotations

from collections.abc import Sequence

from ..._aws.batches import MAX_PARAMETERS, batches
from ..._aws.clients import Clients, aws_errors
from ..._core.errors import ProviderError


def pinned_parameters(clients: Clients, parameters: Sequence[str]) -> dict[str, str]:
    """Each SSM parameter with its present version, by the name that was requested.

    A launch uses the pinned version, so a later change of the parameter does not reach running instances. No
    value is decrypted. Raises ProviderError naming every parameter that does not exist.
    """
    pinned: dict[str, str] = {}
    missing: list[str] = []
    for names in batches(sorted(set(parameters)), MAX_PARAMETERS):
        with aws_errors(doing="reading secrets"):
            answer = clients.client("ssm").get_parameters(Names=names, WithDecryption=False)
        for parameter in answer["Parameters"]:
            for name in filter(None, (parameter["Name"], parameter.get("ARN"))):
                requested = (name, name + (parameter.get("Selector") or ""))
                pinned.update(dict.fromkeys(requested, f"{name}:{parameter['Version']}"))
        missing += answer.get("InvalidParameters", [])
    if missing:
        raise ProviderError(
            f"secrets are missing: there is no parameter {', '.join(missing)} in SSM of {clients.region}"
        )
    return pinned
