# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lines that show the progress of a swap."""

from __future__ import annotations

from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.timeline import Timeline


def test_a_line_counts_the_slots_that_the_new_version_serves() -> None:
    lines: list[str] = []
    timeline = Timeline(lines.append, 100.0)
    timeline.renewed = "1 of 3 new"
    timeline.add("launched", 0, "shop-0", 101.5)
    assert lines == ["    1.5 s  slot 0: launched (shop-0) [1 of 3 new, healthy 0, serving 0, draining 0]"]


def test_a_line_names_an_instance_once() -> None:
    lines: list[str] = []
    Timeline(lines.append, 0.0).add("rolling back: slot 0: shop-0 failed", None, "shop-0", 1.0)
    assert lines == ["    1.0 s  rolling back: slot 0: shop-0 failed [healthy 0, serving 0, draining 0]"]
