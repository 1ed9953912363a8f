"""The table of DeepLabCut, whichever file it is in: a CSV, or HDF5.

Header rows name the scorer, perhaps the individual, the keypoint, and what a column holds: x, y,
and a likelihood, or `visible` of Lightning Pose. Rows are named by images (in one cell or three),
or by numbers of frames where they are predictions of a video, whose name is that of the file
without its scorer.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from placewise.formats._collect import Collector
from placewise.formats._hdf5 import folders_of, video_there
from placewise.formats._tables import Cell, fitted, read_point, read_score
from placewise.frames import frame_named, frames_of
from placewise.frames.package import parts as parts_of
from placewise.hdf5 import is_hdf5
from placewise.labels import KeypointDataset, Visibility
from placewise.labels.names import shown
from placewise.labels.sources import file_of
from placewise.wording import natural

HEADER = ("scorer", "bodyparts", "coords")
SEVERAL = ("scorer", "individuals", "bodyparts", "coords")

COORDS = ("x", "y", "likelihood", "visible")

UP = 3
"""Levels above the file's folder that are tried as the folder of the images."""

VISIBLE = {"0": Visibility.UNLABELLED, "1": Visibility.ABSENT, "2": Visibility.VISIBLE}
"""What `visible` of Lightning Pose says; of 1 the place is not used in training."""

Rows = list[tuple[int, list[str]]]
"""The cells of each row, with its number in the file."""

_Columns = dict[str, dict[str, dict[str, int]]]
"""For each individual and keypoint the index of its x, y and, perhaps, likelihood or visible."""


def read_labels(collector: Collector, rows: Rows, root: Path | None) -> KeypointDataset:
    """The labels of a table.

    Without a root it is the folder that holds the most images: the file's or one of three above it.

    Raises:
        LabelError: what is wrong in the table.
    """
    words = SEVERAL if len(rows) > 1 and rows[1][1][0].strip() == SEVERAL[1] else HEADER
    header = _header(collector, rows, words)
    named = len(header) > 3 and not any(coord for *_, coord in header[1:3])
    columns, split = _columns(collector, header, rows, 3 if named else 1)
    width = 3 if named else 1
    body = rows[len(words) :]
    if body and not any(map(str.strip, body[0][1][width:])) and _names_index(body[0][1][0]):
        del body[0]
    names = ["/".join(cells[:width]) for _, cells in body]
    scorer = header[width][0] if len(header) > width else ""
    if names and all(name.strip().isdecimal() for name in names):
        video = _video(collector, scorer, [int(name) for name in names], root)
        names = [frame_named(video, int(name)) for name in names]
    elif root is None:
        above = islice(Path(os.path.normpath(collector.path.absolute())).parents, 1, 1 + UP)
        found = collector.holding(names, [collector.path.parent, *above])
        collector.root = found[0] if found else collector.path.parent
    filled = ["".join(cells) for cells in header]
    for name, (line, cells) in zip(names, body, strict=True):
        if not any(map(str.strip, cells[width:])):  # such a row may be cut short
            cells = cells + [""] * (len(filled) - len(cells))
        fit = fitted(collector, line, cells, filled)
        if fit is not None:
            image = collector.image(name, line, "image")
            if split is not None:
                collector.split(image, fit[split], line, "set")
            _read_row(collector, image, line, fit, columns)
    found_parts = dict.fromkeys(part for parts in columns.values() for part in parts)
    return collector.labels(tuple(found_parts))


def _names_index(cell: str) -> bool:
    """Whether a cell names the rows, and is no image and no frame."""
    return "." not in cell and not cell.strip().isdecimal()


def _video(collector: Collector, scorer: str, frames: Sequence[int], root: Path | None) -> str:
    """The video that predictions are of; stops where it cannot be read."""
    stem = collector.path.stem
    stem = stem.partition(scorer)[0] or stem if scorer else stem
    for folder in folders_of(collector.path, root):
        listed = sorted(folder.iterdir(), key=lambda file: natural(file.name))
        found = [file.name for file in listed if file.stem == stem and _holds_frames(file)]
        if found:
            collector.root = folder
            if not video_there(collector, found[0], frames):
                collector.stop()
            return found[0]
    got = f"the rows are frames of a video {shown(stem)}, which is not there"
    todo = f"put it into {root or collector.path.parent}, or name its folder with --root (root=)"
    collector.fault(0, "image", got, todo)
    collector.stop()


def _holds_frames(file: Path) -> bool:
    """Whether a file is a video, or holds images; tables in HDF5 do not."""
    if not file.is_file() or frames_of(file) is None:
        return False
    return bool(parts_of(file)) if is_hdf5(file) else True


