"""Long CSV: one row for each point of each image. The format that holds the most in a table.

```
image,split,point,x,y,state
a.png,train,nose,21.5,26.25,visible
a.png,train,tail,,,absent
```
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from placewise.formats._collect import Collector
from placewise.formats._format import PointFormat
from placewise.formats._tables import (
    Row,
    header_of,
    read_point,
    read_table,
    table_losses,
    table_text,
    written,
)
from placewise.labels import KeypointDataset, Visibility
from placewise.labels.names import shown

NEEDED = ("image", "point", "x", "y")

MANY = 0.1
"""A point that repeats in this share of the images that hold it is one of many of a kind."""

SLIPS = 2
"""Up to this many surplus rows of a point are slips, however few images there are."""

_Placed = tuple[Visibility, float, float]


@dataclass
class _Entry:
    """A row whose image and point are known; `placed` is None where its place is a fault."""

    row: int
    image: str
    point: str
    placed: _Placed | None
    instance: int = 0


class LongCsv(PointFormat):
    """CSV with one row for each point: columns image, point, x, y[, state][, split][, instance].

    The order of the columns is free and further columns are ignored. Empty x and y without a state
    are a point that is not labelled. `instance` numbers several objects on an image; without it
    the repetitions of a point are instances where the whole file is of many of a kind (cells), and
    faults otherwise.
    """

    task = "keypoints"

    def recognises(self, path: Path, head: str) -> bool:
        """At least three of the four columns in the first line."""
        return len(set(NEEDED) & set(header_of(head))) >= 3

    def read(self, path: Path, root: Path) -> KeypointDataset:
        """Read labels of images under `root`; raises LabelError with all faults at once."""
        collector = Collector(path, root)
        header, rows = read_table(collector, NEEDED)
        found = [_read_row(collector, row) for row in rows]
        entries = [entry for entry in found if entry is not None]
        if "instance" in header:
            _check_instances(collector, entries)
        else:
            _number_instances(collector, entries)
        for entry in entries:
            if entry.placed is not None:
                collector.mark(entry.image, (entry.instance, entry.point, *entry.placed))
        return collector.labels(tuple(dict.fromkeys(entry.point for entry in entries)))

    def losses(self, labels: KeypointDataset) -> list[str]:
        """A skeleton, and a symmetry that the names do not tell."""
        return table_losses(labels)

    def text(self, labels: KeypointDataset) -> str:
        """One row for each point, also for those that are not labelled."""
        split = any(sample.split for sample in labels.samples)
        instance = labels.instances > 1
        columns = ["image", *["split"] * split, *["instance"] * instance, *NEEDED[1:], "state"]
        rows: list[Sequence[str]] = [columns]
        for sample in labels.samples:
            for i, (points, visibility) in enumerate(
                zip(sample.points, sample.visibility, strict=True)
            ):
                start = [sample.image, *[sample.split or ""] * split, *[str(i)] * instance]
                for name, point, state in zip(labels.names, points, visibility, strict=True):
                    rows.append([*start, name, *written(*point), Visibility(state).name.lower()])
        return table_text(rows)


def _read_row(collector: Collector, row: Row) -> _Entry | None:
    cells = row.cells
    image = collector.image(cells["image"], row.number, "image", once=False)
    collector.split(image, cells.get("split", ""), row.number, "split")
    point = collector.name(cells["point"], row.number, "point")
    placed = read_point(
        collector,
        image,
        row.number,
        ("x", cells["x"]),
        ("y", cells["y"]),
        ("state", cells.get("state", "")),
    )
    instance = cells.get("instance", "0").strip()
    if not re.fullmatch("[0-9]{1,9}", instance):
        got = f"{shown(instance)} is not a whole number"
        collector.fault(row.number, "instance", got, "number the objects on an image from 0")
    elif image is not None and point is not None:
        return _Entry(row.number, image, point, placed, int(instance))
    return None


def _check_instances(collector: Collector, entries: list[_Entry]) -> None:
    """Refuse repeated points of an instance, and number the instances of an image from 0."""
    seen: dict[tuple[str, int, str], int] = {}
    numbers: dict[str, set[int]] = defaultdict(set)
    for entry in entries:
        numbers[entry.image].add(entry.instance)
        before = seen.setdefault((entry.image, entry.instance, entry.point), entry.row)
        if before != entry.row:
            got = f"{shown(entry.point)} of this instance stands in row {before} already"
            collector.fault(entry.row, "point", got, "keep one, or give it another instance")
    ranks = {image: {n: i for i, n in enumerate(sorted(s))} for image, s in numbers.items()}
    for entry in entries:
        entry.instance = ranks[entry.image][entry.instance]


def _number_instances(collector: Collector, entries: list[_Entry]) -> None:
    """Make repeated points instances in the order of the file, or refuse them."""
    many = _many_of_a_kind(entries)
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    same: dict[tuple[str, str, str], int] = {}
    for entry in entries:
        before = rows[entry.image, entry.point]
        place = str(entry.placed or f"a fault in row {entry.row}")
        twin = same.setdefault((entry.image, entry.point, place), entry.row)
        if twin != entry.row:
            got = f"the row says the same as row {twin}"
            collector.fault(entry.row, "point", got, "delete one of them")
        elif before and not many:
            got = f"{shown(entry.point)} of this image stands in row {before[0]} already"
            todo = "keep one; several objects on an image need a column instance"
            collector.fault(entry.row, "point", got, todo)
        entry.instance = len(before)
        before.append(entry.row)


def _many_of_a_kind(entries: list[_Entry]) -> bool:
    """Whether some point repeats so often that repeating is what the file is about."""
    counts = Counter((entry.image, entry.point) for entry in entries)
    held = Counter(point for _, point in counts)
    repeated = Counter(point for (_, point), count in counts.items() if count > 1)
    surplus: Counter[str] = Counter()
    for (_, point), count in counts.items():
        surplus[point] += count - 1
    return any(surplus[p] > SLIPS and repeated[p] >= MANY * held[p] for p in repeated)
