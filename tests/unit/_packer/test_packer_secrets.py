# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Redaction, and the functions for the command line."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import shlex
import stat
import urllib.parse
import xml.sax.saxutils
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.errors import PackerError
from ansible_collections.immutable.infra.plugins.module_utils._packer.events import Artifact, Ui, parse_line
from ansible_collections.immutable.infra.plugins.module_utils._packer.flags import arguments
from ansible_collections.immutable.infra.plugins.module_utils._packer.redact import MASK, Redactor
from ansible_collections.immutable.infra.plugins.module_utils._packer.task import parse_timeout
from ansible_collections.immutable.infra.plugins.module_utils._packer.variables import pass_variables
from ansible_collections.immutable.infra.plugins.module_utils._secret_forms import secret_forms
from hypothesis import example, given
from hypothesis import strategies as st

SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Z")), min_size=6, max_size=30)


@given(SECRETS, st.binary(max_size=5), st.binary(max_size=5))
def test_all_forms_of_a_secret_are_redacted(secret: str, before: bytes, after: bytes) -> None:
    redactor = Redactor([secret])
    assert secret not in redactor.text(f"a {secret} b").replace(MASK, "")
    for form in (json.dumps(secret), urllib.parse.quote(secret), base64.b64encode(secret.encode()).decode()):
        assert MASK in redactor.text(form)
    assert MASK in redactor.text(base64.b64encode(before + secret.encode() + after).decode())


def test_each_line_of_a_key_is_redacted() -> None:
    assert Redactor(["BEGIN\nabcdef\nEND"]).text("    x: abcdef") == f"    x: {MASK}"


ENCODERS = {
    "verbatim": str,
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps(json.dumps({"k": text})),
    "UTF-8 JSON in JSON": lambda text: json.dumps(json.dumps([text], ensure_ascii=False), ensure_ascii=False),
    "XML": xml.sax.saxutils.escape,
    "XML attribute": lambda text: xml.sax.saxutils.escape(text, {"'": "&apos;", '"': "&quot;"}),
    "HTML": html.escape,
    "shell": shlex.quote,
    "shell in JSON": lambda text: json.dumps(["sh", "-c", f"login {shlex.quote(text)}"]),
    "trace of a shell": lambda text: "'" + text.replace("'", "'\\''") + "'",
    "percent": urllib.parse.quote,
    "percent in lower case": lambda text: re.sub("%..", lambda found: found[0].lower(), urllib.parse.quote(text)),
    "form": lambda text: urllib.parse.urlencode({"password": text}),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "bytes": lambda text: text.encode().hex(" "),
    "UTF-16": lambda text: text.encode("utf-16-le").decode("utf-8", "replace"),
    "repr": repr,
    "repr of bytes": lambda text: repr(text.encode()),
    "repr in ASCII": ascii,
    "Packer": lambda text: text.replace(",", "%!(PACKER_COMMA)"),
    "colored": lambda text: f"{text[:3]}\x1b[31m{text[3:]}",
    **{
        f"Base64 at {offset}": lambda text, offset=offset: base64.b64encode(
            b"abc"[:offset] + text.encode() + b"z"
        ).decode()
        for offset in range(3)
    },
    **{
        f"Base64 of UTF-16 at {offset}": lambda text, offset=offset: base64.b64encode(
            ("ab"[:offset] + text + "z").encode("utf-16-le")
        ).decode()
        for offset in range(2)
    },
    "Base64 of JSON": lambda text: base64.b64encode(json.dumps({"k": text}).encode()).decode(),
    "percent of Base64": lambda text: urllib.parse.quote(base64.b64encode(text.encode()).decode(), safe=""),
}
SPECIAL = st.text("aZ09\\nrt\"'<>&$%{}(),;!~`*?#+=/@: |-_.äß世🚀", min_size=6, max_size=30).filter(
    lambda text: "*" not in text and text == text.strip()
)


@given(SPECIAL | SECRETS.filter(lambda text: "*" not in text), st.sampled_from(sorted(ENCODERS)))
@example("0000'ß", "repr of bytes")
@example("0000'ß", "repr in ASCII")
def test_no_form_of_a_secret_is_left_in_any_encoding(secret: str, encoder: str) -> None:
    redactor = Redactor([secret])
    shown = redactor.text(f"the login {ENCODERS[encoder](secret)} was refused")
    assert MASK in shown
    forms = {form.decode("utf-8", "replace") for form in secret_forms(secret.encode(), nested=True)}
    assert not [form for form in forms if len(form) >= 6 and form in shown]
    assert redactor.text(shown) == shown


