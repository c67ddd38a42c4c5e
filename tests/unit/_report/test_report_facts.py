# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is due and why, how packages differ, and what a file that is written has."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImmutableError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.guard import Guard
from ansible_collections.immutable.infra.plugins.plugin_utils._core.task import Task
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._report.due import due_of
from ansible_collections.immutable.infra.plugins.plugin_utils._report.facts import Wanted
from ansible_collections.immutable.infra.plugins.plugin_utils._report.open import write_report
from ansible_collections.immutable.infra.plugins.plugin_utils._report.packages import compared, packages_of
from ansible_collections.immutable.infra.plugins.plugin_utils._report.write import mode_of, write_page
from ansible_collections.immutable.infra.tests.support import report_pages

EXAMPLE = Path(__file__).resolve().parents[3] / "examples/rehearsal"


def due(**changes: Any) -> list[tuple[str, str]]:
    """What is due for a fleet of three, with these changes."""
    known = report_pages.facts([report_pages.fleet(3, [], **changes)])
    return [(each["what"], each["why"]) for each in due_of(known)]


def info(**changes: Any) -> dict[str, Any]:
    return {**report_pages.fleet(3, [])["info"], **changes}


def test_nothing_is_due_for_a_fleet_that_runs_the_promoted_image() -> None:
    assert due() == []


def test_a_swap_is_due_for_each_reason() -> None:
    old, same = report_pages.OLD, report_pages.NEW
    each = report_pages.instance
    instances = [each(0, old), each(1, old), each(2, same, outdated=True), each(4, tainted="it was unsealed")]
    what, why = due(info=info(size=5, instances=instances))[0]
    assert what == "swap to shop-1.4.2-bbbbbbbbbbbb"
    assert why.split("; ") == [
        "launched with other settings (slot 2)",
        "runs shop-1.4.1-aaaaaaaaaaaa, not shop-1.4.2-bbbbbbbbbbbb (slots 0-1)",
        "tainted: it was unsealed (slot 4)",
        "no instance (slot 3)",
    ]


@pytest.mark.parametrize(
    ("bake", "expected"),
    [
        ({"image": None, "why": ["service: 1 -> 2"]}, "bake"),
        ({"image": None, "digest": None, "unknown": "the base is not built yet", "why": []}, "bake"),
        ({"verified": False}, "verification of shop-1.4.2-bbbbbbbbbbbb"),
        ({"promoted": False}, "promotion of shop-1.4.2-bbbbbbbbbbbb"),
        ({"problem": "the base cannot be looked up"}, None),
    ],
)
def test_the_next_step_of_a_definition_is_due(bake: dict[str, Any], expected: str | None) -> None:
    known = report_pages.fleet(3, [])["bake"]
    assert [what for what, _why in due(bake={**known, **bake})] == ([expected] if expected else [])


def test_what_is_unfinished_or_left_over_or_revoked_is_due() -> None:
    unfinished = {"image_name": "shop-2", "asks": "stage 1"}
    assert due(unfinished=unfinished) == [("swap to shop-2", "it is unfinished and waits for an approval of stage 1")]
    orphan = {"why": "its slot was removed"}
    assert due(info=info(orphans=[orphan])) == [("sweep", "1 resource that no fleet owns")]
    revoked = report_pages.image(report_pages.NEW, "1.4.2", channels=["prod"], revoked={"reason": "CVE-2026-1"})
    found = due_of(report_pages.facts([], images=[revoked]))
    assert "is revoked: CVE-2026-1" in found[0]["why"]


FAILURE = {"image_name": "shop-1.4.2-bbbbbbbbbbbb", "at": "2026-01-30T09:00:00Z", "reason": "slot 0: i-1 failed"}


def test_a_swap_whose_last_try_failed_says_so_first() -> None:
    olds = info(instances=[report_pages.instance(slot, report_pages.OLD) for slot in range(3)])
    [(what, why)] = due(info=olds, last_failure=FAILURE)
    assert what == "swap to shop-1.4.2-bbbbbbbbbbbb"
    assert why == (
        "the last try failed on 2026-01-30 09:00 UTC: slot 0: i-1 failed; "
        "runs shop-1.4.1-aaaaaaaaaaaa, not shop-1.4.2-bbbbbbbbbbbb (slots 0-2)"
    )


def test_a_swap_is_not_due_beside_a_promotion_that_makes_it_unnecessary() -> None:
    """The fleet went back to the version of the definition, and the channel still has the version that failed."""
    known = report_pages.fleet(3, [])["bake"]
    bake = {**known, "image": "shop-1.4.1-aaaaaaaaaaaa", "digest": report_pages.OLD, "promoted": False}
    olds = info(instances=[report_pages.instance(slot, report_pages.OLD) for slot in range(3)])
    found = due(info=olds, bake=bake, last_failure=FAILURE)
    assert found == [
        (
            "promotion of shop-1.4.1-aaaaaaaaaaaa",
            "every instance runs it, but the channel points at shop-1.4.2-bbbbbbbbbbbb; the last swap to that failed "
            "on 2026-01-30 09:00 UTC: slot 0: i-1 failed",
        )
    ]
    other = {**bake, "digest": "sha256:" + "c" * 64}
    assert [what for what, _why in due(info=olds, bake=other)] == [
        "promotion of shop-1.4.1-aaaaaaaaaaaa",
        "swap to shop-1.4.2-bbbbbbbbbbbb",
    ]


