"""Numbers in a table of text: a column for each channel of a signal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from placewise.errors import ImageError
from placewise.readers import Facts, Reader

TIMES = ("time", "t", "seconds", "time_s", "time (s)")
"""Names of a column that says when a sample was taken, in s, in small letters."""

LARGEST = 1 << 30
"""Bytes of a table, at most."""

LONGEST = 1 << 20
"""Characters of a row, at most."""

EVEN = 0.01
"""Share by which steps in time may differ."""


class Text(Reader):
    """A table of numbers (`.csv`, `.tsv`): a row for each sample, a column for each channel.

    Between cells are commas, or semicolons or tabs, with which commas may be decimal. A first line
    that is not of numbers names the columns. A column `time` or `t` in seconds says how far samples
    are apart and is no channel.
    """

    endings = (".csv", ".tsv")
    axes = (1,)
    what = "a table with a row of numbers for each sample"

    def takes(self, path: Path) -> bool:
        """A table whose second line is of numbers alone: not one of labels."""
        if not super().takes(path):
            return False
        try:
            with path.open(encoding="utf-8-sig") as file:
                file.readline(1 << 20)
                second = file.readline(1 << 20)
        except (OSError, UnicodeDecodeError):
            return False
        return not any(_no_number(cell) for cell in re.split("[,;\t]", second or "0"))

    def look(self, path: Path) -> Facts:
        """See `Reader.look`."""
        names, numbers = _table(path)
        values = _channels(names, numbers)
        return Facts((len(values),), values.shape[1], _spacing(path, names, numbers))

    def values(self, path: Path) -> NDArray[Any]:
        """See `Reader.values`."""
        return _channels(*_table(path))


def _table(path: Path) -> tuple[list[str], NDArray[Any]]:
    """Names of the columns, and (rows, columns) numbers."""
    if path.stat().st_size > LARGEST:
        raise ImageError(f"{path}: is larger than {LARGEST >> 30} GiB; save it as .npz")
    with path.open(encoding="utf-8-sig") as file:
        first = next(_rows(file), "")
        mark = next((mark for mark in ";\t" if mark in first), ",")  # commas may be decimal
        cells = [cell.strip().strip('"').lower() for cell in _pointed(first, mark).split(mark)]
        named = any(_no_number(cell) for cell in cells)
        if not named:
            file.seek(0)
        rows = (_pointed(row, mark) for row in _rows(file) if row.partition("#")[0].strip())
        begin = next(rows, None)
        if begin is None:
            raise ValueError("it holds no row of numbers")
        numbers = np.loadtxt(chain([begin], rows), delimiter=mark, ndmin=2, encoding="utf-8")
    names = cells if named else [str(k) for k in range(numbers.shape[1])]
    if len(names) != numbers.shape[1]:
        raise ValueError(f"{len(names)} columns are named, and rows have {numbers.shape[1]}")
    return names, numbers


def _rows(file: TextIO) -> Iterator[str]:
    """The lines of a table, of which none may fill the memory."""
    while line := file.readline(LONGEST + 1):
        if len(line) > LONGEST:
            raise ValueError(f"a row has more than {LONGEST:,} characters")
        yield line


def _pointed(row: str, mark: str) -> str:
    """A row with decimal points; commas are decimal where another mark is between cells."""
    return row if mark == "," or "." in row else row.replace(",", ".")


def _no_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return True
    return False


def _channels(names: list[str], numbers: NDArray[Any]) -> NDArray[Any]:
    return numbers[:, [k for k, name in enumerate(names) if name not in TIMES]]


def _spacing(path: Path, names: list[str], numbers: NDArray[Any]) -> tuple[float, ...] | None:
    """Seconds from sample to sample, where a column says them."""
    column = next((k for k, name in enumerate(names) if name in TIMES), None)
    if column is None or len(numbers) < 2:
        return None
    steps = np.diff(numbers[:, column])
    step = float(np.median(steps))
    if not step > 0 or np.abs(steps - step).max() > EVEN * step:
        raise ImageError(
            f"{path}: its samples are not evenly apart in time ({steps.min():g} to "
            f"{steps.max():g} s); bring them to an even grid, or take the column out"
        )
    return (step,)
