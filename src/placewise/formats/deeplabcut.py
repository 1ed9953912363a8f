"""DeepLabCut CSV: header rows, one row for each image; the form most pose tools exchange.

```
scorer,me,me,me,me
bodyparts,nose,nose,tail,tail
coords,x,y,x,y
labeled-data/mouse/a.png,21.5,26.25,,
```

Facts: DeepLabCut writes `x, y` for labels and `x, y, likelihood` for predictions, a file
`CollectedData_SCORER.csv` in each folder of `labeled-data`; newer versions split the path over
three index columns, pandas adds a row that names them, and Lightning Pose adds a last column `set`
for the split. Files of several animals have a second header row `individuals`; an individual
without a place on an image is none there. Individuals are numbered image by image, and so are no
identities over images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from placewise.formats._collect import Collector
from placewise.formats._deeplabcut import read_labels, row_names
from placewise.formats._format import KeypointText
from placewise.formats._tables import (
    header_of,
    number,
    read_rows,
    table_losses,
    table_text,
    written,
)
from placewise.labels import KeypointDataset, KeypointSample, Visibility


class Deeplabcut(KeypointText):
    """CSV of DeepLabCut: header rows scorer, bodyparts, coords; the first column is the path.

    Empty x and y are a keypoint that is not labelled. A column `likelihood` is its score. Several
    animals have a second header row, individuals.
    """

    patterns = ("*.csv", "labeled-data/*/CollectedData*.csv", "*/CollectedData*.csv")

    def recognises(self, path: Path, head: str) -> bool:
        """The first cell is `scorer`."""
        return header_of(head)[:1] == ["scorer"]

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`.

        Without a root it is the folder that holds the most images: the file's or one of three
        above it.
        """
        collector = Collector(path, root)
        return read_labels(collector, list(read_rows(collector)), root)

    def losses(self, labels: KeypointDataset) -> list[str]:
        """Splits, hidden and absent, identities, a skeleton, a symmetry that names do not tell.

        Lightning Pose writes the split of its predictions as a last column `set`, but cannot read
        labels that have one.
        """
        losses = table_losses(labels)
        if any(sample.split for sample in labels.samples):
            losses.append("splits")
        several = [sample.located.any(1) for sample in labels.samples if len(sample.points) > 1]
        if empty := sum(int((~there).sum()) for there in several):
            losses.append(f"objects without a located keypoint ({empty})")
        if any(sample.tracks is not None for sample in labels.samples):
            losses.append("identities over images")
        for state in (Visibility.HIDDEN, Visibility.ABSENT):
            count = sum(int((sample.visibility == state).sum()) for sample in labels.samples)
            if count:
                losses.append(f"that keypoints are {state.name.lower()} ({count})")
        return losses

    def text(self, labels: KeypointDataset) -> str:
        """The header rows and one row for each image."""
        coords = ["x", "y", *["likelihood"] * labels.scored]
        count = max(1, labels.instances)
        parts = [name for name in labels.names for _ in coords]
        animals = [f"individual{i + 1}" for i in range(count) for _ in parts]
        rows: list[Sequence[str]] = [
            ["scorer", *["placewise"] * len(animals)],
            *([["individuals", *animals]] if count > 1 else []),
            ["bodyparts", *parts * count],
            ["coords", *coords * (len(labels.names) * count)],
        ]
        names = row_names([sample.image for sample in labels.samples], labels.scored)
        for name, sample in zip(names, labels.samples, strict=True):
            cells = ["/".join(name)]
            for i in range(count):
                cells += _cells(sample, i, len(labels.names), labels.scored)
            rows.append(cells)
        return table_text(rows)


def _cells(sample: KeypointSample, instance: int, count: int, scored: bool) -> list[str]:
    """Cells of an individual, which are empty where the image has no such instance."""
    if instance >= len(sample.points):
        return [""] * count * (3 if scored else 2)
    cells: list[str] = []
    for k, point in enumerate(sample.points[instance]):
        cells += written(*point)
        if scored:
            cells.append("" if sample.scores is None else number(sample.scores[instance, k]))
    return cells
