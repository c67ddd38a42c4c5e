# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Redaction, and the functions for the command line."""

from __future__ import annotations

import base64
import json
import os
import stat
import urllib.parse
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.errors import PackerError
from ansible_collections.immutable.infra.plugins.module_utils._packer.events import Ui
from ansible_collections.immutable.infra.plugins.module_utils._packer.flags import arguments
from ansible_collections.immutable.infra.plugins.module_utils._packer.redact import MASK, Redactor
from ansible_collections.immutable.infra.plugins.module_utils._packer.task import parse_timeout
from ansible_collections.immutable.infra.plugins.module_utils._packer.variables import pass_variables
from hypothesis import given
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
