# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What processes in a container can do, as the table in docs/explanation/sealed-host.md says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._container_processes import ALLOWED_CAPABILITIES
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container.provider import ContainerProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import ContainerEngine
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import LaunchRequest
from ansible_collections.immutable.infra.tests.support.container_providers import opened_provider
from ansible_collections.immutable.infra.tests.support.small_image import small_image

FLEET = "walls-local"
# Prints the outcome of each attempt: "done", or the name of the error.
ATTEMPTS = """
import ctypes, errno, json, os, sys

libc = ctypes.CDLL(None, use_errno=True)
BIND, REMOUNT, TRUE = 0x1000, 0x20, "/usr/bin/python3"
NAMESPACES = {"mnt": 0x20000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000, "pid": 0x20000000,
              "net": 0x40000000, "cgroup": 0x2000000, "user and mnt": 0x10020000}

def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)

def run(path, *, descriptor=None):
    child = os.fork()
    if child == 0:
        try:
            os.execv(path, [TRUE, "-c", "pass"])
        except OSError as error:
            os._exit(error.errno)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code, path)

def in_memory():
    tool = os.memfd_create("tool", 0)
    os.write(tool, open(TRUE, "rb").read())
    run(f"/proc/self/fd/{tool}")

def copied_to(path):
    open(path, "wb").write(open(TRUE, "rb").read())
    os.chmod(path, 0o755)
    run(path)

def clone3(flags):
    child = libc.syscall(435, ctypes.byref((ctypes.c_uint64 * 11)(flags, 0, 0, 0, 17)), 88)
    if child < 0:
        raise OSError(ctypes.get_errno(), "clone3")
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)

attempts = {
    "write": lambda: open("/file", "w"),
    "remount": lambda: call("mount", b"none", b"/", None, REMOUNT | BIND, None),
    "bind": lambda: call("mount", b"/tmp", b"/etc", None, BIND, None),
    "mount": lambda: call("mount", b"none", b"/srv", b"tmpfs", 0, None),
    "unmount": lambda: call("umount2", b"/proc/keys", 2),
    "open_tree": lambda: call("syscall", 428, -100, b"/", 1),
    "fsopen": lambda: call("syscall", 430, b"tmpfs", 0),
    "mount_setattr": lambda: call("syscall", 442, -100, b"/", 0, ctypes.byref((ctypes.c_uint64 * 4)(0, 1)), 32),
    "device": lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(254, 0)),
    "bpf": lambda: call("syscall", 321, 0, 0, 0),
    "kernel setting": lambda: open("/proc/sys/kernel/core_pattern", "w"),
    "clone3": lambda: clone3(0x10000000),
    "memfd": in_memory,
    "tmpfs": lambda: copied_to("/tmp/tool"),
    "shared memory": lambda: copied_to("/dev/shm/tool"),
    **{f"new {name}": lambda flags=flags: call("unshare", flags) for name, flags in NAMESPACES.items()},
}
outcomes = {}
for name, attempt in attempts.items():
    try:
        attempt()
        outcomes[name] = "done"
    except OSError as error:
        outcomes[name] = errno.errorcode[error.errno]
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def images(run_folder: Path, worker_id: str) -> Path:
    folder = run_folder / f"walls-{worker_id}"
    folder.mkdir()
    return folder


@pytest.fixture
def provider(store: Path, engine: ContainerEngine) -> Iterator[ContainerProvider]:
    with opened_provider(store, engine, FLEET) as provider:
        yield provider


@pytest.mark.parametrize("user", ["0", "65534"])
@pytest.mark.parametrize("capabilities", [[], list(ALLOWED_CAPABILITIES)], ids=["none", "all-that-are-allowed"])
def test_a_process_can_execute_what_is_in_memory_and_nothing_else(
    provider: ContainerProvider, engine: ContainerEngine, images: Path, user: str, capabilities: list[str]
) -> None:
    [instance] = provider.compute.launch(
        [
            LaunchRequest(
                token=f"{FLEET}-{user}-{len(capabilities)}",
                fleet=FLEET,
                slot=0,
                image="sha256:" + "ef" * 32,
                artifact={**small_image(images), "capabilities": capabilities},
                launch="fingerprint",
                nonce="nonce",
            )
        ]
    )
    printed = engine.run("exec", f"--user={user}", instance.id, "/usr/bin/python3", "-c", ATTEMPTS)
    outcomes = json.loads(printed)
    assert outcomes.pop("memfd") == "done", "no setting forbids only this; attestation names it"
    assert {name for name, outcome in outcomes.items() if outcome == "done"} == set(), outcomes
