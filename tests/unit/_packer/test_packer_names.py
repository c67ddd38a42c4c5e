# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The builds that the real Packer reports for a template have the names that ``only`` and ``except`` take."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.errors import PackerError
from ansible_collections.immutable.infra.plugins.module_utils._packer.events import parse_line
from ansible_collections.immutable.infra.plugins.module_utils._packer.inspection import parse_inspection
from ansible_collections.immutable.infra.plugins.module_utils._packer.local_names import UsedSource, used_sources
from ansible_collections.immutable.infra.plugins.module_utils._packer.runner import Packer

SCENARIOS = Path(__file__).parent / "scenarios"
pytestmark = pytest.mark.skipif(not shutil.which("packer"), reason="packer is not installed")

SOURCE = 'source "null" "{name}" {{\n  communicator = "none"\n}}\n'
IN_JSON = {
    "source": {"null": {"a": {"communicator": "none"}}},
    "build": [
        {"name": "web", "source": [{"null.a": {"name": "small"}}, {"null.a": [{"name": "large"}]}]},
        {"sources": ["null.a"]},
    ],
}
# A template by its files, and the names of its builds.
FOLDERS: dict[str, tuple[Mapping[str, str], Sequence[str]]] = {
    "files": (
        {
            "a.pkr.json": json.dumps({"build": {"name": "last", "source": {"null.a": {"name": "json"}}}}),
            "b.pkr.hcl": SOURCE.format(name="a") + 'build {\n  name = "web"\n  source "null.a" {\n name="b"\n}\n}\n',
            "c.pkr.hcl": 'build {\n  sources = ["null.a"]\n  source "null.a" { name = "c" }\n}\n',
        },
        ["web.null.b", "null.a", "null.c", "last.null.json"],
    ),
    "json": ({"a.pkr.json": json.dumps(IN_JSON)}, ["web.null.small", "web.null.large", "null.a"]),
    "nested": (
        {
            "a.pkr.hcl": 'source "file" "a" {\n  target = "a.txt"\n}\n'
            'build {\n  source "file.a" {\n    content = <<EOT\nbuild { source "file.a" { name = "no" } }\nEOT\n'
            '    name = "real"\n  }\n  post-processor "manifest" {\n    name = "later"\n  }\n}\n'
        },
        ["file.real"],
    ),
}


@pytest.fixture(params=["names.pkr.hcl", "names.json", *FOLDERS])
def template(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    name: str = request.param
    path = tmp_path / name
    if name in FOLDERS:
        path.mkdir()
        for file, text in FOLDERS[name][0].items():
            (path / file).write_text(text)
    else:
        shutil.copyfile(SCENARIOS / name, path)
    return path


def names(template: Path) -> list[str]:
    return Packer().inspect(template).builds


def built(template: Path, **arguments: Sequence[str]) -> set[str]:
    variables = {"needed": "x"} if template.suffix == ".json" else {}
    return {build.name for build in Packer().build(template, vars=variables, force=True, **arguments).builds}


def test_only_and_except_take_each_name(template: Path) -> None:
    found = names(template)
    assert len(set(found)) == len(found) > 0
    each = [built(template, only=[name]) for name in found]
    assert [len(builds) for builds in each] == [1] * len(found)
    everything = built(template)
    assert set.union(*each) == everything
    if len(found) > 1:
        assert built(template, except_=found[:-1]) == each[-1]
    with pytest.raises(PackerError, match="nothing was built"):
        built(template, except_=found)


def test_validation_takes_each_name(template: Path) -> None:
    variables = {"needed": "x"} if template.suffix == ".json" else {}
    found = names(template)
    for arguments in ({"only": found}, {"except_": found[1:]}):
        validation = Packer().validate(template, vars=variables, **arguments)
        assert validation.valid and not validation.diagnostics


@pytest.mark.parametrize("name", FOLDERS)
def test_several_files_are_read_in_packers_order(name: str, tmp_path: Path) -> None:
    for file, text in FOLDERS[name][0].items():
        (tmp_path / file).write_text(text)
    assert names(tmp_path) == list(FOLDERS[name][1])


def test_names_are_those_of_builds_and_of_what_they_rename() -> None:
    assert names(SCENARIOS / "names.pkr.hcl") == [
        "web.null.other",
        "web.null.small",
        "web.null.two words",
        "web.null.a",
        "null.unnamed",
        r"x\[1\]\*\{a?b\}\\\?.null.other",
    ]


def test_a_name_that_only_a_build_knows_is_the_templates(tmp_path: Path) -> None:
    names_in_template = ["{{user `needed`}}", "{{user `computed`}}", "{{timestamp}}"]
    builders = [{"type": "null", "name": name, "communicator": "none"} for name in names_in_template]
    variables = {"needed": None, "computed": "{{timestamp}}"}
    (tmp_path / "web.json").write_text(json.dumps({"variables": variables, "builders": builders}))
    assert sorted(names(tmp_path / "web.json")) == sorted(names_in_template)


def test_source_blocks_that_packer_does_not_report_are_ignored() -> None:
    lines = [
        "Packer Inspect: HCL2 mode",
        "> builds:",
        "  > <unnamed build 0>:",
        "    sources:",
        "      null.a",
        "    provisioners:",
        "      <no provisioner>",
        "    post-processors:",
        "      <no post-processor>",
    ]
    events = [event for line in lines if (event := parse_line(line))]
    used = [[UsedSource("null.a", "b"), UsedSource("null.a", "c")], [UsedSource("null.a", "d")]]
    assert parse_inspection(events, used=used).builds == ["null.a"]
    assert parse_inspection(events, used=[[UsedSource("null.z", "b")]]).builds == ["null.a"]
    assert parse_inspection(events, used=[[UsedSource("null.a", "b")]]).builds == ["null.b"]


@pytest.mark.parametrize(
    "text", ['build {\n source "null.a" {', "build {", "build { source", '{"build": [[[1]]]}', "\0"]
)
def test_a_broken_template_renames_nothing(text: str, tmp_path: Path) -> None:
    for name in ("a.pkr.hcl", "b.pkr.json"):
        (tmp_path / name).write_text(text)
    assert not any(source.name for build in used_sources(str(tmp_path)) for source in build)