@given(st.lists(SECRETS.filter(lambda text: "*" not in text), min_size=1, max_size=6))
def test_overlapping_secrets_leave_no_rest(secrets: list[str]) -> None:
    chained = "".join(secrets)
    overlapping = [*secrets, chained[1:], chained[: len(chained) - 2], chained[2:9]]
    assert set(Redactor(overlapping).text(f"{chained} and {chained}").replace(" and ", "")) <= {"*"}


def test_packer_shows_a_backslash_and_an_n_as_a_line_end() -> None:
    redactor = Redactor([r"OFFICE\nora7"])
    event = parse_line(r"1700000000,,ui,message,    null: OFFICE\nora7 and\nmore")
    assert isinstance(event, Ui)
    assert redactor.event(event).text == f"    null: {MASK} and\nmore"
    assert redactor.text("    null: OFFICEnora7") == f"    null: {MASK}"  # as a shell shows it without quotes
    assert redactor.text("    null: ora7") == "    null: ora7"  # too short to be a secret of its own


def test_data_is_never_masked() -> None:
    redactor = Redactor(["vagrant", "file.x"])
    artifact = Artifact(1, "file.x", index=0, key="file", values=("0", "/boxes/debian-vagrant.box"))
    assert redactor.event(artifact) == artifact
    ended = parse_line("1700000000,,ui,say,Build 'file.x' finished after 3 seconds.")
    assert ended and redactor.event(ended).build == "file.x"  # type: ignore[attr-defined]


def test_words_of_the_protocol_are_not_redacted() -> None:
    assert Redactor(["error"]).event(Ui(1, "", "error", "an error")) == Ui(1, "", "error", f"an {MASK}")


def test_short_values_are_not_redacted() -> None:
    assert Redactor(["", "ab"]).text("about ab") == "about ab"


def test_hcl2_secrets_are_in_the_environment_and_variables_in_a_private_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    passed = pass_variables("web.pkr.hcl", {"a": [1]}, {"token": "s3cret", "many": ["x"]})
    assert passed.environment == {"PKR_VAR_token": "s3cret", "PKR_VAR_many": '["x"]'}
    (argument,) = passed.arguments
    path = argument.partition("=")[2]
    assert json.loads(Path(path).read_text()) == {"a": [1]}
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(passed.folder).st_mode) == 0o700


def test_a_json_template_takes_strings_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    passed = pass_variables("web.json", {"n": 5, "l": ["a", "b"], "yes": True}, {"token": "s3cret"})
    assert not passed.environment
    assert json.loads((Path(passed.folder) / "vars.pkrvars.json").read_text()) == {
        "n": "5",
        "l": "a,b",
        "yes": "true",
        "token": "s3cret",
    }
    with pytest.raises(PackerError, match="variable m"):
        pass_variables("web.json", {"m": {"k": "v"}}, {})


def test_a_name_in_vars_and_secrets_is_refused() -> None:
    with pytest.raises(PackerError, match="in both vars and secrets: token"):
        pass_variables("web.pkr.hcl", {"token": "a"}, {"token": "b"})


def test_an_option_depends_on_the_version_and_the_command() -> None:
    assert arguments("build", {"only": ["a", "b"], "force": False, "parallel_builds": 0}, "1.14.2") == [
        "-only=a,b",
        "-parallel-builds=0",
    ]
    with pytest.raises(PackerError, match="parallel_builds needs Packer 1.4.1"):
        arguments("build", {"parallel_builds": 2}, "1.4.0")
    with pytest.raises(PackerError, match="validate has no option force"):
        arguments("validate", {"force": True}, "1.6.6")


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("90s", 90), ("1h30m", 5400), (" 1.5m ", 90), ("2d", 172800)]
)
def test_timeouts(text: str, expected: float) -> None:
    assert parse_timeout(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-5", "soon", "5 weeks", "1 2", "1h30"])
def test_an_invalid_timeout_is_refused(text: str) -> None:
    with pytest.raises(
        PackerError, match=r"^timeout: .* is not a duration \(allowed: more than zero: seconds, or numbers"
    ):
        parse_timeout(text)
