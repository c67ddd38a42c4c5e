# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which images the fleets of a store still need, as far as their last swaps say."""

from __future__ import annotations

from ..._store.base import Store
from ..ledger import Ledger
from ..model import OPEN


def swapped_images(store: Store) -> dict[str, list[str]]:
    """Why each digest is needed, in words: what a swap under way works with, what a fleet ended on, and what it would go back to."""
    found: dict[str, list[str]] = {}
    fleets = dict.fromkeys(key.split("/")[1] for key in store.list("fleets/") if key.endswith("/intent.json"))
    for fleet in fleets:
        intent = Ledger(store, fleet).last()
        if intent is None:
            continue
        doing = "an unfinished swap" if intent.status == OPEN else "the last swap"
        if intent.image:
            found.setdefault(intent.image, []).append(f"{doing} of {fleet} is to it")
        if intent.origin and intent.origin.image != intent.image:
            found.setdefault(intent.origin.image, []).append(f"{doing} of {fleet} is from it")
    return found
