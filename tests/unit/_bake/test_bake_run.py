# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Complete bakes, with a fake Packer and a fake inspection."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.errors import PackerError
from ansible_collections.immutable.infra.plugins.module_utils._packer.events import parse_line
from ansible_collections.immutable.infra.plugins.plugin_utils._bake import memory, run, targets
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders import qemu
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.variables import BakeVariables
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import AbandonedError, BakeError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.progress import Report, silent
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Base, Definition
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ports import NoGuard
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.image import Inspection
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.manifest import Manifest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.accel import Accel
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.tests.support.disks import HEADER

SECRET = "correct-horse-battery"
VARIABLES = BakeVariables({"port": 8080}, {"token": SECRET}, {"variable token": SECRET})
FATAL = '1700000000,,ui,message,    qemu: fatal: [localhost]: FAILED! => {"msg": "it broke"}'
pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs ssh-keygen")


class FakePacker:
    """Builds a disk of a few bytes, or fails as Packer does."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.builds: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}

    def build(self, template: Path, *, log_path: Path, on_event: Callable[[Any], None], **options: Any) -> Any:
        self.builds.append(options)
        builder = json.loads(template.read_text())["builders"][0]
        self.files = {str(path): path.read_bytes() for path in template.parent.rglob("*") if path.is_file()}
        log_path.write_text("the complete log\n")
        if self.fails:
            for line in ("1700000000,,ui,message,    qemu: TASK [Install] ****", FATAL):
                on_event(parse_line(line))
            raise PackerError("qemu: Script exited with non-zero exit status: 2")
        output = Path(builder["output_directory"])
        output.mkdir()
        (output / builder["vm_name"]).write_bytes(b"a sealed disk")
        return SimpleNamespace(packer_version="1.6.6", artifacts=[])


class Abandoned:
    def check(self) -> None:
        raise AbandonedError("the controller is dead")


def inspection(digest: str, *findings: str) -> Inspection:
    return Inspection(
        manifest=Manifest(digest, {"/var/lib/shop": ("dir", "0750", 998, 997, 0, "")}, {}),
        sbom=b"{}",
        findings=findings,
        not_searched=(),
    )


@pytest.fixture
def needles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, bytes]:
    """Replace virtual machines, pip and the inspection. Returns the needles that the inspection was called with."""
    needles: dict[str, bytes] = {}
    (tmp_path / "shm").mkdir()
    (tmp_path / "lib").mkdir()
    monkeypatch.setattr(memory, "SHARED_MEMORY", tmp_path / "shm")
    monkeypatch.setattr(run, "guest_ansible", lambda *arguments, **options: tmp_path / "lib")
    monkeypatch.setattr(qemu, "choose", lambda folder, disk: Accel("tcg", "plain emulation"))

    def inspect(disk: Path, work: Path, digest: str, searched: Mapping[str, bytes]) -> Inspection:
        needles.update(searched)
        return inspection(digest)

    monkeypatch.setattr(qemu, "inspect_image", inspect)
    return needles


def run_bakes(bakes: list[targets.TargetBake], store: FileStore, packer: Any, guard: Any, report: Report) -> None:
    targets.bake_targets(bakes, store, packer=packer, variables=lambda: VARIABLES, guard=guard, report=report)


def bake(
    definition: Definition,
    store: FileStore,
    packer: FakePacker,
    *,
    names: tuple[str, ...] = ("local",),
    force: bool = False,
    guard: Any = None,
) -> list[targets.TargetBake]:
    bakes = targets.plan_bakes(definition, names, store, force=force)
    due = [each for each in bakes if each.decision.due]
    run_bakes(due, store, packer, guard=guard or NoGuard(), report=silent)
    return bakes


def remaining(store: FileStore, tmp_path: Path) -> list[Path]:
    return [*store.path("work").iterdir(), *(tmp_path / "shm").iterdir()]


def test_a_bake_stores_the_image_with_all_its_files(
    define: Callable[..., Definition], debian: FileStore, needles: dict[str, bytes], tmp_path: Path
) -> None:
    [done] = bake(define(), debian, FakePacker())
    assert done.image
    disk = Path(done.image.artifact["path"])
    assert (disk.read_bytes(), stat.S_IMODE(disk.stat().st_mode)) == (b"a sealed disk", 0o444)
    assert {path.name for path in disk.parent.iterdir()} == {
        "disk.qcow2",
        "manifest.json.gz",
        "sbom.cdx.json",
        "packer.log",
        "record.json",
    }
    assert remaining(debian, tmp_path) == []
    assert SECRET.encode() in needles.values()
    assert any(name == "the payload's marker" for name in needles)


def test_the_record_has_the_owners_of_the_data(
    define: Callable[..., Definition], debian: FileStore, needles: dict[str, bytes]
) -> None:
    [made] = bake(define(), debian, FakePacker())
    assert made.image and made.image.owners == {"uploads": "998:997"}
    record = debian.read(f"{made.image.key}/record.json")
    assert record and record[0]["owners"] == {"uploads": "998:997"}
    assert Image.from_dict(record[0]).owners == {"uploads": "998:997"}
    assert "owners" not in replace(made.image, owners={}).as_dict()


def test_an_existing_image_is_not_baked_again(
    define: Callable[..., Definition], debian: FileStore, needles: dict[str, bytes]
) -> None:
    packer = FakePacker()
    bake(define(), debian, packer)
    [again] = bake(define(), debian, packer)
    assert (len(packer.builds), again.decision.due) == (1, False)
    assert again.image
    bake(define(), debian, packer, force=True)
    Path(again.image.artifact["path"]).unlink()
    bake(define(), debian, packer)
    assert len(packer.builds) == 3


def test_secrets_are_not_on_a_disk_and_are_redacted_in_the_log(
    define: Callable[..., Definition], debian: FileStore, needles: dict[str, bytes]
) -> None:
    packer = FakePacker()
    bake(define(), debian, packer)
    assert packer.builds[0]["redact"] == [SECRET]
    assert not [path for path, data in packer.files.items() if SECRET.encode() in data]


def test_only_the_log_remains_after_a_failure(
    define: Callable[..., Definition], debian: FileStore, needles: dict[str, bytes], tmp_path: Path
) -> None:
    with pytest.raises(BakeError, match=r"^task 'Install' failed in the guest: it broke \(complete log: ") as failure:
        bake(define(), debian, FakePacker(fails=True))
    assert Path(failure.value.details["log"]).read_text() == "the complete log\n"
    assert (Catalogue(debian).list("shop"), remaining(debian, tmp_path)) == ([], [])


def test_an_image_with_residue_is_not_stored(
    define: Callable[..., Definition], debian: FileStore, needles: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        qemu,
        "inspect_image",
        lambda *a: inspection("", "variable token: byte 5, in /etc/shop"),
    )
    with pytest.raises(BakeError, match="contains residue of the bake: variable token: byte 5, in /etc/shop"):
        bake(define(), debian, FakePacker())
    assert Catalogue(debian).list("shop") == []
    assert not debian.path("images").exists()


def test_an_abandoned_bake_records_nothing(
    define: Callable[..., Definition], debian: FileStore, needles: dict[str, bytes]
) -> None:
    with pytest.raises(AbandonedError):
        bake(define(), debian, FakePacker(), guard=Abandoned())
    assert Catalogue(debian).list("shop") == []


def test_targets_with_the_same_inputs_share_a_bake(
    define: Callable[..., Definition], debian: FileStore, needles: dict[str, bytes]
) -> None:
    packer = FakePacker()
    [both] = bake(define(), debian, packer, names=("local", "staging"))
    assert (both.targets, len(packer.builds)) == (["local", "staging"], 1)


def test_parallel_bakes_are_reported_with_their_targets(
    define: Callable[..., Definition], debian: FileStore, needles: dict[str, bytes]
) -> None:
    bake(define(), debian, FakePacker())
    changed = define(version="2.0.0")
    (changed.folder / "own.qcow2").write_bytes(HEADER + b"another disk")
    own = replace(changed.targets["local"], name="own", base=Base("qcow2", "own.qcow2", python="3.11"))
    planned = targets.plan_bakes(
        replace(changed, targets={**changed.targets, "own": own}), ["local", "staging", "own"], debian, force=False
    )
    decision = targets.decision_of(planned)
    assert decision.why.startswith("local, staging: it differs from shop-1.0.0-")
    assert "; own: it differs from shop-1.0.0-" in decision.why
    paths = [each["path"] for each in decision.differences]
    assert (paths.count("version"), paths.count("base.sha256")) == (1, 1)
    lines: list[str] = []
    run_bakes(planned, debian, FakePacker(), guard=NoGuard(), report=lines.append)
    assert {line.split(": ")[0] for line in lines} == {"local, staging", "own"}


def test_a_common_reason_is_reported_once(
    define: Callable[..., Definition], debian: FileStore, needles: dict[str, bytes]
) -> None:
    definition = define()
    (definition.folder / "own.qcow2").write_bytes(HEADER + b"another disk")
    own = replace(definition.targets["local"], name="own", base=Base("qcow2", "own.qcow2", python="3.11"))
    definition = replace(definition, targets={**definition.targets, "own": own})
    assert (
        targets.decision_of(targets.plan_bakes(definition, ["local", "own"], debian, force=False)).why
        == "it was never baked"
    )
    bake(definition, debian, FakePacker())
    due = targets.decision_of(targets.plan_bakes(definition, ["local", "own"], debian, force=False))
    assert (due.due, due.why.startswith("it differs from ")) == (True, True)


def test_the_reason_names_the_change(
    define: Callable[..., Definition], debian: FileStore, needles: dict[str, bytes]
) -> None:
    bake(define(), debian, FakePacker())
    [changed] = targets.plan_bakes(define(version="2.0.0"), ["local"], debian, force=False)
    assert 'version: "1.0.0" -> "2.0.0"' in changed.decision.why


def test_leftovers_of_killed_bakes_are_removed_but_not_those_of_running_ones(
    debian: FileStore, needles: dict[str, bytes], tmp_path: Path
) -> None:
    killed = {name: memory.private_memory(name, debian.path(f"work/{name}")) for name in ("bake-dead", "bake-live")}
    for name, folder in killed.items():
        debian.path(f"work/{name}").mkdir(parents=True)
        folder.__enter__().joinpath("secrets.json").write_text("x")
    with debian.lock("bake-live", "a bake"):
        run.remove_leftovers(debian)
    assert [path.name for path in debian.path("work").iterdir()] == ["bake-live"]
    assert len(list((tmp_path / "shm").iterdir())) == 1


def test_without_a_base_the_bake_is_due_and_the_error_says_what_to_do(
    define: Callable[..., Definition], store: FileStore
) -> None:
    [planned] = targets.plan_bakes(define(), ["local", "staging"], store, force=False)
    assert (planned.decision.due, planned.decision.why) == (True, "the base bookworm is not built yet")
    with pytest.raises(
        BakeError, match="the base bookworm is not built yet: apply the role immutable.infra.base_image"
    ):
        bake(define(), store, FakePacker())
