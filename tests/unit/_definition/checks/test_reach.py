# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a definition may declare as within the reach of guests on qemu."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.launch import machine_settings
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Target
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.summary import target_summary

TEXT = """\
schema: 1
service: shop
version: "1"
image: {{base: {{debian: bookworm}}, provision: {{playbook: provision.yml}}}}
health: {{http: {{port: 80}}}}
targets:
  local:
    provider: qemu
    {reach}
"""


def load(folder: Path, reach: str) -> Target:
    (folder / "provision.yml").write_text("[]\n", encoding="utf-8")
    (folder / "immutable.yml").write_text(TEXT.format(reach=reach), encoding="utf-8")
    return load_definition(folder).target("local")


def test_what_is_declared_is_a_setting_of_the_launch_and_nothing_else_is(tmp_path: Path) -> None:
    plain = load(tmp_path, "")
    declared = load(tmp_path, 'reach: {"10.0.2.100:5432": "db.example.com:5432"}')
    assert "reach" not in machine_settings(plain) and "reach" not in target_summary(plain)
    assert machine_settings(declared)["reach"] == {"10.0.2.100:5432": "db.example.com:5432"}
    assert target_summary(declared)["reach"] == {"10.0.2.100:5432": "db.example.com:5432"}


@pytest.mark.parametrize(
    ("seen", "meant", "message"),
    [
        ("10.0.2.100:22", "127.0.0.1:22", "127.0.0.1 is the controller's loopback, which no guest may reach"),
        ("10.0.2.100:22", "127.8.8.8:22", "127.8.8.8 is the controller's loopback"),
        ("10.0.2.100:22", "LocalHost:22", "LocalHost is the controller's loopback"),
        ("10.0.2.100:22", "0.0.0.0:22", "0.0.0.0 is the controller's loopback"),
        ("10.0.2.100:22", "db.example.com:70000", "70000 is not a port"),
        ("10.0.2.2:22", "db.example.com:22", "is not an address and a port in the network of the guests"),
        ("10.0.2.100:22", "db.example.com", "is not a host with a port"),
        ("10.0.2.100:22", "$(reboot):22", "is not a host with a port"),
    ],
)
def test_what_cannot_be_declared(tmp_path: Path, seen: str, meant: str, message: str) -> None:
    with pytest.raises(DefinitionError) as failed:
        load(tmp_path, f'reach: {{"{seen}": "{meant}"}}')
    assert message in "\n".join(failed.value.details["problems"])
