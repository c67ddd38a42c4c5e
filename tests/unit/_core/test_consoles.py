# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which lines of a failed host's console a message shows."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.consoles import telling_lines

SERVICE = 'IMMUTABLE-SERVICE {"unit":"shop.service"}'
SEALED = 'IMMUTABLE-SEALED {"digest":"sha256:0"}'
DATA = 'IMMUTABLE-DATA {"volume":"db"}'


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ([], []),
        (["", " a ", "\t"], ["a"]),
        (["a", "b", "c", "d", "e"], ["b", "c", "d", "e"]),
        ([SERVICE, "a", "b", "c", "d"], [SERVICE, "b", "c", "d"]),
        ([SERVICE, "a", DATA, "b", "c", "d"], [SERVICE, DATA, "c", "d"]),
        ([SERVICE, "a", DATA, "b", SERVICE, "c", "d", "e"], [DATA, SERVICE, "d", "e"]),
        (["a", "b", SERVICE, "c"], ["a", "b", SERVICE, "c"]),
        ([SEALED, SERVICE, SEALED, "a"], [SERVICE, "a"]),
        (["said IMMUTABLE-DATA ", "a", "b", "c", "d"], ["a", "b", "c", "d"]),
    ],
)
def test_reasons_are_shown_although_more_was_printed_after_them(lines: list[str], shown: list[str]) -> None:
    assert telling_lines(lines, 4) == shown


def test_one_line_can_be_a_reason() -> None:
    assert telling_lines([DATA, "a"], 1) == [DATA]
