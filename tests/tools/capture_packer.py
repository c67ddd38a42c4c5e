#!/usr/bin/env python3
"""Record the output of Packers for the tests that parse it: capture_packer.py [PACKER ...]

Runs every template of tests/unit/_packer/scenarios and writes
tests/unit/_packer/captured/<version>/<command>-<template>.txt.
Without arguments it runs the distribution's packer and every one that ``make packers`` built.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/unit/_packer"
INSPECTED = ("variables.pkr.hcl", "variables.json", "names.pkr.hcl", "names.json")
VALIDATED = (
    "warning.pkr.hcl", "unknown_argument.pkr.hcl", "unknown_name.pkr.hcl", "syntax_error.pkr.hcl",
    "missing_plugin.pkr.hcl", "missing_plugin.json", "required_plugins.pkr.hcl", "json_error.json", "unset.json",
)  # fmt: skip
BUILT = (
    "success.pkr.hcl",
    "manifest.json",
    "provisioner_failure.pkr.hcl",
    "builder_failure.pkr.hcl",
    "parallel.pkr.hcl",
    "warning.pkr.hcl",
    "missing_plugin.json",
)
STOPPED = {"cancelled": signal.SIGINT, "terminated": signal.SIGTERM}


def main(argv: list[str]) -> int:
    for packer in argv or [
        found for found in (shutil.which("packer"), *map(str, sorted(ROOT.glob(".cache/packers/*/packer")))) if found
    ]:
        capture(os.path.abspath(packer))
    return 0


def capture(packer: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(HERE / "scenarios", folder, dirs_exist_ok=True)
        # The distribution's plugins and the user's are none of the tests' business.
        environment = {
            **os.environ,
            "CHECKPOINT_DISABLE": "1",
            "PACKER_NO_COLOR": "1",
            "PACKER_PLUGIN_PATH": f"{folder}/plugins",
            "TMPDIR": folder,
        }
        told = run([packer, "version"], folder, environment)
        version = re.search(r"v(\d+\.\d+\.\d+)", told)
        if not version:
            raise SystemExit(f"{packer} does not tell its version: {told}")
        place = HERE / "captured" / version[1]
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for command, templates in (("inspect", INSPECTED), ("validate", VALIDATED), ("build", BUILT)):
            for template in templates:
                # Packer's machine-readable form of inspect shows sensitive values, so HCL2 templates do without it.
                form = [] if command == "inspect" and template.endswith(".pkr.hcl") else ["-machine-readable"]
                text = run([packer, command, *form, template], folder, environment)
                (
                    place / f"{command}-{template.partition('.')[0]}{'-json' if template.endswith('.json') else ''}.txt"
                ).write_text(plain(text, folder))
        for name, number in STOPPED.items():
            text = run([packer, "build", "-machine-readable", "-force", "slow.pkr.hcl"], folder, environment, number)
            (place / f"build-{name}.txt").write_text(plain(text, folder))


def run(argv: list[str], folder: str, environment: dict[str, str], stop: signal.Signals | None = None) -> str:
    """Output and errors of a command, which is stopped with its whole group once it has said that it started."""
    child = subprocess.Popen(
        argv,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    said = []
    for line in child.stdout:
        said.append(line)
        if stop and line.rstrip().endswith("started"):
            os.killpg(child.pid, stop)
    child.wait()
    return "".join(said)


def plain(text: str, folder: str) -> str:
    return text.replace(folder, "/tmp")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
