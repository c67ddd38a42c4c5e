# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(
    not (ROOT / "bench").is_dir(), reason="the benchmarks are not part of the installed collection"
)
PROGRESS = """
[localhost] image: notes 1.0.0: a bake is due: it was never baked
[localhost] image: notes 1.0.0 [   0.4 s] Retrieving ISO
[localhost] image: notes 1.0.0 [   1.8 s] Starting VM, booting disk image
[localhost] image: notes 1.0.0 [  34.7 s] Connected to SSH!
[localhost] image: notes 1.0.0 [  34.7 s] Provisioning with shell script: /dev/shm/packer-shell2736679835
[localhost] image: notes 1.0.0 [  36.5 s] Uploading /store/work/payload.tar.gz => /dev/shm/in/payload.tar.gz
[localhost] image: notes 1.0.0 [  48.0 s] play: Install the notes service
[localhost] image: notes 1.0.0 [  48.0 s] task: Install nginx
[localhost] image: notes 1.0.0 [ 172.7 s] play: Seal
[localhost] image: notes 1.0.0 [ 172.7 s] task: Seal
[localhost] image: notes 1.0.0 [ 173.6 s] task: immutable.infra.seal : Seal the build machine
[localhost] image: notes 1.0.0 [ 182.3 s] Gracefully halting virtual machine...
[localhost] image: notes 1.0.0 [ 184.3 s] Build 'qemu' finished after 3 minutes 3 seconds.
"""


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT)
    from bench import bake

    return bake


def test_each_stage_ends_where_the_next_begins(bench: ModuleType) -> None:
    assert bench.stages(PROGRESS.splitlines(), 200.0) == {
        "copy the base": 1.4,
        "boot until SSH": 32.9,
        "check and upload": 1.8,
        "unpack, start Ansible": 11.5,
        "task: Install nginx": 124.7,
        "seal": 9.6,
        "shut down": 2.0,
        "inspect and record": 15.7,
    }


def test_releases_are_beside_each_other(bench: ModuleType) -> None:
    done = {"before": bench.Bench({"seal": 9.0}, 200.0, 170.0), "now": bench.Bench({"seal": 2.5}, 100.0, 80.0)}
    lines = bench.table(done).splitlines()
    assert lines[0].split() == ["seconds", "before", "now"]
    assert lines[1].split() == ["seal", "9.0", "2.5"]
    assert lines[-2].split() == ["in", "all", "200.0", "100.0"]


def test_the_output_of_a_play_includes_progress(bench: ModuleType, tmp_path: Path) -> None:
    # Progress is on stderr, as warnings are.
    output = bench._play(tmp_path, [{"ansible.builtin.ping": {}}], dict(os.environ))
    assert "No inventory was parsed" in output
