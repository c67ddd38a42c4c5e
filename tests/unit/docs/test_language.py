# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Banned phrases of an earlier vocabulary do not appear in docs, docstrings, comments and messages."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PHRASES = (ROOT / "tests/unit/docs/banned_phrases.txt").read_text(encoding="utf-8").splitlines()
BANNED = [re.compile(rf"\b(?:{line})\b", re.IGNORECASE) for line in PHRASES if line and not line.startswith("#")]
FOLDERS = ("plugins", "roles", "playbooks", "docs", "examples", "bench", "tests", "changelogs", "extensions", "meta")
PROSE = {".md", ".rst", ".yml", ".yaml", ".txt"}
CAPTURED = (
    "tests/unit/_packer/captured",
    "tests/unit/_packer/corpus",
    "tests/unit/golden/data",
    "tests/unit/docs/banned_phrases.txt",
)


def files() -> list[Path]:
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    found += [path for path in ROOT.glob("*") if path.suffix in PROSE]
    names = {path: path.relative_to(ROOT).as_posix() for path in found}
    return sorted(path for path in found if path.suffix in PROSE | {".py"} and not names[path].startswith(CAPTURED))


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a page with their numbers; of Python code, the lines of docstrings, comments and messages."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(source.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from enumerate(node.value.splitlines(), node.lineno)


def hits(path: Path) -> list[str]:
    """Each banned phrase in the file, with its line."""
    return [
        f"{path.name}:{line}: {hit[0]!r} in: {text.strip()[:100]}"
        for line, text in texts(path)
        for pattern in BANNED
        if (hit := pattern.search(text))
    ]


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_banned_phrase(path: Path) -> None:
    found = hits(path)
    assert not found, "say it as style demands:\n" + "\n".join(found)


def test_a_banned_phrase_is_found_in_pages_comments_docstrings_and_messages(tmp_path: Path) -> None:
    phrase = " ".join(("come", "to", "nothing"))
    page, code = tmp_path / "page.md", tmp_path / "code.py"
    page.write_text(f"# Swaps\n\nThey {phrase}.\n", encoding="utf-8")
    code.write_text(
        f'"""They {phrase}."""\nx = 1  # {phrase}\nraise ValueError(f"{{x}} will {phrase}")\n', encoding="utf-8"
    )
    assert [hit.partition(": ")[0] for hit in hits(page)] == ["page.md:3"]
    assert sorted(hit.partition(": ")[0] for hit in hits(code)) == ["code.py:1", "code.py:2", "code.py:3"]
