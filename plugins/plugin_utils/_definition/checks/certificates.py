# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check the certificates that a definition names or contains."""

from __future__ import annotations

import json
from pathlib import Path

from ..authorities import read_authorities
from ..document import Document, KeyPath, value_at

MAX_PATH_SHOWN = 200  # characters


def check_certificates(document: Document, place: KeyPath, folder: Path) -> None:
    """Add a problem for a key with certificates that cannot be read. ``folder``: the definition's."""
    written = value_at(document.data, place)
    if not isinstance(written, str):
        return
    try:
        read_authorities(folder, written)
    except ValueError as error:
        named = "this text" if "-----BEGIN" in written else json.dumps(written[:MAX_PATH_SHOWN])
        document.add_problem(place, f"{named} {error}")
