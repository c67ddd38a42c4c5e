#!/usr/bin/env python3
"""Run gates and say how each one ended: gates.py test|core|containers|machines|long|coverage [NAME ...]

The Makefile calls it, with the collection installed from its tarball on the paths. ``play.py`` decides which gates run
side by side.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import ansible_test
import core_tests
from ansible.release import __version__
from play import CORES, Gate, play_all, table

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = Path(os.environ["ANSIBLE_COLLECTIONS_PATH"])
INSTALLED = COLLECTIONS / "ansible_collections/immutable/infra"
CACHE = ROOT / ".cache"
NEWEST_CORE = "2.21"
SCRIPTS = [
    "tests/tools/install",
    "tests/tools/with-collection",
    "tests/aws-live",
    ".ci/run",
    "roles/base_image/files/assemble",
    "roles/base_image/files/container/in-memory",
    *(
        f"tests/openstack/control_plane/{name}"
        for name in (
            *("run", "join", "install", "enter", "init", "create", "keep", "services"),
            *("bin/service", "bin/ebtables", "bin/mount.nfs", "bin/rootwrap", "bin/sudo"),
        )
    ),
]
CANNOT_RUN = 77  # the control plane's own code for a machine that it cannot run on
GUEST_SCRIPTS = [
    f"roles/seal/files/{name}"
    for name in (
        *("launch/usr/lib/immutable/launch", "seal/usr/lib/immutable/seal", "seal/usr/lib/immutable/data"),
        *("container/usr/lib/immutable/launch", "container/usr/lib/immutable/seal"),
        "services/usr/lib/immutable/failed",
    )
]
PACKAGE = "ansible_collections.immutable.infra"


class GateFailed(Exception):
    """The message says what fell short."""


def run(*argv: object, cwd: Path = ROOT, **environment: object) -> None:
    """Raises CalledProcessError when the command fails; its output is shown as it comes."""
    words = [str(word) for word in argv]
    variables = {name: str(value) for name, value in environment.items()}
    subprocess.run(words, cwd=cwd, check=True, env={**os.environ, **variables}, stdin=subprocess.DEVNULL)


def ruff() -> None:
    run("ruff", "check", "--quiet", "--cache-dir", CACHE / "ruff", ".")


def mypy() -> None:
    """The bench is not part of the collection, so it is read from the working tree."""
    rooms = [
        f"plugins.{name}" for name in ("action", "callback", "connection", "inventory", "module_utils", "plugin_utils")
    ]
    packages = [f"{PACKAGE}.{name}" for name in (*rooms, "tests.support")]
    chosen = [argument for name in (*packages, "bench") for argument in ("-p", name)]
    settings = ["--config-file", ROOT / "pyproject.toml", "--cache-dir", CACHE / "mypy"]
    run("mypy", *settings, *chosen, cwd=COLLECTIONS, MYPYPATH=f"{COLLECTIONS}{os.pathsep}{ROOT}")


def shellcheck() -> None:
    run("shellcheck", "-x", "-e", "SC1091", *SCRIPTS)
    run("shellcheck", "-s", "sh", *GUEST_SCRIPTS)


def pytest(
    marks: str, *arguments: object, workers: int = 0, spread_by: str = "worksteal", **environment: object
) -> None:
    """Run the tests that have these marks, in one process or spread over workers."""
    spread = ["-n", workers, "--dist", spread_by] if workers else []
    run("python", "-m", "pytest", "-q", *spread, "-m", marks, *arguments, PYTHONPATH=COLLECTIONS, **environment)


def units() -> None:
    """The properties take longest and come first, so that no worker waits for the last one."""
    pytest("not vm and not long", "--durations=20", "tests/property", "tests/unit", workers=CORES + 1)


def core_units() -> None:
    """What does not depend on ansible-core, as the properties, runs with the usual one only."""
    pytest("not vm and not long", *core_tests.core_tests(), workers=CORES)


def coverage() -> None:
    """The report is printed; there is no bound to reach."""
    data = ["--data-file", CACHE / "coverage"]
    tests = ["-m", "pytest", "-q", "-m", "not vm and not long", "tests/property", "tests/unit"]
    run("coverage", "run", *data, *tests, PYTHONPATH=COLLECTIONS)
    rooms = f"{INSTALLED}/plugins/plugin_utils/*,{INSTALLED}/plugins/module_utils/*"
    run("coverage", "report", *data, "--include", rooms, "--skip-covered", "--sort", "cover")


def sanity() -> None:
    """Without the files of the tests: they are half of all lines, and two thirds of the time is pylint's."""
    excluded = [f"tests/{folder}/" for folder in ("unit", "property", "support", "containers", "openstack", "vm")]
    run_sanity(*(argument for folder in excluded for argument in ("--exclude", folder)))


