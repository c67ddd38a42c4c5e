# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What several modules return is documented in the same words: keys of fleets, and summaries.

A documentation fragment cannot carry RETURN on ansible-core 2.16. These tests compare the copies instead.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

MODULES = Path(__file__).resolve().parents[3] / "plugins/modules"


def documented(name: str) -> Mapping[str, Any]:
    """The RETURN of a module, without ``returned``: modules return a key under different conditions."""
    tree = ast.parse((MODULES / f"{name}.py").read_text(encoding="utf-8"))
    texts = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    keys: Mapping[str, Mapping[str, Any]] = yaml.safe_load(texts.get("RETURN", "")) or {}
    return {key: {part: text for part, text in entry.items() if part != "returned"} for key, entry in keys.items()}


FLEET, FLEET_INFO = documented("fleet"), documented("fleet_info")
SHARED = sorted(set(FLEET) & set(FLEET_INFO))


def test_the_modules_share_keys() -> None:
    assert {"fleet", "instances", "volumes", "refresh", "endpoint"} <= set(SHARED)


@pytest.mark.parametrize("key", SHARED)
def test_shared_keys_have_the_same_documentation(key: str) -> None:
    assert FLEET_INFO[key] == FLEET[key]


def test_every_action_documents_its_summary_in_the_same_words() -> None:
    # In a module that is as new as the key, the key has no version of its own.
    found = {
        path.stem: {part: text for part, text in keys["summary"].items() if part != "version_added"}
        for path in sorted(MODULES.glob("[!_]*.py"))
        if "summary" in (keys := documented(path.stem))
    }
    assert {"fleet", "host_attest", "image", "report"} <= set(found)
    assert all(entry == found["fleet"] for entry in found.values()), found
