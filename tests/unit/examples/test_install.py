# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""tests/tools/install, with programs of a package manager that only write down what they were asked for."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

INSTALL = Path(__file__).resolve().parents[2] / "tools/install"
PROGRAMS = ("bash", "env", "sh")


class System:
    """A search path with a package manager that has ``installed`` packages and knows all but ``unknown``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        self.calls.write_text("", encoding="utf-8")
        for program in PROGRAMS:
            (folder / program).symlink_to(Path("/bin") / program if program != "env" else "/usr/bin/env")
        self.add("apt-get", f'echo "apt-get $*" >> {self.calls}')
        self.add("systemctl", f'echo "systemctl $*" >> {self.calls}')
        self.packages()

    def add(self, name: str, script: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def packages(self, installed: str = "", unknown: str = "none", user: int = 0) -> None:
        """``installed`` and ``unknown`` are patterns of the shell."""
        self.add("dpkg-query", f"for name; do :; done; case $name in {installed or 'none'}) echo -n installed;; esac")
        self.add("apt-cache", f"case $2 in {unknown}) exit 1;; esac")
        self.add("id", f"echo {user}")

    def install(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PATH": str(self.folder)}
        command = [str(self.folder / "bash"), str(INSTALL), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


@pytest.mark.parametrize("command", ["quickstart", "quickstart-vm", "test"])
def test_nothing_happens_where_every_package_is_installed(command: str, system: System) -> None:
    system.packages(installed="*")
    done = system.install(command)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert system.calls.read_text(encoding="utf-8") == ""


def test_missing_packages_are_installed(system: System) -> None:
    system.packages(installed="podman|haproxy")
    assert system.install("quickstart").returncode == 0
    update, install = system.calls.read_text(encoding="utf-8").splitlines()
    assert update.endswith(" update")
    assert install.endswith("python3-venv mmdebstrap uidmap hey packer openssh-client crun runc slirp4netns")


def test_the_first_part_is_installed_alone(system: System) -> None:
    assert system.install("quickstart", "first").returncode == 0
    assert system.calls.read_text(encoding="utf-8").splitlines()[-1].endswith(" python3-venv mmdebstrap uidmap")


def test_the_balancer_that_debian_starts_is_stopped(system: System) -> None:
    assert system.install("quickstart").returncode == 0
    assert system.calls.read_text(encoding="utf-8").splitlines()[-1] == "systemctl disable --now haproxy"


def test_a_packer_of_another_source_serves(system: System) -> None:
    system.packages(installed="[!p]*|python3-venv|podman", unknown="packer")
    system.add("packer", "true")
    assert system.install("quickstart").returncode == 0
    assert system.calls.read_text(encoding="utf-8") == ""


def test_a_package_that_the_distribution_lacks_is_named(system: System) -> None:
    system.packages(installed="[!p]*|python3-venv|podman", unknown="packer")
    done = system.install("quickstart")
    assert done.returncode == 1
    assert "has no package packer: install it in another way" in done.stderr
    assert "https://developer.hashicorp.com/packer/install" in done.stderr


def test_a_user_without_sudo_is_told_what_is_missing(system: System) -> None:
    system.packages(installed="[!h]*", user=1000)
    done = system.install("quickstart", "first")
    assert done.returncode == 1
    assert done.stderr == "these packages are missing, this is not root, and there is no sudo: haproxy hey\n"


def test_a_user_without_sudo_needs_none_where_every_package_is_installed(system: System) -> None:
    system.packages(installed="*", user=1000)
    assert system.install("quickstart", "first").returncode == 0


def test_other_package_managers_are_left_alone(system: System) -> None:
    (system.folder / "apt-get").unlink()
    done = system.install("quickstart")
    assert done.returncode == 0
    assert "untested here" in done.stdout and "mmdebstrap" in done.stdout
