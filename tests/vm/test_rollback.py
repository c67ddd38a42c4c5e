# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rollbacks after a successful swap of real machines, with two real images."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.tests.support.machines import Service
from ansible_collections.immutable.infra.tests.support.swap_checks import roll_back_twice

pytestmark = pytest.mark.long


def test_rollbacks_to_a_kept_and_to_a_removed_fleet(plain: Service) -> None:
    roll_back_twice(plain)
