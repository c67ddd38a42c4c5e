# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import stat
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake import memory
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError


@pytest.fixture(autouse=True)
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shm").mkdir()
    monkeypatch.setattr(memory, "SHARED_MEMORY", tmp_path / "shm")
    return tmp_path / "shm"


def test_it_is_private_and_gone_afterwards(tmp_path: Path, shared: Path) -> None:
    with memory.private_memory("bake-1", tmp_path) as folder:
        memory.write_private(folder / "secrets.json", b"{}")
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "secrets.json")]
        assert (folder.parent, modes) == (shared, [0o700, 0o600])
    assert list(shared.iterdir()) == []


def test_the_next_run_clears_what_a_killed_one_left(tmp_path: Path, shared: Path) -> None:
    killed = memory.private_memory("bake-1", tmp_path)
    (killed.__enter__() / "secrets.json").write_text("left")
    with memory.private_memory("bake-1", tmp_path) as folder:
        assert list(folder.iterdir()) == []
    other = memory.private_memory("bake-2", tmp_path)
    other.__enter__()
    memory.clear_memory("bake-2", tmp_path)
    assert list(shared.iterdir()) == []


def test_stores_do_not_share_a_folder(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with memory.private_memory("bake-1", tmp_path) as one, memory.private_memory("bake-1", tmp_path / "other") as two:
        assert one != two


def test_a_place_that_somebody_else_took_is_refused(tmp_path: Path, shared: Path) -> None:
    with memory.private_memory("bake-1", tmp_path) as folder:
        pass
    folder.symlink_to(tmp_path)
    with pytest.raises(BakeError, match="no private folder can be made"), memory.private_memory("bake-1", tmp_path):
        pass


def test_without_shared_memory_it_lies_in_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SHARED_MEMORY", tmp_path / "missing")
    with memory.private_memory("bake-1", tmp_path) as folder:
        assert folder.parent == tmp_path
