# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The base of all action plugins: options in, one call into a room, result out.

An action reads its options from the documentation in ``plugins/modules/<name>.py``, so the two cannot differ.
"""

from __future__ import annotations

import ctypes
import functools
import signal
import sys
import time
import traceback
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import get_docstring

from ...module_utils._plain_text import plain_data, plain_text
from .._definition.load import load_definition
from .._definition.model import Definition
from .._store.base import Store
from .._store.registry import find_store, open_store, resolve_location
from .._summary.attest import attest_lines
from .._summary.summarize import SUMMARY, safe_lines, with_summary
from .display import LiveDisplay
from .errors import ImmutableError
from .guard import Guard
from .programs import drop_relative_search_paths
from .result_size import bounded_result
from .task import Task
from .terminal import summary_width

COLLECTION = "immutable.infra"
_MODULES = Path(__file__).resolve().parents[2] / "modules"
_SPEC_KEYS = ("type", "required", "default", "choices", "elements", "aliases", "no_log")
_DURATIONS = ("timeout", "lock_timeout", "older_than")  # options of text that may be a number of seconds
_PR_SET_PDEATHSIG = 1
_PRINTED = ("diff", "msg", "warnings")  # keys of a result


@dataclass(frozen=True, kw_only=True)
class Context(Task):
    """The task that runs an action. It opens the definition and the store that the options name."""

    folder: Path  # relative paths of options start here

    def definition(self, options: Mapping[str, Any]) -> Definition:
        """Load the definition that the option ``definition`` names. Raises DefinitionError."""
        return load_definition(self.folder / options["definition"])

    def store(self, options: Mapping[str, Any]) -> Store:
        """Open the store that the option ``store`` names, and create its folder if missing. Raises StoreError."""
        return store_at(self.folder, options["store"])

    def existing_store(self, options: Mapping[str, Any]) -> Store | None:
        """Open the store that the option ``store`` names; None if there is no such store. Raises StoreError."""
        return find_store(resolve_location(self.folder, options["store"])) if options["store"] else None

    def path(self, option: str) -> Path:
        """Return the absolute path that an option stands for."""
        return (self.folder / option).absolute()


class RoomAction(ActionBase):
    """An action that runs once, on the controller, inside the worker of its task. Subclasses implement ``work``."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False
    _supports_diff = True
    exclusive: tuple[tuple[str, ...], ...] = ()  # groups of mutually exclusive options
    one_of: tuple[tuple[str, ...], ...] = ()  # groups of options of which one is required

    @abstractmethod
    def work(self, options: dict[str, Any], context: Context) -> dict[str, Any]:
        """Do what the options ask for. Returns the result of the task, including ``changed``."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        options: dict[str, Any] = {}
        try:
            self._refuse_where_it_cannot_run(task_vars)
            options = self._options()
            guard = end_with_parent()
            drop_relative_search_paths()
            with LiveDisplay(self._prefix(task_vars), quiet=bool(self._task.no_log)) as report:
                context = Context(
                    report=report,
                    guard=guard,
                    check_mode=self._task.check_mode,
                    diff=self._task.diff,
                    variables=task_vars,
                    template=self._templar.template,
                    loader=self._loader,
                    folder=Path(self._loader.get_basedir()),
                )
                result.update(self.work(options, context))
        except ImmutableError as error:
            result.update(error.as_failure())
        except OSError as error:  # such as a full disk: the system's own text is the message
            place = f"{error.filename}: " if error.filename else ""
            result.update(
                failed=True,
                changed=False,
                msg=plain_text(f"{place}{error.strerror or error}"),
                exception=plain_text(traceback.format_exc()),
            )
        result = with_summary(self._name(), result, now=time.time(), width=summary_width(), check=self._task.check_mode)
        return result_for_screen(result if options.get("complete") else bounded_result(result))

    def _name(self) -> str:
        return self._task.action.rpartition(".")[2]

    def _prefix(self, task_vars: Mapping[str, Any]) -> str:
        return f"[{task_vars.get('inventory_hostname', 'localhost')}] {self._name()}: "

    def _options(self) -> dict[str, Any]:
        spec = argument_spec(self._name())
        for name, option in spec.items():
            if option.get("type", "str") in ("str", "path") and "choices" not in option:
                _refuse_what_is_no_text(name, self._task.args.get(name))
        _checked, options = self.validate_argument_spec(
            spec, mutually_exclusive=self.exclusive, required_one_of=self.one_of
        )
        return dict(options)

    def _refuse_where_it_cannot_run(self, task_vars: Mapping[str, Any]) -> None:
        name = f"{COLLECTION}.{self._name()}"
        if self._task.async_val:
            raise ImmutableError(
                f"{name} cannot run with async: it runs on the controller and shows its progress; remove 'async'"
            )
        if self._task.delegate_to not in (None, "localhost", "127.0.0.1"):
            raise ImmutableError(
                f"{name} runs on the controller and cannot be delegated to {self._task.delegate_to!r}; "
                "remove 'delegate_to'"
            )
        if self._task.become:
            raise ImmutableError(
                f"{name} runs on the controller as the calling user and cannot become another user; "
                "set 'become: false' on the task"
            )
        hosts = task_vars.get("ansible_play_hosts_all") or []
        if len(hosts) > 1 and not self._task.run_once:
            raise ImmutableError(
                f"{name} runs once, on the controller, but this play has {len(hosts)} hosts; "
                "add 'run_once: true' or use a play on localhost"
            )


def _refuse_what_is_no_text(option: str, value: Any) -> None:
    """Raise ImmutableError for a value that Ansible would turn into a text that the user may not have written."""
    kinds = ((bool, "a boolean"), (date, "a date"), (bytes, "bytes"))
    if isinstance(value, float) and option not in _DURATIONS:
        raise ImmutableError(f"{option}: {value} is a number, and 1.10 would be 1.1; put it in quotes")
    kind = next((name for type_, name in kinds if isinstance(value, type_)), "")
    if kind:
        raise ImmutableError(f"{option}: {value} is {kind}, not text; put it in quotes")


def store_at(folder: Path, option: str) -> Store:
    """Open the store that a user names; a relative path starts at ``folder``. Raises StoreError."""
    return open_store(resolve_location(folder, option))


def result_for_screen(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's result without control characters in what Ansible prints as it is. Everything else is data."""
    return {name: plain_data(value) if name in _PRINTED else value for name, value in result.items()}


