# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Text of a definition that stands for bytes, such as ``SSH-2.0`` or ``\\x00\\x03``. The schema describes it.

One character from U+0000 to U+00FF stands for the byte of that number, and so does one escape. It makes no difference
whether YAML, in double quotes, or this file replaces an escape.
"""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|[rnt0\\])")
_NAMED = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}


def hex_of(text: str) -> str:
    """The bytes that a text stands for, as lowercase hexadecimal digits. The text matches the schema."""
    return _ESCAPE.sub(lambda found: _NAMED.get(found[1]) or chr(int(found[1][1:], 16)), text).encode("latin-1").hex()
