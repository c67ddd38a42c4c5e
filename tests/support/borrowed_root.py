# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A container that runs this machine's own programs, confined like a host of a fleet. It needs no image."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import ContainerEngine

PROGRAMS = ("bin", "lib", "lib64", "sbin", "usr")
CONFINED = (
    "--pull=never",
    "--read-only",
    "--read-only-tmpfs=false",
    "--network=none",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--tmpfs=/tmp:rw,noexec,nosuid,nodev,size=64m,mode=1777",
)
WAITS = "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"


@dataclass(frozen=True)
class Container:
    engine: ContainerEngine
    name: str

    @property
    def pid(self) -> int:
        return int(self.engine.json("container", "inspect", self.name)[0]["State"]["Pid"])


@contextmanager
def running(engine: ContainerEngine, folder: Path, options: Sequence[str] = CONFINED) -> Iterator[Container]:
    """Run a container until the end of the block.

    Args:
        folder: an existing folder for its root file system.
    """
    root = folder / "root"
    for name in (*PROGRAMS, "dev", "etc", "proc", "run", "sys", "tmp", "var"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)  # podman gives a tmpfs the mode of the folder below it
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n", encoding="ascii")
    (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n", encoding="ascii")
    borrowed = [f"--volume=/{name}:/{name}:ro" for name in PROGRAMS if Path("/", name).exists()]
    name = f"borrowed-{secrets.token_hex(4)}"
    engine.run("run", "--detach", "--name", name, *options, *borrowed, "--rootfs", str(root), "/bin/sh", "-c", WAITS)
    try:
        yield Container(engine, name)
    finally:
        engine.run("rm", "--force", "--time", "0", name, check=False)
