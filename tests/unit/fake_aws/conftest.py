# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fixtures for the tests of the fake AWS: an account with a network and an AMI."""

from __future__ import annotations

from ansible_collections.immutable.infra.tests.support.aws.account import account

__all__ = ["account"]