def row_names(images: Sequence[str], scored: bool) -> tuple[tuple[str, ...], ...]:
    """The names of rows: numbers of frames for predictions of a video, else paths.

    Paths of three parts have one in each level, as DeepLabCut writes those of `labeled-data`.

    Example:
        >>> row_names(["clip.mp4[3]", "clip.mp4[4]"], scored=True)
        (('3',), ('4',))
        >>> row_names(["labeled-data/clip/a.png"], scored=False)
        (('labeled-data', 'clip', 'a.png'),)
    """
    videos = {file_of(image) for image in images}
    if scored and len(videos) == 1 and not videos & set(images):
        return tuple((image[:-1].rpartition("[")[2],) for image in images)
    split = [tuple(image.split("/")) for image in images]
    return tuple(split) if {len(name) for name in split} == {3} else tuple((i,) for i in images)


def _read_row(
    collector: Collector, image: str | None, line: int, cells: list[str], columns: _Columns
) -> None:
    instance = 0
    for individual, parts in columns.items():
        marks = []
        for name, at in parts.items():
            of = f"{name} of {individual}" if individual else name
            x, y = (Cell(f"{of} {axis}", cells[at[axis]]) for axis in ("x", "y"))
            placed = _placed(collector, image, line, x, y, Cell(of, _cell(cells, at, "visible")))
            if placed:
                score = read_score(_cell(cells, at, "likelihood"))
                marks.append((instance, name, *placed, score))
        if len(columns) == 1 or any(mark[2] >= Visibility.HIDDEN for mark in marks):
            for mark in marks:
                collector.mark(image, mark)
            instance += 1


def _cell(cells: list[str], at: dict[str, int], column: str) -> str:
    return cells[at[column]] if column in at else ""


def _placed(
    collector: Collector, image: str | None, line: int, x: Cell, y: Cell, visible: Cell
) -> tuple[Any, ...] | None:
    """Visibility and place of a keypoint; see `read_point`."""
    said = visible.text.strip().removesuffix(".0")
    if said and said not in VISIBLE:
        got = f"{shown(visible.text)} is no visibility of Lightning Pose"
        collector.fault(line, f"{visible.column} visible", got, "write 0, 1 or 2")
        return None
    state = VISIBLE.get(said, Visibility.VISIBLE)
    if state < Visibility.HIDDEN:
        return state, math.nan, math.nan
    return read_point(collector, image, line, x, y, Cell())


def _header(collector: Collector, rows: Rows, words: Sequence[str]) -> list[tuple[str, ...]]:
    """A tuple of the header's cells for each column; stops where the first rows are no header."""
    todo, many = f"write the rows {', '.join(words)} first", len(words)
    for (line, cells), word in zip(rows, words, strict=False):
        if cells[0].strip() != word:
            got = f"{shown(cells[0])} begins the row, '{word}' should"
            collector.fault(line, "header", got, todo)
    if rows and len(rows) < many:
        got = f"{len(rows)} header rows instead of {many}"
        collector.fault(rows[-1][0], "header", got, todo)
    last = rows[min(many, len(rows)) - 1][0] if rows else 0
    if not rows or any(fault.row <= last for fault in collector.faults):
        collector.stop()
    width = max(len(cells) for _, cells in rows[:many])
    padded = ([*map(str.strip, cells), *[""] * (width - len(cells))] for _, cells in rows[:many])
    header = list(zip(*padded, strict=True))
    while not any(header[-1]):
        del header[-1]
    return header


def _columns(
    collector: Collector, header: list[tuple[str, ...]], rows: Rows, width: int
) -> tuple[_Columns, int | None]:
    """The columns of each individual and keypoint, and the column of the split."""
    columns: _Columns = {}
    split = None
    part_row, coord_row = (rows[len(header[0]) - back][0] for back in (2, 1))
    for i, (scorer, *more, part, coord) in enumerate(header[width:], width):
        individual = more[0] if more else ""
        if sorted((scorer, *more, part, coord)) == [*[""] * (2 + len(more)), "set"]:
            split = i
        elif coord not in COORDS or coord in columns.get(individual, {}).get(part, {}):
            got = f"{shown(coord)} of {shown(part)} is unknown or is there twice"
            collector.fault(coord_row, f"column {i + 1}", got, "keep x, y and likelihood once")
        elif collector.name(part, part_row, f"column {i + 1}") is not None:
            columns.setdefault(individual, {}).setdefault(part, {})[coord] = i
    for parts in columns.values():
        for part, at in list(parts.items()):
            if not {"x", "y"} <= set(at):
                got = f"{shown(part)} has {', '.join(at)} only"
                collector.fault(coord_row, part, got, "add its columns x and y")
                del parts[part]
    return columns, split
