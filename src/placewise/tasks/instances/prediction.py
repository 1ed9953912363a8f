"""The objects on one image: one type from the model to the file."""

from __future__ import annotations

import csv
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from placewise.files import make_folder, write_bytes, write_text
from placewise.geometry import FloatArray, Size
from placewise.labels.names import name_beside
from placewise.metrics import at_border, object_centres
from placewise.tasks._label_maps import volume_file
from placewise.tasks.instances.evidence import Evidence, Found

FOLDER = "instances"
"""Folder of the label maps in that of the results."""

PLACES = ("x", "y", "z")

DEEP = 65_535
"""Most objects of a 16-bit image."""

DECIMALS = 2
"""Of places in files, in pixels."""


def columns(axes: int = 2) -> list[str]:
    """Names of the columns of `predictions.csv`.

    Example:
        >>> columns()
        ['image', 'instance', 'kind', 'x', 'y', 'area', 'score', 'touches_border']
    """
    return ["image", "instance", "kind", *PLACES[:axes], "area", "score", "touches_border"]


@dataclass(frozen=True)
class InstancePrediction:
    """The objects on one image.

    Attributes:
        names: of the kinds.
        image: name of the image; empty for an array.
        size: of the image, in the order of its axes.
        found: the objects.
        evidence: what they were made of, from a model whose thresholds were not chosen yet.

    Example:
        >>> found = Found(np.array([[0, 1, 1]], np.int32), np.array([0.9]), np.zeros(1, np.int32))
        >>> InstancePrediction(("cell",), "a.png", (1, 3), found).rows()
        [['a.png', 1, 'cell', 1.5, 0.0, 2, 0.9, 'yes']]
    """

    names: tuple[str, ...]
    image: str
    size: Size
    found: Found
    evidence: Evidence | None = None

    @property
    def labels(self) -> NDArray[np.int32]:
        """(*size,) 0 background, 1 … n the objects."""
        return self.found.labels

    def __len__(self) -> int:
        return len(self.found.scores)

    def rows(self) -> list[list[Any]]:
        """A row of `predictions.csv` for each object; see `columns`."""
        numbers = np.arange(1, len(self) + 1)
        places = object_centres(self.labels, numbers)
        areas = np.bincount(self.labels.ravel(), minlength=len(self) + 1)[1:]
        cut = set(at_border(self.labels).tolist())
        kinds = [self.names[kind] for kind in self.found.kinds]
        return rows_of(self.image, kinds, places, areas, self.found.scores, cut)

    def save(self, folder: Path, source: Path | None = None) -> None:
        """Write the label map: a PNG of 16 bits, a TIFF of 32 where that is too little.

        Of a volume see `volume_file`.

        Args:
            folder: of the results.
            source: the file of the image.
        """
        if self.labels.ndim == 2:
            data, ending = _written(self.labels)
            name = name_beside(self.image, ending)
        else:
            name, data = volume_file(self.labels, self.image, source, "instances")
        target = folder / FOLDER / name
        make_folder(target.parent)
        write_bytes(target, data)


def rows_of(
    image: str,
    kinds: Sequence[str],
    places: FloatArray,
    areas: NDArray[np.integer],
    scores: FloatArray,
    cut: Container[int],
) -> list[list[Any]]:
    """A row of `predictions.csv` for each object, numbered from 1; see `columns`.

    Args:
        image: name of the image.
        kinds: (n,) names.
        places: (n, axes) mean places of their pixels.
        areas: (n,) pixels.
        scores: (n,) scores.
        cut: numbers of the objects that touch the border.
    """
    facts = zip(
        kinds, places.round(DECIMALS).tolist(), areas.tolist(), scores.tolist(), strict=True
    )
    return [
        [image, number, kind, *place, area, round(score, 3), "yes" if number in cut else "no"]
        for number, (kind, place, area, score) in enumerate(facts, 1)
    ]


def _written(labels: NDArray[np.int32]) -> tuple[bytes, str]:
    """A label map as a file: its bytes, and how its name ends."""
    held = BytesIO()
    if labels.max(initial=0) > DEEP:
        Image.fromarray(labels).save(held, "TIFF", compression="tiff_deflate")
        return held.getvalue(), "tif"
    Image.fromarray(labels.astype(np.uint16)).save(held, "PNG")
    return held.getvalue(), "png"


def write_counts(
    names: Sequence[str], rows: Iterable[tuple[str, Size, list[list[str]]]], file: Path
) -> None:
    """How many objects of each kind are on each image, as a table.

    Args:
        names: of the kinds.
        rows: (image, size, cells of its rows) as `predictions.csv` holds them.
        file: the table.
    """
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    kinds = [f"count_{name}" for name in names] if len(names) > 1 else []
    writer.writerow(["image", "count", *kinds, "touching_border", "mean_area"])
    for image, _, cells in rows:
        told = [[cell[2] for cell in cells].count(name) for name in names] if kinds else []
        cut = sum(cell[-1] == "yes" for cell in cells)
        areas = [int(cell[-3]) for cell in cells]
        mean = round(sum(areas) / len(areas), 1) if areas else ""
        writer.writerow([image, len(cells), *told, cut, mean])
    write_text(file, text.getvalue())