def core_sanity() -> None:
    """With the newest ansible-core all files, also those of the tests."""
    if __version__.startswith(f"{NEWEST_CORE}."):
        run_sanity()
    else:
        sanity()


def run_sanity(*arguments: str) -> None:
    # ansible-test downloads a script to install pip in its virtual environments; Python's ensurepip does that offline.
    home = CACHE / "home"
    folder = home / ".ansible/test/cache"
    folder.mkdir(parents=True, exist_ok=True)
    requirements = Path(ansible_test.__path__[0]) / "_internal/python_requirements.py"
    for version in re.findall(r"pip='([\d.]+)'", requirements.read_text(encoding="utf-8")):
        script = folder / f"get_pip_{version.replace('.', '_')}.py"
        script.write_text("import ensurepip\nensurepip.bootstrap(upgrade=True)\n", encoding="utf-8")
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    command = ["ansible-test", "sanity", "--color", "no", "--requirements", "--venv", "--python", python]
    # Git ignores the folder of the installed collection. Without ANSIBLE_TEST_CONTENT_ROOT, ansible-test would ask Git
    # for the files, find none and pass.
    run(*command, *arguments, cwd=INSTALLED, HOME=home, ANSIBLE_TEST_CONTENT_ROOT=INSTALLED)


def ansible_lint() -> None:
    run("ansible-lint", "--offline", "-q", cwd=INSTALLED, HOME=CACHE / "home")


def galaxy_importer() -> None:
    settings = CACHE / "galaxy-importer.cfg"
    settings.parent.mkdir(exist_ok=True)
    wanted = ["[galaxy-importer]", "RUN_ANSIBLE_DOC = True"]
    unwanted = [f"RUN_{name} = False" for name in ("ANSIBLE_LINT", "ANSIBLE_TEST", "FLAKE8")]
    settings.write_text("\n".join([*wanted, *unwanted, ""]), encoding="utf-8")
    command = ["python", "-m", "galaxy_importer.main", os.environ["IMMUTABLE_TARBALL"]]
    run(*command, cwd=CACHE, GALAXY_IMPORTER_CONFIG=settings)


def docs() -> None:
    checks = ["--plugin-docs", "--validate-collection-refs", "self", "--disallow-unknown-collection-refs"]
    run("antsibull-docs", "lint-collection-docs", *checks, INSTALLED)


def changelog() -> None:
    run("antsibull-changelog", "lint")


def integration() -> None:
    """Every target runs, also after one has failed."""
    failed = run_targets("*")
    if failed:
        raise GateFailed(f"integration targets failed: {', '.join(failed)}")


def run_targets(pattern: str, **environment: object) -> list[str]:
    """The names of those that failed."""
    folder = INSTALLED / "tests/integration/targets"
    failed = []
    for target in sorted(path.name for path in folder.glob(pattern)):
        print(f"--- {target}", flush=True)
        command = ["ansible-playbook", ROOT / "tests/tools/target.yml", "-e", f"target={target}"]
        try:
            run(*command, cwd=CACHE, ANSIBLE_ROLES_PATH=folder, **environment)
        except subprocess.CalledProcessError:
            failed.append(target)
    return failed


def built_packers() -> list[Path]:
    """The folder of each Packer that ``make packers`` built. The other gates run the distribution's Packer."""
    built = sorted(path.parent for path in CACHE.glob("packers/*/packer"))
    if not built:
        if os.environ.get("CI"):
            raise GateFailed("no Packer was built: make packers")
        print("skipped: no Packer was built (make packers builds them)", flush=True)
    return built


def paths_of(packer: Path, plugins: str) -> dict[str, object]:
    """The environment in which a built Packer is found, with its plugins or, in a folder that is missing, none."""
    return {
        "PATH": f"{packer}:{os.environ['PATH']}",
        "PACKER_PLUGIN_PATH": packer / plugins,
        "PACKER_MIRROR": packer / "plugins",
    }


def packers() -> None:
    """Targets and tests of the packer modules with each built Packer.

    Packer starts every plugin that it finds, each time it runs. Only bakes need them.
    """
    failed = []
    for packer in built_packers():
        print(f"--- Packer {packer.name}", flush=True)
        environment = paths_of(packer, "none")
        failed += [f"{target} with {packer.name}" for target in run_targets("packer_*", **environment)]
        try:
            pytest("not vm and not long", "tests/unit/_packer", workers=CORES, **environment)
        except subprocess.CalledProcessError:
            failed.append(f"tests/unit/_packer with {packer.name}")
    if failed:
        raise GateFailed(f"failed: {', '.join(failed)}")


