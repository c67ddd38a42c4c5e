#!/usr/bin/env python3
"""Build other Packers than the distribution's for the tests: packers.py [LINE ...]

A LINE is a folder of tests/packers. Its Go module pins Packer and its plugins with their checksums.
The build goes to .cache/packers/LINE: packer, and its plugins where Packer's own installer would put them.
A line is built again when its pins change or when a built file was changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINS = ROOT / "tests/packers"
BUILT = ROOT / ".cache/packers"
SOURCE = "github.com/hashicorp"


def main(argv: list[str]) -> int:
    known = sorted(folder.name for folder in PINS.iterdir() if (folder / "go.mod").exists())
    unknown = sorted(set(argv) - set(known))
    if unknown:
        print(f"no such line of Packer: {', '.join(unknown)} (there are: {', '.join(known)})", file=sys.stderr)
        return 2
    for line in argv or known:
        pins = pins_of(line)
        if is_whole(line, pins):
            print(f"Packer {line}: built already", flush=True)
            continue
        began = time.monotonic()
        try:
            build(line, pins)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"Packer {line} cannot be built: {error}", file=sys.stderr)
            return 1
        print(f"Packer {line}: built in {time.monotonic() - began:.0f} s", flush=True)
    return 0


def pins_of(line: str) -> str:
    """A checksum over all that decides what is built."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for name in ("go.mod", "go.sum"):
        digest.update((PINS / line / name).read_bytes())
    return digest.hexdigest()


def plugins_of(line: str) -> list[str]:
    """The plugins among the tools of the line's module. Packer 1.9 contains more of them than it has here."""
    module = (PINS / line / "go.mod").read_text(encoding="utf-8")
    return re.findall(rf"^\t{re.escape(SOURCE)}/packer-plugin-([a-z]+)$", module, re.MULTILINE)


def is_whole(line: str, pins: str) -> bool:
    folder = BUILT / line
    try:
        record = json.loads((folder / "built.json").read_text(encoding="utf-8"))
        return record["pins"] == pins and all(sha256(folder / name) == known for name, known in record["files"].items())
    except (OSError, ValueError, KeyError):
        return False


def build(line: str, pins: str) -> None:
    """Raises OSError and CalledProcessError."""
    go, environment = go_for(line)
    folder = BUILT / line
    shutil.rmtree(folder, ignore_errors=True)
    binaries = folder / "bin"
    binaries.mkdir(parents=True)
    # Some releases of plugins call themselves a development version, which Packer takes for no release.
    plugins = plugins_of(line)
    releases = [f"-X={SOURCE}/packer-plugin-{name}/version.VersionPrerelease=" for name in plugins]
    environment["CGO_ENABLED"] = "0"
    command = [
        go,
        "build",
        "-mod=readonly",
        "-trimpath",
        f"-ldflags=-s -w {' '.join(releases)}",
        "-o",
        f"{binaries}{os.sep}",
        "tool",
    ]
    subprocess.run(command, cwd=PINS / line, env=environment, check=True, stdin=subprocess.DEVNULL)
    (binaries / "packer").rename(folder / "packer")
    for name in plugins:
        lay(binaries / f"packer-plugin-{name}", folder / "plugins" / SOURCE / name, name)
    binaries.rmdir()
    files = {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("*") if path.is_file()}
    (folder / "built.json").write_text(json.dumps({"pins": pins, "files": files}, indent=1), encoding="utf-8")


def lay(binary: Path, folder: Path, name: str) -> None:
    """Give a plugin the name by which Packer finds it, and its checksum beside it."""
    told = json.loads(
        subprocess.run([binary, "describe"], check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout
    )
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    folder.mkdir(parents=True)
    place = folder / f"packer-plugin-{name}_v{told['version']}_{told['api_version']}_linux_{machine}"
    binary.rename(place)
    Path(f"{place}_SHA256SUM").write_text(sha256(place), encoding="utf-8")


def go_for(line: str) -> tuple[str, dict[str, str]]:
    """A Go that is new enough, and the environment to call it with. Raises OSError where there is none."""
    wanted = version(re.search(r"^go (\S+)", (PINS / line / "go.mod").read_text(encoding="utf-8"), re.MULTILINE))
    go = shutil.which("go")
    said = (
        subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=True, cwd="/").stdout
        if go
        else ""
    )
    found = version(re.match(r"go(\d+(?:\.\d+)*)", said))
    if found < (1, 21):
        raise OSError(f"it needs Go 1.21 or later on the search path; found: {said.strip() or 'none'}")
    # With GOTOOLCHAIN=auto, an older Go downloads the version that the module needs.
    return str(go), {**os.environ, **({"GOTOOLCHAIN": "auto"} if found < wanted else {})}


def version(found: re.Match[str] | None) -> tuple[int, ...]:
    return tuple(int(part) for part in found.group(1).split(".")) if found else (0,)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else hashlib.sha256(file.read()).hexdigest()
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
