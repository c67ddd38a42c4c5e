# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A counter in a store, which several threads or processes increment by conditional writes."""

from __future__ import annotations

from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ConflictError
from ansible_collections.immutable.infra.plugins.plugin_utils._store.s3 import S3Store

TIMES = 10


def count_up(location: str, writer: int) -> None:
    """Add to the counter ``TIMES`` times."""
    store, conflicts = S3Store(location), 0
    for turn in range(TIMES):
        while True:
            found = store.read("counter.json")
            assert found is not None
            try:
                document = {"count": found[0]["count"] + 1, "writer": writer, "turn": turn, "try": conflicts}
                store.write("counter.json", document, expect=found[1])
                break
            except ConflictError:
                conflicts += 1
