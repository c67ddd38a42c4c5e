# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The images that the fleets of a store still need, according to their last swaps."""

from __future__ import annotations

from ..._store.base import Store
from ..ledger import Ledger
from ..model import OPEN


def swapped_images(store: Store) -> dict[str, list[str]]:
    """Return by digest why images are needed, in words: images of last swaps, and those they would roll back to."""
    found: dict[str, list[str]] = {}
    fleets = dict.fromkeys(key.split("/")[1] for key in store.list("fleets/") if key.endswith("/intent.json"))
    for fleet in fleets:
        ledger = Ledger(store, fleet)
        intent = ledger.last()
        if intent is None:
            continue
        swap = "an unfinished swap" if intent.status == OPEN else "the last swap"
        if intent.image:
            found.setdefault(intent.image, []).append(f"{swap} of {fleet} is to it")
        if intent.origin and intent.origin.image != intent.image:
            found.setdefault(intent.origin.image, []).append(f"{swap} of {fleet} is from it")
        earlier = next((each.image for each in ledger.good_versions() if each.image != intent.image), None)
        if earlier and (intent.origin is None or earlier != intent.origin.image):
            found.setdefault(earlier, []).append(f"a rollback of {fleet} would use it")
    return found
