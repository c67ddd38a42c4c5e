# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A variable's value in a build is the value that was given, or it is refused before Packer starts."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import unicodedata
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.errors import PackerError
from ansible_collections.immutable.infra.plugins.module_utils._packer.runner import Packer
from ansible_collections.immutable.infra.plugins.module_utils._packer.variables import as_text, pass_variables
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

needs_packer = pytest.mark.skipif(not shutil.which("packer"), reason="packer is not installed")
HCL2, LEGACY = "values.pkr.hcl", "values.json"
# What HCL, its strings in JSON, templates of Packer, shells and logs give a meaning of their own.
PIECES = [
    *("${", "%{", "$${", "}", "{", "\\", "\\u0024", '"', "'", "`", "\n", "\r\n", "\t", "\b", "\f", "\x01", "\x7f", " "),
    *(
        "${var.text}",
        "%{ if true }",
        "//",
        "#",
        "=",
        ",",
        "%!(PACKER_COMMA)",
        "é",
        "\u2028",
        "\U0001f600",
        "\ufeff",
        "x",
    ),
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.characters(exclude_categories=["Cs"], min_codepoint=1)).map("".join)
VALUES = TEXTS.filter(lambda text: "{{" not in text and unicodedata.is_normalized("NFC", text))
SEPARATOR = "\x01--\x01"
SOME = settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


def hcl2_template(texts: int, lists: int) -> str:
    names = [*(f"text{number}" for number in range(texts)), *(f"list{number}" for number in range(lists))]
    kinds = {"text": "string", "list": "list(map(string))"}
    blocks = "".join(f'variable "{name}" {{\n  type = {kinds[name[:4]]}\n}}\n' for name in names)
    values = ", ".join(f"var.{name}" for name in names)
    return blocks + (
        f'source "file" "all" {{\n  content = jsonencode([{values}])\n  target = "out"\n}}\n'
        'build {\n  sources = ["source.file.all"]\n}\n'
    )


def legacy_template(texts: int) -> str:
    names = [f"text{number}" for number in range(texts)]
    content = SEPARATOR.join(f"{{{{user `{name}`}}}}" for name in names)
    return json.dumps(
        {
            "variables": dict.fromkeys(names, ""),
            "builders": [{"type": "file", "content": content, "target": "out"}],
        }
    )


def numbered(prefix: str, values: list[Any]) -> dict[str, Any]:
    return {f"{prefix}{number}": value for number, value in enumerate(values)}


def built(template: str, text: str, **passed: dict[str, Any]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, template).write_text(text, encoding="utf-8")
        Packer().build(Path(folder, template), **passed)  # type: ignore[arg-type]
        return Path(folder, "out").read_bytes().decode()


@needs_packer
@SOME
@given(st.lists(VALUES, min_size=40, max_size=40), st.booleans())
@example([*PIECES, "x" * 100_000], True)
@example([*PIECES, "x" * 1_000_000], False)
def test_texts_arrive_by_hcl2(texts: list[str], secret: bool) -> None:
    lists = [[{text: text}] for text in texts if len(text) < 10_000]
    values = {**numbered("text", texts), **numbered("list", lists)}
    passed = {"secrets" if secret else "vars": values}
    assert json.loads(built(HCL2, hcl2_template(len(texts), len(lists)), **passed)) == [*texts, *lists]


@needs_packer
@SOME
@given(st.lists(VALUES, min_size=40, max_size=40), st.booleans())
@example([*PIECES, "e\u0301"], True)
@example([*PIECES, "x" * 1_000_000], False)
def test_texts_arrive_by_a_json_template(texts: list[str], secret: bool) -> None:
    passed = {"secrets" if secret else "vars": numbered("text", texts)}
    assert built(LEGACY, legacy_template(len(texts)), **passed).split(SEPARATOR) == texts


