# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import resource
import signal
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.files import remove_documented, write_atomically


def test_a_failed_write_names_the_file_and_leaves_it_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "document"
    write_atomically(file, b"before")
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError) as refused:
            write_atomically(file, bytes(8192))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert refused.value.filename == str(file)
    assert file.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_is_removed_although_others_create_their_lock_in_it(tmp_path: Path) -> None:
    """A run that observes an instance while another one removes it may create its lock between any two steps."""
    folder, done = tmp_path / "machine", threading.Event()

    def create_locks() -> None:
        while not done.is_set():
            with suppress(OSError):
                (folder / "lock").touch()

    others = [threading.Thread(target=create_locks) for _number in range(2)]
    for other in others:
        other.start()
    try:
        for _round in range(300):
            folder.mkdir(exist_ok=True)
            (folder / "machine.json").touch()
            assert remove_documented(folder, "machine.json")
    finally:
        done.set()
        for other in others:
            other.join()
