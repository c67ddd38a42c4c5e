# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names and paths in the forms of the files that the seal writes.

Each function returns a text that its reader turns back into exactly what was given. Bytes of a name that are not UTF-8
are Python's surrogate escapes.
"""

from __future__ import annotations

import os
import string

_FSTAB_ESCAPED = " \t\n\r\\"
_WORD_PLAIN = frozenset(f"{string.ascii_letters}{string.digits}/._-+@:,=~")
_UNIT_PLAIN = frozenset(f"{string.ascii_letters}{string.digits}:_.")


def fstab_field(text: str) -> str:
    """Return a field of /etc/fstab. A number sign needs no escape except at the start of a line."""
    return "".join(f"\\{ord(char):03o}" if char in _FSTAB_ESCAPED else char for char in text)


def systemd_word(path: str) -> str:
    """Return a path as one word of a line of systemd: in tmpfiles.d, or in a list of paths of a unit.

    Only a backslash and a quotation mark are escaped, within quotation marks, because systemd 252 does not read
    ``\\x20`` and its like in such a word. The text must have no line ends.
    """
    text = path.replace("%", "%%")
    if all(char in _WORD_PLAIN or char == "%" for char in text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def tmpfiles_argument(text: str) -> str:
    """Return the last field of a line of tmpfiles.d. It reaches to the end of the line, and quotes mean nothing."""
    escaped = "".join(f"\\x{ord(char):02x}" if char == "\\" or ord(char) < ord(" ") else char for char in text).replace(
        "%", "%%"
    )
    if text == "-":  # means no argument
        return "\\x2d"
    if escaped.startswith(" "):
        escaped = "\\x20" + escaped[1:]
    if escaped.endswith(" "):
        escaped = escaped[:-1] + "\\x20"
    return escaped


def unit_instance(name: str) -> str:
    """Return the instance of a unit's name, as systemd-escape does."""
    return "".join(
        "-"
        if char == "/"
        else char
        if char in _UNIT_PLAIN and not (char == "." and number == 0)
        else "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))
        for number, char in enumerate(name)
    )
