# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Callers decide by typed attributes of provider errors, not by the keys of the user's result."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import (
    ImmutableError,
    ProviderError,
    TrafficError,
)


@pytest.mark.parametrize("error_type", [ProviderError, TrafficError])
def test_a_provider_error_is_by_default_neither_permanent_nor_about_a_spent_token(
    error_type: type[ProviderError],
) -> None:
    error = error_type("the disk is full", path="/disk")
    assert not error.permanent and not error.token_spent and error.code == ""
    assert error.details == {"path": "/disk"}


@pytest.mark.parametrize("error_type", [ProviderError, TrafficError])
def test_the_attributes_are_typed_and_the_code_is_also_in_the_result(error_type: type[ProviderError]) -> None:
    error = error_type("refused", permanent=True, token_spent=True, code="AccessDenied", operation="RunInstances")
    assert error.permanent is True and error.token_spent is True and error.code == "AccessDenied"
    assert error.details == {"code": "AccessDenied", "operation": "RunInstances"}


def test_a_failure_holds_no_control_characters() -> None:
    error = ImmutableError("\x1b[2Jno \x07image", console=["\x1b]0;owned\x07up"], changed=True)
    assert error.as_failure() == {"changed": True, "failed": True, "msg": "no image", "console": ["up"]}
