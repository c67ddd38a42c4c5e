# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A setting or variable arrives as it is written, or the definition is refused with the line and what to write."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Target
from hypothesis import given
from hypothesis import strategies as st

DEFINITION = """\
schema: 1
service: shop
version: "1"
image:
  base: {debian: bookworm}
  provision:
    playbook: provision.yml
    vars:
      a: VARIABLE
health: {http: {port: PORT}}
targets:
  local:
    provider: qemu
    settings:
      a: SETTING
"""


def load(
    folder: Path, setting: str = "x", variable: str = "x", port: str = "8080", head: str = ""
) -> tuple[Target, Any]:
    (folder / "provision.yml").write_text("[]\n")
    text = DEFINITION.replace("SETTING", setting).replace("VARIABLE", variable).replace("PORT", port)
    (folder / "immutable.yml").write_text(head + text, encoding="utf-8")
    definition = load_definition(folder)
    return definition.targets["local"], definition.provision.vars["a"]


def problems(folder: Path, **values: str) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        load(folder, **values)
    found: list[str] = caught.value.details["problems"]
    return found


# What a plain scalar would arrive as.
ALTERED = [
    ("0027", "the number 23"),
    ("22:22", "the number 1342"),
    ("1:30.5", "the number 90.5"),
    ("1.10", "the number 1.1"),
    ("1.0e+3", "the number 1000.0"),
    (".5", "the number 0.5"),
    ("1_000", "the number 1000"),
    ("0x1F", "the number 31"),
    ("0b11", "the number 3"),
    ("+5", "the number 5"),
    ("-0", "the number 0"),
    ('!!int "0x10"', "the number 16"),
    ("!!float 1", "the number 1.0"),
]


@pytest.mark.parametrize(("written", "read"), ALTERED)
def test_a_number_that_would_change_is_refused(tmp_path: Path, written: str, read: str) -> None:
    text = re.sub(r'^!!\w+ |"', "", written)
    instead = f'{text} is read as {read}; put it in quotes: "{text}", or write {read[11:]}'
    assert problems(tmp_path, setting=written) == [f"immutable.yml:15: targets.local.settings.a: {instead}"]
    assert problems(tmp_path, variable=written) == [f"immutable.yml:9: image.provision.vars.a: {instead}"]
    assert problems(tmp_path, variable=f"[{{b: {written}}}]") == [
        f"immutable.yml:9: image.provision.vars.a[0].b: {instead}"
    ]


@pytest.mark.parametrize("written", ["True", "FALSE", "!!bool yes"])
def test_a_setting_is_true_or_false_in_small_letters(tmp_path: Path, written: str) -> None:
    text = written.rpartition(" ")[2]
    read = "false" if text == "FALSE" else "true"
    assert problems(tmp_path, setting=written) == [
        f'immutable.yml:15: targets.local.settings.a: {text} is read as {read}; put it in quotes: "{text}", '
        f"or write {read}"
    ]
    assert load(tmp_path, variable=written)[1] is (read == "true")  # a boolean of Ansible is no text


@pytest.mark.parametrize(
    "written",
    [
        *("8080", "-1", "1.5", "0", "-1.0", "true", "false", "yes", "off", "2024-02-30", "2024-02-03", "1e3", "08"),
        *("0o17", "=", "<<", "tRuE", "!!str true", "!!str 0027"),
    ],
)
def test_what_arrives_as_it_is_written_is_allowed(tmp_path: Path, written: str) -> None:
    target, variable = load(tmp_path, setting=written, variable=written)
    setting = target.settings["a"]
    assert (setting if isinstance(setting, str) else json.dumps(setting)) == written.rpartition(" ")[2]
    assert variable == setting


@pytest.mark.parametrize(("written", "read"), [("0120", "80"), ("2:13", "133")])
def test_a_number_in_octal_or_base_60_is_refused_anywhere(tmp_path: Path, written: str, read: str) -> None:
    assert problems(tmp_path, port=written) == [
        f"immutable.yml:10: health.http.port: {written} is read as the number {read}; write {read}"
    ]


@pytest.mark.parametrize(("written", "what"), [("~", "the value is empty"), ("", "the value is empty")])
def test_a_setting_is_not_empty(tmp_path: Path, written: str, what: str) -> None:
    assert what in problems(tmp_path, setting=written)[0]
    assert load(tmp_path, variable=written)[1] is None


