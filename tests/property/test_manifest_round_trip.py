# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os

import hypothesis.strategies as st
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImageError
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.manifest import Manifest
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.search import MIN_LENGTH, needle_forms
from hypothesis import given, settings

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


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(PATHS, ROWS, max_size=5), st.lists(PATHS, max_size=3), XATTRS)
def test_a_manifest_keeps_any_names(
    files: dict[str, tuple[str, str, int, int, int, str]],
    covers: list[str],
    xattrs: dict[str, dict[str, str]] | None,
) -> None:
    manifest = Manifest("sha256:aa", files, {"0": "00"}, tuple(covers), xattrs=xattrs)
    copy = Manifest.from_gzip(manifest.to_gzip())
    assert copy == manifest
    assert copy.to_gzip() == manifest.to_gzip()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes_are_a_manifest_or_cause_one_clear_error(data: bytes) -> None:
    try:
        Manifest.from_gzip(data)
    except ImageError as error:
        assert "bake the image again" in error.message


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_secret_that_is_long_enough_is_searched_for_verbatim(secret: bytes) -> None:
    searched = [form for _name, form in needle_forms({"s": secret})]
    assert all(len(form) >= MIN_LENGTH for form in searched)
    assert (secret.strip() in searched) == (len(secret.strip()) >= MIN_LENGTH)
