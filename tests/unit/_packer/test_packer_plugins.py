# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plugins that a template requires, version constraints, and mirrors."""

from __future__ import annotations

import hashlib
import os
import platform
import zipfile
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer import mirror, plugins
from ansible_collections.immutable.infra.plugins.module_utils._packer.errors import PackerError
from ansible_collections.immutable.infra.plugins.module_utils._packer.plugins import Plugin, Requirement
from ansible_collections.immutable.infra.plugins.module_utils._packer.sensitive import sensitive_variables
from ansible_collections.immutable.infra.plugins.module_utils._packer.versions import satisfies

QEMU = "github.com/hashicorp/qemu"
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
HCL2 = """
# variable "comment" { sensitive = true }
variable "plain" {
  default     = "a { brace"
  description = "sensitive = true"
}
variable "late" {
  type = object({ name = string })
  default = {
    name = "}"
  }
  sensitive = true
}
variable "text" {
  default = <<-END
    sensitive = true
    }
  END
}
variable wanted { sensitive = true }
"""


def name_of(version: str, name: str = "qemu", machine: str = MACHINE) -> str:
    return f"packer-plugin-{name}_v{version}_x5.0_linux_{machine}"


@pytest.mark.parametrize(
    ("version", "constraint", "expected"),
    [
        ("1.0.9", "", True),
        ("1.0.9", "1.0.9", True),
        ("1.0.9", "v1.0.9", True),
        ("1.0.9", ">= 1.0.9, < 2", True),
        ("2.0.0", ">= 1.0.9, < 2", False),
        ("1.10.0", "~> 1.2", True),
        ("2.0.0", "~> 1.2", False),
        ("1.2.9", "~> 1.2.3", True),
        ("1.3.0", "~> 1.2.3", False),
        ("1.9.0", "~> 1", True),
        ("1.0.9", "!= 1.0.9", False),
        ("1.0.9", "> 1.0.8", True),
        ("1.0.9", "<= 1.0.8", False),
        ("1.0.9-dev", "", False),
    ],
)
def test_constraints(version: str, constraint: str, expected: bool) -> None:
    assert satisfies(version, constraint) is expected


def test_an_invalid_constraint_is_refused() -> None:
    with pytest.raises(PackerError, match="'newest' is not a version constraint"):
        satisfies("1.0.0", "newest")


@pytest.mark.parametrize(
    "source",
    [
        "qemu",
        "hashicorp/qemu",
        "https://github.com/hashicorp/qemu",
        "github.com/../qemu",
        "github.com/hashicorp/qemu?x=1",
    ],
)
def test_an_invalid_source_is_refused(source: str) -> None:
    with pytest.raises(PackerError, match="is not the source of a plugin"):
        plugins.check_source(source)


def test_a_plugin_is_recognized_by_its_folders_and_name() -> None:
    path = f"/home/ann/.config/packer/plugins/{QEMU}/{name_of('1.0.9')}"
    assert plugins.plugin_of(path) == Plugin(QEMU, "1.0.9", path)
    assert plugins.plugin_of(f"/srv/mirror/{name_of('1.0.9')}") == Plugin(
        "", "1.0.9", f"/srv/mirror/{name_of('1.0.9')}"
    )
    assert plugins.plugin_of(f"{path}_SHA256SUM") is None


def test_a_json_template_requires_the_plugins_of_its_components() -> None:
    document = {
        "builders": [{"type": "qemu"}, {"type": "null"}, {"type": "amazon-ebs"}, {"type": "amazon-instance"}],
        "provisioners": [{"type": "shell"}, {"type": "ansible-local"}, {"type": "salt-masterless"}],
        "post-processors": ["compress", ["docker-tag", {"type": "manifest"}], {"type": "strange"}],
    }
    found = {
        requirement.reason: requirement.source.rpartition("/")[2] for requirement in plugins.json_requirements(document)
    }
    assert found == {
        "builder qemu": "qemu",
        "builder amazon-ebs": "amazon",
        "provisioner ansible-local": "ansible",
        "provisioner salt-masterless": "salt",
        "post-processor docker-tag": "docker",
        "post-processor strange": "",
    }


def test_older_packers_bundle_hashicorps_plugins() -> None:
    assert plugins.is_bundled(QEMU, (1, 6, 6))
    assert plugins.is_bundled(QEMU, (1, 9, 4))
    assert not plugins.is_bundled(QEMU, (1, 10, 0))
    assert plugins.is_bundled("github.com/hashicorp/hcloud", (1, 8, 7))
    assert not plugins.is_bundled("github.com/hashicorp/hcloud", (1, 9, 4))
    assert not plugins.is_bundled("github.com/ann/qemu", (1, 9, 4))


def test_the_newest_matching_plugin_of_a_mirror_is_used(tmp_path: Path) -> None:
    for version in ("1.0.9", "1.0.10", "2.0.0"):
        (tmp_path / name_of(version)).write_text(version)
    (tmp_path / name_of("3.0.0", machine="wrong")).write_text("for another type of machine")
    folder = tmp_path / "github.com/ann/qemu"
    folder.mkdir(parents=True)
    (folder / name_of("1.5.0")).write_text("a plugin of another source")
    assert mirror.find(str(tmp_path), Requirement(QEMU, "< 2")).version == "1.0.10"
    assert mirror.find(str(tmp_path), Requirement(QEMU)).version == "2.0.0"
    assert mirror.find(str(tmp_path), Requirement("github.com/ann/qemu", "1.5.0")).version == "1.5.0"
    with pytest.raises(PackerError, match=r"has no .*qemu > 2 .*its versions: 1.0.10, 1.0.9, 2.0.0\)"):
        mirror.find(str(tmp_path), Requirement(QEMU, "> 2"))


def test_a_plugin_is_unpacked_and_installed_with_its_checksum(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / f"{name_of('1.0.9')}.zip", "w") as archive:
        archive.writestr("LICENSE", "a license")
        archive.writestr(name_of("1.0.9"), "program")
    work, plugin_path = tmp_path / "work", tmp_path / "plugins"
    work.mkdir()
    binary = mirror.extract(mirror.find(str(tmp_path), Requirement(QEMU)), str(work))
    mirror.install(binary, QEMU, str(plugin_path))
    installed = plugin_path / QEMU / name_of("1.0.9")
    assert installed.read_text() == "program"
    assert os.access(installed, os.X_OK)
    assert Path(f"{installed}_SHA256SUM").read_text() == hashlib.sha256(b"program").hexdigest()


def test_sensitive_variables_are_read_from_the_template(tmp_path: Path) -> None:
    (tmp_path / "web.pkr.hcl").write_text(HCL2)
    (tmp_path / "more.pkr.json").write_text('{"variable": {"token": {"sensitive": true}, "name": {"type": "string"}}}')
    (tmp_path / "old.json").write_text('{"variables": {"a": "", "b": ""}, "sensitive-variables": ["b"]}')
    assert sensitive_variables(str(tmp_path)) == {"late", "wanted", "token"}
    assert sensitive_variables(str(tmp_path / "old.json")) == {"b"}
