# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The real packer builds each template of ``corpus``, and every artifact is reported once, with its files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.runner import Packer

CORPUS = Path(__file__).parent / "corpus"
FILE, NULL, COMPRESS, CHECKSUM, ARTIFICE = (
    "packer.file",
    "fnoeding.null",
    *(f"packer.post-processor.{name}" for name in ("compress", "checksum", "artifice")),
)
# For each template: the build, the id of the builder or post-processor, and the files of each artifact.
EXPECTED: dict[str, list[tuple[str, str, str]]] = {
    "artifice.pkr.hcl": [
        ("null.maker", NULL, ""),
        ("null.maker", ARTIFICE, "disk.vmdk disk.ovf"),
        ("null.maker", CHECKSUM, "disk.vmdk disk.ovf disk.sha256"),
    ],
    "chain.pkr.hcl": [
        ("file.image", COMPRESS, "image.tar.gz"),
        ("file.image", CHECKSUM, "image.tar.gz image.tar.gz.sha256"),
    ],
    "checksum.pkr.hcl": [
        ("file.image", FILE, "image.raw"),
        ("file.image", CHECKSUM, "image.raw image.md5 image.sha256"),
    ],
    "comments.json": [("null", NULL, "")],
    "compressed.json": [("file", COMPRESS, "file.tar.gz")],
    "folder": [("web.file.list", FILE, "folder/web-12.list"), ("web.null.check", NULL, "")],
    "manifest.json": [("file", FILE, "web.raw")],
    "manifest.pkr.hcl": [("file.image", FILE, "image.raw")],
    "overrides.pkr.hcl": [
        ("sites.file.north", FILE, "north.txt"),
        ("sites.file.north", CHECKSUM, "north.txt north.md5"),
        ("sites.file.south", FILE, "south.txt"),
    ],
    "sequences.json": [
        ("image", FILE, "image.raw"),
        ("image", COMPRESS, "image.tar.gz"),
        ("image", CHECKSUM, "image.tar.gz image.tar.gz.sha256"),
        ("image", CHECKSUM, "image.raw image.sha256"),
    ],
    "several.json": [("disk", FILE, "disk-disk.raw"), ("kernel", FILE, "vmlinuz"), ("lint", NULL, "")],
    "shell-local.pkr.hcl": [("file.image", FILE, "image.raw")],
    "side-by-side.pkr.hcl": [
        ("file.image", FILE, "image.raw"),
        ("file.image", COMPRESS, "image.tar.gz"),
        ("file.image", CHECKSUM, "image.raw image.sha1"),
    ],
    "syntax.pkr.json": [("file.image", FILE, "image.raw")],
    "two-builds.pkr.hcl": [("one.file.first", FILE, "first.txt"), ("two.file.second", FILE, "second.txt")],
}


def test_every_template_has_an_expected_result() -> None:
    assert sorted(path.name for path in CORPUS.iterdir()) == sorted(EXPECTED)


@pytest.mark.skipif(not shutil.which("packer"), reason="packer is not installed")
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_artifacts_are_reported_once(name: str, tmp_path: Path) -> None:
    source, template = CORPUS / name, tmp_path / name
    if source.is_dir():
        shutil.copytree(source, template)
    else:
        shutil.copyfile(source, template)
    result = Packer().build(template, environment={"PACKER_PLUGIN_PATH": str(tmp_path / "plugins")})
    artifacts = [
        (
            artifact.builder,
            artifact.builder_id,
            " ".join(str(Path(file).relative_to(tmp_path)) for file in artifact.files),
        )
        for artifact in result.artifacts
    ]
    assert sorted(artifacts) == sorted(EXPECTED[name])
    assert [file for artifact in result.artifacts for file in artifact.files if not Path(file).is_file()] == []
    assert {build.status for build in result.builds} == {"succeeded"}
    assert {build.name for build in result.builds} == {build for build, _kind, _files in EXPECTED[name]}
