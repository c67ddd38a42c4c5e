# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import gzip
import json
import os

import hypothesis.strategies as st
import pytest
from ansible_collections.immutable.infra.plugins.module_utils import _manifest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImageError
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.manifest import Manifest
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.search import MIN_LENGTH, needle_forms
from hypothesis import given

PATHS = st.binary(min_size=1, max_size=20).map(lambda name: "/" + os.fsdecode(name))
COLUMNS = {
    "kind": st.sampled_from(["file", "dir", "link"]),
    "mode": st.integers(0, 0o7777).map("{:04o}".format),
    "owner": st.integers(0, 2**32 - 1),
    "group": st.integers(0, 2**32 - 1),
    "size": st.integers(0, 2**50),
    "content": st.binary(max_size=20).map(os.fsdecode),
}
ROWS = st.tuples(*COLUMNS.values())
XATTRS = st.none() | st.dictionaries(
    PATHS, st.dictionaries(st.text(max_size=9), st.text("0123456789abcdef")), max_size=3
)
OPTIONS = st.none() | st.dictionaries(PATHS, st.lists(st.text(max_size=8), max_size=3).map(tuple), max_size=3)


@given(st.dictionaries(PATHS, ROWS, max_size=5), st.lists(PATHS, max_size=3), XATTRS, OPTIONS)
def test_a_manifest_keeps_any_names(
    files: dict[str, tuple[str, str, int, int, int, str]],
    covers: list[str],
    xattrs: dict[str, dict[str, str]] | None,
    options: dict[str, tuple[str, ...]] | None,
) -> None:
    manifest = Manifest("sha256:aa", files, {"0": "00"}, tuple(covers), xattrs=xattrs, options=options)
    copy = Manifest.from_gzip(manifest.to_gzip())
    assert copy == manifest
    assert copy.to_gzip() == manifest.to_gzip()


def read_or_refused(data: bytes) -> Manifest | None:
    """The manifest, or None if it was refused with an error that says what to do."""
    try:
        return Manifest.from_gzip(data)
    except ImageError as error:
        assert "bake the image again" in error.message
        return None


@given(st.binary(max_size=100))
def test_any_bytes_are_a_manifest_or_cause_one_clear_error(data: bytes) -> None:
    read_or_refused(data)


def _json(leaves: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(leaves, max_size=3) | st.dictionaries(st.text(max_size=5), leaves, max_size=3)


DOCUMENTS = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), _json, max_leaves=5)
KEYS = ("schema", "digest", "files", "boot", "covers", "data", "writable", "xattrs", "options")


@given(st.fixed_dictionaries({"schema": st.just(1) | DOCUMENTS}, optional=dict.fromkeys(KEYS[1:], DOCUMENTS)))
def test_any_json_is_a_manifest_or_causes_one_clear_error(document: dict[str, object]) -> None:
    read_or_refused(gzip.compress(json.dumps(document).encode()))


@given(st.binary(min_size=1, max_size=3), st.integers(0, 200))
def test_a_damaged_manifest_causes_one_clear_error(damage: bytes, at: int) -> None:
    manifest = Manifest("sha256:aa", {"/a": ("file", "0644", 0, 0, 1, "b" * 64)}, {"0": "00"})
    whole = manifest.to_gzip()
    at %= len(whole)
    assert read_or_refused(whole[:at] + damage + whole[at + len(damage) :]) in (None, manifest)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"schema":' * 50_000])
def test_a_manifest_that_is_nested_deeply_causes_one_clear_error(text: str) -> None:
    with pytest.raises(ImageError, match="nested too deeply"):
        Manifest.from_gzip(gzip.compress(text.encode()))


def test_a_manifest_is_not_unpacked_beyond_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_manifest, "MAX_BYTES", 1000)
    with pytest.raises(ImageError, match="more than 1000 bytes"):
        Manifest.from_gzip(gzip.compress(b" " * 10_000_000))


@given(st.binary(max_size=60))
def test_any_secret_that_is_long_enough_is_searched_for_verbatim(secret: bytes) -> None:
    searched = [form for _name, form in needle_forms({"s": secret})]
    assert all(len(form) >= MIN_LENGTH for form in searched)
    assert (secret.strip() in searched) == (len(secret.strip()) >= MIN_LENGTH)
