"""CSV of classes: one row for each image.

```
image,class,split
cats/a.png,cat,train
dogs/b.png,dog,test
```
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from placewise.formats._collect import Collector
from placewise.formats._format import Text, rebased
from placewise.formats._tables import header_of, leave_out, read_table, table_text
from placewise.labels import ClassDataset
from placewise.wording import natural

KNOWN = {column: column for column in ("image", "class", "split")}


class ClassCsv(Text[ClassDataset]):
    """CSV with one row for each image: image, class[, split].

    The order of the columns is free and further columns are ignored. An empty class is an image
    whose class is not known.
    """

    tasks = ("classes",)
    first = ("points.csv", "keypoints.csv", "labels.csv")
    patterns = ("*.[ct]sv",)
    endings = (".csv",)

    def recognises(self, path: Path, head: str) -> bool:
        """The columns image and class in the first line."""
        return {"image", "class"} <= {column.lower() for column in header_of(head)}

    def read(self, path: Path, root: Path | None = None) -> ClassDataset:
        """Read classes; see `Format.read`."""
        collector = Collector(path, root)
        header, rows = read_table(collector, ["image", "class"], KNOWN)
        leave_out(collector, header, KNOWN.values())
        for row in rows:
            image = collector.image(row["image"].text, row.number, row["image"].column)
            collector.label(image, row["class"].text, row.number, row["class"].column)
            collector.split(image, row["split"].text, row.number, row["split"].column)
        return collector.class_labels()

    def join(self, parts: Sequence[ClassDataset], source: Path) -> ClassDataset:
        """One data set of the classes of all files."""
        names = sorted({name for part in parts for name in part.names}, key=natural)
        root, renamed = rebased(parts)
        samples = [
            replace(
                sample,
                image=image,
                label=None if sample.label is None else names.index(part.names[sample.label]),
            )
            for part, images in zip(parts, renamed, strict=True)
            for sample, image in zip(part.samples, images, strict=True)
        ]
        return ClassDataset(root, tuple(names), tuple(samples), source)

    def losses(self, labels: ClassDataset) -> list[str]:
        """Classes that no image shows."""
        empty = [n for n, count in zip(labels.names, labels.counts(), strict=True) if not count]
        return [f"classes without an image ({', '.join(empty)})"] if empty else []

    def text(self, labels: ClassDataset) -> str:
        """One row for each image, also for those whose class is not known."""
        split = any(sample.split for sample in labels.samples)
        rows: list[Sequence[str]] = [["image", "class", *["split"] * split]]
        for sample in labels.samples:
            name = "" if sample.label is None else labels.names[sample.label]
            rows.append([sample.image, name, *[sample.split or ""] * split])
        return table_text(rows)
