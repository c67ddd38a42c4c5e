# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a build machine prints is copied while it exists, by written answers of Nova."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.openstack_console import BuildConsole
from ansible_collections.immutable.infra.plugins.plugin_utils._core.consoles import MAX_CONSOLE
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.connect import Connections

pytest.importorskip("openstack")

NAME = "immutable-0123456789abcdef-bake-abababababab"


class Nova:
    """Has servers, and prints ``output`` for a console. Answers with ``status`` if that is not 200."""

    def __init__(self, *names: str) -> None:
        self.names, self.output, self.status = list(names), "a line", 200
        self.paths: list[str] = []
        self.cloud = cast(Connections, SimpleNamespace(connection=SimpleNamespace(compute=self)))

    def request(self, path: str, method: str, **arguments: Any) -> Any:
        self.paths.append(path)
        servers = [{"id": f"id-{at}", "name": name} for at, name in enumerate(self.names)]
        document = {"servers": servers} if method == "GET" else {"output": self.output}
        return SimpleNamespace(
            status_code=self.status, content=b"{}", json=lambda: document, headers={}, reason="said so", text="", url=""
        )


def test_the_console_is_copied_once_there_is_a_machine(tmp_path: Path) -> None:
    nova, file = Nova("other"), tmp_path / "console.log"
    console = BuildConsole(nova.cloud, NAME, file)
    console.copy()
    assert not file.exists()
    nova.names += [NAME]
    console.copy()
    assert file.read_text() == "a line"
    nova.output = "x" * MAX_CONSOLE + "the last line\N{SNOWMAN}"
    console.copy()
    assert file.read_text().endswith("the last line\N{SNOWMAN}") and len(file.read_text()) == MAX_CONSOLE
    assert nova.paths == ["/servers", "/servers", "/servers/id-1/action", "/servers/id-1/action"]


def test_the_last_text_stays_when_the_machine_is_gone(tmp_path: Path) -> None:
    nova, file = Nova(NAME), tmp_path / "console.log"
    console = BuildConsole(nova.cloud, NAME, file)
    console.copy()
    nova.output = ""
    console.copy()
    nova.status = 404
    console.copy()
    assert file.read_text() == "a line"
