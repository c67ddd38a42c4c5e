# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the rooms know of the Ansible task that calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .guard import Guard
from .progress import Report


@dataclass(frozen=True)
class Task:
    """The calling task: how it reports progress, whether it may change anything, and where its variables come from."""

    report: Report
    guard: Guard
    check_mode: bool = False
    diff: bool = False
    variables: Mapping[str, Any] = field(default_factory=dict, repr=False)  # Ansible variables by name, untemplated
    template: Callable[[Any], Any] = str  # resolves Jinja2 in the value of a variable
    loader: Any = None  # Ansible's DataLoader, which holds the vault secrets
