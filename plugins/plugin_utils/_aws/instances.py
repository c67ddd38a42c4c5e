# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What several rooms know about EC2's instances. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

MAX_LAUNCHED = 100  # instances that one call launches: AWS advises no more, and the slots of all must fit into tags
HOP_LIMIT = 1  # of responses of the metadata service, unless a target sets another one


def instances_in(answers: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the instances in answers of DescribeInstances."""
    for answer in answers:
        for reservation in answer["Reservations"]:
            yield from reservation["Instances"]
