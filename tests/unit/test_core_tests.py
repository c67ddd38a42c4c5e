# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which tests run with every ansible-core."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

UNIT = Path(__file__).parent
SPEC = importlib.util.spec_from_file_location("core_tests", UNIT.parent / "tools/core_tests.py")
assert SPEC is not None and SPEC.loader is not None
core_tests = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(core_tests)


@pytest.mark.parametrize("folder", core_tests.FOLDERS)
def test_a_folder_that_is_named_has_tests(folder: str) -> None:
    assert list((UNIT / folder).rglob("test_*.py"))


@pytest.mark.parametrize(
    ("test", "why"),
    [
        ("action/test_attest_action.py", "its folder"),
        ("_hosts/test_child_playbook.py", "it starts ansible-playbook"),
        ("_fleet/upkeep/test_marks.py", "it starts a script that imports ansible"),
        ("_providers/ec2/test_ec2_swap_kills.py", "what it uses of tests/support starts ansible-playbook"),
        ("_bake/test_bake_decide.py", "what its conftest uses"),
        ("_packer/test_packer_ansible.py", "it starts ansible-playbook"),
    ],
)
def test_what_depends_on_core_runs_with_each(test: str, why: str) -> None:
    assert UNIT / test in core_tests.core_tests(), why


@pytest.mark.parametrize(
    "test",
    ["_fleet/planning/test_rules.py", "_providers/ec2/test_ec2_swap.py", "_traffic/elbv2/test_elbv2.py"],
)
def test_what_does_not_runs_with_the_usual_one_only(test: str) -> None:
    assert (UNIT / test).exists() and UNIT / test not in core_tests.core_tests()
