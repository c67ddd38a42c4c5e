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


def test_the_folder_is_private_and_removed_at_the_end(tmp_path: Path, shared: Path) -> None:
    with memory.private_memory("bake-1", tmp_path) as folder:
        memory.write_private(folder / "secrets.json", b"{}")
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "secrets.json")]
        assert (folder.parent, modes) == (shared, [0o700, 0o600])
    assert list(shared.iterdir()) == []


def test_the_next_run_removes_what_a_killed_run_left_behind(tmp_path: Path, shared: Path) -> None:
    killed = memory.private_memory("bake-1", tmp_path)
    (killed.__enter__() / "secrets.json").write_text("left")
    with memory.private_memory("bake-1", tmp_path) as folder:
        assert list(folder.iterdir()) == []
    other = memory.private_memory("bake-2", tmp_path)
    other.__enter__()
    memory.remove_private_memory("bake-2", tmp_path)
    assert list(shared.iterdir()) == []


def test_stores_do_not_share_a_folder(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with memory.private_memory("bake-1", tmp_path) as one, memory.private_memory("bake-1", tmp_path / "other") as two:
        assert one != two


def test_a_folder_that_exists_already_as_a_link_is_refused(tmp_path: Path, shared: Path) -> None:
    with memory.private_memory("bake-1", tmp_path) as folder:
        pass
    folder.symlink_to(tmp_path)
    with pytest.raises(BakeError, match="cannot create the private folder"), memory.private_memory("bake-1", tmp_path):
        pass


def test_without_shared_memory_the_folder_is_in_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SHARED_MEMORY", tmp_path / "missing")
    with memory.private_memory("bake-1", tmp_path) as folder:
        assert folder.parent == tmp_path
