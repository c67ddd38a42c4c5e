# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One bake of a definition on this machine: Packer builds, the disk is looked through, and only a whole image becomes known."""
from __future__ import annotations

import json
import os
import platform
import secrets as random
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ...module_utils.packer.errors import PackerError
from ...module_utils.packer.runner import Packer
from ..definition.model import Definition, Target
from ..errors import BakeError, LockedError
from ..files import write_atomically
from ..guard import Guard
from ..images.catalogue import Catalogue
from ..images.inspect import Inspection, inspect_image
from ..images.model import Image
from ..progress import Report
from ..providers.launch import launch_document
from ..store.file import FileStore
from ..store.keys import make_ssh_key
from .base import fetch_base
from .guest_ansible import guest_ansible
from .memory import clear, clear_memory, private_memory, write_private
from .payload import make_payload, required_collections
from .plugin import only_plugin
from .stages import Stages
from .template import BakeFiles, as_text, packer_template
from .variables import BakeVariables, texts_of

BUILD = "qemu-x86_64"


@dataclass(frozen=True)
class Order:
    """What is to be baked."""

    definition: Definition
    target: Target
    digest: str
    inputs: Mapping[str, Any]
    base: Mapping[str, Any]
    accelerator: str
    variables: BakeVariables = field(repr=False)

    @property
    def hex(self) -> str:
        return self.digest.removeprefix("sha256:")

    @property
    def label(self) -> str:
        return f"{self.definition.service} {self.definition.version}"


def bake(order: Order, store: FileStore, packer: Packer, guard: Guard, report: Report, lock: Sequence[int]) -> Image:
    """Bake and return the image. Called under the digest's ``lock``, which is kept until Packer has ended even when this run is killed.

    Raises BakeError with Packer's last error first; the whole log stays in the store, and nothing else does.
    """
    began = time.monotonic()
    clear_leftovers(store)
    work = store.path(f"work/{lock_name(order.digest)}")
    log = store.path(f"logs/bake-{order.hex[:12]}.log")
    log.parent.mkdir(mode=0o700, exist_ok=True)
    log.unlink(missing_ok=True)
    marker = f"immutable-payload-{random.token_hex(8)}"
    with _fresh(work), private_memory(work.name, work) as memory:
        files = _prepare(order, store, work, memory, marker, report)
        version = _build(order, packer, files, memory, lock, work, log, marker, report)
        report(f"{order.label}: reading the image")
        inspection = _inspect(order, files, work, log, marker, report)
        seconds = time.monotonic() - began
        guard.check()
        return _keep(order, store, files, inspection, log, {"packer": version, "seconds": round(seconds, 1)})


def lock_name(digest: str) -> str:
    """Of the bake of one image, and of its folders."""
    return f"bake-{digest.removeprefix('sha256:')[:12]}"


def clear_leftovers(store: FileStore) -> None:
    """Remove what killed bakes left: disks, and secrets in memory. What a live one works with is locked and stays."""
    for folder in store.path("work").glob("bake-*"):
        try:
            with store.lock(folder.name, "clear what a killed bake left"):
                clear_memory(folder.name, folder)
                clear(folder)
        except (LockedError, OSError):
            continue


