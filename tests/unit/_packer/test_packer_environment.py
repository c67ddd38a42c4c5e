# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The user's environment does not change what the real Packer's results say."""

from __future__ import annotations

import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.errors import PackerError
from ansible_collections.immutable.infra.plugins.module_utils._packer.installed import InstalledPlugins
from ansible_collections.immutable.infra.plugins.module_utils._packer.runner import Packer

TEMPLATE = """
variable "size" {
  type    = number
  default = 3
}
variable "wanted" {
  type = string
}
source "null" "a" {
  communicator = "none"
}
build {
  name    = "web"
  sources = ["null.a"]
  provisioner "shell-local" {
    inline = ["echo size ${var.size}"]
  }
}
"""
# Each must have no effect. ``{folder}`` is the folder of the test.
SETTINGS: list[dict[str, str]] = [
    {
        "PACKER_LOG": "1",
        "PACKER_NO_COLOR": "",
        "FORCE_COLOR": "1",
        "TERM": "xterm-256color",
        "COLUMNS": "20",
        "CHECKPOINT_DISABLE": "",
        "LC_ALL": "de_DE.UTF-8",
        "PKR_VAR_size": "7",
        "PKR_VAR_wanted": "x",
        "PKR_VAR_unknown": "x",
    },
    {"PACKER_LOG": "1", "PACKER_LOG_PATH": "{folder}/packer.log", "TERM": "dumb", "PACKER_CONFIG": "{folder}/config"},
    {"PACKER_LOG_PATH": "{folder}/packer.log", "PACKER_NO_COLOR": "1", "NO_COLOR": "1", "TERM": ""},
    {
        "PACKER_LOG": "0",
        "PACKER_WRAP_COOKIE": "49C22B1A-3A93-4C98-97FA-E07D18C787B5",
        "PACKER_PLUGIN_MAGIC_COOKIE": "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2",
        "PACKER_PLUGIN_MIN_PORT": "10000",
        "PACKER_PLUGIN_MAX_PORT": "25000",
        "PACKER_RUN_UUID": "x",
        "PACKER_BUILD_NAME": "outer",
        "PACKER_BUILDER_TYPE": "qemu",
    },
]
pytestmark = pytest.mark.skipif(not shutil.which("packer"), reason="packer is not installed")


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "web.pkr.hcl"
    path.write_text(TEMPLATE)
    return path


def results(template: Path) -> dict[str, Any]:
    """What each command reports, without what differs between two runs."""
    packer, wanted = Packer(), {"wanted": "x"}
    built = packer.build(template, vars=wanted).as_dict()
    del built["duration"]
    found: dict[str, Any] = {
        "version": packer.version(),
        "plugins": InstalledPlugins(packer).plugins(),
        "inspect": asdict(packer.inspect(template)),
        "validate": packer.validate(template, vars=wanted).as_dict(),
        "build": built,
        "failed": _failure(template),
    }
    for part in ("validate", "build"):
        found[part]["command"] = [argument for argument in found[part]["command"] if "-var-file" not in argument]
        found[part]["output"] = [
            re.sub(r"after .*|packer-shell\d+", "", line) for line in found[part]["output"] if line
        ]
    return found


def _failure(template: Path) -> str:
    with pytest.raises(PackerError) as caught:
        Packer().build(template)
    return caught.value.message


@pytest.fixture
def expected(template: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    for names in SETTINGS:
        for name in names:
            monkeypatch.delenv(name, raising=False)
    return results(template)


def test_no_setting_changes_a_result(
    template: Path, tmp_path: Path, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert expected["inspect"]["builds"] == ["web.null.a"]
    assert [variable["required"] for variable in expected["inspect"]["variables"]] == [False, True]
    assert any("size 3" in line for line in expected["build"]["output"])
    (tmp_path / "config").write_text("{}")
    for setting in SETTINGS:
        with monkeypatch.context() as patch:
            for name, value in setting.items():
                patch.setenv(name, value.format(folder=tmp_path))
            assert results(template) == expected, setting


def test_the_log_of_a_build_is_in_its_file_and_no_other_command_replaces_it(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "packer.log"
    monkeypatch.setenv("PACKER_LOG", "1")
    monkeypatch.setenv("PACKER_LOG_PATH", str(log))
    packer = Packer()
    packer.build(template, vars={"wanted": "x"})
    written = log.read_text()
    assert "size 3" in written
    packer.version()
    packer.inspect(template)
    InstalledPlugins(packer).plugins()
    assert log.read_text() == written


def test_the_option_env_is_treated_like_the_environment(template: Path) -> None:
    plain = Packer().build(template, vars={"wanted": "x"})
    logged = Packer().build(template, vars={"wanted": "x"}, environment={"PACKER_LOG": "1"})
    assert len(logged.output) == len(plain.output)


def test_modules_take_variables_from_the_environment_but_bakes_do_not(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PKR_VAR_size", "7")
    monkeypatch.setenv("PKR_VAR_wanted", "x")
    output = "\n".join(Packer(variables=True).build(template).output)
    assert "size 7" in output
    assert Packer(variables=True).validate(template).valid
    assert not Packer().validate(template).valid


def test_why_packer_cannot_start_is_in_the_message(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKER_CONFIG", "/nonexistent/config")
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("PACKER_PLUGIN_MIN_PORT", "x")
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    with pytest.raises(PackerError, match="does not report a version .*it printed: .*/nonexistent"):
        Packer().inspect(template)
