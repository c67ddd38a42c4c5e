# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A container is compared with its image from outside, and what root of this machine changed in it is named."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImmutableError
from ansible_collections.immutable.infra.plugins.plugin_utils._hosts.attest import ContainerAddress, attest_container
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container.provider import ContainerProvider
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import ContainerEngine
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Instance, LaunchRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.tests.support.container_providers import opened_provider
from ansible_collections.immutable.infra.tests.support.small_image import small_image
from ansible_collections.immutable.infra.tests.support.waiting import until

DIGEST, BUILD, FLEET = "sha256:" + "cd" * 32, "container-x86_64", "attested-local"
IN_MEMORY = """
import os
tool = os.memfd_create("tool", 0)
os.write(tool, open("/usr/bin/python3", "rb").read())
os.execv(f"/proc/self/fd/{tool}", ["python3", "-c", "import time; print('ready', flush=True); time.sleep(3600)"])
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
Attest = Callable[[], dict[str, Any]]


def manifest_of_layer(path: Path) -> bytes:
    """The manifest of an image with this layer. Folders that the layer only implies belong to root."""
    rows: dict[str, list[Any]] = {"/": ["dir", "0755", 0, 0, 0, ""]}
    with tarfile.open(path) as layer:
        for member in layer:
            at = Path("/", member.name)
            for folder in at.parents:
                rows.setdefault(str(folder), ["dir", "0755", 0, 0, 0, ""])
            file = layer.extractfile(member) if member.isreg() else None
            content = hashlib.sha256(file.read()).hexdigest() if file else ""
            kind, size = ("file", member.size) if file else ("dir", 0)
            rows[str(at)] = [kind, f"{member.mode:04o}", member.uid, member.gid, size, content]
    document = {"schema": 1, "digest": DIGEST, "covers": [], "data": [], "writable": ["/tmp"], "boot": {}}
    return gzip.compress(json.dumps({**document, "files": rows, "xattrs": {}, "options": {}}).encode())


@pytest.fixture(scope="module")
def images(run_folder: Path, worker_id: str) -> Path:
    folder = run_folder / f"attested-{worker_id}"
    folder.mkdir()
    return folder


@pytest.fixture
def provider(store: Path, engine: ContainerEngine) -> Iterator[ContainerProvider]:
    with opened_provider(store, engine, FLEET) as provider:
        yield provider


@pytest.fixture
def instance(provider: ContainerProvider, images: Path, request: pytest.FixtureRequest) -> Instance:
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    launched = provider.compute.launch(
        [
            LaunchRequest(
                token=f"{FLEET}-{name}",
                fleet=FLEET,
                slot=0,
                image=DIGEST,
                artifact=small_image(images),
                launch="fingerprint",
                nonce="nonce",
            )
        ]
    )
    return launched[0]


@pytest.fixture
def pid(instance: Instance, engine: ContainerEngine) -> str:
    return str(engine.json("container", "inspect", instance.id)[0]["State"]["Pid"])


@pytest.fixture
def attest(instance: Instance, images: Path, store: Path) -> Attest:
    records = FileStore(store)
    Catalogue(records).add(
        Image(
            digest=DIGEST,
            build=BUILD,
            service="attested",
            version="1",
            created="2026-01-01T00:00:00+00:00",
            artifact=small_image(images),
            base={},
            inputs={},
        )
    )
    manifest = manifest_of_layer(images / "layer.tar")
    assert instance.container == ContainerAddress("podman", str(store / "container"), instance.id, "/dev/shm")

    def run() -> dict[str, Any]:
        assert instance.container is not None
        return attest_container(instance.container, manifest, records, image=DIGEST, build=BUILD, limit=100)

    return run


def found(result: dict[str, Any]) -> set[tuple[str, str]]:
    return {(each["kind"], each["path"]) for each in result["differences"]}


REMOUNT = 0x20 | 0x1000  # MS_REMOUNT | MS_BIND: without MS_RDONLY it becomes writable


def mount_inside(pid: str, source: str, target: str, kind: str, flags: int = 0) -> None:
    """Mount in the container's mount namespace as root of this machine."""
    script = (
        "import ctypes, os, sys; libc = ctypes.CDLL(None, use_errno=True); "
        "space = os.open(f'/proc/{sys.argv[1]}/ns/mnt', os.O_RDONLY); "
        "words = [word.encode() for word in sys.argv[2:5]]; "
        "code = libc.setns(space, 0) or libc.mount(*words, int(sys.argv[5]), None); "
        "sys.exit(os.strerror(ctypes.get_errno()) if code else 0)"
    )
    subprocess.run(["python3", "-c", script, pid, source, target, kind, str(flags)], check=True)


