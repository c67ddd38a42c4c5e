# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check that security groups are named as their provider names them."""

from __future__ import annotations

import json
import re

from ..document import Document, KeyPath, value_at


def check_group_ids(document: Document, holder: KeyPath, form: re.Pattern[str], allowed: str) -> None:
    """Add a problem for each security group of ``holder`` whose ID is one of another provider."""
    place: KeyPath = (*holder, "security_groups")
    groups = value_at(document.data, place)
    for number, group in enumerate(groups if isinstance(groups, list) else []):
        if isinstance(group, str) and not form.fullmatch(group):
            document.add_problem(
                (*place, number), f"{json.dumps(group)} is not a security group of this provider (allowed: {allowed})"
            )
