# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Data volumes of the container provider: real folders and programs, instances that are only facts."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError, StoreError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container import (
    loop_image,
    restricted_mount,
    volume_folder,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container.data_files import DataFiles
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container.volumes import VolumeMount
from ansible_collections.immutable.infra.tests.support.container_volumes import (
    FLEET,
    MIB,
    Bench,
    artifact,
    request,
)
from ansible_collections.immutable.infra.tests.support.killed import ControllerKilled

CAPTURED = Path(__file__).parent / "captured/podman-inspect.json"
ME = f"{os.getuid()}:{os.getgid()}"
ID = f"{FLEET}/0-uploads"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="owners change as root")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def mine(**options: Any) -> dict[str, Any]:
    return artifact(ME, **options)


def test_a_volume_is_created_once(bench: Bench) -> None:
    [first] = bench.volumes.create([request()])
    [second] = bench.volumes.create([request(size=32 * MIB)])
    assert first == second == bench.volumes.list(FLEET)[0]
    assert (first.id, first.slot, first.name, first.size) == (ID, 0, "uploads", 16 * MIB)
    assert (first.attached_to, first.kind) == (None, "folder")
    assert sorted(path.name for path in bench.folder().iterdir()) == ["data", "volume.json"]
    assert bench.folder().stat().st_mode & 0o777 == 0o700
    assert bench.volumes.fleets() == [FLEET]


def test_an_instance_starts_when_all_of_its_volumes_are_there(bench: Bench) -> None:
    image = artifact(ME, False, "uploads", "index")
    bench.volumes.create([request(), request(name="index")])
    new = bench.add("new", image=image, created=True)
    assert bench.volumes.missing(FLEET, new) == ["uploads", "index"]
    bench.volumes.attach([ID, f"{FLEET}/0-index"], new)
    assert bench.volumes.missing(FLEET, new) == []
    assert bench.instances[new].live
    assert [volume.attached_to for volume in bench.volumes.list(FLEET)] == [new, new]
    assert bench.volumes.mounts(FLEET, new) == (
        VolumeMount(bench.folder("0-index") / "data", "/srv/index", ("nosuid", "nodev")),
        VolumeMount(bench.folder("0-uploads") / "data", "/srv/uploads", ("nosuid", "nodev")),
    )
    assert (bench.folder() / "data").stat().st_mode & 0o7777 == 0o750, "of the mount's folder in the image"


def test_a_volume_has_one_holder_at_a_time(bench: Bench) -> None:
    bench.volumes.create([request()])
    old, new = bench.add("old", image=mine(), live=True), bench.add("new", image=mine(), created=True)
    bench.volumes.attach([ID], old)
    bench.volumes.attach([ID], old)
    with pytest.raises(ProviderError, match="is attached to old, so it cannot be attached to new"):
        bench.volumes.attach([ID], new)
    with pytest.raises(ProviderError, match="in use by old, which is still running: stop it first"):
        bench.volumes.detach([ID])
    with pytest.raises(ProviderError, match="in use by old"):
        bench.volumes.remove([ID])
    bench.instances[old].live = False
    bench.volumes.detach([ID])
    bench.volumes.attach([ID], new)
    assert bench.volumes.list(FLEET)[0].attached_to == new


def test_a_removed_instance_frees_its_volume_and_gets_no_other(bench: Bench) -> None:
    bench.volumes.create([request()])
    old = bench.add("old", image=mine(), live=True)
    bench.volumes.attach([ID], old)
    bench.instances[old].gone = True
    assert bench.volumes.list(FLEET)[0].attached_to is None
    bench.instances[old].gone, bench.instances[old].ending = False, True
    with pytest.raises(ProviderError, match="old is removed or being removed"):
        bench.volumes.attach([ID], old)


