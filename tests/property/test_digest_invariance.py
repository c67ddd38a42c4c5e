# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The digest depends on the content of the inputs, not on place, order, permissions, times or ignored files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ansible_collections.immutable.infra.plugins.plugin_utils._definition.digest import bake_inputs, digest_of
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from hypothesis import given, settings
from hypothesis import strategies as st

TEXT = """\
schema: 1
service: shop
version: "1"
image: {base: {debian: bookworm}, provision: {playbook: provision.yml}}
health: {tcp: {port: 80}}
targets: {local: {provider: simulated}}
"""
NAMES = st.sampled_from(["a", "b", "sub/a", "sub/b", "sub/deep/a", "é", "A"])
FILES = st.dictionaries(NAMES, st.tuples(st.binary(max_size=20), st.booleans()), min_size=1)
IGNORED = st.sets(
    st.sampled_from(
        [
            ".git/HEAD",
            "a~",
            ".a.swp",
            "#a#",
            ".#a",
            "a.bak",
            "sub/a.orig",
            "__pycache__/a.pyc",
            ".DS_Store",
            ".cache/x",
            ".hg/x",
        ]
    )
)


def digest(files, *, order=lambda names: names, ignored=(), mode=0o644, time=None) -> str:
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        contents = {
            "immutable.yml": (TEXT.encode(), False),
            "provision.yml": (b"[]", False),
            **files,
            **dict.fromkeys(ignored, (b"x", True)),
        }
        for name in order(list(contents)):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents[name][0])
            path.chmod(mode | 0o100 if contents[name][1] else mode)
            if time is not None:
                os.utime(path, (time, time))
        definition = load_definition(folder)
        return digest_of(bake_inputs(definition, definition.target("local"), {"kind": "debian"}))


@settings(deadline=None, max_examples=20)
@given(
    files=FILES,
    random=st.randoms(use_true_random=False),
    ignored=IGNORED,
    mode=st.sampled_from([0o600, 0o640, 0o664]),
    time=st.integers(0, 2**31),
)
def test_place_order_ignored_files_modes_and_times_do_not_change_the_digest(files, random, ignored, mode, time):
    shuffled = digest(
        files, order=lambda names: random.sample(names, len(names)), ignored=ignored, mode=mode, time=time
    )
    assert shuffled == digest(files)


@settings(deadline=None, max_examples=20)
@given(FILES, st.data())
def test_every_byte_name_and_executable_bit_changes_the_digest(files, data):
    name = data.draw(st.sampled_from(sorted(files)))
    content, executable = files[name]
    changes = [
        {**files, name: (content + b"x", executable)},
        {**files, name: (content, not executable)},
        {**{other: file for other, file in files.items() if other != name}, f"{name}x": files[name]},
        {other: file for other, file in files.items() if other != name},
    ]
    assert len({digest(variant) for variant in [files, *changes]}) == 5
