# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs one bake on the controller: Packer builds the image, the builder inspects it, and the store gets its record."""

from __future__ import annotations

import hashlib
import json
import platform
import secrets as random
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ...module_utils._packer.errors import PackerError
from ...module_utils._packer.redact import Redactor
from ...module_utils._packer.result import BuildResult
from ...module_utils._packer.runner import Packer
from .._core.consoles import MAX_CONSOLE, redacted_lines
from .._core.errors import BakeError, LockedError
from .._core.files import file_sha256, make_private_folder, write_atomically
from .._core.guard import Guard
from .._core.programs import child_environment
from .._core.progress import Report
from .._definition.model import Definition
from .._image_model import (
    DISK_CHECKSUM,
    LOG_FILE,
    MANIFEST_FILE,
    RECORD_FILE,
    SBOM_FILE,
    Image,
    bake_name,
)
from .._images.catalogue import Catalogue
from .._inspection.manifest import Manifest
from .._store.base import Store
from .._store.keys import make_ssh_key
from .builder import BakeJob, BakeWorkspace, Builder, PackerBuilder
from .guest_ansible import guest_ansible
from .heartbeat import heartbeat
from .memory import private_memory, remove_folder, remove_private_memory, write_private
from .payload import make_payload, required_collections
from .plugin import only_plugin
from .stages import StageReporter, StageTimes
from .template import Guest, as_text, packer_template
from .variables import texts_of

CONSOLE_LINES = 5  # of the build machine's console, in the details of a failure
# The names that pip's wheels use for architectures for which AWS has other names.
WHEEL_ARCHITECTURES = {"arm64": "aarch64"}


@dataclass(frozen=True)
class Bake:
    """One bake. The caller holds the lock of the image's digest."""

    job: BakeJob
    builder: Builder
    store: Store
    packer: Packer
    guard: Guard
    report: Report
    expected: StageTimes = StageTimes()  # those of an earlier bake

    def run(self, lock: Sequence[int]) -> Image:
        """Bake, record and return the image.

        Args:
            lock: descriptors of the digest's lock. Packer inherits them, so the lock is held until Packer ends, even if
                this run is killed.

        Raises BakeError with Packer's last error first. Only the log stays on this machine.
        """
        started = time.monotonic()
        remove_leftovers(self.store)
        folder = self.store.local_path(f"work/{bake_name(self.job.digest)}")
        log = self.store.local_path(f"logs/bake-{self.job.hex[:12]}.log")
        make_private_folder(log.parent)
        log.unlink(missing_ok=True)
        with _empty_folder(folder), private_memory(folder.name, folder) as memory:
            workspace = BakeWorkspace(folder, memory, log, f"immutable-payload-{random.token_hex(8)}")
            make_ssh_key(workspace.private_key, "")
            guest = self._guest(workspace)
            with self.builder.prepared(workspace) as prepared:
                guest = replace(guest, cleanup=prepared.cleanup, container=prepared.container)
                template = packer_template(prepared.settings, guest)
                write_atomically(folder / "template.json", as_text(template).encode())
                stages = self._stages(workspace)
                result = self._build(workspace, lock, prepared, stages)
                took = stages.record()
            self.report(f"{self.job.label}: inspecting the image")
            files = {**self.builder.inspect(workspace, result), LOG_FILE: log.read_bytes()}
            self.guard.check()
            times: dict[str, Any] = {"seconds": round(time.monotonic() - started, 1)}
            return self._record(workspace, result, files, times=times | ({"stages": took} if took else {}))

    def _guest(self, workspace: BakeWorkspace) -> Guest:
        """Write the files that Packer uploads to the build machine."""
        job, definition, python = self.job, self.job.definition, str(self.job.base["python"])
        architecture = str(job.base["architecture"])
        payload = make_payload(
            definition,
            digest=job.digest,
            ansible=guest_ansible(
                self.store,
                python=python,
                architecture=WHEEL_ARCHITECTURES.get(architecture, architecture),
                core=definition.provision.ansible_core,
                report=self.report,
            ),
            collections=required_collections(definition, self.store, self.report),
            variables=job.variables.plain,
            marker=workspace.marker,
            container=job.target.bakes_containers,
        )
        archive = workspace.folder / "payload.tar.gz"
        write_atomically(archive, payload.archive)
        secrets = workspace.memory / "secrets.json" if job.variables.secret else None
        if secrets:
            write_private(secrets, json.dumps(dict(job.variables.secret)).encode())
        return Guest(
            payload=archive,
            secrets=secrets,
            folder=payload.folder,
            python=python,
            sbom_sources=workspace.sbom_sources if self.builder.collects_sbom_sources else None,
            user=self.builder.user,
        )

    def _stages(self, workspace: BakeWorkspace) -> StageReporter:
        redactor = Redactor(self.job.variables.values.values())
        return StageReporter(
            self.job.label,
            self.report,
            hide=workspace.marker,
            expected=self.expected,
            console=lambda: next(reversed(_last_lines(workspace.console, redactor)), ""),
        )

    def _build(
        self, workspace: BakeWorkspace, lock: Sequence[int], prepared: PackerBuilder, stages: StageReporter
    ) -> BuildResult:
        job, packer = self.job, self.packer
        try:
            plugins = only_plugin(
                packer, self.builder.plugin, version=job.target.build.plugin, folder=workspace.folder / "plugins"
            )
            with heartbeat(stages.sign_of_life):
                return packer.build(
                    workspace.folder / "template.json",
                    environment={
                        "PACKER_CACHE_DIR": str(workspace.folder / "cache"),
                        "TMPDIR": str(workspace.memory),
                        **plugins,
                        **prepared.environment,
                    },
                    timeout=job.target.build.timeout,
                    redact=[*texts_of(job.variables.values), *prepared.secrets],
                    on_event=stages.handle,
                    log_path=workspace.log,
                    # If this run is killed, the secrets are removed when Packer ends, and no other bake begins while
                    # Packer cleans up.
                    remove=[workspace.memory],
                    hold=lock,
                )
        except PackerError as error:
            message = stages.failure or error.message
            console = _last_lines(workspace.console, Redactor(job.variables.values.values()))
            if not workspace.log.exists():  # Packer was not started
                raise BakeError(f"{message} (bake of {job.label})", console=console) from error
            raise BakeError(
                f"{message} (complete log: {workspace.log})", log=str(workspace.log), console=console
            ) from error

    def _record(
        self, workspace: BakeWorkspace, result: BuildResult, files: Mapping[str, bytes], *, times: Mapping[str, Any]
    ) -> Image:
        """Save the artifact and the files, then write the record: an image with a record is complete."""
        job, definition = self.job, self.job.definition
        provenance: dict[str, Any] = {
            "controller": platform.python_version(),
            "commit": _commit(definition.folder),
            "packer": result.packer_version,
            **times,
            **self.builder.provenance,
        }
        image = Image(
            digest=job.digest,
            build=job.build,
            service=definition.service,
            version=definition.version,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            artifact={},
            base=job.base,
            inputs=job.inputs,
            provenance=provenance,
            shell=definition.shell,
            seconds=times["seconds"],
            owners=_owners(definition, files),
        )
        # A forced bake replaces an image. Without a record there is no image until the new one is complete.
        self.store.delete(f"{image.key}/{RECORD_FILE}")
        artifact = self.builder.save(workspace, result)
        image = replace(image, artifact=artifact, checksums=_checksums(artifact, files))
        for name, data in files.items():
            self.store.write_blob(f"{image.key}/{name}", data)
        Catalogue(self.store).add(image)
        return image


