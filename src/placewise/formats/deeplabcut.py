"""DeepLabCut CSV: three header rows, one row for each image; the form most pose tools exchange.

```
scorer,me,me,me,me
bodyparts,nose,nose,tail,tail
coords,x,y,x,y
labeled-data/mouse/a.png,21.5,26.25,,
```

Facts: DeepLabCut writes `x, y` for labels and `x, y, likelihood` for predictions, newer versions
split the path over three index columns, and Lightning Pose adds a last column `set` for the split.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from placewise.errors import SettingsError
from placewise.formats._collect import Collector
from placewise.formats._format import PointFormat, fit_scores, write_new
from placewise.formats._tables import (
    header_of,
    read_point,
    read_rows,
    same_length,
    single_losses,
    table_losses,
    table_text,
    written,
)
from placewise.geometry import FloatArray
from placewise.labels import KeypointDataset, Visibility
from placewise.labels.names import normal, shown, why_unsafe

HEADER = ("scorer", "bodyparts", "coords")

UP = 3
"""Levels above the file's folder that are tried as the folder of the images."""

_Columns = dict[str, dict[str, int]]
"""For each point the index of its x, y and, perhaps, likelihood."""


class Deeplabcut(PointFormat):
    """CSV of DeepLabCut: three header rows scorer, bodyparts, coords; the first column is the path.

    Empty x and y are a point that is not labelled. A column `likelihood` is left aside.
    """

    task = "keypoints"

    def recognises(self, path: Path, head: str) -> bool:
        """The first cell is `scorer`."""
        return header_of(head)[:1] == ["scorer"]

    def root(self, path: Path) -> Path:
        """The first folder that holds the first image: the file's or one of three above it."""
        collector = Collector(path, path.parent)
        rows = read_rows(collector)[:4]
        if len(rows) < 4:
            return path.parent
        image = "/".join(rows[3][1][: _index_width(rows[2][1])])
        if why_unsafe(image):
            return path.parent
        above = islice(path.absolute().parents, 1, 1 + UP)
        tried = (folder for folder in (path.parent, *above) if _is_file(folder / normal(image)))
        return next(tried, path.parent)

    def read(self, path: Path, root: Path) -> KeypointDataset:
        """Read labels of images under `root`; raises LabelError with all faults at once."""
        collector = Collector(path, root)
        rows = read_rows(collector)
        _check_header(collector, rows)
        width = _index_width(rows[2][1])
        columns, split = _columns(collector, rows, width)
        for number, cells in rows[3:]:
            if not same_length(collector, number, cells, len(rows[2][1])):
                continue
            image = collector.image("/".join(cells[:width]), number, "image")
            if split is not None:
                collector.split(image, cells[split], number, "set")
            for name, at in columns.items():
                x, y = ((f"{name} {axis}", cells[at[axis]]) for axis in ("x", "y"))
                placed = read_point(collector, image, number, x, y)
                if placed:
                    collector.mark(image, (0, name, *placed))
        return collector.labels(tuple(columns))

    def losses(self, labels: KeypointDataset) -> list[str]:
        """Hidden and absent, several instances, a skeleton, a symmetry that names do not tell."""
        losses = single_losses(labels) + table_losses(labels)
        for state in (Visibility.HIDDEN, Visibility.ABSENT):
            count = sum(int((sample.visibility == state).sum()) for sample in labels.samples)
            if count:
                losses.append(f"that points are {state.name.lower()} ({count})")
        return losses

    def text(self, labels: KeypointDataset) -> str:
        """Three header rows and one row for each image."""
        return _text(labels, None, "placewise")


