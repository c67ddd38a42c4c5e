# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules of docs/contributing.md that a linter does not check: sizes, and calls that nobody can read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("plugins", "bench", "examples", "tests")
FIXTURES = ("tests/unit/_packer/corpus", "tests/unit/golden/data")
LINES_OF_A_FILE, LINES_OF_A_FUNCTION, POSITIONAL = 400, 60, 4
# Functions of libraries that take any number of equal things, or a date.
VARIADIC = {"datetime", "given", "sampled_from", "tuples"}


def sources() -> list[Path]:
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return sorted(path for path in found if not path.relative_to(ROOT).as_posix().startswith(FIXTURES))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


@cache
def variadic() -> set[str]:
    """The names of functions that take any number of arguments."""
    return VARIADIC | {each.name for path in sources() for each in functions(tree_of(path)) if each.args.vararg}


def has_too_many(call: ast.Call) -> bool:
    """Whether the call has too many positional arguments. A starred one is a list of equal things."""
    starred = any(isinstance(each, ast.Starred) for each in call.args)
    return len(call.args) > POSITIONAL and not starred and name_of(call) not in variadic()


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def ids(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", sources(), ids=ids)
def test_a_call_has_at_most_four_positional_arguments(path: Path) -> None:
    long = [
        f"{ids(path)}:{node.lineno}: {name_of(node)} with {len(node.args)}"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and has_too_many(node)
    ]
    assert not long, "pass the arguments by keyword:\n" + "\n".join(long)


@pytest.mark.parametrize("path", sources(), ids=ids)
def test_files_and_functions_stay_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= LINES_OF_A_FILE, f"{ids(path)} has {lines} lines"
    long = [
        f"{ids(path)}:{each.lineno}: {each.name} has {length} lines"
        for each in functions(tree_of(path))
        if (length := (each.end_lineno or each.lineno) - each.lineno + 1) > LINES_OF_A_FUNCTION
    ]
    assert not long, "\n".join(long)
