# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The console of a build machine on OpenStack. It says why a machine does not boot, and Packer says nothing of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..._core.consoles import MAX_CONSOLE
from ..._core.errors import ProviderError
from ..._core.files import write_atomically
from ..._openstack.connect import Connections
from ..._openstack.rest import Rest
from ..heartbeat import heartbeat

INTERVAL = 15.0  # seconds between two looks, each of which is a call or two
MAX_LINES = 200


class BuildConsole:
    """Copies the newest lines of the console of the machine with this name into a file."""

    def __init__(self, cloud: Connections, name: str, file: Path) -> None:
        self._compute = Rest(cloud, "compute")
        self._name = name
        self._file = file
        self._server = ""

    def copy(self) -> None:
        """Does nothing while there is no machine. A console that cannot be read is no failure of the bake."""
        try:
            self._server = self._server or self._find()
            if self._server:
                body = {"os-getConsoleOutput": {"length": MAX_LINES}}
                path, doing = f"/servers/{self._server}/action", "reading the console of the build machine"
                text = str(self._compute.post(path, body, doing).get("output") or "")[-MAX_CONSOLE:]
                if text:
                    write_atomically(self._file, text.encode("utf-8", "replace"))
        except (ProviderError, OSError):
            return

    def _find(self) -> str:
        """The ID of the machine; "" if there is not exactly one."""
        # Nova takes the name as a regular expression.
        found = self._compute.pages("/servers", "servers", "finding the build machine", name=f"^{self._name}$")
        ids = [str(one["id"]) for one in found if one.get("name") == self._name]
        return ids[0] if len(ids) == 1 else ""


@contextmanager
def console_copied(cloud: Connections, name: str, file: Path) -> Iterator[None]:
    """Keep the file up to date until the block ends. When Packer fails, it removes the machine with its console."""
    with heartbeat(BuildConsole(cloud, name, file).copy, INTERVAL):
        yield
