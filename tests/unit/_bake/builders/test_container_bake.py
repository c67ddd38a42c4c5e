# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders import base_container
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.container import (
    builder_settings,
    network,
    run_arguments,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.template import Guest, as_text, packer_template
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import BakeError

GUEST = Path("/dev/shm/bake/guest")  # noqa: S108  only named


def arguments(engine: str) -> list[str]:
    labels = {"immutable.store": "s", "immutable.bake": "bake-1"}
    return run_arguments(engine, name="immutable-bake-1", labels=labels, guest=GUEST, network=["--network=n"])


def test_what_is_uploaded_is_never_a_part_of_the_image() -> None:
    assert f"--mount=type=bind,source={GUEST},destination=/dev/shm" in arguments("podman")
    assert {each.partition(":")[0] for each in arguments("podman") if each.startswith("--tmpfs")} == {
        "--tmpfs=/tmp",
        "--tmpfs=/run",
    }


def test_the_image_is_the_last_argument_before_the_command() -> None:
    found = arguments("docker")
    at = found.index("{{.Image}}")
    assert found[at + 1] == "-c" and len(found) == at + 3
    assert "{{" not in found[-1]


@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_a_build_container_has_no_rights_of_its_own(engine: str) -> None:
    assert not [each for each in arguments(engine) if "privileged" in each or each.startswith("--cap-add")]
    assert "--pull=never" in arguments(engine) and "--env=SYSTEMD_OFFLINE=1" in arguments(engine)


def test_only_podman_gets_its_own_options() -> None:
    assert set(arguments("podman")) - set(arguments("docker")) == {"--http-proxy=false", "--image-volume=ignore"}


def test_dockers_network_is_its_default() -> None:
    assert network("docker") == []


def test_packer_neither_pulls_nor_commits() -> None:
    found = builder_settings(image="localhost/base:1", export=Path("/bake/root.tar"), run=["-d"])
    assert found["pull"] is False and found["export_path"] == "/bake/root.tar" and "commit" not in found


def test_a_container_has_no_free_blocks_and_its_memory_may_not_execute() -> None:
    guest = Guest(payload=Path("/p"), secrets=None, folder="/dev/shm/m", python="3.11")
    assert "fstrim" in as_text(packer_template({}, guest))
    container = Guest(payload=Path("/p"), secrets=None, folder="/dev/shm/m", python="3.11", container=True)
    template = packer_template({}, container)
    assert "fstrim" not in as_text(template)
    shells = [step for step in template["provisioners"] if step["type"] == "shell"]
    assert {step["execute_command"] for step in shells} == {"{{ .Vars }} /bin/sh -e {{ .Path }}"}


def test_the_descriptions_in_a_base_are_bounded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_container, "_MAX_DOCUMENTS", 100)
    path = tmp_path / "base.tar"
    with tarfile.open(path, "w") as archive:
        for number in range(3):
            entry = tarfile.TarInfo(f"blobs/sha256/{number}")
            entry.size = 40
            archive.addfile(entry, io.BytesIO(b" " * 40))
    with pytest.raises(BakeError, match="too many small blobs"):
        base_container._image_in(path)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_header_that_describes_the_next_file_is_bounded(tmp_path: Path, kind: bytes) -> None:
    """A few megabytes, compressed, took gigabytes of memory."""
    size = 16 * 1024**2
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, size
    path = tmp_path / "base.tar.gz"
    record = b"%d comment=" % size
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.tobuf(tarfile.USTAR_FORMAT) + record + b"a" * (size - len(record) - 1) + b"\n")
        file.write(tarfile.TarInfo("y").tobuf() + b"\0" * 1024)
    with pytest.raises(BakeError, match=f"a header has {size} bytes"):
        base_container._image_in(path)
