# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The arguments for options, and the first version of Packer that supports each of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .errors import PackerError


class Flag(NamedTuple):
    """One option of the runner.

    Attributes:
        argument: on the command line; ``{}`` stands for the value, or for the values of a list, joined by commas.
        since: the first version that supports it.
        commands: the subcommands that support it.
    """

    argument: str
    since: tuple[int, ...]
    commands: tuple[str, ...]


FLAGS = {
    "only": Flag("-only={}", (0, 8), ("build", "validate")),
    "except_": Flag("-except={}", (0, 8), ("build", "validate")),
    "force": Flag("-force", (0, 8), ("build",)),
    "on_error": Flag("-on-error={}", (0, 11), ("build",)),
    "parallel_builds": Flag("-parallel-builds={}", (1, 4, 1), ("build",)),
    "syntax_only": Flag("-syntax-only", (0, 8), ("validate",)),
}
HCL2_SINCE = (1, 5)
RUN_CLEANUP_PROVISIONER = "run-cleanup-provisioner"
# The first version that supports a value, if it is later than that of the option. Packer's changelog names it: 1.6.1,
# "Add on-error flag option to run error-cleanup-provisioner" (hashicorp/packer#9429).
_VALUES_SINCE = {("on_error", RUN_CLEANUP_PROVISIONER): (1, 6, 1)}


def version_tuple(version: str) -> tuple[int, ...]:
    """Return ``(1, 6, 6)`` for ``1.6.6`` or ``1.6.6-dev``."""
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("-")[0])[:3])


def arguments(command: str, options: Mapping[str, Any], version: str) -> list[str]:
    """Return the arguments for ``options``. Options that are None, False or empty are left out.

    Raises:
        PackerError: this version or this command does not support an option.
    """
    result = []
    for name, value in options.items():
        if value is None or value is False or value == []:
            continue
        flag = FLAGS[name]
        if command not in flag.commands:
            raise PackerError(f"packer {command} has no option {name.rstrip('_')}")
        _check_version(f"the option {name.rstrip('_')}", flag.since, version)
        if isinstance(value, str):
            _check_version(f"{name}: {value}", _VALUES_SINCE.get((name, value), flag.since), version)
        result.append(flag.argument.format(",".join(value) if isinstance(value, (list, tuple)) else value))
    return result


def _check_version(what: str, since: tuple[int, ...], version: str) -> None:
    if version_tuple(version) < since:
        raise PackerError(f"{what} needs Packer {'.'.join(map(str, since))} or later; this is {version}")
