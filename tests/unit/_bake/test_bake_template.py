# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.qemu import BakeFiles, builder_settings
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.guest_ansible import INTERPRETER
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.template import Guest, as_text, packer_template
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.frame_filter import FrameFilter
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.guest_network import netdev

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def files(folder: Path) -> BakeFiles:
    for name in ("base.qcow2", "launch.tar", "payload.tar.gz", "secrets.json"):
        (folder / name).write_text("x")
    if shutil.which("ssh-keygen") and not (folder / "key").exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    return BakeFiles(
        base=folder / "base.qcow2",
        output=folder / "out",
        launch=folder / "launch.tar",
        private_key=folder / "key",
        console=folder / "console.log",
    )


def template(
    folder: Path, accelerator: str = "tcg", secrets: bool = True, python: str = PYTHON, user: str = "root"
) -> dict[str, Any]:
    filtered = FrameFilter(folder, lambda _frame: True)
    network = netdev("user.0", {"{{ .SSHHostPort }}": "22"}, {}, restrict=False)
    builder = builder_settings(
        files(folder),
        base_sha256="ab" * 32,
        accelerator=accelerator,
        memory=1024**3,
        cpus=2,
        network=[["-netdev", network], *filtered.options("user.0")],
    )
    secret = folder / "secrets.json" if secrets else None
    return packer_template(builder, Guest(folder / "payload.tar.gz", secret, str(folder / "guest"), python, user=user))


@pytest.mark.skipif(not shutil.which("packer"), reason="needs packer")
@pytest.mark.parametrize("accelerator", ["kvm", "tcg"])
def test_packer_accepts_the_template(tmp_path: Path, accelerator: str) -> None:
    path = tmp_path / "template.json"
    path.write_text(as_text(template(tmp_path, accelerator)))
    done = subprocess.run(["packer", "validate", str(path)], cwd=tmp_path, capture_output=True, text=True, check=False)
    if "required plugin" in done.stdout or "unknown builder" in done.stdout.lower():
        pytest.skip("this packer has no qemu builder")
    assert done.returncode == 0, done.stdout


def test_the_build_machine_listens_only_on_this_machine(tmp_path: Path) -> None:
    arguments = dict(template(tmp_path)["builders"][0]["qemuargs"])
    assert arguments["-vnc"] == "none"
    assert "hostfwd=tcp:127.0.0.1:{{ .SSHHostPort }}-:22" in arguments["-netdev"]
    assert arguments["-object"] == "filter-redirector,id=net-look,netdev=user.0,queue=rx,outdev=net-out"


def test_the_build_machine_does_not_get_the_operators_agent(tmp_path: Path) -> None:
    assert template(tmp_path)["builders"][0]["ssh_disable_agent_forwarding"] is True


def test_what_the_base_configures_for_ansible_is_not_for_the_bake(tmp_path: Path) -> None:
    run = template(tmp_path, secrets=False)["provisioners"][2]["inline"]
    (tmp_path / "guest/in").mkdir(parents=True)
    lines = [line for line in run if "payload.tar.gz" not in line][:-1]
    configured = {"ANSIBLE_BECOME": "true", "ANSIBLE_STRATEGY": "free", "ANSIBLE_CONFIG": "/etc/other.cfg"}
    done = subprocess.run(
        ["sh", "-e", "-c", "\n".join([*lines, "env"])],
        env={"PATH": "/usr/bin:/bin", "KEPT": "yes", **configured},
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    assert found["KEPT"] == "yes" and not {"ANSIBLE_BECOME", "ANSIBLE_STRATEGY"} & set(found)
    assert found["ANSIBLE_CONFIG"] == f"{tmp_path}/guest/ansible.cfg"
    # Ansible's default keeps a processor of an emulated guest busy.
    assert Path(found["ANSIBLE_CONFIG"]).read_text() == "[defaults]\ninternal_poll_interval = 0.05\n"


def test_secrets_are_a_file_of_their_own_if_there_are_any(tmp_path: Path) -> None:
    def uploads(secrets: bool) -> list[str]:
        return [
            Path(step["source"]).name
            for step in template(tmp_path, secrets=secrets)["provisioners"]
            if step["type"] == "file"
        ]

    assert uploads(True) == ["payload.tar.gz", "secrets.json"]
    assert uploads(False) == ["payload.tar.gz"]
    assert "secrets.json" not in json.dumps(template(tmp_path, secrets=False))


def first_script(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    lines = template(folder, python=python)["provisioners"][0]["inline"]
    # The guest's python3 is the interpreter of this test.
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / "python3").unlink(missing_ok=True)
    (folder / "bin" / "python3").symlink_to(sys.executable)
    return subprocess.run(
        ["sh", "-e", "-c", "\n".join(lines)],
        env={"PATH": f"{folder}/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_guests_python_is_checked_first(tmp_path: Path) -> None:
    refused = first_script(tmp_path, "2.9")
    assert refused.returncode == 1
    assert f"the guest's Python is Python {PYTHON}" in refused.stderr
    assert "not 2.9: set image.base.python" in refused.stderr
    assert not (tmp_path / "guest").exists()
    assert first_script(tmp_path, PYTHON).returncode == 0
    assert (tmp_path / "guest" / "temp").is_dir()


def test_a_bake_of_a_container_does_not_begin_on_the_machine_itself(tmp_path: Path) -> None:
    guest = Guest(tmp_path / "payload.tar.gz", None, str(tmp_path / "guest"), PYTHON, container=True)
    lines = packer_template({}, guest)["provisioners"][0]["inline"]
    done = subprocess.run(["sh", "-e", "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("the engine runs commands outside of its container")
    assert not (tmp_path / "guest").exists()


@pytest.mark.parametrize("executable", [True, False])
def test_modules_run_with_the_interpreter_where_it_can_be_executed(tmp_path: Path, executable: bool) -> None:
    lines = [line for step in template(tmp_path)["provisioners"] for line in step.get("inline", [])]
    [choose] = [line for line in lines if INTERPRETER in line]
    guest = tmp_path / "guest"
    program = guest / "lib" / INTERPRETER
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755 if executable else 0o644)
    (guest / "inventory.json").write_text('{"ansible_python_interpreter": "/usr/bin/python3"}')
    subprocess.run(["sh", "-e", "-c", choose], cwd=guest, check=True)
    used = json.loads((guest / "inventory.json").read_text())["ansible_python_interpreter"]
    assert used == (str(program) if executable else "/usr/bin/python3")


def test_a_comma_in_a_path_does_not_split_an_option_of_qemu(tmp_path: Path) -> None:
    folder = tmp_path / "a,b"
    folder.mkdir()
    assert f"file={tmp_path}/a,,b/launch.tar" in json.dumps(template(folder))