def test_an_unchanged_container_matches_its_image(attest: Attest) -> None:
    result = attest()
    assert result["attested"] and result["differences"] == [] and result["not_compared"] == []
    assert result["checked"] > 100 and "/" in result["refused"]


@as_root
def test_files_changed_beneath_the_container_are_named(attest: Attest, instance: Instance, engine: ContainerEngine):
    root = Path(engine.run("mount", instance.id).strip())
    try:
        (root / "service.py").write_text("import os\n", encoding="ascii")
        (root / "etc/added").touch()
        (root / "usr/bin/python3").chmod(0o4755)
        library = next((root / "usr/lib").glob("python3*/os.py"))
        copy = library.with_name("copy")
        copy.write_bytes(library.read_bytes())
        os.utime(copy, (library.stat().st_mtime, library.stat().st_mtime))
        copy.chmod(library.stat().st_mode & 0o7777)
        copy.rename(library)
    finally:
        engine.run("unmount", instance.id)
    result = attest()
    assert not result["attested"]
    assert found(result) == {
        ("changed", "/service.py"),
        ("added", "/etc/added"),
        ("mode", "/usr/bin/python3"),
        ("changed", f"/{library.relative_to(root)}"),
    }


@as_root
def test_an_extra_mount_and_a_writable_root_are_named(attest: Attest, pid: str) -> None:
    mount_inside(pid, "none", "/srv", "tmpfs")
    mount_inside(pid, "none", "/tmp", "tmpfs")
    mount_inside(pid, "none", "/", "", flags=REMOUNT)
    assert {
        ("covering", "/srv"),
        ("covering", "/tmp"),
        ("unexpected_writable", "/"),
    } <= found(attest())


def programs_below(pid: int) -> set[str]:
    """Names of the programs that the children of a process run."""
    found = set()
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
        with suppress(FileNotFoundError):
            found.add(Path(os.readlink(f"/proc/{child}/exe")).name)
    return found


@as_root
def test_a_process_with_more_rights_is_named(attest: Attest, pid: str) -> None:
    intruder = subprocess.Popen(["nsenter", "--target", pid, "--pid", "sleep", "600"], start_new_session=True)
    try:
        until(lambda: "sleep" in programs_below(intruder.pid))
        result = attest()
    finally:
        os.killpg(intruder.pid, signal.SIGKILL)
        intruder.wait()
    kinds = {each["kind"] for each in result["differences"]}
    assert kinds >= {"capabilities", "confinement", "process_mount", "program"}
    assert any("SYS_ADMIN" in each["found"] for each in result["differences"] if each["kind"] == "capabilities")


def test_a_program_that_exists_only_in_memory_is_named(
    attest: Attest, instance: Instance, engine: ContainerEngine
) -> None:
    argv = [*engine.argv, "exec", instance.id, "/usr/bin/python3", "-c", IN_MEMORY]
    with subprocess.Popen(argv, env=engine.environment, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None and client.stdout.readline() == "ready\n", "nothing refuses it"
        result = attest()
        client.kill()
    assert ("program", "/memfd:tool (deleted)") in found(result)


def test_a_container_that_does_not_run_is_not_compared(
    attest: Attest, instance: Instance, engine: ContainerEngine
) -> None:
    engine.run("kill", instance.id)
    engine.run("wait", instance.id)
    with pytest.raises(ImmutableError, match="does not run, so there is nothing to compare"):
        attest()
