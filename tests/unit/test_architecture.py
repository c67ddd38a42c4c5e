# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The map in docs/explanation/architecture.md holds: who imports whom, what stays pure, what is documented where."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
ROOMS = PLUGINS / "plugin_utils"
PREFIX = "ansible_collections.immutable.infra.plugins."

MAP = ROOT / "docs/explanation/architecture.md"
DOORS = {
    "socket", "subprocess", "urllib.request", "http.client", "ssl", "requests", "tempfile", "threading",
    "multiprocessing", "asyncio",
}  # fmt: skip
FILES = {"os", "shutil", "io", "time"}
PURE = {"_fleet/planning/plan": DOORS | FILES | {"pathlib"}, "_fleet/autoscaling/decide": DOORS | FILES | {"pathlib"}}
PROVIDERS = tuple(  # and load balancers: a folder each
    f"{room}/{path.name}"
    for room in ("_providers", "_traffic")
    for path in sorted((ROOMS / room).iterdir())
    if path.is_dir() and not path.name.startswith("__")
)
CONCRETE = (*PROVIDERS, "_bake/builders")
MAY_IMPORT_CONCRETE = {
    "_providers/registry": set(PROVIDERS),
    "_bake/builders/registry": {"_bake/builders"},
    "_fleet/prediction": {"_providers/simulated"},
}


def table_below(heading: str, page: Path = MAP) -> list[list[str]]:
    """The rows of the table in a section of a page, without its head."""
    section = page.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def code_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def rooms() -> dict[str, set[str]]:
    """The table of the map: each room with the rooms it may import, in the order of the rows."""
    return {row[0].strip("`"): set(code_in(row[2])) for row in table_below("Rooms")}


def sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if path.name != "__init__.py")


def node_of(path: Path) -> str:
    """The path below ``plugin_utils`` without its suffix, such as ``_bake/run``."""
    return str(path.relative_to(ROOMS).with_suffix(""))