@contextmanager
def _fresh(folder: Path) -> Iterator[None]:
    """An empty private folder, whatever a killed run left there; gone afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(order: Order, store: FileStore, work: Path, memory: Path, marker: str, report: Report) -> BakeFiles:
    definition = order.definition
    base = fetch_base(order.target.base, store, definition.folder, report)
    python = str(order.base["python"])
    ansible = guest_ansible(store, python, str(order.base["architecture"]), definition.provision.ansible_core, report)
    collections = required_collections(definition, store, report)
    payload = make_payload(definition, order.digest, ansible, collections, order.variables.plain, marker)
    files = BakeFiles(
        base=base,
        output=work / "output",
        launch=memory / "launch.tar",
        private_key=memory / "key",
        payload=work / "payload.tar.gz",
        secrets=memory / "secrets.json" if order.variables.secret else None,
        console=work / "console.log",
    )
    make_ssh_key(files.private_key, "")
    public = files.private_key.with_suffix(".pub").read_bytes()
    write_atomically(files.launch, launch_document({"authorized_keys": public, "purpose": b"bake\n"}))
    write_atomically(files.payload, payload.archive)
    if files.secrets:
        write_private(files.secrets, json.dumps(dict(order.variables.secret)).encode())
    build = order.target.build
    template = packer_template(
        files,
        base_sha256=str(order.base["sha256"]),
        accelerator=order.accelerator,
        memory=build.memory,
        cpus=min(build.cpus, os.cpu_count() or 1),
        folder=payload.folder,
        python=python,
    )
    write_atomically(work / "template.json", as_text(template).encode())
    return files


def _build(
    order: Order, packer: Packer, files: BakeFiles, memory: Path, lock: Sequence[int], work: Path, log: Path, marker: str, report: Report
) -> str:
    """Run Packer and return its version."""
    stages = Stages(order.label, report, hide=marker)
    try:
        result = packer.build(
            work / "template.json",
            environment={
                "PACKER_CACHE_DIR": str(work / "cache"),
                "TMPDIR": str(memory),
                **only_plugin(packer, order.target.build.plugin, work / "plugins"),
            },
            timeout=order.target.build.timeout,
            redact=list(texts_of(order.variables.values)),
            on_event=stages.take,
            log_path=log,
            # When this run is killed, no secret outlives Packer, and no other bake begins before Packer has cleaned up.
            remove=[memory],
            hold=lock,
        )
    except PackerError as error:
        console = files.console.read_text(encoding="utf-8", errors="replace").splitlines()[-5:] if files.console.exists() else []
        if not log.exists():  # it did not come as far as that
            raise BakeError(f"{stages.failure or error.message} (bake of {order.label})", console=console) from error
        raise BakeError(f"{stages.failure or error.message} (whole log: {log})", log=str(log), console=console) from error
    return result.packer_version


def _inspect(order: Order, files: BakeFiles, work: Path, log: Path, marker: str, report: Report) -> Inspection:
    needles = {"the payload's marker": marker.encode(), **{place: text.encode() for place, text in order.variables.values.items()}}
    inspection = inspect_image(files.output / "disk.qcow2", work, order.digest, needles)
    for name in inspection.not_searched:
        report(f"{order.label}: {name} is too short to be searched for in the image")
    if inspection.findings:
        found = "; ".join(inspection.findings[:10])
        message = f"{order.label} left something in the image that must not stay there: {found} (whole log: {log})"
        raise BakeError(message, residue=list(inspection.findings), log=str(log))
    return inspection


def _keep(order: Order, store: FileStore, files: BakeFiles, inspection: Inspection, log: Path, facts: Mapping[str, Any]) -> Image:
    """Move everything to its place, the record last: an image is known only once it is whole."""
    definition = order.definition
    folder = store.path(f"images/{order.hex}/{BUILD}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    disk = folder / "disk.qcow2"
    # Baked again by force: until the new record is written there is no image, rather than one of two halves.
    store.delete(f"images/{order.hex}/{BUILD}/record.json")
    _flush(files.output / "disk.qcow2")
    os.chmod(files.output / "disk.qcow2", 0o444)
    os.replace(files.output / "disk.qcow2", disk)
    write_atomically(folder / "manifest.json.gz", inspection.manifest.to_gzip())
    write_atomically(folder / "sbom.cdx.json", inspection.sbom)
    shutil.copyfile(log, folder / "packer.log")
    image = Image(
        digest=order.digest,
        build=BUILD,
        service=definition.service,
        version=definition.version,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        artifact={"path": str(disk)},
        base=order.base,
        inputs=order.inputs,
        provenance={"accelerator": order.accelerator, "controller": platform.python_version(), "commit": _commit(definition.folder), **facts},
        shell=definition.shell,
        seconds=facts["seconds"],
    )
    Catalogue(store).add(image)
    return image


def _flush(path: Path) -> None:
    """The build machine's disk was allowed to stay in the page cache."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _commit(folder: Path) -> str | None:
    """The commit that the definition was baked from, where it lies in a git repository."""
    try:
        done = subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
