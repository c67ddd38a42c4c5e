# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A machine of the QEMU provider with a sealed image, and claims about it that a script in the guest checks."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.immutable.infra.plugins.plugin_utils._providers.accel import choose
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Instance, LaunchRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.provider import QemuCompute
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.volumes import QemuVolumes

from .guests import make_key
from .machines import STORE
from .waiting import until

DIGEST, NONCE, FLEET_NAME = "sha256:" + "e" * 64, "n-of-this-launch", "shop-local"
TIMEOUT = 900.0  # seconds for one boot under emulation on a busy machine


def compute_in(root: Path) -> QemuCompute:
    return QemuCompute(root, QemuVolumes(root, root / "machines"), lambda disk: choose(STORE / "qemu", disk))


def launched(compute: QemuCompute, disk: Path, folder: Path) -> Instance:
    """Launch the machine ``m1``. The private key ``key`` in the folder opens it. Returns it once it is sealed."""
    request = LaunchRequest(
        token="m1",
        fleet=FLEET_NAME,
        slot=0,
        image=DIGEST,
        artifact={"path": str(disk)},
        launch="l",
        nonce=NONCE,
        ports=(22,),
        authorized_keys=(make_key(folder / "key"),),
        machine={"memory": 512 * 1024**2, "cpus": 1},
    )
    compute.launch([request])
    return sealed(compute)


def sealed(compute: QemuCompute) -> Instance:
    """The one machine, once it has sealed itself."""
    [found] = compute.list(FLEET_NAME)
    until(lambda: compute.list(FLEET_NAME)[0].evidence is not None, TIMEOUT, lambda: compute.console(found.id)[-3000:])
    return compute.list(FLEET_NAME)[0]


def script_of(claims: str) -> str:
    """Return a shell script whose lines ``claim 'COMMAND'`` are claims, such as that no unit failed, which is one more.

    The exit status is the number of claims that are false. Each of them is named.
    """
    return f"""
wrong=0
claim() {{ eval "$1" || {{ echo "false: $1"; wrong=$((wrong + 1)); }}; }}
{claims}
claim 'test -z "$(systemctl --failed --plain --no-legend | tee /dev/stderr)"'
exit $wrong
"""
