# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fixtures for the tests of target groups: a load balancer with one or two of them in the fake AWS."""

from __future__ import annotations

from ansible_collections.immutable.infra.tests.support.aws.target_groups import one_group, two_groups

__all__ = ["one_group", "two_groups"]
