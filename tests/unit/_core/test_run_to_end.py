# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Programs that take long end with the run that started them, also if that is killed."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.programs import run_to_end

# A program that says at a socket who it is, and never ends by itself.
ENDLESS = """#!{python} -IS
import os, signal, socket, sys
if sys.argv[1:2] in (["info"], ["map"]):
    print('{{"virtual-size": 1048576}}')
    sys.exit()
connection = socket.create_connection(("127.0.0.1", {port}))
connection.sendall(str(os.getpid()).encode())
signal.pause()
"""
ROOMS = "ansible_collections.immutable.infra.plugins.plugin_utils"
CALLS = {
    "a volume that gets another type": f"""
from {ROOMS}._providers.qemu.volumes import QemuVolumes
volumes = QemuVolumes(folder, folder / "machines")
volume = folder / "volumes/shop-local/0-data"
volume.mkdir(parents=True)
(volume / "disk.qcow2").touch()
facts = '{{"slot": 0, "name": "data", "size": 1048576, "kind": "qcow2", "attached_to": null, "attached_at": 0.0}}'
(volume / "volume.json").write_text(facts)
volumes.modify(["shop-local/0-data"], 1048576, "raw")
""",
    "an image that is inspected": f"""
from {ROOMS}._inspection.tools import run
run("qemu-img", ["convert", "old", "new"])
""",
    "a download": f"""
import sys
from {ROOMS}._bake import guest_ansible
sys.executable = str(folder / "qemu-img")
guest_ansible._download(["ansible-core"], "3.11", "x86_64", folder)
""",
    "requirements": f"""
import sys
from {ROOMS}._bake import payload
(folder / "requirements.yml").write_text("collections: [community.general]")
sys.executable = str(folder / "qemu-img")
payload._install(folder / "requirements.yml", folder / "collections")
""",
}


@pytest.mark.parametrize("call", CALLS)
def test_a_program_ends_with_a_killed_run(tmp_path: Path, call: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = tmp_path / "qemu-img"
        program.write_text(ENDLESS.format(python=sys.executable, port=server.getsockname()[1]))
        program.chmod(0o755)
        environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
        head = f"from pathlib import Path\nimport sys\npython, folder = sys.executable, Path({str(tmp_path)!r})\n"
        # The supervisor is a Python, too.
        supervised = (
            "from ansible_collections.immutable.infra.plugins.module_utils import _supervised\n"
            "_supervised.sys = type('sys', (), {'executable': python})\n"
        )
        argv = [sys.executable, "-c", head + supervised + CALLS[call]]
        with subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL) as run:
            server.settimeout(120)
            connection, _address = server.accept()
            with connection:
                child = os.pidfd_open(int(connection.recv(100)))
            try:
                assert not select.select([child], [], [], 0)[0]
                run.send_signal(signal.SIGKILL)
                assert select.select([child], [], [], 60)[0], "it outlives the run"
            finally:
                if not select.select([child], [], [], 0)[0]:
                    signal.pidfd_send_signal(child, signal.SIGKILL)
                os.close(child)


def test_output_errors_and_the_exit_code_are_returned(tmp_path: Path) -> None:
    program = "import os, sys; print(os.getcwd()); print('why', file=sys.stderr); sys.exit(3)"
    done = run_to_end([sys.executable, "-c", program], cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (3, f"{tmp_path}\n", "why\n")
    with pytest.raises(FileNotFoundError):
        run_to_end(["no-such-program"])
