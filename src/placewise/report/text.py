"""Tables for the console, which read as well in a log file: plain text, no colours."""

from __future__ import annotations

import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from placewise.wording import printable

QUIET = 10.0
"""Seconds between lines of progress where there is no terminal."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Rows in aligned columns.

    Args:
        header: one word for each column; empty words need no line of their own.
        rows: as many cells each.
        numbers: columns that stand to the right.

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


@contextmanager
def counting(what: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show progress on standard error: a bar on a terminal, a line now and then elsewhere.

    Args:
        what: what is counted, e.g. "images".
        quiet: show nothing.

    Yields:
        A function to be told (done, total).

    Example:
        >>> with counting("images", quiet=True) as progress:
        ...     progress(1, 2)
    """
    if quiet:
        yield lambda done, total: None
    elif sys.stderr.isatty():
        with _bar(what) as progress:
            yield progress
    else:
        yield _lines(what)


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(True))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(what: str) -> Callable[[int, int], None]:
    begin = last = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > QUIET and done:
            last = now
            left = (now - begin) * (total - done) / done
            print(f"{done} of {total} {what}, about {left:.0f} s left", file=sys.stderr, flush=True)

    return progress


def _width(words: str) -> int:
    """Columns that a terminal gives to words: two for a wide letter, none for an accent."""
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in words
    )


def _padded(words: str, width: int, right: bool) -> str:
    space = " " * (width - _width(words))
    return space + words if right else words + space