def test_an_attach_that_was_interrupted_before_the_start_left_the_volume_free(bench: Bench) -> None:
    bench.volumes.create([request()])
    new, other = bench.add("new", image=mine(), created=True), bench.add("other", image=mine(), created=True)
    bench.instances[new].remount = killed  # type: ignore[method-assign]
    with pytest.raises(ControllerKilled):
        bench.volumes.attach([ID], new)
    assert bench.volumes.list(FLEET)[0].attached_to is None
    bench.volumes.attach([ID], other)
    assert bench.volumes.list(FLEET)[0].attached_to == other
    assert bench.volumes.missing(FLEET, new) == ["uploads"]


def killed(*_arguments: Any) -> None:
    raise ControllerKilled


def containers(bench: Bench, source: Path) -> None:
    """The engine lists a running container ``one``, ``two``, which has ended, and ``three``, which has no volume."""
    found = json.loads(CAPTURED.read_text(encoding="utf-8").replace("/srv/store/data", str(source)))
    found[0]["State"]["Pid"] = os.getpid()
    bench.engine.containers = found


@pytest.mark.parametrize("inside", ["data", "mounted/data"])
def test_the_engine_says_who_uses_a_volume_whose_document_does_not(bench: Bench, inside: str) -> None:
    bench.volumes.create([request()])
    containers(bench, bench.folder() / inside)
    new = bench.add("new", image=mine(), created=True)
    for call in (
        lambda: bench.volumes.attach([ID], new),
        lambda: bench.volumes.detach([ID]),
        lambda: bench.volumes.modify([ID], 32 * MIB, ""),
        lambda: bench.volumes.remove([ID]),
    ):
        with pytest.raises(ProviderError, match="in use by the container one"):
            call()
    assert bench.folder().is_dir() and not bench.instances[new].live
    one = bench.add("one", image=mine(), live=True)
    bench.volumes.attach([ID], one)  # of an attach that was interrupted before it was recorded
    assert bench.volumes.list(FLEET)[0].attached_to == one
    bench.folder("0-uploads").joinpath("volume.json").write_text(
        (bench.folder() / "volume.json").read_text().replace('"one"', '"new"')
    )
    with pytest.raises(ProviderError, match="in use by the container one"):
        bench.volumes.mounts(FLEET, new)


def test_a_container_whose_end_podman_did_not_notice_yet_uses_nothing(bench: Bench) -> None:
    bench.volumes.create([request()])
    containers(bench, bench.folder() / "data")
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    bench.engine.containers[0]["State"]["Pid"] = ended.pid
    bench.engine.name = "docker"  # its processes may be those of another machine
    with pytest.raises(ProviderError, match="in use by the container one"):
        bench.volumes.detach([ID])
    bench.engine.name = "podman"
    bench.volumes.detach([ID])


def test_other_folders_with_a_similar_path_are_not_the_volume(bench: Bench) -> None:
    bench.volumes.create([request()])
    containers(bench, bench.folder("0-uploads-2") / "data")
    bench.volumes.attach([ID], bench.add("new", image=mine(), created=True))
    assert bench.instances["new"].live


@pytest.mark.parametrize("answer", [{}, [1], "text"])
def test_an_engine_that_does_not_say_who_uses_a_volume_stops_the_call(bench: Bench, answer: Any) -> None:
    bench.volumes.create([request()])
    bench.engine.containers = [{"Id": "1"}]
    bench.engine.json = lambda *_arguments: answer  # type: ignore[method-assign]
    with pytest.raises(ProviderError, match="does not say what its containers mount"):
        bench.volumes.attach([ID], bench.add("new", image=mine(), created=True))


def test_data_without_a_document_is_not_taken(bench: Bench) -> None:
    bench.volumes.create([request()])
    (bench.folder() / "data/words").write_text("of a customer")
    (bench.folder() / "volume.json").unlink()
    with pytest.raises(ProviderError, match="volume.json is missing, so nothing says what it belongs to"):
        bench.volumes.create([request()])
    assert (bench.folder() / "data/words").exists()
    (bench.folder() / "data/words").unlink()
    bench.volumes.create([request()])


