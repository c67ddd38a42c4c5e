# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The result of a complete run of Packer."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.immutable.infra.plugins.module_utils._packer.build_names import Rename, unchanged
from ansible_collections.immutable.infra.plugins.module_utils._packer.events import Event
from ansible_collections.immutable.infra.plugins.module_utils._packer.result import BuildResult, Collector


def collect(events: Iterable[Event], folder: str | None = None, rename: Rename = unchanged) -> BuildResult:
    """See ``Collector`` for the arguments."""
    collector = Collector(folder, rename)
    for event in events:
        collector.add(event)
    return collector.result