@pytest.mark.parametrize(
    ("written", "what"),
    [
        (r'"a\0b"', "contains U+0000, which no environment variable can hold; remove it"),
        (r'"a\ufdd0b"', "contains U+FDD0, which no environment variable can hold; remove it"),
        (r'"a\ud800b"', "contains U+D800, half of a character; write the whole character"),
    ],
)
def test_a_setting_with_a_character_that_does_not_arrive_is_refused(tmp_path: Path, written: str, what: str) -> None:
    assert problems(tmp_path, setting=written) == [f"immutable.yml:15: targets.local.settings.a: the text {what}"]


def test_a_character_of_two_escapes_is_one_character(tmp_path: Path) -> None:
    target, variable = load(tmp_path, setting=r'"\ud83d\ude00"', variable=r'"\ud83d\ude00"')
    assert (target.settings["a"], variable) == ("\U0001f600", "\U0001f600")
    assert "U+D83D" in problems(tmp_path, variable=r'{"\ud83d": 1}')[0]
    assert problems(tmp_path, variable=r'"\ud83d"') == [
        "immutable.yml:9: image.provision.vars.a: the text contains U+D83D, half of a character; "
        "write the whole character"
    ]


@pytest.mark.parametrize("key", ["__ansible_unsafe", "__ansible_vault", "__ansible_type"])
def test_a_mapping_that_ansible_would_take_for_its_own_is_refused(tmp_path: Path, key: str) -> None:
    assert problems(tmp_path, variable=f"{{{key}: x}}") == [
        f"immutable.yml:9: image.provision.vars.a.{key}: Ansible reads a mapping with this key as a value of its own; "
        "rename the key"
    ]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_in_quotes_arrives_as_it_is(text: str) -> None:
    if any(ord(char) == 0 or 0xFDD0 <= ord(char) <= 0xFDEF or ord(char) & 0xFFFE == 0xFFFE for char in text):
        return
    with tempfile.TemporaryDirectory() as folder:
        target, variable = load(Path(folder), setting=json.dumps(text), variable=json.dumps(text))
    assert (target.settings["a"], variable) == (text, text)


@given(st.from_regex(r"[-+]?[0-9:._eExXob~ytruefalsnYN]{1,12}", fullmatch=True))
def test_a_plain_scalar_arrives_as_it_is_written_or_is_refused(written: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            setting: Any = load(Path(folder), setting=f"{written} ")[0].settings["a"]
        except DefinitionError:
            return
    # A colon at the end makes a key of it, which the schema refuses.
    assert (setting if isinstance(setting, str) else json.dumps(setting)) == written


ANCHORS = """\
x-mail: &mail
  mail_from: shop@example.com
  umask: "0027"
x-anything: [{a: 1}, !mine b, .inf, 0027]
x-secret: &secret !vault |
  $ANSIBLE_VAULT;1.1;AES256
  6162
"""


def test_a_key_of_the_users_own_holds_anchors(tmp_path: Path) -> None:
    target, variable = load(
        tmp_path, setting="y\n      <<: *mail\n      mail_from: other", variable="*secret", head=ANCHORS
    )
    assert target.settings == {"a": "y", "umask": "0027", "mail_from": "other"}
    assert variable.ciphertext.startswith("$ANSIBLE_VAULT")


def test_an_anchor_is_checked_where_it_is_used(tmp_path: Path) -> None:
    head = "x-a: &a\n  umask: 0027\n"
    assert problems(tmp_path, setting="y\n      <<: *a", head=head) == [
        'immutable.yml:2: targets.local.settings.umask: 0027 is read as the number 23; put it in quotes: "0027", '
        "or write 23"
    ]


def test_a_key_of_the_users_own_is_at_the_top_and_is_named_once(tmp_path: Path) -> None:
    assert problems(tmp_path, head="x-a: 1\nx-a: 2\nxa: 3\n") == [
        "immutable.yml:2: x-a: duplicate key, first on line 1 (allowed: each key once)",
        "immutable.yml:3: xa: unknown key (allowed: schema, service, version, image, data, "
        "writable, seal, health, fleet, targets, and x-... for anchors)",
    ]
    assert "unknown key" in problems(tmp_path, setting="y\n    x-a: 1")[0]


def test_an_anchor_is_bounded(tmp_path: Path) -> None:
    head = "x-0: &a0 [1,2,3,4,5,6,7,8,9,10]\n" + "".join(
        f"x-{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 6)
    )
    assert "more than 20000 values" in problems(tmp_path, head=head)[0]


def test_the_cases_of_the_schema_are_those_of_yaml_11() -> None:
    """PyYAML itself alters what the test above lists."""
    for written, read in ALTERED:
        assert json.dumps(yaml.safe_load(written)) == read[11:]
