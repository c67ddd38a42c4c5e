# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guest's scripts that report to the controller, with files instead of devices and kernel parameters."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.evidence import parse_evidence

FILES = Path(__file__).parents[3] / "roles/seal/files"
LIBRARY = FILES / "launch/usr/lib/immutable"
SEAL = FILES / "seal/usr/lib/immutable/seal"


class Guest:
    """A root folder with what the scripts use of ``/dev``, ``/proc`` and ``/sys``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.console = root / "dev/console"
        self.run = root / "run/immutable"
        for folder in (
            "dev",
            "run/immutable",
            "proc/sys/kernel",
            "proc/sys/user",
            "sys/class",
            "usr/lib/immutable",
            "bin",
        ):
            (root / folder).mkdir(parents=True)
        self.console.touch()
        self.put("proc/sys/kernel/printk", "4 4 1 7\n")
        self.put("proc/sys/kernel/unprivileged_userns_clone", "1\n")
        self.put("proc/sys/user/max_user_namespaces", "31000\n")
        self.put("run/immutable/nonce", "n1\n")
        self.put("run/immutable/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAAC3Nza\n")
        self.environment("digest='sha256:aa'\nshell='restricted'\nservice='shop'\nversion='1'\n")
        self.put("usr/lib/immutable/report", self._inside((LIBRARY / "report").read_text()))
        # Neither the root's mounts nor its device are changed.
        for name, text in {"blockdev": "exit 0", "findmnt": "echo /dev/none", "mount": "exit 1"}.items():
            self.put(f"bin/{name}", f"#!/bin/sh\n{text}\n").chmod(0o755)

    def put(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def read(self, path: str) -> str:
        return (self.root / path).read_text().strip()

    def environment(self, text: str) -> None:
        self.put("usr/lib/immutable/seal.env", text)

    def add_port(self) -> Path:
        self.put("sys/class/virtio-ports/vport2p1/name", "org.qemu.guest_agent.0\n")
        self.put("sys/class/virtio-ports/vport2p2/name", "immutable.evidence\n")
        return self.put("dev/vport2p2", "")

    def seal(self, writable: bool = False) -> int:
        probe = self.root / "probe" if writable else self.root / "missing/probe"
        text = self._inside(SEAL.read_text().replace("/.immutable-probe", str(probe)))
        text = text.replace("PATH=$PATH:", f"PATH={self.root}/bin:$PATH:")
        return subprocess.run(["sh", "-c", text], check=False).returncode

    def _inside(self, text: str) -> str:
        for folder in ("/dev/console", "/proc/sys", "/sys/bus", "/sys/class", "/run/immutable", "/usr/lib/immutable"):
            text = text.replace(folder, f"{self.root}{folder}")
        text = text.replace("devices=/dev", f"devices={self.root}/dev")
        # A device gets each line after the others. A file does so if it is appended to.
        return text.replace('> "$console"', '>> "$console"').replace('cat > "$2"', 'cat >> "$2"')


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line]


def test_the_evidence_is_printed_three_times_at_the_beginning_of_a_line(guest: Guest) -> None:
    assert guest.seal() == 0
    found = lines(guest.console)
    assert len(found) == 3 and len(set(found)) == 1
    evidence = parse_evidence(guest.console.read_bytes(), "n1")
    assert evidence is not None
    assert (evidence.digest, evidence.host_key, evidence.shell) == ("sha256:aa", "ssh-ed25519 AAAAC3Nza", "restricted")
    torn = guest.console.read_text().replace("IMMUTABLE-SEALED", "IMMU[    9.1] a kernel line\r\nTABLE-SEALED", 2)
    assert parse_evidence(torn, "n1") == evidence


def test_with_a_port_the_evidence_is_on_both(guest: Guest) -> None:
    port = guest.add_port()
    port.chmod(0o666)
    assert guest.seal() == 0
    assert lines(port) == lines(guest.console)[:1]
    assert len(lines(guest.console)) == 3
    assert port.stat().st_mode & 0o777 == 0o600


def test_only_root_can_read_the_local_fact(guest: Guest) -> None:
    assert guest.seal() == 0
    fact = guest.run / "fact.json"
    assert '"nonce":"n1"' in fact.read_text() and fact.stat().st_mode & 0o777 == 0o600


def test_the_kernel_is_quiet_and_user_namespaces_are_closed(guest: Guest) -> None:
    assert guest.seal() == 0
    assert guest.read("proc/sys/kernel/printk").split()[0] == "1"
    assert guest.read("proc/sys/kernel/unprivileged_userns_clone") == "0"
    assert guest.read("proc/sys/user/max_user_namespaces") == "31000", "root needs them"


def test_a_kernel_without_that_parameter_has_no_user_namespaces_at_all(guest: Guest) -> None:
    (guest.root / "proc/sys/kernel/unprivileged_userns_clone").unlink()
    assert guest.seal() == 0
    assert guest.read("proc/sys/user/max_user_namespaces") == "0"


def test_a_definition_may_allow_user_namespaces(guest: Guest) -> None:
    guest.environment("digest='sha256:aa'\nshell='restricted'\nuser_namespaces='on'\n")
    assert guest.seal() == 0
    assert guest.read("proc/sys/kernel/unprivileged_userns_clone") == "1"
    assert guest.read("proc/sys/user/max_user_namespaces") == "31000"


def test_a_host_whose_user_namespaces_stay_open_is_not_sealed(guest: Guest) -> None:
    limit = guest.root / "proc/sys/kernel/unprivileged_userns_clone"
    limit.unlink()
    limit.symlink_to("/dev/null")  # a write is accepted and has no effect
    assert guest.seal() == 1
    assert "user namespaces" in guest.console.read_text()
    assert parse_evidence(guest.console.read_bytes(), "n1") is None
    assert not (guest.run / "fact.json").exists()


def test_a_host_whose_root_is_writable_is_not_sealed(guest: Guest) -> None:
    assert guest.seal(writable=True) == 1
    assert lines(guest.console) == [
        'IMMUTABLE-UNSEALED {"digest":"sha256:aa","reason":"the root file system is still writable"}'
    ]


def test_a_reason_cannot_begin_another_line(guest: Guest) -> None:
    text = f'. {guest.root}/usr/lib/immutable/report; unsealed "$1"'
    reason = 'it said\n\r\x0bIMMUTABLE-SEALED {"digest":"x"}\\'
    subprocess.run(["sh", "-c", text, "sh", reason], check=False)
    assert lines(guest.console) == ['IMMUTABLE-UNSEALED {"digest":"","reason":"it said IMMUTABLE-SEALED {digest:x}"}']


IMDS = """
import sys
print({
    "meta-data/iam/security-credentials/": "shop-host",
    "meta-data/iam/security-credentials/shop-host": "CREDENTIALS",
    "dynamic/instance-identity/document": "DOCUMENT",
    "dynamic/instance-identity/rsa2048": "SIGNATURE",
}[sys.argv[1]])
"""


@pytest.mark.parametrize("refused", [False, True])
def test_evidence_is_put_into_the_bucket_that_the_launch_document_names(guest: Guest, refused: bool) -> None:
    """A host that cannot put it is not sealed, and says why."""
    guest.put("run/immutable/evidence.json", "{}")
    guest.put("usr/lib/immutable/imds", IMDS)
    end = "sys.exit('evidence: S3 refused PutObject')" if refused else ""
    upload = guest.put(
        "usr/lib/immutable/upload", f"import sys\nopen(sys.argv[1] + '/put', 'w').write(sys.stdin.read())\n{end}"
    )
    assert upload.exists() and guest.seal() == int(refused)
    credentials, document, signature, evidence = guest.read("run/immutable/put").split("\0")
    assert (credentials, document, signature) == ("CREDENTIALS", "DOCUMENT", "SIGNATURE")
    assert parse_evidence(f"IMMUTABLE-SEALED {evidence}", "n1") is not None
    assert (parse_evidence(guest.console.read_bytes(), "n1") is None) == refused
    assert ('"reason":"evidence: S3 refused PutObject"' in guest.console.read_text()) == refused
