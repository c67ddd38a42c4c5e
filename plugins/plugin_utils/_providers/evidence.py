# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read from a console what a host printed when it sealed itself."""

from __future__ import annotations

import json

from .contract import Evidence

MARK = "IMMUTABLE-SEALED "


def parse_evidence(console: str) -> Evidence | None:
    """The last complete line of evidence, or None. Other output of the kernel and services is ignored."""
    for line in reversed(console.splitlines()):
        _before, mark, text = line.partition(MARK)
        if not mark:
            continue
        try:
            fields = json.loads(text)
            return Evidence(
                digest=str(fields["digest"]),
                nonce=str(fields["nonce"]),
                host_key=str(fields["host_key"]),
                shell=str(fields["shell"]),
            )
        except (ValueError, KeyError, TypeError):
            continue
    return None
