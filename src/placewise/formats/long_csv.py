"""Long CSV: one row for each keypoint of each image. The format that holds the most in a table.

```
image,split,keypoint,x,y,visibility
a.png,train,nose,21.5,26.25,visible
a.png,train,tail,,,absent
```
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from placewise.formats._collect import Collector
from placewise.formats._format import KeypointText
from placewise.formats._objects import many_of_a_kind
from placewise.formats._tables import (
    Row,
    header_of,
    leave_out,
    number,
    read_point,
    read_score,
    read_table,
    table_losses,
    table_text,
    written,
)
from placewise.labels import KeypointDataset, KeypointSample, Visibility
from placewise.labels.names import shown

NEEDED = ("image", "keypoint", "x", "y")

AXES = ("x", "y", "z")
"""Columns of a place: x of a signal, x and y of an image, x, y and z of a volume."""

KNOWN = {
    **{
        column: column
        for column in (*NEEDED, "z", "visibility", "split", "instance", "track", "score")
    },
    "point": "keypoint",
    "state": "visibility",
    **dict.fromkeys(("recording", "signal", "volume"), "image"),
}

_OURS = ("radius_90", "frame", "time")
"""Columns of predictions that are no labels."""

_Placed = tuple[Any, ...]
"""(visibility, x, y, …)."""


@dataclass(slots=True)
class _Entry:
    """A row whose image and keypoint are known; `placed` is None where its place is a fault."""

    row: int
    image: str
    point: str
    placed: _Placed | None
    score: float
    instance: int
    track: str


class LongCsv(KeypointText):
    """CSV with a row for each keypoint: image, keypoint, x, y[, visibility][, split][, instance].

    Of signals (column `recording`) there is x alone, of volumes (column `volume`) z too. The order
    of the columns is free and further columns are ignored. Empty x and y without a visibility are
    a keypoint that is not labelled. `instance` numbers several objects on an image; without it
    every row is an instance where the whole file is of many of a kind (cells), and a kind without
    a row on an image is absent there; else repetitions are faults. `track` says which instance is
    which over the images, with a number or a name. Predictions have a `score`.
    """

    first = ("points.csv", "keypoints.csv", "labels.csv")
    patterns = ("*.[ct]sv",)
    endings = (".csv",)

    def recognises(self, path: Path, head: str) -> bool:
        """At least three of the four columns in the first line, or all of a signal's."""
        cells = [cell.lower() for cell in header_of(head)]
        return len({KNOWN.get(cell) for cell in cells} & set(NEEDED)) >= 3

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`."""
        collector = Collector(path, root)
        named = {cell.lower() for cell in header_of(collector.head())}
        short = not named & {"y", "z"} and bool(named & {"recording", "signal"})
        header, rows = read_table(collector, NEEDED[:3] if short else NEEDED, KNOWN)
        leave_out(collector, header, {*KNOWN.values(), *_OURS})
        entries = _entries(collector, rows, header)
        if "instance" in header:
            _rank_instances(entries)
            _follow(collector, entries)
        else:
            _number_instances(collector, entries, header["keypoint"])
        for entry in entries:
            if entry.placed is not None:
                mark = (entry.instance, entry.point, *entry.placed, entry.score)
                collector.mark(entry.image, mark)
        return collector.labels(tuple(dict.fromkeys(entry.point for entry in entries)))

    def losses(self, labels: KeypointDataset) -> list[str]:
        """A skeleton, and a symmetry that the names do not tell."""
        return table_losses(labels)

    def text(self, labels: KeypointDataset) -> str:
        """One row for each keypoint, also for those that are not labelled."""
        split = any(sample.split for sample in labels.samples)
        followed = any(sample.tracks is not None for sample in labels.samples)
        several, scored = followed or labels.instances > 1, labels.scored
        axes = max((len(sample.size) for sample in labels.samples), default=2)
        what = {1: "recording", 2: "image", 3: "volume"}[axes]
        rows: list[Sequence[str]] = [
            [
                *(what, *["split"] * split, *["instance"] * several, *["track"] * followed),
                *("keypoint", *AXES[:axes], "visibility", *["score"] * scored),
            ]
        ]
        for first, sample in zip(chain([True], repeat(False)), labels.samples, strict=False):
            for i, (points, seen) in enumerate(zip(sample.points, sample.visibility, strict=True)):
                start = [sample.image, *[sample.split or ""] * split, *[str(i)] * several]
                start += [_identity(sample, i)] * followed
                for k, name in enumerate(labels.names):
                    told = seen[k] or not seen.any() or not sample.visibility[:, k].any()
                    if labels.task == "spots" and not told and not (first and i == 0):
                        continue  # another spot says of this kind that it is on the image
                    cells = [*start, name, *written(*points[k]), Visibility(seen[k]).name.lower()]
                    score = math.nan if sample.scores is None else sample.scores[i, k]
                    rows.append([*cells, *[number(score)] * scored])
        return table_text(rows)


def _identity(sample: KeypointSample, instance: int) -> str:
    """The cell of an instance's identity, empty where it is not known."""
    known = sample.tracks is not None and sample.tracks[instance] >= 0
    return str(sample.tracks[instance]) if known and sample.tracks is not None else ""


def _entries(collector: Collector, rows: Iterable[Row], header: Mapping[str, str]) -> list[_Entry]:
    """The rows that are good; two that say the same, or name one keypoint twice, are a fault."""
    entries: list[_Entry] = []
    seen: dict[tuple[object, ...], int] = {}
    for row in rows:
        entry = _read_row(collector, row)
        if entry is None:
            continue
        entries.append(entry)
        what = entry.instance if "instance" in header else entry.placed or entry.row
        before = seen.setdefault((entry.image, entry.point, what), entry.row)
        if before == entry.row:
            continue
        got, todo = f"the row says the same as row {before}", "delete one of them"
        if "instance" in header:
            got = f"{shown(entry.point)} of this instance is in row {before} already"
            todo = "keep one, or give it another instance"
        collector.fault(entry.row, header["keypoint"], got, todo)
        entry.placed = None
    return entries


def _read_row(collector: Collector, row: Row) -> _Entry | None:
    named, point_cell, split = row["image"], row["keypoint"], row["split"]
    image = collector.image(named.text, row.number, named.column, once=False)
    collector.split(image, split.text, row.number, split.column)
    point = collector.name(point_cell.text, row.number, point_cell.column)
    axes = [row[axis] for axis in AXES if axis in row.cells]
    placed = read_point(collector, image, row.number, *axes, row["visibility"])
    instance = row.cells.get("instance", "0").strip()
    if not re.fullmatch("[0-9]{1,9}", instance):
        got = f"{shown(instance)} is not a whole number"
        collector.fault(row.number, "instance", got, "number the objects on an image from 0")
    elif image is not None and point is not None:
        score = read_score(row["score"].text)
        track = row["track"].text.strip()
        return _Entry(row.number, image, point, placed, score, int(instance), track)
    return None


def _rank_instances(entries: list[_Entry]) -> None:
    """Number the instances of an image from 0, in their order."""
    numbers: dict[str, set[int]] = defaultdict(set)
    for entry in entries:
        numbers[entry.image].add(entry.instance)
    ranks = {image: {n: i for i, n in enumerate(sorted(s))} for image, s in numbers.items()}
    for entry in entries:
        entry.instance = ranks[entry.image][entry.instance]


def _follow(collector: Collector, entries: list[_Entry]) -> None:
    """Note the identities of instances; names are numbered in the order of their first rows."""
    told = list(dict.fromkeys(entry.track for entry in entries if entry.track))
    plain = all(re.fullmatch("[0-9]{1,9}", track) for track in told)
    numbers = {track: int(track) if plain else i for i, track in enumerate(told)}
    held: dict[tuple[str, int], _Entry] = {}
    for entry in entries:
        first = held.setdefault((entry.image, entry.instance), entry)
        if entry.track != first.track:
            got = f"{shown(entry.track)} is not what row {first.row} of the same instance says"
            collector.fault(entry.row, "track", got, "write one identity in all rows of an object")
        elif entry.track:
            collector.track(entry.image, entry.instance, numbers[entry.track])


def _number_instances(collector: Collector, entries: list[_Entry], column: str) -> None:
    """Make every row an instance where the file is of many of a kind, else refuse repetitions."""
    if many_of_a_kind((entry.image, entry.point) for entry in entries):
        _one_by_one(collector, entries)
        return
    first: dict[tuple[str, str], int] = {}
    for entry in entries:
        key = entry.image, entry.point
        before = first.setdefault(key, entry.row)
        if before != entry.row and entry.placed:
            got = f"{shown(entry.point)} of this image is in row {before} already"
            todo = "keep one; several objects on an image need a column instance"
            collector.fault(entry.row, column, got, todo)


def _one_by_one(collector: Collector, entries: list[_Entry]) -> None:
    """Many of a kind: each row is an instance, and a kind without a row on an image is absent."""
    count: Counter[str] = Counter()
    named: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        entry.instance = count[entry.image]
        count[entry.image] += 1
        named[entry.image].add(entry.point)
    kinds = dict.fromkeys(entry.point for entry in entries)
    lacking = False
    for image, held in named.items():
        for kind in kinds:
            if kind not in held:
                collector.mark(image, (0, kind, Visibility.ABSENT, math.nan, math.nan, math.nan))
                lacking = True
    if lacking:
        collector.assume("each keypoint absent on the images where it has no row")