def with_host_summary(result: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Return the result of ``host_attest`` with its summary. A host that cannot be reached has none."""
    if result.get("unreachable") or result.get("skipped"):
        return dict(result)
    return {**result, SUMMARY: safe_lines(lambda: attest_lines(result, host, summary_width()))}


@functools.cache
def argument_spec(name: str) -> dict[str, Any]:
    """Return the argument spec of the module ``name``, as its documentation states it."""
    docs = get_docstring(
        str(_MODULES / f"{name}.py"), fragment_loader, collection_name=COLLECTION, plugin_type="module"
    )[0]
    return {option: _spec_of(text) for option, text in (docs.get("options") or {}).items()}


def _spec_of(option: Mapping[str, Any]) -> dict[str, Any]:
    spec = {key: option[key] for key in _SPEC_KEYS if key in option}
    if "suboptions" in option:
        spec["options"] = {name: _spec_of(text) for name, text in option["suboptions"].items()}
    return spec


def end_with_parent() -> Guard:
    """Ask the kernel to terminate this worker when ansible-playbook dies. Returns a guard that checks for it as well.

    The parent may die before the kernel knows of the request, so the guard, which is created first, checks once more.
    Raises AbandonedError.
    """
    guard = Guard()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    guard.check()
    return guard


__all__ = [
    "Context",
    "RoomAction",
    "argument_spec",
    "end_with_parent",
    "result_for_screen",
    "store_at",
    "with_host_summary",
]
