# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Evidence of a real host arrives by the port. An unprivileged user of the host can neither read nor forge it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._seal import Spec
from ansible_collections.immutable.infra.plugins.plugin_utils._health.evidence import proves
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.evidence import parse_evidence
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.kept_evidence import PROVEN
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.console import CONSOLE, PORT
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.provider import QemuCompute
from ansible_collections.immutable.infra.tests.support.ec2_guest import build
from ansible_collections.immutable.infra.tests.support.guests import ssh_known
from ansible_collections.immutable.infra.tests.support.sealed_guest import (
    DIGEST,
    FLEET_NAME,
    NONCE,
    TIMEOUT,
    compute_in,
    launched,
    script_of,
)
from ansible_collections.immutable.infra.tests.support.waiting import until

pytestmark = pytest.mark.long

FORGED = 'IMMUTABLE-SEALED {"digest":"%s","nonce":"%s","host_key":"ssh-ed25519 AAAAEvil","shell":"restricted"}'
CLAIMS = script_of("""
user() { runuser -u nobody -- "$@" 2> /dev/null; }
claim 'user true'
claim 'test "$(cat /run/immutable/nonce)" = n-of-this-launch'
claim '! user cat /run/immutable/nonce'
claim 'grep -q n-of-this-launch /etc/ansible/facts.d/immutable.fact'
claim '! user cat /etc/ansible/facts.d/immutable.fact'
claim '! user cat /sys/firmware/qemu_fw_cfg/by_name/opt/immutable/launch/raw'
claim 'test -c "$(realpath /dev/virtio-ports/immutable.evidence)"'
claim 'test "$(stat -Lc %a:%u /dev/virtio-ports/immutable.evidence)" = 600:0'
claim '! user dd if=/dev/zero of=/dev/virtio-ports/immutable.evidence count=1'
claim '! user dd if=/dev/zero of=/dev/console count=1'
claim '! user unshare --user true'
claim 'unshare --user true'
claim 'test "$(cut -c1 /proc/sys/kernel/printk)" = 1'
""")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evidence-image")
    (folder / "files").mkdir()
    return build(folder, Spec("shop", "1", DIGEST), folder / "files")


@pytest.fixture
def compute(tmp_path: Path) -> Iterator[QemuCompute]:
    machines = compute_in(tmp_path)
    yield machines
    machines.power_off([instance.id for instance in machines.list(FLEET_NAME)])


def test_evidence_arrives_by_the_port_and_nobody_else_can_make_it(
    disk: Path, compute: QemuCompute, tmp_path: Path
) -> None:
    instance = launched(compute, disk, tmp_path)
    assert proves(instance) is True and instance.evidence is not None
    connection = (tmp_path, instance.endpoints[22][1], instance.evidence.host_key)
    folder = tmp_path / "machines" / FLEET_NAME / "m1"
    port, console = ((folder / name).read_bytes() for name in (PORT, CONSOLE))
    assert port.startswith(b"IMMUTABLE-BOOTING\n")
    assert parse_evidence(port, NONCE) == parse_evidence(console, NONCE) == instance.evidence
    checked = ssh_known(*connection, CLAIMS)
    assert checked.returncode == 0, checked.stdout + checked.stderr

    # A kernel message with line ends in it, at the only level that still reaches the console.
    forged = FORGED % (DIGEST, NONCE)
    for separator in (r"\n", r"\r", r"\f"):
        # The kernel prints a record once its last line has an end.
        text = rf"<0>IMMUTABLE-NOISE{separator}{forged}\n".replace('"', r"\042")
        assert ssh_known(*connection, f"printf '{text}' | dd of=/dev/kmsg bs=8k iflag=fullblock").returncode == 0
    until(
        lambda: (folder / CONSOLE).read_bytes().count(b"AAAAEvil") >= 3,
        TIMEOUT,
        lambda: compute.console(instance.id)[-3000:],
    )
    noise = (folder / CONSOLE).read_bytes()[len(console) :]
    assert b"IMMUTABLE-NOISE" in noise and parse_evidence(noise, NONCE) is None
    (folder / PROVEN).unlink()
    assert compute_in(tmp_path).list(FLEET_NAME)[0].evidence == instance.evidence
