"""CSV of classes: one row for each image.

```
image,class,split
cats/a.png,cat,train
dogs/b.png,dog,test
```
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from placewise.formats._collect import Collector
from placewise.formats._format import Written
from placewise.formats._tables import header_of, read_table, table_text
from placewise.labels import ClassDataset


class ClassCsv(Written[ClassDataset]):
    """CSV with one row for each image: columns image, class[, split].

    The order of the columns is free and further columns are ignored. An empty class is an image
    whose class is not known.
    """

    task = "classes"

    def recognises(self, path: Path, head: str) -> bool:
        """The columns image and class in the first line."""
        return {"image", "class"} <= set(header_of(head))

    def read(self, path: Path, root: Path) -> ClassDataset:
        """Read classes of images under `root`; raises LabelError with all faults at once."""
        collector = Collector(path, root)
        _, rows = read_table(collector, ["image", "class"])
        for row in rows:
            image = collector.image(row.cells["image"], row.number, "image")
            collector.label(image, row.cells["class"], row.number, "class")
            collector.split(image, row.cells.get("split", ""), row.number, "split")
        return collector.class_labels()

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
