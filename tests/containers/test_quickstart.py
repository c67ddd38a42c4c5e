# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the quickstart does with the engine itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import open_engine
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_runtime import state_folder

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples"))
from tour.engine import no_systemd, remove_storage  # noqa: E402


@pytest.fixture(autouse=True)
def collections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(Path(*ROOT.parts[:-3])))


def test_nothing_of_the_engine_stays(own_store: Path) -> None:
    folder = own_store / "container"
    engine = open_engine("podman", folder)
    engine.run("info")
    assert (folder / "storage").exists()
    state = state_folder(folder)
    remove_storage(own_store)
    mounted = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{own_store}/" in line]
    assert not own_store.exists() and not state.exists() and not mounted
    remove_storage(own_store)  # there may be nothing to remove


def test_the_reason_against_systemd_is_the_engines_own(own_store: Path) -> None:
    warnings = open_engine("podman", own_store / "container").runtime_warnings()
    assert no_systemd(own_store) in ("", *warnings)
    assert any(line.startswith("systemd cannot") for line in warnings) == bool(no_systemd(own_store))
