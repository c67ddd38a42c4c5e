# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which option becomes which argument, from which version of Packer on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .errors import PackerError


class Flag(NamedTuple):
    """One option of the runner.

    Attributes:
        argument: the command line's argument; ``{}`` stands for the value, lists joined by commas.
        since: the first version that knows it.
        commands: the subcommands that take it.
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
# For every call: no look-up of newer versions, and no colours.
ENVIRONMENT = {"CHECKPOINT_DISABLE": "1", "PACKER_NO_COLOR": "1"}


def version_tuple(version: str) -> tuple[int, ...]:
    """``(1, 6, 6)`` of ``1.6.6`` or ``1.6.6-dev``."""
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("-")[0])[:3])


def arguments(command: str, options: Mapping[str, Any], version: str) -> list[str]:
    """The arguments for ``options`` (those that are None, False or empty say nothing).

    Raises:
        PackerError: an option that this version or this command does not know.
    """
    found = []
    for name, value in options.items():
        if value is None or value is False or value == []:
            continue
        flag = FLAGS[name]
        if command not in flag.commands:
            raise PackerError(f"packer {command} has no option {name.rstrip('_')}")
        if version_tuple(version) < flag.since:
            raise PackerError(
                f"the option {name.rstrip('_')} needs Packer {'.'.join(map(str, flag.since))} or later; this is {version}"
            )
        found.append(flag.argument.format(",".join(value) if isinstance(value, (list, tuple)) else value))
    return found
