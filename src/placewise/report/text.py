"""Tables for the console, which read as well in a log file: plain text, no colours."""

from __future__ import annotations

import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from placewise.report.glossary import SCORES, Scores, number, share

QUIET = 10.0
"""Seconds between lines of progress where there is no terminal."""


def printable(words: str) -> str:
    r"""Words without anything that steers a terminal or turns the direction of writing.

    Example:
        >>> printable("nose\x1b[31m \u202egnp")
        'nose\\x1b[31m \\u202egnp'
    """
    if words.isprintable():
        return words
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return "".join(
        letter.encode("unicode_escape").decode()
        if unicodedata.category(letter) in hidden
        else letter
        for letter in words
    )


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


def scores_table(scores: Scores) -> str:
    """What `metrics.json` holds, each number with its meaning, then the points.

    Example:
        >>> print(scores_table({"mean_error_px": 1.934, "split": "test", "images": 23}))
        23 test images
        <BLANKLINE>
        mean error  1.93 px  distance from a keypoint to the labelled place, ...
    """
    rows = [
        (score.name, score.shown(scores), score.meaning)
        for score in SCORES
        if score.value(scores) is not None
    ]
    parts = [f"{scores.get('images', '?')} {scores.get('split', '')} images"]
    parts += [table(["", "", ""], rows, numbers=[1])] if rows else ["no score could be measured"]
    if scores.get("by_point"):
        parts.append(points_table(scores["by_point"]))
    if scores.get("by_border_distance"):
        parts.append(border_table(scores["by_border_distance"]))
    return "\n\n".join(parts)


def points_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Errors of each point.

    Args:
        rows: `by_point` of `metrics.json`.

    Example:
        >>> print(points_table([{"point": "nose", "count": 9, "mean_error_px": 1.5,
        ...     "median_error_px": 1.25, "p95_error_px": 4.0}]))
        point  labels  mean px  median px  95 % px
        ──────────────────────────────────────────
        nose        9      1.5       1.25        4.0
    """
    keys = ("mean_error_px", "median_error_px", "p95_error_px")
    cells = [
        [row["point"], f"{row['count']:,}", *(number(row.get(key)) for key in keys)] for row in rows
    ]
    return table(["point", "labels", "mean px", "median px", "95 % px"], cells, numbers=range(1, 5))


def border_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Errors by distance from the border.

    Args:
        rows: `by_border_distance` of `metrics.json`; shares are of half the shorter side.

    Example:
        >>> print(border_table([{"from_share": 0.0, "to_share": 0.1, "count": 0,
        ...     "mean_error_px": None}]))
        from the border  labels  mean px
        ────────────────────────────────
        0 % to 10 %           0        –
        (distance as a share of half the shorter side: 0 % is the border, 100 % the middle)
    """
    cells = [
        [
            f"{share(row['from_share'])} to {share(row['to_share'])}",
            f"{row['count']:,}",
            number(row["mean_error_px"]),
        ]
        for row in rows
    ]
    found = table(["from the border", "labels", "mean px"], cells, numbers=[1, 2])
    note = "(distance as a share of half the shorter side: 0 % is the border, 100 % the middle)"
    return f"{found}\n{note}"


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
