# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Text of a summary: widths in a terminal, columns, numbers of slots, durations. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone

from ...module_utils._plain_text import plain_line

WIDTH = 120  # columns of a summary that is not shown on a terminal
CELL = 48  # columns of one cell, except for the last of a row, that are never cut
LAST = 20  # columns that the last cell of a row has at least
LINES = 4  # of one text that is wrapped
ROWS = 16  # of a table, so that a summary fits on a screen
GAP = "  "
CUT = "..."
REST = "... (-v shows the rest)"  # the result, which -v prints, has the whole text
_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def width_of(text: str) -> int:
    """Return the number of columns that a terminal needs for the text. Wide characters need two."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Me", "Mn", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def cut(text: str, width: int) -> str:
    """Return the text, cut so that it needs at most ``width`` columns. A text that was cut ends with dots."""
    if width_of(text) <= width:
        return text
    kept, used = "", width_of(CUT)
    for character in text:
        used += _columns(character)
        if used > width:
            break
        kept += character
    return kept + CUT


def wrapped(text: str, width: int) -> list[str]:
    """Return the text in lines of at most ``width`` columns, broken at spaces. A longer word is a line of its own.

    Further lines begin with the mark of the first one and are indented below it. Of a long text, the last line says
    where the rest is.
    """
    mark = "!" if text.startswith("!") else ""
    head = text[: len(text) - len(text[len(mark) :].lstrip())]
    indent = f"{head}{GAP}"
    lines: list[str] = []
    current, empty = head, True
    for word in text[len(head) :].split():
        if not empty and width_of(current) + 1 + width_of(word) > width:
            lines.append(current)
            current, empty = indent, True
        current, empty = (f"{current}{word}" if empty else f"{current} {word}"), False
    lines.append(current)
    if len(lines) > LINES:
        kept = cut(lines[LINES - 1], width - len(REST)).removesuffix(CUT)
        return [*lines[: LINES - 1], f"{kept}{REST}"]
    return lines


def table(rows: Sequence[Sequence[str]], width: int = WIDTH) -> list[str]:
    """Return lines with the cells of each row in columns, indented by two spaces. Columns without text are left out.

    The last cell of a row is wrapped. Others are cut only where the last one would have too few columns, and then a
    line says where the rest is.

    Args:
        rows: of equal length; the first one has the headings. The texts may come from outside.
        width: columns of the terminal.
    """
    plain = [[plain_line(cell) for cell in row] for row in rows]
    used = [number for number in range(len(plain[0])) if any(row[number] for row in plain[1:])]
    if not used:
        return []
    last = [row[used[-1]] for row in plain]
    natural = [max(width_of(row[number]) for row in plain) for number in used[:-1]]
    room = width - len(GAP) * len(used)
    widths = _narrowed(natural, room - min(LAST, max(map(width_of, last))))
    room = max(LAST, room - sum(widths))
    lines = []
    for row, text in zip(plain, last, strict=True):
        cells = [_padded(cut(row[number], wide), wide) for number, wide in zip(used, widths, strict=False)]
        first, *more = wrapped(text, room) if width_of(text) > room else [text]
        lines.append((GAP + GAP.join([*cells, first])).rstrip())
        lines += [" " * (sum(widths) + len(GAP) * len(used)) + line.strip() for line in more]
    return lines if widths == natural else [*lines, f"  {REST}"]


def _narrowed(widths: Sequence[int], room: int) -> list[int]:
    """Return widths of columns that fit, the widest narrowed first, but none to less than ``CELL``."""
    found = list(widths)
    while found and sum(found) > room and max(found) > CELL:
        widest = found.index(max(found))
        found[widest] = max(CELL, found[widest] - (sum(found) - room))
    return found


def _padded(text: str, width: int) -> str:
    return text + " " * (width - width_of(text))


def numbers(values: Iterable[int]) -> str:
    """Return numbers as ranges, such as ``0-2, 5``."""
    spans: list[list[int]] = []
    for value in sorted(set(values)):
        if spans and spans[-1][1] == value - 1:
            spans[-1][1] = value
        else:
            spans.append([value, value])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def slots(values: Iterable[int]) -> str:
    """Return the slots as text, such as ``slots 0-2``. ``values``: at least one."""
    found = set(values)
    return f"{'slot' if len(found) == 1 else 'slots'} {numbers(found)}"


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun, such as ``1 image`` or ``2 images``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """Return a duration for people in at most two units, such as ``9.5 s``, ``1 min 35 s`` or ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.3g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        parts = ((whole // 60, "min"), (whole % 60, "s"))
    elif whole < 86400:
        parts = ((whole // 3600, "h"), (whole % 3600 // 60, "min"))
    else:
        parts = ((whole // 86400, "d"), (whole % 86400 // 3600, "h"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def age(created: str | None, now: float) -> str:
    """Return how old something is in its largest unit, such as ``5 min``; "" if that is not known.

    Args:
        created: ISO 8601.
        now: seconds since the epoch.
    """
    found = _read(created or "")
    if found is None:
        return ""
    seconds = now - found.timestamp()
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def moment(text: str) -> str:
    """Return a time of ISO 8601 for people, such as ``2026-01-30 09:00 UTC``. Any other text is returned as it is."""
    found = _read(text)
    return f"{found:%Y-%m-%d %H:%M} UTC" if found else text


def _read(text: str) -> datetime | None:
    """Return a time in UTC, also if the text names no zone."""
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (OverflowError, ValueError):
        return None
