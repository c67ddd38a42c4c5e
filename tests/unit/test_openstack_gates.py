# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which tests the gates on OpenStack run, and on which hosts."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).parents[1] / "tools"
REAL = "IMMUTABLE_OPENSTACK_REAL"


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[tuple[list[str], dict[str, str]]]]:
    """The gates, and what they run: each command with its environment. Nothing is run."""
    monkeypatch.syspath_prepend(str(TOOLS))
    spec = importlib.util.spec_from_file_location("gates", TOOLS / "gates.py")
    assert spec is not None and spec.loader is not None
    gates = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gates", gates)  # its data classes look there
    spec.loader.exec_module(gates)
    ran: list[tuple[list[str], dict[str, str]]] = []

    def record(*argv: object, **environment: object) -> None:
        words = [str(word) for word in argv]
        ran.append((words, {**os.environ, **{name: str(value) for name, value in environment.items()}}))

    monkeypatch.setattr(gates, "run", record)
    return gates, ran


@pytest.mark.parametrize("real", ["", "1"])
def test_the_long_tests_run_on_fake_hosts_whatever_the_variable_says(
    commands: Any, monkeypatch: pytest.MonkeyPatch, real: str
) -> None:
    gates, ran = commands
    monkeypatch.setenv(REAL, real)
    gates.long_openstack()
    [(argv, environment)] = ran
    assert argv[0].endswith("control_plane/run") and argv[argv.index("-m", 3) + 1] == "openstack and long"
    assert not environment[REAL]


def test_the_usual_tests_run_on_fake_hosts(commands: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gates, ran = commands
    monkeypatch.delenv(REAL, raising=False)
    gates.openstack()
    [(argv, environment)] = ran
    assert argv[argv.index("-m", 3) + 1] == "openstack and not long"
    assert not environment[REAL]


def test_the_story_runs_on_guests(commands: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gates, ran = commands
    monkeypatch.setenv(REAL, "1")
    gates.openstack()
    (base, _none), (argv, environment) = ran
    assert base[-1] == environment["IMMUTABLE_OPENSTACK_GUEST"]
    assert argv[argv.index("-m", 3) + 1] == "openstack and real" and "-n" not in argv
    assert environment[REAL] == "1"
