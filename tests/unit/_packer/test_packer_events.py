# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parses the output of several Packers.

``tests/tools/capture_packer.py`` writes it from ``scenarios`` to ``captured``, by version.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.build_names import build_renamer
from ansible_collections.immutable.infra.plugins.module_utils._packer.diagnostics import Diagnostic, diagnostics
from ansible_collections.immutable.infra.plugins.module_utils._packer.events import (
    Artifact,
    BuildError,
    Event,
    Raw,
    Ui,
    parse_line,
)
from ansible_collections.immutable.infra.plugins.module_utils._packer.inspection import parse_inspection
from ansible_collections.immutable.infra.plugins.module_utils._packer.local_names import used_sources
from ansible_collections.immutable.infra.plugins.module_utils._packer.plugins import requirements_in_errors
from ansible_collections.immutable.infra.plugins.module_utils._packer.result import BuildResult
from ansible_collections.immutable.infra.tests.support.packer_results import collect

HERE = Path(__file__).parent
CAPTURED = HERE / "captured"
VERSIONS = sorted(path.name for path in CAPTURED.iterdir())
every_version = pytest.mark.parametrize("version", VERSIONS)


def events(version: str, name: str) -> list[Event]:
    return [
        event for line in (CAPTURED / version / f"{name}.txt").read_text().splitlines() if (event := parse_line(line))
    ]


def built(version: str, name: str, template: str = "") -> BuildResult:
    return collect(events(version, f"build-{name}"), "/srv", build_renamer(str(HERE / "scenarios" / template)))


def found(version: str, name: str) -> list[Diagnostic]:
    return diagnostics(events(version, f"validate-{name}"), "web.json")


def statuses(result: BuildResult) -> dict[str, str]:
    return {build.name: build.status for build in result.builds}


def test_the_output_of_an_old_a_1_9_and_a_new_packer_was_captured() -> None:
    lines = [tuple(int(number) for number in version.split(".")) for version in VERSIONS]
    assert [
        sum(low <= line < high for line in lines)
        for low, high in (((1, 6), (1, 7)), ((1, 9), (1, 10)), ((1, 14), (2,)))
    ] == [1, 1, 1]


def test_escapes_are_decoded() -> None:
    assert parse_line(r"17,,ui,say,\n==> web: one%!(PACKER_COMMA) two\r") == Ui(17, "", "say", "\n==> web: one, two\r")
    assert parse_line("17,web,error,no%!(PACKER_COMMA) thanks") == BuildError(17, "web", "no, thanks")
    assert parse_line("17,web,artifact,0,file,1,/a%!(PACKER_COMMA)b") == Artifact(
        17, "web", index=0, key="file", values=("1", "/a,b")
    )


@pytest.mark.parametrize(
    "junk",
    [
        "panic: runtime error",
        "2026/11/24 10:00:00 ui: ok, then, so",
        "17,,ui,say",
        "17,x,error-count,many",
        "17,,Not a type,x",
    ],
)
def test_a_line_outside_of_the_protocol_is_unchanged(junk: str) -> None:
    assert parse_line(junk) == Raw(0, "", junk)


def test_an_empty_line_is_not_an_event() -> None:
    assert parse_line("  ") is None


def test_a_message_belongs_to_a_build() -> None:
    line = Ui(0, "", "message", "    pair.null.shell: one: two")
    assert (line.builder, line.message) == ("pair.null.shell", "one: two")
    headline = Ui(0, "", "error", "\n==> Some builds didn't complete successfully and had errors:")
    assert (headline.builder, headline.message) == ("", "Some builds didn't complete successfully and had errors:")


@every_version
def test_two_builds_succeed(version: str) -> None:
    result = built(version, "success")
    assert statuses(result) == {"pair.file.note": "succeeded", "pair.null.shell": "succeeded"}
    assert {artifact.builder: artifact.files for artifact in result.artifacts} == {
        "pair.file.note": ("/srv/out/note.txt",),
        "pair.null.shell": (),
    }
    assert any(line.endswith("one, two") for line in result.output)
    assert not result.failed