def write_predictions(
    labels: KeypointDataset,
    scores: Sequence[FloatArray],
    path: Path,
    *,
    scorer: str = "placewise",
    overwrite: bool = False,
) -> None:
    """Write predicted points with `x, y, likelihood` each, as pose tools read predictions.

    Place and score are all that is written: states, symmetry and skeleton are not.

    Args:
        labels: the predicted points, one instance on each image.
        scores: for each sample (points,), the score of each point in 0..1.
        path: the file.
        scorer: what the first header row names.
        overwrite: replace a file that is there.

    Raises:
        SettingsError: the file is there, the scores do not fit, or there are several instances.

    Example:
        >>> import numpy as np
        >>> from tempfile import TemporaryDirectory
        >>> from placewise.labels import KeypointSample
        >>> visibility = np.full((1, 1), Visibility.VISIBLE, dtype=np.int8)
        >>> sample = KeypointSample("a.png", (9, 9), np.array([[[3.0, 4.5]]]), visibility)
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "predictions.csv")
        ...     labels = KeypointDataset(Path(), ("nose",), (sample,))
        ...     write_predictions(labels, [np.array([0.5])], path)
        ...     print(path.read_text(encoding="utf-8"))
        scorer,placewise,placewise,placewise
        bodyparts,nose,nose,nose
        coords,x,y,likelihood
        a.png,3.0,4.5,0.5
    """
    losses = single_losses(labels)
    if losses:
        raise SettingsError(f"{path}: deeplabcut cannot hold {losses[0]}; write coco")
    fitted = [score[0] for score in fit_scores(labels, scores)]
    write_new(path, _text(labels, fitted, scorer), overwrite=overwrite)


def _text(labels: KeypointDataset, scores: Sequence[FloatArray] | None, scorer: str) -> str:
    coords = ["x", "y"] if scores is None else ["x", "y", "likelihood"]
    split = any(sample.split for sample in labels.samples)
    parts = [name for name in labels.names for _ in coords]
    rows: list[Sequence[str]] = [
        ["scorer", *[scorer] * len(parts), *["set"] * split],
        ["bodyparts", *parts, *[""] * split],
        ["coords", *coords * len(labels.names), *[""] * split],
    ]
    for i, sample in enumerate(labels.samples):
        cells = [sample.image]
        for k, point in enumerate(sample.points[0]):
            cells += [*written(*point), *([] if scores is None else [_score(scores[i][k])])]
        rows.append([*cells, *[sample.split or ""] * split])
    return table_text(rows)


def _score(score: float) -> str:
    return "" if math.isnan(score) else repr(float(score))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # e.g. a name that is too long
        return False


def _index_width(coords: Sequence[str]) -> int:
    """Columns that hold the path: 1, or 3 in files of newer versions."""
    return 3 if len(coords) > 3 and not any(cell.strip() for cell in coords[1:3]) else 1


def _check_header(collector: Collector, rows: list[tuple[int, list[str]]]) -> None:
    """Stop where the three header rows are not what they should be."""
    for i, word in enumerate(HEADER[: len(rows)] if rows else ()):
        number, cells = rows[i]
        if cells[0].strip() == "individuals":
            todo = "export one animal, or convert the file to COCO"
            collector.fault(number, "header", "a file of several animals is not read", todo)
            collector.stop()
        if cells[0].strip() != word:
            got = f"{shown(cells[0])} begins the row, '{word}' should"
            collector.fault(number, "header", got, f"write the rows {', '.join(HEADER)} first")
        same_length(collector, number, cells, len(rows[0][1]))
    if rows and len(rows) < 3:
        got = f"{len(rows)} header rows instead of 3"
        collector.fault(rows[-1][0], "header", got, f"write the rows {', '.join(HEADER)} first")
    if not rows or any(fault.row <= rows[min(2, len(rows) - 1)][0] for fault in collector.faults):
        collector.stop()


def _columns(
    collector: Collector, rows: list[tuple[int, list[str]]], width: int
) -> tuple[_Columns, int | None]:
    """The columns of each point, and the column of the split."""
    columns: _Columns = {}
    split = None
    for i, header in enumerate(zip(*(cells for _, cells in rows[:3]), strict=True)):
        scorer, part, coord = (cell.strip() for cell in header)
        if i < width:
            continue
        if sorted((scorer, part, coord)) == ["", "", "set"]:
            split = i
        elif coord not in ("x", "y", "likelihood") or coord in columns.get(part, {}):
            got = f"{shown(coord)} of {shown(part)} is unknown or stands there twice"
            collector.fault(rows[2][0], f"column {i + 1}", got, "keep x, y and likelihood once")
        elif collector.name(part, rows[1][0], f"column {i + 1}") is not None:
            columns.setdefault(part, {})[coord] = i
    for part, at in list(columns.items()):
        if not {"x", "y"} <= set(at):
            got = f"{shown(part)} has {', '.join(at)} only"
            collector.fault(rows[2][0], part, got, "add its columns x and y")
            del columns[part]
    return columns, split
