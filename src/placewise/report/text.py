"""Tables for the console, which read as well in a log file: plain text, no colours."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence

from placewise.wording import printable

WIDEST, READABLE = 100, 30
"""Columns of a terminal that a table fills at most by wrapping its last column, and the least
width of that column."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Rows in aligned columns.

    Args:
        header: one word for each column; empty words need no line of their own.
        rows: as many cells each; a long last cell is wrapped.
        numbers: columns that are aligned to the right.

    Example:
        >>> print(table(["point", "px"], [["nose", "1.5"], ["tail", "12"]], numbers=[1]))
        point   px
        ──────────
        nose   1.5
        tail    12
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    lines = [[*header], *cells] if any(header) else cells
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    room = WIDEST - sum(widths[:-1]) - 2 * len(widths[:-1])
    if len(lines[0]) - 1 not in numbers and READABLE <= room < widths[-1]:
        lines = [part for line in lines for part in _wrapped(line, room)]
        widths[-1] = room
    text = [
        "  ".join(
            _padded(cell, width, column in numbers)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    if any(header):
        text.insert(1, "─" * max(map(_width, text)))
    return "\n".join(text)


def _wrapped(line: Sequence[str], room: int) -> list[list[str]]:
    """A line as several, where its last cell has no room in one."""
    first, *more = textwrap.wrap(line[-1], room) or [""]
    return [[*line[:-1], first], *([""] * (len(line) - 1) + [part] for part in more)]


def _width(words: str) -> int:
    """Columns that a terminal gives to words: two for a wide letter, none for an accent."""
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in words
    )


def _padded(words: str, width: int, right: bool) -> str:
    space = " " * (width - _width(words))
    return space + words if right else words + space
