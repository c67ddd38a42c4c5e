# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One bake of a definition from this machine: Packer builds, the image is looked through, and only a whole one becomes known."""

from __future__ import annotations

import json
import platform
import secrets as random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ...module_utils._packer.errors import PackerError
from ...module_utils._packer.result import BuildResult
from ...module_utils._packer.runner import Packer
from .._core.errors import BakeError, LockedError
from .._core.files import write_atomically
from .._core.guard import Guard
from .._core.progress import Report
from .._image_model import Image, bake_name
from .._images.catalogue import RECORD, Catalogue
from .._store.base import Store
from .._store.keys import make_ssh_key
from .builder import BakeJob, BakeWorkspace, Builder
from .guest_ansible import guest_ansible
from .memory import clear, clear_memory, private_memory, write_private
from .payload import make_payload, required_collections
from .plugin import only_plugin
from .stages import Stages
from .template import Guest, as_text, packer_template
from .variables import texts_of

LOG = "packer.log"
# What pip's wheels call an architecture that AWS calls otherwise.
WHEELS = {"arm64": "aarch64"}


def bake(
    order: BakeJob, maker: Builder, store: Store, packer: Packer, guard: Guard, report: Report, lock: Sequence[int]
) -> Image:
    """Bake and return the image. Called under the digest's ``lock``, which is kept until Packer has ended even when this run is killed.

    Raises BakeError with Packer's last error first; the whole log stays on this machine, and nothing else does.
    """
    began = time.monotonic()
    clear_leftovers(store)
    work = store.local(f"work/{bake_name(order.digest)}")
    log = store.local(f"logs/bake-{order.hex[:12]}.log")
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    with _fresh(work), private_memory(work.name, work) as memory:
        place = BakeWorkspace(work, memory, log, f"immutable-payload-{random.token_hex(8)}")
        make_ssh_key(place.private_key, "")
        guest = _guest(order, maker, store, place, report)
        with maker.building(place) as (builder, last):
            write_atomically(
                work / "template.json", as_text(packer_template(builder, replace(guest, last=last))).encode()
            )
            result = _build(order, maker, packer, place, lock, report)
        report(f"{order.label}: reading the image")
        files = maker.inspect(place, result)
        facts = {"packer": result.packer_version, "seconds": round(time.monotonic() - began, 1), **maker.facts}
        guard.check()
        return _keep(order, store, lambda: maker.keep(place, result), {**files, LOG: log.read_bytes()}, facts)


def clear_leftovers(store: Store) -> None:
    """Remove what killed bakes left: disks, and secrets in memory. What a live one works with is locked and stays."""
    for folder in store.local("work").glob("bake-*"):
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


def _guest(order: BakeJob, maker: Builder, store: Store, place: BakeWorkspace, report: Report) -> Guest:
    """What is sent into the build machine, as files."""
    definition, python = order.definition, str(order.base["python"])
    architecture = str(order.base["architecture"])
    ansible = guest_ansible(
        store, python, WHEELS.get(architecture, architecture), definition.provision.ansible_core, report
    )
    collections = required_collections(definition, store, report)
    payload = make_payload(definition, order.digest, ansible, collections, order.variables.plain, place.marker)
    write_atomically(place.work / "payload.tar.gz", payload.archive)
    secrets = place.memory / "secrets.json" if order.variables.secret else None
    if secrets:
        write_private(secrets, json.dumps(dict(order.variables.secret)).encode())
    return Guest(
        place.work / "payload.tar.gz",
        secrets,
        payload.folder,
        python,
        place.gathered if maker.gathers else None,
        maker.user,
    )


def _build(
    order: BakeJob, maker: Builder, packer: Packer, place: BakeWorkspace, lock: Sequence[int], report: Report
) -> BuildResult:
    stages = Stages(order.label, report, hide=place.marker)
    try:
        return packer.build(
            place.work / "template.json",
            environment={
                "PACKER_CACHE_DIR": str(place.work / "cache"),
                "TMPDIR": str(place.memory),
                **only_plugin(packer, maker.plugin, order.target.build.plugin, place.work / "plugins"),
            },
            timeout=order.target.build.timeout,
            redact=list(texts_of(order.variables.values)),
            on_event=stages.take,
            log_path=place.log,
            # When this run is killed, no secret outlives Packer, and no other bake begins before Packer has cleaned up.
            remove=[place.memory],
            hold=lock,
        )
    except PackerError as error:
        console = (
            place.console.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
            if place.console.exists()
            else []
        )
        if not place.log.exists():  # it did not come as far as that
            raise BakeError(f"{stages.failure or error.message} (bake of {order.label})", console=console) from error
        raise BakeError(
            f"{stages.failure or error.message} (whole log: {place.log})", log=str(place.log), console=console
        ) from error


def _keep(
    order: BakeJob,
    store: Store,
    keep: Callable[[], Mapping[str, Any]],
    files: Mapping[str, bytes],
    facts: Mapping[str, Any],
) -> Image:
    """Everything goes to its place, the record last: an image is known only once it is whole."""
    definition = order.definition
    image = Image(
        digest=order.digest,
        build=order.build,
        service=definition.service,
        version=definition.version,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        artifact={},
        base=order.base,
        inputs=order.inputs,
        provenance={"controller": platform.python_version(), "commit": _commit(definition.folder), **facts},
        shell=definition.shell,
        seconds=facts["seconds"],
    )
    # Baked again by force: until the new record is written there is no image, rather than one of two halves.
    store.delete(f"{image.key}/{RECORD}")
    image = replace(image, artifact=keep())
    for name, data in files.items():
        store.write_blob(f"{image.key}/{name}", data)
    Catalogue(store).add(image)
    return image


def _commit(folder: Path) -> str | None:
    """The commit that the definition was baked from, where it lies in a git repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
