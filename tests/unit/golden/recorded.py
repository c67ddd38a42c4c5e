# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whole fleets as 0.1.0 left them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

ENTRIES: dict[str, Callable[[Path], Any]] = {}
