# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The summary of a host that was compared with its image. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .text import counted, duration, wrapped

_DIFFERENCES = 5  # that are shown of one host


def attest_lines(result: Mapping[str, Any], host: str, width: int) -> list[str]:
    """Return the summary of a result of ``host_attest``; it begins with the name of the host."""
    if "attested" not in result:
        return [f"! {host}: could not be compared: {result.get('msg', '')}"]
    skipped = len(result.get("not_compared") or ())
    left = f", {skipped} not compared" if skipped else ""
    if result["attested"]:
        return [f"{host}: equals its image ({result['checked']} entries in {duration(result['seconds'])}{left})"]
    lines = [f"! {host}: {counted(result['count'], 'difference')} from its image{left}"]
    for each in result["differences"][:_DIFFERENCES]:
        values = [each[side] for side in ("expected", "found") if each.get(side)]
        what = f": {' -> '.join(values)}" if values else ""
        lines += wrapped(f"!   {each['kind']} {each['path']}{what}", width)
    more = result["count"] - _DIFFERENCES
    return [*lines, f"!   and {more} more"] if more > 0 else lines
