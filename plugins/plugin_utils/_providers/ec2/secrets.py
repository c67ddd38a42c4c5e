# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The versions of secrets that instances read from the SSM parameter store. No value is read here.

Names below ``SECRETS_MANAGER`` are references to secrets of Secrets Manager. SSM answers them only with their values
(https://docs.aws.amazon.com/systems-manager/latest/userguide/integration-ps-secretsmanager.html), so their versions
come from Secrets Manager itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..._aws.batches import MAX_PARAMETERS, batches
from ..._aws.clients import Clients, aws_errors
from ..._core.errors import ProviderError

SECRETS_MANAGER = "/aws/reference/secretsmanager/"
CURRENT = "AWSCURRENT"  # the stage of the version that is used unless another one is named


def pin_secrets(clients: Clients, parameters: Sequence[str]) -> Mapping[str, str]:
    """Each SSM parameter with its present version, by the name that was requested.

    A launch uses the pinned version, so a later change of the parameter does not reach running instances. Raises
    ProviderError naming every parameter that does not exist.
    """
    references = sorted({name for name in parameters if name.startswith(SECRETS_MANAGER)})
    names = sorted(set(parameters).difference(references))
    pinned, missing = _versions_of_parameters(clients, names)
    for reference in references:
        version = _version_of_secret(clients, reference)
        if version:
            pinned[reference] = f"{reference.partition(':')[0]}:{version}"
        else:
            missing.append(reference)
    if missing:
        raise ProviderError(
            f"secrets are missing: there is no parameter {', '.join(missing)} in SSM of {clients.region}"
        )
    return pinned


def _versions_of_parameters(clients: Clients, names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The parameters with their versions, by their names, and those that do not exist."""
    pinned: dict[str, str] = {}
    missing: list[str] = []
    for batch in batches(names, MAX_PARAMETERS):
        with aws_errors(doing="reading secrets"):
            answer = clients.client("ssm").get_parameters(Names=batch, WithDecryption=False)
        for parameter in answer["Parameters"]:
            for name in filter(None, (parameter["Name"], parameter.get("ARN"))):
                requested = (name, name + (parameter.get("Selector") or ""))
                pinned.update(dict.fromkeys(requested, f"{name}:{parameter['Version']}"))
        missing += answer.get("InvalidParameters", [])
    return pinned, missing


def _version_of_secret(clients: Clients, reference: str) -> str:
    """The ID of the version that a reference means, "" if there is none. A reference may end with an ID or a stage."""
    secret, _colon, wanted = reference.removeprefix(SECRETS_MANAGER).partition(":")
    try:
        with aws_errors(doing=f"reading the versions of the secret {secret}"):
            described = clients.client("secretsmanager").describe_secret(SecretId=secret)
    except ProviderError as error:
        if error.code == "ResourceNotFoundException":
            return ""
        raise
    stages: Mapping[str, Sequence[str]] = described.get("VersionIdsToStages", {})
    if wanted in stages:
        return wanted
    return next((version for version, names in stages.items() if (wanted or CURRENT) in names), "")
