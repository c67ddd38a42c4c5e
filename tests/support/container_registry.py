# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real registry of container images, on loopback and without TLS."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import ContainerEngine

from .guests import free_port
from .waiting import PATIENCE, until


@contextmanager
def container_registry(folder: Path) -> Iterator[str]:
    """Run a registry with its data in a folder. Returns its address. Without its program the test is skipped."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("needs docker-registry (Debian: apt install docker-registry)")
    address = f"127.0.0.1:{free_port()}"
    config = folder / "registry.json"
    storage = {"filesystem": {"rootdirectory": str(folder / "registry")}}
    config.write_text(json.dumps({"version": "0.1", "storage": storage, "http": {"addr": address}}), encoding="utf-8")
    quiet = subprocess.DEVNULL
    with subprocess.Popen([program, "serve", str(config)], stdout=quiet, stderr=quiet) as server:
        try:
            until(lambda: server.poll() is not None or _answers(address))
            assert server.poll() is None
            yield address
        finally:
            server.kill()


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(f"http://{address}/v2/", timeout=PATIENCE).close()
    except (urllib.error.URLError, ConnectionError):
        return False
    return True


def pushed(engine: ContainerEngine, image: str, name: str, folder: Path) -> str:
    """Push an image of Podman to a registry. Returns its name with its digest."""
    digest = folder / "digest"
    engine.run("push", "--tls-verify=false", "--digestfile", str(digest), image, name)
    return f"{name}@{digest.read_text(encoding='ascii').strip()}"
