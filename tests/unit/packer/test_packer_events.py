# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reading Packer's output. The files in ``captured`` are what Packer 1.6.6 really said."""
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils.packer.diagnostics import diagnostics
from ansible_collections.immutable.infra.plugins.module_utils.packer.events import Artifact, BuildError, Event, Raw, Ui, parse_line
from ansible_collections.immutable.infra.plugins.module_utils.packer.inspection import read
from ansible_collections.immutable.infra.plugins.module_utils.packer.result import BuildResult, collect

CAPTURED = Path(__file__).parent / "captured"


def events(name: str) -> list[Event]:
    return [event for line in (CAPTURED / f"{name}.txt").read_text().splitlines() if (event := parse_line(line))]


def statuses(result: BuildResult) -> dict[str, str]:
    return {build.name: build.status for build in result.builds}


def test_escapes_are_undone() -> None:
    assert parse_line(r"17,,ui,say,\n==> web: one%!(PACKER_COMMA) two\r") == Ui(17, "", "say", "\n==> web: one, two\r")
    assert parse_line("17,web,error,no%!(PACKER_COMMA) thanks") == BuildError(17, "web", "no, thanks")
    assert parse_line("17,web,artifact,0,file,1,/a%!(PACKER_COMMA)b") == Artifact(17, "web", 0, "file", ("1", "/a,b"))


@pytest.mark.parametrize("junk", ["panic: runtime error", "2026/11/24 10:00:00 ui: ok, then, so", "17,,ui,say", "17,x,error-count,many", "17,,Not a type,x"])
def test_what_is_not_of_the_protocol_is_kept_as_it_is(junk: str) -> None:
    assert parse_line(junk) == Raw(0, "", junk)


def test_nothing_is_no_event() -> None:
    assert parse_line("  ") is None


def test_a_line_knows_its_build() -> None:
    line = Ui(0, "", "message", "    pair.null.shell: one: two")
    assert (line.builder, line.message) == ("pair.null.shell", "one: two")
    headline = Ui(0, "", "error", "\n==> Some builds didn't complete successfully and had errors:")
    assert (headline.builder, headline.message) == ("", "Some builds didn't complete successfully and had errors:")


def test_two_builds_succeed() -> None:
    result = collect(events("success_parallel"), "/srv")
    assert statuses(result) == {"pair.file.note": "succeeded", "pair.null.shell": "succeeded"}
    assert {artifact.builder: artifact.files for artifact in result.artifacts} == {"pair.file.note": ("/srv/out/note.txt",), "pair.null.shell": ()}
    assert not result.failed


def test_an_artifact_that_a_post_processor_hands_on_counts_once() -> None:
    seen = events("manifest")
    assert sum(isinstance(event, Artifact) and event.key == "end" for event in seen) == 4
    assert [artifact.builder_id for artifact in collect(seen).artifacts].count("packer.file") == 1


def test_a_provisioner_fails() -> None:
    result = collect(events("provisioner_failure"))
    assert result.failed
    assert result.error_count == 1
    assert result.reason.startswith("null.shell: Script exited with non-zero exit status: 7")


def test_one_builder_of_two_fails() -> None:
    result = collect(events("builder_failure"))
    assert statuses(result) == {"file.bad": "failed", "file.good": "succeeded"}
    assert result.errors == {"file.bad": "open nosuch.txt: no such file or directory"}
    assert [artifact.builder for artifact in result.artifacts] == ["file.good"]


def test_a_cancelled_run_is_a_failure_whatever_its_exit_code() -> None:
    result = collect(events("cancelled"))
    assert statuses(result) == {"file.quick": "succeeded", "null.slow": "cancelled"}
    assert result.cancelled
    assert result.failed
    assert result.last_words == "null.slow: started"


def test_mistakes_in_hcl_have_their_place() -> None:
    found = diagnostics(events("syntax_error"), "unused")
    assert [(one.severity, one.summary, one.file, one.line) for one in found] == [
        ("error", "Invalid multi-line string", "syn.pkr.hcl", 2),
        ("error", "Invalid multi-line string", "syn.pkr.hcl", 3),
        ("error", "Invalid multi-line string", "syn.pkr.hcl", 4),
        ("error", "Missing newline after argument", "syn.pkr.hcl", 2),
    ]


def test_a_mistake_in_json_has_its_place() -> None:
    (found,) = diagnostics(events("json_error"), "web.json")
    assert (found.file, found.line) == ("web.json", 1)
    assert "invalid character" in found.summary


def test_inspection_of_both_kinds() -> None:
    hcl2, legacy = read(events("inspect_hcl2")), read(events("inspect_json"))
    assert hcl2.builds == ["pair.file.note", "pair.null.shell"]
    assert [(one.name, one.default, one.required) for one in hcl2.variables] == [("name", "shop", False), ("needed", "3", False), ("token", None, True)]
    assert legacy.builds == ["null"]
    assert [one.name for one in legacy.variables if one.required] == ["r"]
    assert [one.name for one in legacy.variables if one.sensitive] == ["s"]
