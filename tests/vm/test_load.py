# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Swaps on real machines under load.

If the strategy promises it, no request is lost. If not, the test prints how long no instance answers.
"""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.tests.support.machines import Service
from ansible_collections.immutable.infra.tests.support.swap_checks import CANARY, lose_no_request, record_the_downtime

long = pytest.mark.long


@pytest.mark.parametrize(
    "fleet",
    [
        pytest.param({}, id="rolling"),
        pytest.param({"strategy": "blue_green"}, id="blue_green", marks=long),
        pytest.param(CANARY, id="canary", marks=long),
    ],
)
def test_no_request_is_lost(plain: Service, fleet: dict[str, object]) -> None:
    lose_no_request(plain, fleet)


@long
def test_the_downtime_is_recorded(keeper: Service) -> None:
    record_the_downtime(keeper)