def test_a_damaged_document_is_named_and_its_data_stays(bench: Bench) -> None:
    bench.volumes.create([request()])
    document = bench.folder() / "volume.json"
    for text in ("", "[]", '{"slot": 0}', document.read_text().replace('"folder"', '"other"')):
        document.write_text(text)
        for call in (lambda: bench.volumes.list(FLEET), lambda: bench.volumes.remove([ID])):
            with pytest.raises(StoreError, match="is not the document of a volume .*the data is untouched"):
                call()
    assert (bench.folder() / "data").is_dir()


def test_a_lost_folder_of_data_is_named(bench: Bench) -> None:
    bench.volumes.create([request()])
    (bench.folder() / "data").rmdir()
    with pytest.raises(ProviderError, match="the data of volume shop-local/0-uploads is missing"):
        bench.volumes.attach([ID], bench.add("new", image=mine(), created=True))


def test_a_volume_grows_and_does_not_shrink(bench: Bench) -> None:
    bench.volumes.create([request(), request(slot=1)])
    with pytest.raises(ProviderError, match=f"has {16 * MIB} bytes and cannot shrink to {MIB}"):
        bench.volumes.modify([ID], MIB, "")
    bench.volumes.modify([ID], 32 * MIB, "folder")
    assert bench.volumes.list(FLEET)[0].size == 32 * MIB
    with pytest.raises(ProviderError, match="unknown type 'qcow2' .container has: folder, image"):
        bench.volumes.modify([ID], 32 * MIB, "qcow2")
    bench.volumes.attach([ID], bench.add("old", image=mine(), live=True))
    with pytest.raises(ProviderError, match="is attached to old: detach it before changing it"):
        bench.volumes.modify([ID], 64 * MIB, "")


def test_removal_takes_the_data_and_nothing_else(bench: Bench) -> None:
    bench.volumes.create([request(), request(slot=1)])
    (bench.folder() / "data/words").write_text("of a customer")
    bench.volumes.remove([ID])
    bench.volumes.remove([ID])
    assert not bench.folder().exists() and bench.folder("1-uploads").is_dir()


def test_sizes_that_nothing_bounds_are_reported(bench: Bench) -> None:
    assert bench.volumes.warnings(FLEET) == []
    bench.volumes.create([request(slot=slot) for slot in range(5)])
    [line] = bench.volumes.warnings(FLEET)
    assert f"{ID}, {FLEET}/1-uploads, {FLEET}/2-uploads and 2 more" in line
    assert bench.volumes.warnings("another-local") == [], "volumes of another fleet are no matter of this one"