def _owners(definition: Definition, files: Mapping[str, bytes]) -> dict[str, str]:
    """The owner of each data volume's mount point in the image, ``uid:gid``; {} for an image without a manifest."""
    if not definition.data or MANIFEST_FILE not in files:
        return {}
    entries = Manifest.from_gzip(files[MANIFEST_FILE]).files
    rows = {volume.name: entries.get(volume.mount) for volume in definition.data}
    return {name: f"{row[2]}:{row[3]}" for name, row in rows.items() if row}


def _checksums(artifact: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the checksums of what must not change any more, for the record."""
    kept = {name: hashlib.sha256(files[name]).hexdigest() for name in (MANIFEST_FILE, SBOM_FILE) if name in files}
    return {**kept, DISK_CHECKSUM: file_sha256(Path(artifact["path"]))} if "path" in artifact else kept


def remove_leftovers(store: Store) -> None:
    """Remove the disks and the secrets in memory that killed bakes left behind.

    Running bakes hold a lock and are skipped.
    """
    for folder in store.local_path("work").glob("bake-*"):
        try:
            with store.lock(folder.name, "remove what a killed bake left behind"):
                remove_private_memory(folder.name, folder)
                remove_folder(folder)
        except (LockedError, OSError):
            continue


@contextmanager
def _empty_folder(folder: Path) -> Iterator[None]:
    """Create a private folder without what a killed run left in it, and remove it at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    make_private_folder(folder.parent)
    folder.mkdir(mode=0o700)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _last_lines(console: Path, redactor: Redactor) -> list[str]:
    if not console.exists():
        return []
    with console.open("rb") as file:
        file.seek(max(0, console.stat().st_size - MAX_CONSOLE))
        return redacted_lines(file.read(MAX_CONSOLE).decode("utf-8", "replace"), redactor)[-CONSOLE_LINES:]


def _commit(folder: Path) -> str | None:
    """The commit that the definition was baked from, or None if it is not in a git repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"],
            env=child_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