@needs_packer
@pytest.mark.parametrize("text", ["{{timestamp}}", "{{ .Vars }}", "{{env `HOME`}}", "{{"])
def test_packer_itself_evaluates_what_is_refused(tmp_path: Path, text: str) -> None:
    """If a Packer leaves such a value alone, the refusal can go."""
    (tmp_path / "vars.json").write_text(json.dumps({"text0": text}), encoding="utf-8")
    (tmp_path / HCL2).write_text(hcl2_template(1, 0).replace("jsonencode([var.text0])", "var.text0"), encoding="utf-8")
    try:
        Packer().build(tmp_path / HCL2, var_files=[tmp_path / "vars.json"])
    except PackerError:
        return
    assert (tmp_path / "out").read_text(encoding="utf-8") != text


REFUSED = [
    ("a{{b", r"Packer evaluates \{\{ in the value as a template"),
    ({"{{": 1}, r"Packer evaluates \{\{ in the value as a template"),
    (["a\0b"], "contains NUL"),
    ("\ud800", "not valid Unicode"),
    ("\udcff", "not valid Unicode"),
    (float("inf"), "the number inf is not finite"),
    ([date(2024, 2, 3)], "of the type date"),
    (b"x", "of the type bytes"),
    ({True: 1}, "a key is of the type bool"),
    ({date(2024, 2, 3): 1}, "a key is of the type date"),
]


@pytest.mark.parametrize("template", [HCL2, LEGACY])
@pytest.mark.parametrize("kind", ["vars", "secrets"])
@pytest.mark.parametrize(("value", "problem"), REFUSED)
def test_what_would_not_arrive_is_refused_by_its_name(template: str, kind: str, value: Any, problem: str) -> None:
    given = {"fine": "x", "wrong": value}
    with pytest.raises(PackerError, match=f"^variable wrong: .*{problem}") as caught:
        pass_variables(template, *((given, {}) if kind == "vars" else ({}, given)))
    assert "a{{b" not in str(caught.value) and "\n" not in str(caught.value)


@needs_packer
@pytest.mark.parametrize("kind", ["vars", "secrets"])
@pytest.mark.parametrize(("value", "problem"), REFUSED)
def test_no_packer_is_started_for_what_is_refused(tmp_path: Path, kind: str, value: Any, problem: str) -> None:
    (tmp_path / LEGACY).write_text(legacy_template(1), encoding="utf-8")
    with pytest.raises(PackerError, match=problem):
        Packer().build(tmp_path / LEGACY, **{kind: {"text0": value}})
    assert not (tmp_path / "out").exists()


def test_what_only_one_kind_of_template_changes_is_refused_there() -> None:
    with pytest.raises(PackerError, match="HCL2 would change the value to Unicode's form NFC"):
        pass_variables(HCL2, {}, {"a": "e\u0301"})
    with pytest.raises(PackerError, match="an item contains a comma"):
        pass_variables(LEGACY, {"a": ["x,y"]}, {})


@pytest.mark.parametrize("template", [HCL2, LEGACY])
def test_a_secret_is_as_long_as_the_environment_allows(template: str) -> None:
    longest = 131072 - len("PKR_VAR_long=") - 1
    shutil.rmtree(pass_variables(template, {}, {"long": "x" * longest}).folder, ignore_errors=True)
    with pytest.raises(PackerError, match=rf"variable long: the secret has {longest + 1} bytes \(allowed: {longest}, "):
        pass_variables(template, {}, {"long": "x" * (longest + 1)})


HCL_ESCAPE = re.compile(r'\\(?:u([0-9a-f]{4})|(["\\nrt]))')


@given(TEXTS)
@example("\\${x}")
@example("$${")
@example("\b\f\x1f")
@example("\U0001f600")
def test_json_is_also_an_hcl_expression_of_the_same_text(text: str) -> None:
    written = as_text([text])
    assert json.loads(written) == [text]
    inner = written[2:-2]
    assert "${" not in inner and "%{" not in inner
    escapes = {'"': '"', "\\": "\\", "n": "\n", "r": "\r", "t": "\t"}
    rest = HCL_ESCAPE.sub("", inner)
    assert "\\" not in rest and '"' not in rest  # HCL knows each escape
    assert HCL_ESCAPE.sub(lambda found: escapes.get(found[2]) or chr(int(found[1], 16)), inner) == text
