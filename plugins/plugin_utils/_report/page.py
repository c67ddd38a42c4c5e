# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The page as HTML: one file with its style and its script, which loads nothing and sends nothing.

Everything from outside is escaped by Jinja2. In addition, the page's own policy allows only its own style and script,
by their checksums.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from .._summary.text import duration, moment

_FOLDER = Path(__file__).parent
_WRITTEN = re.compile(rb'<time id="written"[^>]*>[^<]*</time>')


def page_html(view: Mapping[str, Any], written: str) -> bytes:
    """Return the page in UTF-8.

    Args:
        view: see ``view.page_view``.
        written: when it is written, ISO 8601 in UTC. Nothing else on the page depends on it.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"duration": duration, "moment": moment}
    style, script = _text("page.css"), _text("page.js")
    html = environment.from_string(_text("page.html.j2")).render(
        page=view,
        written=written,
        # These two files are ours. A tag in them would end them, which a test checks.
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        policy=f"default-src 'none'; style-src {_checksum(style)}; script-src {_checksum(script)}; "
        "base-uri 'none'; form-action 'none'",
    )
    return html.encode("utf-8", "replace")


def same_content(before: bytes, after: bytes) -> bool:
    """Whether two pages differ at most in when they were written."""
    return _WRITTEN.sub(b"", before, count=1) == _WRITTEN.sub(b"", after, count=1)


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _checksum(text: str) -> str:
    """The source expression of a text, https://www.w3.org/TR/CSP3/#grammardef-hash-source."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"