def packer_bakes() -> None:
    """A bake of a virtual machine with each built Packer and its plugins."""
    failed = []
    for packer in built_packers():
        print(f"--- Packer {packer.name}", flush=True)
        try:
            pytest("packers", "tests/vm", **paths_of(packer, "plugins"))
        except subprocess.CalledProcessError:
            failed.append(packer.name)
    if failed:
        raise GateFailed(f"failed with Packer {' and '.join(failed)}")


def containers(marks: str = "containers and not long") -> None:
    """One worker runs all tests of a file, because they share a service.

    The reasons of skipped tests are shown: without a working engine nothing is tested, which fails in CI.
    """
    pytest(marks, "-rs", "--durations=10", "tests/containers", workers=CORES, spread_by="loadfile")


def openstack() -> None:
    """With IMMUTABLE_OPENSTACK_REAL, only the story on guests that run, which leave no time for other tests."""
    if os.environ.get("IMMUTABLE_OPENSTACK_REAL"):
        guest = CACHE / "openstack-guest"
        run("python", "-m", f"{PACKAGE}.tests.support.openstack.guest_image", guest, PYTHONPATH=COLLECTIONS)
        control_plane("-s", "-m", "openstack and real", IMMUTABLE_OPENSTACK_GUEST=guest)
    else:
        fake_hosts("openstack and not long")


def fake_hosts(marks: str) -> None:
    """One control plane for all tests, whatever IMMUTABLE_OPENSTACK_REAL says. Most of their time they wait for it."""
    control_plane("-n", CORES, "-m", marks, "--durations=10", IMMUTABLE_OPENSTACK_REAL="")


def control_plane(*arguments: object, **environment: object) -> None:
    """Run tests in the network of a control plane that starts before them and ends with them."""
    tests = ["python", "-m", "pytest", "-q", "-rs", *arguments, "tests/openstack"]
    try:
        run(ROOT / "tests/openstack/control_plane/run", *tests, PYTHONPATH=COLLECTIONS, **environment)
    except subprocess.CalledProcessError as error:
        if error.returncode != CANNOT_RUN:
            raise
        print("skipped: the control plane cannot run on this machine, and has said why", flush=True)


def machines() -> None:
    """Virtual machines share the images that the first test bakes, so one test runs after the other."""
    pytest("vm and not long", "tests/vm")


def long_units() -> None:
    pytest("long and not vm", "--durations=20", "tests/property", "tests/unit", workers=CORES + 1)


def long_openstack() -> None:
    fake_hosts("openstack and long")


def long_containers() -> None:
    containers("long and containers")


def long_machines() -> None:
    pytest("long and vm", "tests/vm")


def molecule() -> None:
    """The default scenario runs on containers."""
    run("molecule", "test", cwd=ROOT / "extensions")


def molecule_machines() -> None:
    run("molecule", "test", "-s", "machines", cwd=ROOT / "extensions")


# The longest first: the short ones fill the other cores.
TEST = [
    Gate(sanity), Gate(integration), Gate(galaxy_importer), Gate(ansible_lint), Gate(mypy), Gate(docs), Gate(ruff),
    Gate(shellcheck), Gate(changelog), Gate(units, alone=True),
]  # fmt: skip
MACHINES = [
    Gate(machines, alone=True), Gate(molecule_machines, alone=True), Gate(packer_bakes, alone=True),
    Gate(packers, alone=True),
]  # fmt: skip
LONG = [
    Gate(long_units, alone=True), Gate(long_containers, alone=True), Gate(long_openstack, alone=True),
    Gate(long_machines, alone=True),
]  # fmt: skip
SETS = {
    "test": TEST,
    # One process of ansible-test uses one core most of the time, so the units run beside it.
    "core": [Gate(core_sanity), Gate(core_units)],
    "containers": [Gate(containers, alone=True), Gate(molecule, alone=True)],
    "openstack": [Gate(openstack, alone=True)],
    "machines": MACHINES,
    "long": LONG,
    "coverage": [Gate(coverage, alone=True)],
}


def one(function: Callable[[], None]) -> int:
    """A gate in its own process."""
    try:
        function()
    except (GateFailed, subprocess.CalledProcessError, FileNotFoundError) as error:
        print(error, flush=True)
        return 1
    return 0


def main(argv: list[str]) -> int:
    if argv[0] == "one":
        return one(globals()[argv[1]])
    sys.path.append(str(ROOT / "tests/support"))
    import reaper

    reaper.reap()
    gates = SETS[argv[0]]
    names = [gate.name for gate in gates]
    unknown = set(argv[1:]) - set(names)
    if unknown:
        print(f"no such gate: {', '.join(sorted(unknown))} (there are: {', '.join(names)})", file=sys.stderr)
        return 2
    began = time.monotonic()
    ended = play_all([gate for gate in gates if not argv[1:] or gate.name in argv[1:]])
    print(table(ended, time.monotonic() - began))
    return 0 if all(each.passed for each in ended) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
