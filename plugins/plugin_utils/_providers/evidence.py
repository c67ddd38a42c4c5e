# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read from a console what a host said when it sealed itself."""

from __future__ import annotations

import json

from .contract import Evidence

MARK = "IMMUTABLE-SEALED "


def parse_evidence(console: str) -> Evidence | None:
    """The last whole line of evidence, or None. What the kernel or a service printed around it does not matter."""
    for line in reversed(console.splitlines()):
        _before, mark, text = line.partition(MARK)
        if not mark:
            continue
        try:
            said = json.loads(text)
            return Evidence(
                digest=str(said["digest"]),
                nonce=str(said["nonce"]),
                host_key=str(said["host_key"]),
                shell=str(said["shell"]),
            )
        except (ValueError, KeyError, TypeError):
            continue
    return None