@every_version
def test_an_artifact_that_a_post_processor_reports_again_counts_once(version: str) -> None:
    parsed = events(version, "build-manifest-json")
    assert sum(isinstance(event, Artifact) and event.key == "end" for event in parsed) == 4
    assert sorted(artifact.builder_id for artifact in collect(parsed).artifacts) == ["fnoeding.null", "packer.file"]


@every_version
def test_a_build_of_a_json_template_has_the_name_that_only_takes(version: str) -> None:
    result = built(version, "manifest-json", "manifest.json")
    assert statuses(result) == {"note": "succeeded", "null": "succeeded"}
    assert {artifact.builder for artifact in result.artifacts} == {"note", "null"}


@every_version
def test_a_provisioner_fails(version: str) -> None:
    result = built(version, "provisioner_failure")
    assert result.failed
    assert result.error_count == 1
    assert result.reason.startswith("null.shell: Script exited with non-zero exit status: 7")
    assert any("on the error stream" in line for line in result.output)


@every_version
def test_one_builder_of_two_fails(version: str) -> None:
    result = built(version, "builder_failure")
    assert statuses(result) == {"file.bad": "failed", "file.good": "succeeded"}
    assert result.errors == {"file.bad": "open nosuch.txt: no such file or directory"}
    assert [artifact.builder for artifact in result.artifacts] == ["file.good"]


@every_version
def test_parallel_builds_have_their_own_results(version: str) -> None:
    result = built(version, "parallel")
    assert statuses(result) == {"file.left": "succeeded", "file.right": "succeeded", "null.wrong": "failed"}
    assert {artifact.builder: artifact.files for artifact in result.artifacts} == {
        "file.left": ("/srv/left.txt",),
        "file.right": ("/srv/right.txt",),
    }
    assert result.errors["null.wrong"].startswith("Script exited with non-zero exit status: 1")


@every_version
@pytest.mark.parametrize("scenario", ["cancelled", "terminated"])
def test_a_stopped_run_fails_with_any_exit_code(version: str, scenario: str) -> None:
    result = built(version, scenario)
    assert statuses(result) == {"file.quick": "succeeded", "null.slow": "cancelled"}
    assert result.cancelled
    assert result.failed
    assert result.errors == {}
    assert result.last_line.endswith("null.slow: started")


@every_version
def test_a_warning_is_not_an_error(version: str) -> None:
    (warning,) = found(version, "warning")
    assert (warning.severity, warning.file) == ("warning", "warning.pkr.hcl")
    assert warning.summary.startswith("Both source file and contents are blank")
    result = built(version, "warning")
    assert statuses(result) == {"file.empty": "succeeded"}
    assert not result.failed


@every_version
def test_problems_in_hcl_have_a_file_and_line(version: str) -> None:
    assert [(problem.severity, problem.file) for problem in found(version, "syntax_error")] == [
        ("error", "syntax_error.pkr.hcl")
    ] * 3
    assert {("Invalid multi-line string", 2), ("Unterminated template string", 2)} <= {
        (problem.summary, problem.line) for problem in found(version, "syntax_error")
    }
    (argument,) = found(version, "unknown_argument")
    assert (argument.severity, argument.summary, argument.file, argument.line) == (
        "error",
        "Unsupported argument",
        "unknown_argument.pkr.hcl",
        2,
    )
    assert 'named "communicatr"' in argument.detail


@every_version
def test_an_unknown_source_is_reported(version: str) -> None:
    summaries = [problem.summary for problem in found(version, "unknown_name")]
    assert "Unknown source null.y" in summaries


@every_version
def test_a_problem_in_json_has_a_file_and_line(version: str) -> None:
    (problem,) = found(version, "json_error-json")
    assert (problem.file, problem.line) == ("web.json", 2)
    assert "Error parsing JSON: invalid character" in problem.summary