def test_packages_are_compared_by_type_and_name() -> None:
    before = packages_of(
        {
            "components": [
                {"name": "openssl", "version": "3.0.15", "purl": "pkg:deb/debian/openssl@3.0.15"},
                {"name": "six", "version": "1.16", "purl": "pkg:pypi/six@1.16"},
                {"name": "six", "version": "1.15", "purl": "pkg:pypi/six@1.15"},
                "no component",
                {"name": 5},
            ]
        }
    )
    assert before == {("deb", "openssl"): "3.0.15", ("pypi", "six"): "1.15, 1.16"}
    after = {("deb", "openssl"): "3.0.16", ("deb", "six"): "1.16"}
    assert [(each["change"], each["type"], each["name"]) for each in compared(before, after)] == [
        ("changed", "deb", "openssl"),
        ("added", "deb", "six"),
        ("removed", "pypi", "six"),
    ]
    assert packages_of([]) == packages_of({"components": 3}) == {}


WITHOUT = """
import sys
from pathlib import Path

for name in ("boto3", "botocore", "cyclonedx", "keystoneauth1", "openstack", "packageurl", "pathspec"):
    sys.modules[name] = None
from ansible_collections.immutable.infra.plugins.plugin_utils._core.guard import Guard
from ansible_collections.immutable.infra.plugins.plugin_utils._core.task import Task
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._report.facts import Wanted
from ansible_collections.immutable.infra.plugins.plugin_utils._report.open import write_report

definition, file = load_definition(Path(sys.argv[1])), Path(sys.argv[2])
for name in definition.targets:
    if name != "large":
        wanted = Wanted([definition.target(name)], "prod", swaps=5, predict=True, attested={})
        write_report(definition, None, wanted, Task(print, Guard()), dest=file, mode=0o600)
        assert "rehearsal" in file.read_text()
"""


def test_a_first_look_needs_only_ansible_core_and_jsonschema(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", WITHOUT, str(EXAMPLE), str(tmp_path / "report.html")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_before_there_is_a_store_a_bake_is_due(tmp_path: Path) -> None:
    definition = load_definition(EXAMPLE.parent / "notes")
    wanted = Wanted([definition.target("local")], "prod", swaps=5, predict=True, attested={})
    result = write_report(definition, None, wanted, Task(print, Guard()), dest=tmp_path / "page.html", mode=0o600)
    assert [(each["what"], each["why"]) for each in result["due"]] == [("bake", "there is no store yet")]


def test_a_page_beside_the_files_of_the_image_is_an_input_and_a_warning_says_so(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "shop")
    definition = load_definition(tmp_path / "shop")
    wanted = Wanted([definition.target("rehearsal")], "prod", swaps=5, predict=True, attested={})

    def warnings(dest: Path) -> list[str]:
        result = write_report(definition, None, wanted, Task(print, Guard()), dest=dest, mode=0o600)
        return list(result.get("warnings", []))

    assert warnings(tmp_path / "page.html") == []
    [warning] = warnings(tmp_path / "shop/page.html")
    assert "shop/page.html is beside the files of the image" in warning and "shop/.immutableignore" in warning
    (tmp_path / "shop/.immutableignore").write_text("page.html\n")
    assert warnings(tmp_path / "shop/page.html") == []


def page(written: str, text: str = "") -> bytes:
    return f'<p>Written <time id="written" datetime="{written}">{written}</time>.</p>{text}'.encode()


def test_a_page_is_written_once_and_privately(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    assert write_page(file, page("1"), 0o600, check=True) and not file.exists()
    assert write_page(file, page("1"), 0o600, check=False)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not write_page(file, page("2"), 0o600, check=False) and file.read_bytes() == page("1")
    assert write_page(file, page("2"), 0o644, check=True) and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert write_page(file, page("2"), 0o644, check=False) and stat.S_IMODE(file.stat().st_mode) == 0o644
    assert write_page(file, page("2", "more"), 0o644, check=False) and file.read_bytes() == page("2", "more")
    assert list(tmp_path.iterdir()) == [file]


def test_a_place_that_cannot_have_a_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImmutableError, match=r"is a folder; name the file"):
        write_page(tmp_path, b"", 0o600, check=True)
    with pytest.raises(ImmutableError, match=r"does not exist; create it first"):
        write_page(tmp_path / "none/report.html", b"", 0o600, check=False)


def test_permissions_are_octal() -> None:
    assert mode_of("0640") == mode_of("640") == mode_of(0o640) == 0o640
    for wrong in ("u=rw", "0999", 0o7777, True, None):
        with pytest.raises(ImmutableError, match="are no permissions"):
            mode_of(wrong)
