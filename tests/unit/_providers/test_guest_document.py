# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A setting of a definition reaches a service as it is written, by settings.json and by settings.env."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import LaunchRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.guest_document import members
from ansible_collections.immutable.infra.tests.support import traps
from hypothesis import example, given
from hypothesis import strategies as st

DEFINITION = {
    "schema": 1,
    "service": "shop",
    "version": "1",
    "image": {"base": {"debian": "bookworm"}, "provision": {"playbook": "provision.yml"}},
    "health": {"http": {"port": 80}},
}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\"\\$`\n\r'#;={}%")).filter(
    lambda text: not any(ord(c) == 0 or 0xFDD0 <= ord(c) <= 0xFDEF or ord(c) & 0xFFFE == 0xFFFE for c in text)
)
PLAY = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - immutable.infra.definition_info:
        definition: immutable.yml
      register: result
    - ansible.builtin.copy:
        content: "{{ result.target.settings | to_json }}"
        dest: "{{ playbook_dir }}/seen.json"
        mode: "0600"
"""


def write(folder: Path, settings: Mapping[str, Any]) -> None:
    (folder / "provision.yml").write_text("[]\n")
    document = {**DEFINITION, "targets": {"local": {"provider": "qemu", "settings": settings}}}
    (folder / "immutable.yml").write_text(json.dumps(document), encoding="utf-8")


def documents(settings: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of the launch document of a definition with these settings."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), settings)
        read = load_definition(Path(folder)).targets["local"].settings
    texts = dict.fromkeys(("token", "fleet", "image", "launch", "nonce"), "x")
    return members(LaunchRequest(**texts, slot=0, artifact={}, settings=read))


def by_systemd(text: str) -> dict[str, str]:
    """Read NAME="value" lines as parse_env_file_internal() of systemd does (src/basic/env-file.c)."""
    found, rest = {}, text
    while rest:
        name, rest = rest.split("=", 1)
        assert rest[0] == '"'
        value, at = "", 1
        while rest[at] != '"':
            if rest[at] != "\\":
                value += rest[at]
            else:
                at += 1
                value += rest[at] if rest[at] in '"\\`$' else "" if rest[at] == "\n" else f"\\{rest[at]}"
            at += 1
        assert rest[at + 1] == "\n"
        found[name], rest = value, rest[at + 2 :]
    return found


@given(st.dictionaries(st.from_regex("[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True), TEXTS))
@example({"a": '${HOME} $x `id` \\ \\\n "b" \r\n\t\x1b', "b": "{{ 1 + 1 }}", "c": "\U0001f600"})
def test_a_text_arrives_both_ways(settings: dict[str, str]) -> None:
    files = documents(settings)
    assert json.loads(files["settings.json"]) == settings
    assert by_systemd(files["settings.env"].decode()) == settings


def test_numbers_and_booleans_arrive_in_the_notation_of_json() -> None:
    settings = {"port": 8080, "share": 1.5, "on": True, "off": False}
    files = documents(settings)
    assert json.loads(files["settings.json"]) == settings
    assert by_systemd(files["settings.env"].decode()) == {"port": "8080", "share": "1.5", "on": "true", "off": "false"}


def test_ansible_takes_no_setting_for_a_template(tmp_path: Path) -> None:
    settings = {"a": traps.template(tmp_path / "ran"), "b": "{% raw %}{# x #}"}
    write(tmp_path, settings)
    (tmp_path / "play.yml").write_text(PLAY, encoding="utf-8")
    argv = [sys.executable, "-m", "ansible", "playbook", "-e", f"ansible_python_interpreter={sys.executable}"]
    done = subprocess.run(
        [*argv, str(tmp_path / "play.yml")], check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "seen.json").read_text(encoding="utf-8")) == settings
    assert json.loads(documents(settings)["settings.json"]) == settings
    assert not (tmp_path / "ran").exists()
