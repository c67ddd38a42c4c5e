# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Swaps of containers under load: where the strategy promises it, no request is lost."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.tests.support.machines import Service
from ansible_collections.immutable.infra.tests.support.swap_checks import CANARY, lose_no_request, record_the_downtime


@pytest.mark.parametrize("fleet", [{}, {"strategy": "blue_green"}, CANARY], ids=["rolling", "blue_green", "canary"])
def test_no_request_is_lost(plain: Service, fleet: dict[str, object]) -> None:
    lose_no_request(plain, fleet)


def test_the_downtime_is_recorded(keeper: Service) -> None:
    record_the_downtime(keeper)
