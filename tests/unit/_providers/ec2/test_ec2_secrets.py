# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The versions of secrets are pinned without reading a value, also those of Secrets Manager behind SSM."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Clients
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.secrets import SECRETS_MANAGER, pin_secrets
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud

SECRET = "shop/db+prod@1"
REFERENCE = f"{SECRETS_MANAGER}{SECRET}"


@pytest.fixture
def versions(cloud: Cloud) -> tuple[str, str]:
    """IDs of the previous and the current version of a secret, beside a plain parameter."""
    manager: Any = cloud.boto("secretsmanager")
    first = manager.create_secret(Name=SECRET, SecretString="a-long-fake-password")["VersionId"]
    second = manager.put_secret_value(SecretId=SECRET, SecretString="another-long-fake-password")["VersionId"]
    cloud.boto("ssm").put_parameter(Name="/shop/plain", Value="x", Type="String")
    return first, second


def test_a_secret_is_pinned_to_its_current_version_and_a_parameter_to_its_own(
    cloud: Cloud, versions: tuple[str, str]
) -> None:
    first, second = versions
    wanted = [REFERENCE, f"{REFERENCE}:AWSPREVIOUS", f"{REFERENCE}:{first}", "/shop/plain"]
    pinned = pin_secrets(Clients(cloud.account()), wanted)
    assert {name: pinned[name] for name in wanted} == {
        REFERENCE: f"{REFERENCE}:{second}",
        f"{REFERENCE}:AWSPREVIOUS": f"{REFERENCE}:{first}",
        f"{REFERENCE}:{first}": f"{REFERENCE}:{first}",
        "/shop/plain": "/shop/plain:1",
    }
    assert cloud.count(action="GetSecretValue") == 0
    assert all(not call.parameters.get("WithDecryption") for call in cloud.calls(action="GetParameters"))


def test_every_missing_secret_is_named(cloud: Cloud, versions: tuple[str, str]) -> None:
    wanted = [f"{SECRETS_MANAGER}gone", f"{REFERENCE}:AWSPENDING", "/shop/gone", REFERENCE]
    with pytest.raises(ProviderError) as error:
        pin_secrets(Clients(cloud.account()), wanted)
    assert error.value.message.startswith("secrets are missing: ")
    assert all(name in error.value.message for name in wanted[:3])
    assert f"{REFERENCE}," not in error.value.message


def test_aws_answers_a_reference_only_with_its_value(cloud: Cloud, versions: tuple[str, str]) -> None:
    ssm: Any = cloud.boto("ssm", proxied=True)
    [found] = ssm.get_parameters(Names=[REFERENCE], WithDecryption=True)["Parameters"]
    assert (found["Name"], found["Value"]) == (REFERENCE, "another-long-fake-password")
    answer = ssm.get_parameters(Names=[REFERENCE, "/shop/plain"], WithDecryption=False)
    assert [each["Name"] for each in answer["Parameters"]] == ["/shop/plain"]
    assert answer["InvalidParameters"] == [REFERENCE]
