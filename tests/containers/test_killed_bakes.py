# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A bake is killed while a task runs in its container: nothing of it stays, and the next one completes."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.container_leftovers import GUEST_FOLDER
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.memory import SHARED_MEMORY
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import LockedError
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import bake_name
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import ContainerEngine
from ansible_collections.immutable.infra.plugins.plugin_utils._store.registry import open_store
from ansible_collections.immutable.infra.tests.support import reaper
from ansible_collections.immutable.infra.tests.support.machines import INSTALL, Service, kill
from ansible_collections.immutable.infra.tests.support.waiting import until

MARK = "task: Wait for the test"
# The bake cannot go on before the test does. The container has a folder of the bake's private memory here.
WAIT = """
    - name: Wait for the test
      ansible.builtin.wait_for:
        path: /dev/shm/go-on
        timeout: 600
"""


@pytest.fixture
def fresh(tmp_path: Path, store: Path, base: None) -> Service:
    """A service that was never baked."""
    name = f"cut-{secrets.token_hex(4)}"
    service = Service(
        tmp_path / name, name, size=1, shell="restricted", data=False, store=store, provider="container", command=True
    )
    (service.folder / "provision.yml").write_text(INSTALL + WAIT.lstrip("\n"), encoding="utf-8")
    return service


class Traces:
    """What the bakes of one service may leave behind."""

    def __init__(self, service: Service, engine: ContainerEngine) -> None:
        self._engine = engine
        self._store = service.store
        self._bake = bake_name(service.module("definition_info")["digest"])

    def containers(self) -> list[str]:
        return self._engine.run("ps", "--all", "--quiet", f"--filter=label=immutable.bake={self._bake}").split()

    def memory(self) -> list[Path]:
        return list(SHARED_MEMORY.glob(f"immutable-*-{self._bake}"))

    def files(self) -> list[Path]:
        return list((self._store / "work").glob(self._bake))

    def locked(self) -> bool:
        try:
            with open_store(str(self._store)).lock(self._bake, "look"):
                return False
        except LockedError:
            return True


@pytest.fixture
def traces(fresh: Service, engine: ContainerEngine) -> Traces:
    return Traces(fresh, engine)


def interrupt(service: Service, traces: Traces, also: Callable[[], None] = lambda: None) -> None:
    """Kill a bake, and do something else at the same moment."""

    def act(child: subprocess.Popen[str]) -> None:
        assert traces.containers() and traces.memory() and traces.files()
        kill(child, tree=True)
        also()

    service.disturb("bake", MARK, act)


def complete(service: Service, traces: Traces) -> None:
    def let_go_on(_child: subprocess.Popen[str]) -> None:
        [memory] = traces.memory()
        (memory / GUEST_FOLDER / "go-on").touch()

    status, output = service.disturb("bake", MARK, let_go_on)
    assert status == 0 and "changed=0" not in output, output
    assert (traces.containers(), traces.memory(), traces.files()) == ([], [], [])
    assert service.module("image")["changed"] is False


def test_a_killed_bake_leaves_no_container_and_no_secret(fresh: Service, traces: Traces) -> None:
    """The supervisor of Packer removes both. The files in the store go with the next bake."""
    interrupt(fresh, traces)
    until(lambda: not traces.locked())
    assert (traces.containers(), traces.memory()) == ([], [])
    complete(fresh, traces)


@pytest.mark.long
def test_what_is_left_of_a_bake_without_its_supervisor_goes_with_the_next(
    fresh: Service, traces: Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither Packer nor its supervisor cleans up, as after a kill for want of memory."""
    mark = secrets.token_hex(8)
    monkeypatch.setenv(reaper.VARIABLE, f"{os.environ[reaper.VARIABLE]} {mark}")
    interrupt(fresh, traces, lambda: reaper.kill_marked(mark))
    assert traces.containers() and traces.memory() and traces.files()
    complete(fresh, traces)
