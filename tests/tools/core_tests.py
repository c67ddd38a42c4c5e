"""Which unit tests depend on ansible-core or on the Python that it needs.

The usual ansible-core runs every test. Another one runs only these: a file that, by itself or by a module of
tests/support or a conftest that it uses, imports ansible or starts one of its programs; a file that tests a module
which imports ansible; and the folders below, whose code depends on Python's own version most.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "tests/unit"
PREFIX = "ansible_collections.immutable.infra."
# Parsers, types, processes and files; what runs on hosts; what Ansible itself loads.
FOLDERS = ("_core", "_definition", "_inspection", "action", "inventory", "module_utils", "playbooks", "roles")
# An argument that starts one of its programs, or a script that imports it.
_STARTED = re.compile(r"ansible(-[a-z]+)?|(?s:.*\n)?(from|import) ansible[. ](?s:.*)")


def core_tests() -> list[Path]:
    return [path for path in sorted(UNIT.rglob("test_*.py")) if depends_on_core(path)]


def depends_on_core(test: Path) -> bool:
    if test.relative_to(UNIT).parts[0] in FOLDERS:
        return True
    conftests = [folder / "conftest.py" for folder in test.parents if UNIT in (folder, *folder.parents)]
    return any(_uses_core(path) for path in (test, *conftests) if path.exists())


@cache
def _uses_core(path: Path) -> bool:
    if _names_core(path):
        return True
    used = [each for name in _imports(path) for each in _files(name)]
    # Nearly every module reaches one that imports ansible, so a module of plugins counts only if a test names it.
    return any(_uses_core(each) if "tests" in each.parts else _names_core(each) for each in used if each != path)


@cache
def _names_core(path: Path) -> bool:
    """Whether the file itself imports ansible or starts one of its programs."""
    words = [each.value for each in ast.walk(_tree(path)) if isinstance(each, ast.Constant)]
    started = any(isinstance(word, str) and _STARTED.fullmatch(word) for word in words)
    return started or any(name.partition(".")[0] == "ansible" for name in _imports(path))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(path: Path) -> Iterator[str]:
    """The absolute names of the modules that a file imports, and of what it takes from them."""
    package = PREFIX + ".".join(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: -(node.level - 1) or None] if node.level else []
            module = ".".join([*parents, *filter(None, [node.module])])
            yield module
            yield from (f"{module}.{each.name}" for each in node.names)


def _files(module: str) -> list[Path]:
    """The file of a module of this collection."""
    path = ROOT / f"{module.removeprefix(PREFIX).replace('.', '/')}.py"
    return [path] if module.startswith(PREFIX) and path.exists() else []