@every_version
def test_several_problems_below_one_heading_are_separate(version: str) -> None:
    assert {problem.summary for problem in found(version, "unset-json")} == {
        "required variable not set: wanted",
        "required variable not set: also",
    }


@every_version
def test_a_missing_plugin_is_an_error(version: str) -> None:
    for name in ("missing_plugin", "missing_plugin-json", "required_plugins"):
        assert [problem.severity for problem in found(version, name)] == ["error"], name
    if not version.startswith("1.6."):
        assert "github.com/nobody/nowhere" in found(version, "required_plugins")[0].detail


@every_version
def test_a_missing_plugin_is_recognized(version: str) -> None:
    """Packer 1.10 and later report a missing plugin. The error of older ones may also mean a typing mistake."""
    output = "\n".join(built(version, "missing_plugin-json").output)
    modern = tuple(int(number) for number in version.split(".")) >= (1, 10)
    assert [requirement.reason for requirement in requirements_in_errors(output)] == (
        ["builder nowhere"] if modern else []
    )
    assert [requirement.source for requirement in requirements_in_errors(output.replace("nowhere", "hcloud"))] == [
        "github.com/hashicorp/hcloud"
    ]


@every_version
def test_both_types_of_templates_are_inspected(version: str) -> None:
    hcl2 = parse_inspection(events(version, "inspect-variables"))
    legacy = parse_inspection(events(version, "inspect-variables-json"))
    assert hcl2.builds == ["pair.file.note", "pair.null.shell"]
    assert [(variable.name, variable.default, variable.required) for variable in hcl2.variables] == [
        ("name", "shop", False),
        ("needed", None, True),
        ("token", None, False),
    ]
    assert legacy.builds == ["null"]
    assert [variable.name for variable in legacy.variables if variable.required] == ["needed"]
    for kind in (hcl2, legacy):
        assert [variable.name for variable in kind.variables if variable.sensitive] == ["token"]


@every_version
def test_builds_have_the_names_that_only_takes(version: str) -> None:
    used = used_sources(str(HERE / "scenarios/names.pkr.hcl"))
    assert parse_inspection(events(version, "inspect-names"), used=used).builds == [
        "web.null.other",
        "web.null.small",
        "web.null.two words",
        "web.null.a",
        "null.unnamed",
        r"x\[1\]\*\{a?b\}\\\?.null.other",
    ]
    assert parse_inspection(events(version, "inspect-names-json")).builds == ["db[1]*", "null", "web-small"]


def test_a_warning_may_come_before_what_packer_reports() -> None:
    lines = ["Warning: Undefined variable", "Packer Inspect: HCL2 mode", "> input-variables:", 'var.size: "\\x00\\a3"']
    parsed = parse_inspection(event for line in lines if (event := parse_line(line)))
    assert [(variable.name, variable.default) for variable in parsed.variables] == [("size", "\x00\a3")]


def test_a_script_that_dies_from_the_signal_belongs_to_a_cancelled_build() -> None:
    """Seen with Packer 1.6.6 on a busy machine: the script ends before Packer has handled the signal."""
    died = "Script exited with non-zero exit status: -1.Allowed exit codes are: [0]"
    lines = [
        "1,,ui,error,Cancelling build after receiving interrupt",
        f"2,null.slow,error,{died}",
        f"3,,ui,error,Build 'null.slow' errored after 4 seconds 456 milliseconds: {died}",
        "4,,ui,say,\\n==> Wait completed after 4 seconds 456 milliseconds",
        "5,,ui,say,Cleanly cancelled builds after being interrupted.",
    ]
    result = collect(map(parse_line, lines))
    assert statuses(result) == {"null.slow": "cancelled"} and not result.errors
    assert statuses(collect(map(parse_line, lines[1:3]))) == {"null.slow": "failed"}
