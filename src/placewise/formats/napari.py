"""napari points: CSV with the index, then one column for each axis, the slowest first.

```
index,axis-0,axis-1,axis-2
0.0,0.0,20.5,10.25
```

The last two axes are y and x; an integer is a pixel's centre. With three axes the first is the
number of the image in a stack: the images of the folder in natural order, as napari opens them.
Points have no names: they are numbered where every image has the same number of them, else they are
many of a kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from placewise.errors import SettingsError
from placewise.formats._collect import Collector
from placewise.formats._format import KeypointText
from placewise.formats._holds import Holds, lost
from placewise.formats._located import images_below
from placewise.formats._objects import KIND, Objects
from placewise.formats._tables import Cell, header_of, read_point, read_table, table_text
from placewise.labels import KeypointDataset
from placewise.labels.names import shown

HOLDS = Holds(instances=False, names="none", empty=False)

_AXES = ("axis-0", "axis-1", "axis-2")


class Napari(KeypointText):
    """napari points: CSV with the columns index, axis-0, axis-1[, axis-2]; y before x."""

    patterns = ("*.csv",)

    def recognises(self, path: Path, head: str) -> bool:
        """The columns index, axis-0, axis-1."""
        return [cell.lower() for cell in header_of(head)][:3] == ["index", "axis-0", "axis-1"]

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`."""
        collector = Collector(path, root)
        header, rows = read_table(collector, _AXES[:2], {})
        stack = _AXES[2] in header
        if f"axis-{len(_AXES)}" in header:
            got = f"the points have more than {len(_AXES)} axes, which are image, y and x"
            todo = "leave out the other columns, so that axis-1 is y and axis-2 is x"
            collector.fault(1, "header", got, todo)
            collector.stop()
        images = images_below(collector.root)
        objects = Objects(collector, "")
        if not stack and len(images) != 1:
            got = f"the points name no image, and there are {len(images)} in {collector.root}"
            collector.fault(1, "header", got, "put the file beside its one image, or use --root")
            collector.stop()
        collector.assume("numbers of images by the order of the folder")
        for row in rows:
            first = row[_AXES[0]] if stack else Cell(_AXES[0], "0")
            image = _image(collector, images, first, row.number)
            y, x = (row[axis] for axis in (_AXES[1:] if stack else _AXES[:2]))
            placed = read_point(collector, image, row.number, x, y, Cell())
            if placed:
                objects.add(image, None, placed, row=row.number, field="index", kind="")
        return collector.labels(objects.settle())

    def losses(self, labels: KeypointDataset) -> list[str]:
        """Names, objects, states, splits, and all that is no place."""
        spots = labels.task == "spots" and labels.names == (KIND,)
        return lost(labels, replace(HOLDS, instances=spots), _names_read(labels))

    def text(self, labels: KeypointDataset) -> str:
        """A row for each point; an image has the number that it has in its folder."""
        listed = images_below(labels.root)
        strange = [s.image for s in labels.samples if s.image not in listed]
        if strange:
            raise SettingsError(
                f"napari numbers the images of a folder, and {shown(strange[0])} is not in "
                f"{labels.root}; write the labels where their images are"
            )
        rows: list[Sequence[str]] = [["index", *_AXES]]
        numbers = {image: str(float(k)) for k, image in enumerate(listed)}
        for sample in labels.samples:
            for i, k in zip(*sample.located.nonzero(), strict=True):
                x, y = sample.points[i, k].tolist()
                rows.append([str(float(len(rows) - 1)), numbers[sample.image], repr(y), repr(x)])
        return table_text(rows)


def _names_read(labels: KeypointDataset) -> tuple[str, ...]:
    """The names that are read back: numbers, or one kind of points."""
    counts = [int(sample.located.sum()) for sample in labels.samples if sample.located.any()]
    if len(counts) > 1 and len(set(counts)) == 1 and counts[0] > 1:
        return tuple(str(k) for k in range(1, 1 + counts[0]))
    return (KIND,)


def _image(collector: Collector, images: Sequence[str], cell: Cell, row: int) -> str | None:
    """The image of this number."""
    try:
        number = float(cell.text)
    except ValueError:
        number = -1.0
    if not (number.is_integer() and 0 <= number < len(images)):
        got = f"{shown(cell.text)} is no number of an image: there are {len(images)} in the folder"
        todo = "put the file beside the images of the stack, or name their folder with --root"
        collector.fault(row, cell.column, got, todo)
        return None
    return collector.image(images[int(number)], row, cell.column, once=False)
