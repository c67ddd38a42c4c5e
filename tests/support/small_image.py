# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A container image that needs no bake: this machine's Python with its libraries, and a service."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PYTHON = Path("/usr/bin/python3")
_LEFT_OUT = {"__pycache__", "dist-packages", "ensurepip", "idlelib", "lib2to3", "site-packages", "test", "tkinter"}
_FOLDERS = ("dev", "etc", "proc", "run", "srv", "sys", "tmp", "var")
# It counts requests, echoes, and obeys what a test tells it.
SERVICE = """
import http.server, json, os, signal, socket, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = b"x" * int(self.path[6:]) if self.path.startswith("/size/") else os.environ.get("GREETING", "-").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_arguments):
        pass

if "TRAP" in os.environ:
    signal.signal(signal.SIGTERM, lambda *_: (print("bye", flush=True), os._exit(0)))
print("started", flush=True)
server = http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler)
server.serve_forever()
"""


def small_image(
    folder: Path, *, user: str = "", command: Sequence[str] = ("/usr/bin/python3", "/service.py")
) -> dict[str, Any]:
    """Write the archive into a folder and return the artifact. Its service listens on port 8080."""
    layer = folder / "layer.tar"
    if not layer.exists():
        _write_layer(layer)
    digest = hashlib.sha256(layer.read_bytes()).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": list(command), "User": user, "Env": ["PATH=/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    image = hashlib.sha256(config).hexdigest()
    path = folder / f"{image[:12]}.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(layer, "layer.tar")
        _add(archive, f"{image}.json", config)
        manifest = [{"Config": f"{image}.json", "RepoTags": None, "Layers": ["layer.tar"]}]
        _add(archive, "manifest.json", json.dumps(manifest).encode())
    return {
        "path": str(path),
        "image": f"sha256:{image}",
        "init": "command",
        "writable": [{"path": "/tmp", "size": "8m", "mode": "1777", "uid": 0, "gid": 0, "noexec": True}],  # noqa: S108
        "stop_signal": "SIGTERM",
        "capabilities": [],
    }


def _write_layer(path: Path) -> None:
    program = PYTHON.resolve()
    script = "import os; print(os.path.dirname(os.__file__))"
    standard = Path(
        subprocess.run([PYTHON, "-I", "-S", "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    )
    extensions = sorted(standard.glob("lib-dynload/*.so"))
    libraries = {Path(found) for found in re.findall(r"(/\S+) \(0x", _output("ldd", program, *extensions))}
    with tarfile.open(path, "w", dereference=True) as archive:
        for name in _FOLDERS:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for file in (program, *sorted(libraries)):
            archive.add(file, str(file).lstrip("/"))
        archive.add(program, str(PYTHON).lstrip("/"))
        archive.add(standard, str(standard).lstrip("/"), filter=_needed)
        _add(archive, "service.py", SERVICE.encode())


def _output(*argv: str | Path) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def _needed(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = Path(entry.name).parts
    return None if any(part in _LEFT_OUT or part.startswith("config-") for part in parts) else entry


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    archive.addfile(entry, io.BytesIO(data))
