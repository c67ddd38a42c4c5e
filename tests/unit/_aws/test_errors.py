# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""AWS's refusals become errors of this project, and callers decide by typed attributes."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import aws_errors
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import (
    ProviderError,
    StoreError,
    TrafficError,
)
from botocore.exceptions import ClientError, EndpointConnectionError


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "RunInstances")


@pytest.mark.parametrize("error_type", [ProviderError, TrafficError])
@pytest.mark.parametrize(
    ("code", "permanent", "token_spent"),
    [
        ("UnauthorizedOperation", True, False),
        ("AccessDenied", True, False),
        ("ExpiredToken", True, False),
        ("RequestLimitExceeded", False, False),
        ("IdempotentInstanceTerminated", False, True),
    ],
)
def test_a_refusal_says_by_attributes_whether_to_retry(
    error_type: type[ProviderError], code: str, permanent: bool, token_spent: bool
) -> None:
    with pytest.raises(error_type) as caught, aws_errors(error_type):
        raise refusal(code)
    error = caught.value
    assert (error.code, error.permanent, error.token_spent) == (code, permanent, token_spent)
    assert error.details == {"code": code, "operation": "RunInstances"}


def test_an_unreachable_service_is_worth_retrying() -> None:
    with pytest.raises(ProviderError) as caught, aws_errors():
        raise EndpointConnectionError(endpoint_url="https://ec2.example.com")
    assert (caught.value.code, caught.value.permanent) == ("EndpointConnectionError", False)


def test_the_store_gets_the_code_in_its_details_alone() -> None:
    with pytest.raises(StoreError) as caught, aws_errors(StoreError, "reading"):
        raise refusal("AccessDenied")
    assert caught.value.details == {"code": "AccessDenied", "operation": "RunInstances"}