def test_a_file_system_needs_root(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.volumes.create([request()])
    monkeypatch.setattr(loop_image.os, "geteuid", lambda: 1000)
    for call in (
        lambda: bench.volumes.create([request(slot=1, kind="image")]),
        lambda: bench.volumes.modify([ID], 16 * MIB, "image"),
    ):
        with pytest.raises(ProviderError, match="type image is a mounted file system, which needs root"):
            call()
    assert len(bench.volumes.list(FLEET)) == 1


def test_docker_without_root_cannot_forbid_programs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.volumes.create([request()])
    image = mine()
    new = bench.add("new", image=image, created=True)
    bench.volumes.attach([ID], new)
    bench.engine.name = "docker"
    monkeypatch.setattr(restricted_mount.os, "geteuid", lambda: 1000)
    [mount] = bench.volumes.mounts(FLEET, new)
    assert mount.source == bench.folder() / "data"
    image["data"][0]["noexec"] = True
    with pytest.raises(ProviderError, match="with docker, noexec needs root"):
        bench.volumes.mounts(FLEET, new)


def owners(bench: Bench) -> dict[str, Any]:
    facts = json.loads((bench.folder() / "volume.json").read_text())
    return {key: facts[key] for key in ("owner", "previous", "change") if key in facts}


def served(bench: Bench, name: str, owner: str, reown: bool = False) -> None:
    """Attach the volume to a new instance of an image whose service has this user, and detach it again."""
    bench.add(name, image=artifact(owner, reown), created=True)
    bench.volumes.attach([ID], name)
    if bench.instances[name].live:
        bench.instances[name].live = False
        bench.volumes.detach([ID])


@as_root
def test_data_of_another_user_is_refused_and_the_instance_given_up(bench: Bench) -> None:
    bench.volumes.create([request()])
    served(bench, "one", "1001:1001")
    words = bench.folder() / "data/words"
    words.write_text("of a customer")
    os.chown(words, 1001, 1001)
    served(bench, "two", "1002:1002")
    assert "belong to 1001:1001 (uid:gid), and in this image the service has 1002:1002" in bench.instances["two"].reason
    assert bench.volumes.list(FLEET)[0].attached_to is None
    stopped = bench.add("three", image=artifact("1002:1002"))
    with pytest.raises(ProviderError, match="belong to 1001:1001") as refused:
        bench.volumes.attach([ID], stopped)
    assert refused.value.permanent
    assert owners(bench) == {"owner": "1001:1001"}


@as_root
def test_data_follows_its_owner_and_is_given_back(bench: Bench) -> None:
    bench.volumes.create([request()])
    served(bench, "one", "1001:1001")
    words, foreign = bench.folder() / "data/words", bench.folder() / "data/foreign"
    for path, uid in ((words, 1001), (foreign, 1003)):
        path.write_text("of a customer")
        os.chown(path, uid, uid)
    served(bench, "two", "1002:1002", reown=True)
    assert (words.stat().st_uid, words.stat().st_gid, foreign.stat().st_uid) == (1002, 1002, 1003)
    assert owners(bench) == {"owner": "1002:1002", "previous": "1001:1001"}
    served(bench, "back", "1001:1001")
    assert (words.stat().st_uid, foreign.stat().st_uid) == (1001, 1003)
    served(bench, "three", "1003:1003", reown=True)
    assert "/foreign belongs to the new user or group already" in bench.instances["three"].reason
    assert words.stat().st_uid == 1001


@as_root
@pytest.mark.parametrize("toward", ["1002:1002", "1001:1001"], ids=["on", "back"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(3))
def test_an_interrupted_change_of_owners_is_completed_or_undone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int, after: bool, toward: str
) -> None:
    bench.volumes.create([request()])
    served(bench, "one", "1001:1001")
    words = bench.folder() / "data/words"
    words.write_text("of a customer")
    os.chown(words, 1001, 1001)
    with monkeypatch.context() as patch:
        cut = Cut(number, after)
        real = DataFiles.reown
        patch.setattr(
            DataFiles,
            "reown",
            lambda self, *rest: (cut.step(real) if rest[1] == "change" else real)(self, *rest),
        )
        patch.setattr(volume_folder, "write_atomically", cut.step(volume_folder.write_atomically))
        with pytest.raises(ControllerKilled):
            served(bench, "two", "1002:1002", reown=True)
    uid = int(toward.partition(":")[0])
    served(bench, "three", toward, reown=True)
    assert (words.stat().st_uid, owners(bench)["owner"]) == (uid, toward)
    assert "change" not in owners(bench)


def test_data_that_was_put_in_place_by_hand_keeps_its_owner(bench: Bench) -> None:
    bench.volumes.create([request()])
    (bench.folder() / "data/words").write_text("of a customer")
    bench.add("one", image=artifact("4711:4711"), created=True)
    bench.volumes.attach([ID], "one")
    assert bench.instances["one"].live and owners(bench) == {}
    bench.instances["one"].live = False
    bench.volumes.detach([ID])
    served(bench, "two", ME)
    assert owners(bench) == {"owner": ME}


class Cut:
    """Kills the controller before or after a number of steps."""

    def __init__(self, number: int, after: bool) -> None:
        self._left, self._after = number, after

    def step(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def do(*arguments: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left < 0 and not self._after:
                raise ControllerKilled
            answer = real(*arguments, **named)
            if self._left < 0:
                raise ControllerKilled
            return answer

        return do
