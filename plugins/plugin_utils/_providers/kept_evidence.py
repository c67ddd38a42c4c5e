# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The evidence of a boot in the folder of its machine, so that later runs need not read the output again."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from .._core.documents import parse_json
from .._core.files import write_atomically
from .contract import Evidence
from .evidence import checked_evidence

PROVEN = "evidence.proven"


def kept_evidence(folder: Path, boot: str) -> Evidence | None:
    """The evidence of this boot that an earlier run has read. A damaged file is ignored.

    Args:
        folder: of the machine.
        boot: the identity of its boot.
    """
    try:
        document = parse_json((folder / PROVEN).read_bytes())
        return checked_evidence(document["evidence"]) if document["boot"] == boot else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep_evidence(folder: Path, boot: str, evidence: Evidence) -> None:
    """Keep what was read. If it cannot be written, later runs read the output again."""
    with suppress(OSError):
        write_atomically(folder / PROVEN, json.dumps({"boot": boot, "evidence": asdict(evidence)}).encode())
