# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The reference of the definition matches the schema, and its defaults are the real ones."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import DEFINITION_FILE, load_definition

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[2] / "docs/reference/definition.md"
SPEC = importlib.util.spec_from_file_location("definition_table", HERE / "definition_table.py")
assert SPEC and SPEC.loader
TABLE = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(TABLE)
SMALLEST: dict[str, Any] = {
    "schema": 1,
    "service": "shop",
    "version": "1",
    "image": {"base": {"debian": "bookworm"}, "provision": {"playbook": "provision.yml"}},
    "health": {"http": {"port": 80}},
    "targets": {"local": {"provider": "qemu"}},
}
AWS = {
    "image": {"base": {"ami": "ami-01234567", "python": "3.11"}, "provision": {"playbook": "provision.yml"}},
    "targets": {
        "local": {
            "provider": "aws",
            "network": {"subnets": {"eu-west-1a": "subnet-01234567"}},
            "traffic": {
                "target_groups": [
                    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop/0123456789abcdef"
                ]
            },
        }
    },
}
GROUP = {
    "image": {"base": {"ami": "ami-01234567", "python": "3.11"}, "provision": {"playbook": "provision.yml"}},
    "fleet": {"engine": "autoscaling", "autoscaling": {"group": "shop"}},
    "targets": {"local": {"provider": "aws", "network": {"subnets": {"eu-west-1a": "subnet-01234567"}}}},
}
CONTAINER = {
    "image": {**SMALLEST["image"], "command": ["/usr/bin/shop"]},
    "health": {"http": {"port": 8080}},
    "targets": {"local": {"provider": "container"}},
}
# Definitions in which some keys are allowed.
CONTEXTS = {
    "fleet.autoscaling.checkpoint_delay": {
        **GROUP,
        "fleet": {"engine": "autoscaling", "autoscaling": {"group": "shop", "checkpoints": [100]}},
    },
    "fleet.autoscaling": GROUP,
    "image.user": CONTAINER,
    "targets.local.engine": CONTAINER,
    "targets.local.network": AWS,
    "targets.local.evidence": AWS,
    "targets.local.probe": AWS,
    "targets.local.snapshots": AWS,
    "targets.local.machine.metadata_hop_limit": AWS,
    "targets.local.machine.config_drive": {"targets": {"local": {"provider": "simulated"}}},
    "targets.local.build.config_drive": {"targets": {"local": {"provider": "simulated"}}},
    **{f"targets.local.build.{key}": AWS for key in ("type", "encrypt", "ssh_username")},
    "health.http.https": {"health": {"http": {"port": 80, "https": {"server_name": "shop.example.com"}}}},
    "fleet.hot": {"fleet": {"strategy": "recreate"}},
    "fleet.canary": {"fleet": {"strategy": "canary", "canary": [{"instances": 1}]}},
    "fleet.windows": {"fleet": {"windows": [{"from": "22:00", "to": "05:00"}]}},
    "fleet.alarm": {"fleet": {"alarm": {"command": ["true"]}}},
    "data[]": {"data": [{"name": "db", "size": "1G", "mount": "/srv/db"}]},
    "targets.local.simulation": {"targets": {"local": {"provider": "simulated"}}},
}
DEFAULTS = [
    (row["key"].replace("<name>", "local"), row["default"])
    for row in TABLE.rows()
    if row["default"] and " " not in row["default"]
]


def test_the_page_has_the_table_of_the_schema() -> None:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert lines == TABLE.table(), (
        "the schema changed: put what tests/unit/docs/definition_table.py prints into docs/reference/definition.md"
    )


def test_there_are_defaults_to_try() -> None:
    assert len(DEFAULTS) > 10


@pytest.mark.parametrize(("key", "default"), DEFAULTS)
def test_a_documented_default_is_the_real_one(key: str, default: str, tmp_path: Path) -> None:
    (tmp_path / "provision.yml").write_text("---\n", encoding="utf-8")
    smallest = {**SMALLEST, **next((context for prefix, context in CONTEXTS.items() if key.startswith(prefix)), {})}
    assert _load(_with(smallest, key, yaml.safe_load(default)), tmp_path) == _load(smallest, tmp_path)


def _load(document: Any, folder: Path) -> Any:
    (folder / DEFINITION_FILE).write_text(yaml.safe_dump(document), encoding="utf-8")
    return load_definition(folder)


def _with(smallest: Any, key: str, value: Any) -> Any:
    """The smallest definition, with ``value`` at the dotted ``key``; for a list, in its first item."""
    document = yaml.safe_load(yaml.safe_dump(smallest))
    *way, last = key.split(".")
    part = document
    for step in way:
        part = part[step.removesuffix("[]")][0] if step.endswith("[]") else part.setdefault(step, {})
    part[last] = value
    return document
