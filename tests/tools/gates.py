#!/usr/bin/env python3
"""Run gates and say how each one ended: gates.py test|core|containers|machines|long|coverage [NAME ...]

The Makefile calls it, with the collection installed from its tarball on the paths. Gates that need one core run side by
side, one on each core. The output of such a gate goes to .cache/gates and, if the gate fails, to the terminal as well.
Then the gates that use all cores run, one after the other. Their output goes to the terminal only.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import ansible_test
import core_tests
from ansible.release import __version__

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = Path(os.environ["ANSIBLE_COLLECTIONS_PATH"])
INSTALLED = COLLECTIONS / "ansible_collections/immutable/infra"
CACHE = ROOT / ".cache"
NEWEST_CORE = "2.21"
CORES = len(os.sched_getaffinity(0))
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


def pytest(marks: str, *arguments: object, workers: int = 0, spread_by: str = "worksteal") -> None:
    """Run the tests that have these marks, in one process or spread over workers."""
    spread = ["-n", workers, "--dist", spread_by] if workers else []
    run("python", "-m", "pytest", "-q", *spread, "-m", marks, *arguments, PYTHONPATH=COLLECTIONS)


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


def packers() -> None:
    """The targets, the tests and a real bake with each Packer that ``make packers`` built.

    The other gates run the distribution's Packer.
    """
    built = sorted(path.parent for path in CACHE.glob("packers/*/packer"))
    if not built:
        if os.environ.get("CI"):
            raise GateFailed("no Packer was built: make packers")
        print("skipped: no Packer was built (make packers builds them)", flush=True)
    failed = []
    for folder in built:
        print(f"--- Packer {folder.name}", flush=True)
        plugins = folder / "plugins"
        # Packer starts every plugin it finds, each time it runs. Only the bake needs them.
        environment = {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "PACKER_PLUGIN_PATH": folder / "none",
            "PACKER_MIRROR": plugins,
        }
        failed += [f"{target} with {folder.name}" for target in run_targets("packer_*", **environment)]
        environment["PYTHONPATH"] = COLLECTIONS
        for tests, found in ((["tests/unit/_packer"], folder / "none"), (["-m", "packers", "tests/vm"], plugins)):
            try:
                run("python", "-m", "pytest", "-q", *tests, **{**environment, "PACKER_PLUGIN_PATH": found})
            except subprocess.CalledProcessError:
                failed.append(f"{tests[-1]} with {folder.name}")
    if failed:
        raise GateFailed(f"failed: {', '.join(failed)}")


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


@dataclass(frozen=True)
class Gate:
    function: Callable[[], None]
    alone: bool = False  # it uses all cores

    @property
    def name(self) -> str:
        return self.function.__name__


@dataclass(frozen=True)
class Ended:
    name: str
    seconds: float
    passed: bool


# The longest first: the short ones fill the other cores.
TEST = [
    Gate(sanity), Gate(integration), Gate(galaxy_importer), Gate(ansible_lint), Gate(mypy), Gate(docs), Gate(ruff),
    Gate(shellcheck), Gate(changelog), Gate(units, alone=True),
]  # fmt: skip
MACHINES = [Gate(packers, alone=True), Gate(machines, alone=True), Gate(molecule_machines, alone=True)]
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


def play(gate: Gate) -> Ended:
    """Run a gate in a process of its own."""
    began = time.monotonic()
    command = [sys.executable, __file__, "one", gate.name]
    if gate.alone:
        done = subprocess.run(command, check=False)
    else:
        with log_of(gate.name).open("wb") as log:
            done = subprocess.run(command, check=False, stdout=log, stderr=subprocess.STDOUT)
    return Ended(gate.name, time.monotonic() - began, done.returncode == 0)


def log_of(name: str) -> Path:
    return CACHE / "gates" / f"{name}.log"


def show(ended: Ended) -> None:
    """One line for a gate that passed, all of its output for one that failed."""
    if ended.passed:
        print(f"{ended.name} passed in {ended.seconds:.0f} s", flush=True)
    else:
        print(f"\n=== {ended.name}", flush=True)
        print(log_of(ended.name).read_text(encoding="utf-8", errors="replace"), flush=True)


def play_all(gates: list[Gate]) -> list[Ended]:
    ended = []
    together = [gate for gate in gates if not gate.alone]
    if together:
        print(f"\n=== side by side: {', '.join(gate.name for gate in together)}", flush=True)
        log_of("").parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(CORES) as pool:
        for future in as_completed([pool.submit(play, gate) for gate in together]):
            ended.append(future.result())
            show(ended[-1])
    for gate in gates:
        if gate.alone:
            print(f"\n=== {gate.name}", flush=True)
            ended.append(play(gate))
    return ended


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
    print("\ngate             seconds  result")
    for each in ended:
        print(f"{each.name:<16} {each.seconds:7.1f}  {'passed' if each.passed else 'FAILED'}")
    failed = sum(not each.passed for each in ended)
    print(f"{'in all':<16} {time.monotonic() - began:7.1f}")
    print(f"\n{len(ended) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