def imported(path: Path) -> Iterator[str]:
    """Absolute dotted names of all that a file imports, wherever in the file, but for type checkers only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    package = (PREFIX + ".".join(path.relative_to(PLUGINS).parts[:-1])).split(".")
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def links_between_files() -> dict[str, set[str]]:
    """What each file of plugin_utils imports of plugin_utils, both as ``room/file``."""
    known = {node_of(path) for path in sources(ROOMS)}
    graph = {}
    for path in sources(ROOMS):
        names = {
            name.removeprefix(f"{PREFIX}plugin_utils.").replace(".", "/")
            for name in imported(path)
            if name.startswith(f"{PREFIX}plugin_utils.")
        }
        graph[node_of(path)] = names & known
    return graph


def room_of(node: str, known: Iterable[str]) -> str:
    """The innermost room that holds the file."""
    name = node
    while name not in known:
        assert "/" in name, f"{node} is in no room of {MAP.name}"
        name = name.rpartition("/")[0]
    return name


def test_the_map_lists_a_room_after_all_that_it_may_import() -> None:
    seen: set[str] = set()
    for room, allowed in rooms().items():
        assert allowed <= seen, f"{room} may import {sorted(allowed - seen)}, which the map does not list above it"
        seen.add(room)


def test_rooms_import_only_what_the_map_allows() -> None:
    table = rooms()
    wrong = []
    for node, targets in links_between_files().items():
        room = room_of(node, table)
        for target in targets:
            other = room_of(target, table)
            if other not in table[room] | {room, "_core"}:
                wrong.append(f"{node} imports {target}")
    assert not wrong


def test_the_map_promises_no_import_that_nobody_needs() -> None:
    table = rooms()
    used: dict[str, set[str]] = {room: set() for room in table}
    for node, targets in links_between_files().items():
        used[room_of(node, table)] |= {room_of(target, table) for target in targets}
    assert {room: sorted(allowed - used[room]) for room, allowed in table.items() if allowed - used[room]} == {}


def test_every_room_of_the_map_exists() -> None:
    files = {node_of(path) for path in sources(ROOMS)}
    folders = {
        str(parent.relative_to(ROOMS)) for path in sources(ROOMS) for parent in path.parents if ROOMS in parent.parents
    }
    assert set(rooms()) <= files | folders


def test_concrete_providers_balancers_and_builders_are_found_in_their_registry() -> None:
    table = rooms()
    for room, allowed in table.items():
        concrete = {name for name in allowed if name in CONCRETE}
        assert concrete <= MAY_IMPORT_CONCRETE.get(room, set()), f"{room} imports {sorted(concrete)}"


def test_the_map_lists_all_code_that_calls_aws() -> None:
    listed = {name for row in table_below("Which code calls AWS") for name in code_in(row[0])}
    clients = f"{PREFIX}plugin_utils._aws.clients"
    calling = {
        node_of(path)
        for path in sources(ROOMS)
        if {f"{clients}.Clients", f"{clients}.aws_errors"} & set(imported(path))
    }
    found = {(node, name) for node in calling for name in listed if node == name or node.startswith(f"{name}/")}
    assert {node for node, _name in found} == calling
    assert {name for _node, name in found} == listed


def test_only_the_clients_open_sessions_on_aws() -> None:
    importing = {node_of(path) for path in sources(ROOMS) if "boto3" in set(imported(path))}
    assert importing == {"_aws/clients"}


def test_the_map_names_the_functions_of_a_launch() -> None:
    steps = [row for row in table_below("Observe, plan, act") if row[2]]
    assert steps
    for _step, file, functions in steps:
        [name] = code_in(file)
        path = (PLUGINS if name.startswith("plugins/") else ROOMS) / f"{name.removeprefix('plugins/')}.py"
        named = set(code_in(functions))
        assert named and named <= functions_of(ast.parse(path.read_text(encoding="utf-8"))), f"{name}: {functions}"


def functions_of(node: ast.Module | ast.ClassDef, prefix: str = "") -> set[str]:
    found = {prefix + each.name for each in node.body if isinstance(each, ast.FunctionDef)}
    return found.union(*(functions_of(each, f"{each.name}.") for each in node.body if isinstance(each, ast.ClassDef)))


def test_the_layout_names_every_folder_of_plugins_and_tests() -> None:
    named = {name for row in table_below("Layout", ROOT / "docs/contributing.md") for name in code_in(row[0])}
    parents = {str(parent) for name in named for parent in (Path(name), *Path(name).parents)}
    folders = {
        f"{parent}/{path.name}"
        for parent in ("plugins", "tests")
        for path in (ROOT / parent).iterdir()
        if path.is_dir() and path.name != "__pycache__"
    }
    assert folders <= parents and all((ROOT / name).exists() for name in named)


def test_names_below_the_utils_begin_with_an_underscore() -> None:
    for folder in (ROOMS, PLUGINS / "module_utils"):
        public = [path.name for path in folder.iterdir() if not path.name.startswith("_") and path.name != "py.typed"]
        assert not public, f"public names in {folder.name}: {public}"


def test_the_unit_tests_mirror_the_rooms() -> None:
    folders = {path.parent.relative_to(ROOMS) for path in sources(ROOMS)}
    packages = {path.parent.relative_to(PLUGINS / "module_utils") for path in sources(PLUGINS / "module_utils")}
    beside = {
        "action",
        "bench",
        "docs",
        "examples",
        "fake_aws",
        "golden",
        "inventory",
        "module_utils",
        "playbooks",
        "roles",
    }
    tests = {path.parent.relative_to(ROOT / "tests/unit") for path in (ROOT / "tests/unit").rglob("test_*.py")} - {
        Path()
    }
    lost = {str(path) for path in tests if path not in folders | packages and path.parts[0] not in beside}
    assert not lost


def test_there_are_no_import_cycles() -> None:
    try:
        list(TopologicalSorter(links_between_files()).static_order())
    except CycleError as error:
        pytest.fail(f"a cycle: {' -> '.join(error.args[1])}")


def test_plan_and_all_it_rests_on_in_the_fleet_do_no_input_or_output() -> None:
    graph = links_between_files()
    for start, doors in PURE.items():
        reached, waiting = set(), [start]
        while waiting:
            node = waiting.pop()
            if node in reached:
                continue
            reached.add(node)
            found = doors & set(imported(ROOMS / f"{node}.py"))
            assert not found, f"{start} must stay pure, but {node} imports {sorted(found)}"
            waiting += [other for other in graph[node] if other.startswith("_fleet/")]


def test_the_definition_calls_no_network_and_no_process() -> None:
    for path in sources(ROOMS / "_definition"):
        # The library for TLS also reads certificates, without a connection.
        harmless = {"tempfile", "ssl"} if node_of(path) == "_definition/authorities" else {"tempfile"}
        found = (DOORS - harmless) & set(imported(path))
        assert not found, f"{node_of(path)} imports {sorted(found)}"


def test_module_utils_is_standard_library_only() -> None:
    # What travels to other machines finds nothing there but Python.
    own = ("ansible.module_utils", "ansible_collections.immutable.infra.plugins.module_utils")
    for path in sources(PLUGINS / "module_utils"):
        for name in imported(path):
            assert name.partition(".")[0] in sys.stdlib_module_names or name.startswith(own), (
                f"{path.relative_to(ROOT)} imports {name}"
            )


def test_actions_are_thin_callers_of_rooms() -> None:
    for path in sources(PLUGINS / "action"):
        found = (DOORS | {"shutil"}) & set(imported(path))
        assert not found, f"{path.relative_to(ROOT)} works itself, by {sorted(found)}; that belongs into a room"


def test_an_action_imports_the_core_and_one_other_room() -> None:
    # Options in, one call into a room, result out: what joins several rooms is built in a room.
    for path in sources(PLUGINS / "action"):
        names = [name.removeprefix(PREFIX).split(".") for name in imported(path) if name.startswith(PREFIX)]
        found = {parts[1] for parts in names if parts[0] == "plugin_utils" and len(parts) > 1} - {"_core"}
        assert len(found) <= 1, f"{path.relative_to(ROOT)} joins the rooms {sorted(found)}; let one of them do that"
        assert "module_utils" not in {parts[0] for parts in names}, f"{path.relative_to(ROOT)} imports module_utils"


def modules() -> set[str]:
    return {path.stem for path in sources(PLUGINS / "modules")}


def is_documentation_only(path: Path) -> bool:
    """Nothing but assignments of constants and ``__future__``: the work is done by an action of the same name."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return not any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in body)


def test_every_action_has_its_documentation_and_the_other_way_round() -> None:
    actions = {path.stem for path in sources(PLUGINS / "action")}
    assert actions <= modules()
    assert {name for name in modules() if is_documentation_only(PLUGINS / "modules" / f"{name}.py")} <= actions


def test_every_module_stands_in_the_action_group() -> None:
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))
    assert set(runtime["action_groups"]["immutable"]) == modules()


# Galaxy shows the README outside of the repository, so its links are absolute. They are checked as paths all the same.
REPOSITORY = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["repository"] + "/blob/main/"


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        own = target.startswith(REPOSITORY)
        if re.match(r"[a-z]+:", target) and not own:
            continue
        name, _hash, anchor = target.removeprefix(REPOSITORY).partition("#")
        path = ((ROOT if own else page.parent) / name).resolve() if name else page
        assert path.exists(), f"{target} leads nowhere"
        if anchor:
            assert anchor in anchors(path), f"{target}: no such heading"


def test_links_of_the_readme_are_absolute() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not target.startswith("https://")]
    assert f"]({REPOSITORY}" in text


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ +(.+?)\s*$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
