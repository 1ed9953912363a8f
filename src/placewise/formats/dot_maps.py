"""Dot maps: for each image a second one of the same name, in which a dot is drawn on each spot.

```
images/a.png   dots/a.png          or          a_cell.png   a_dots.png
```
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from placewise.errors import ImageError
from placewise.formats._collect import Collector, subfolders
from placewise.formats._format import Format
from placewise.geometry import FloatArray
from placewise.images import as_float, is_image_name, read_image
from placewise.labels import KeypointDataset, Visibility
from placewise.wording import natural

KIND = "spot"
"""Name of the spots where all dots have one colour."""

COLOURS = ("black", "blue", "green", "cyan", "red", "magenta", "yellow", "white")
"""Names of colours by their bits red, green, blue."""

LARGE = 4.0
"""A dot with so many times the usual pixels may be several that touch."""

CROWDED = 0.2
"""Largest share of an image that dots may cover; more is a mask."""

_FOLDERS = ("dots", "dot_maps", "dotmaps", "dot maps")
_IMAGES = ("images", "image", "imgs")
_PAIR = re.compile(r"(.*?)[ _-]?dots?", re.IGNORECASE)
_SHOWN = ("", "cell", "_cell", "-cell", "_image", "image", "_img")


class DotMaps(Format):
    """Dot maps: images/a.png with dots/a.png, or a_cell.png with a_dots.png.

    A dot is a group of bright pixels that touch on a dark image, and its middle is a spot. Dots of
    several colours are spots of several kinds, named after the colours.
    """

    tasks = ("spots",)
    whole_folders = True

    def recognises(self, path: Path, head: str) -> bool:
        """No file of text is one."""
        return False

    def recognises_folder(self, path: Path) -> bool:
        """An image with its dots."""
        return next(_pairs(path), None) is not None

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`."""
        collector = Collector(path, root or path)
        if not path.is_dir():
            todo = "name the folder that holds the images and their dots"
            collector.fault(0, "folder", "this is a file", todo)
            collector.stop()
        found: dict[str, list[tuple[str, FloatArray, int]]] = {}
        for image, dots in sorted(_pairs(path), key=lambda pair: natural(pair[0].as_posix())):
            name = collector.image(image.relative_to(collector.root).as_posix(), 0, dots.name)
            if name is not None:
                found[name] = _dots(collector, dots)
        colours = {colour for dots_ in found.values() for colour, _, _ in dots_}
        _mark(collector, found, sorted(colours))
        names = tuple(sorted(colours)) if len(colours) > 1 else (KIND,)
        return collector.labels(names, symmetry=()).for_task("spots")


def _mark(
    collector: Collector, found: dict[str, list[tuple[str, FloatArray, int]]], colours: list[str]
) -> None:
    """Every dot as a spot; kinds without a dot are absent."""
    usual = np.median([pixels for dots in found.values() for _, _, pixels in dots] or [1])
    large = 0
    for image, dots in found.items():
        counts = Counter(colour for colour, _, _ in dots)
        for colour in colours or [KIND]:
            if not counts[colour]:
                name = colour if len(colours) > 1 else KIND
                mark = (0, name, Visibility.ABSENT, math.nan, math.nan, math.nan)
                collector.mark(image, mark)
        for number, (colour, place, pixels) in enumerate(dots):
            name = colour if len(colours) > 1 else KIND
            x, y = place.tolist()
            collector.mark(image, (number, name, Visibility.VISIBLE, x, y, math.nan))
            large += pixels > LARGE * usual
    if large:
        collector.assume(f"{large} large dots as one spot each, which may be several that touch")


def _pairs(folder: Path) -> Iterator[tuple[Path, Path]]:
    """(image, its dots) in a folder and its folders."""
    below = subfolders(folder)
    for dots in (one for one in below if one.name.lower() in _FOLDERS):
        others = [one for one in below if one.name.lower() in _IMAGES] or [folder]
        by_stem = {f.stem: f for one in others for f in one.iterdir() if is_image_name(f.name)}
        for file in dots.iterdir():
            if is_image_name(file.name) and file.stem in by_stem:
                yield by_stem[file.stem], file
    listed = {file.stem: file for file in folder.iterdir() if is_image_name(file.name)}
    for stem, file in listed.items():
        if match := _PAIR.fullmatch(stem):
            image = next(
                (listed[f"{match[1]}{end}"] for end in _SHOWN if f"{match[1]}{end}" in listed), None
            )
            if image is not None and image != file:
                yield image, file


def _dots(collector: Collector, file: Path) -> list[tuple[str, FloatArray, int]]:
    """(colour, (x, y), pixels) of each dot of an image."""
    from scipy import ndimage

    try:
        image = as_float(read_image(file))
    except ImageError as error:
        todo = "replace the image of the dots"
        collector.fault(0, file.name, f"it cannot be read ({error})", todo)
        return []
    bright = _bright(image)
    if bright.mean() > CROWDED:
        got = f"{100 * bright.mean():.0f} % of its pixels are bright, too many for dots"
        collector.fault(0, file.name, got, "draw small bright dots on black")
        return []
    labels, count = _parted(image, bright)
    numbers = np.arange(1, count + 1)
    places = np.array(ndimage.center_of_mass(bright, labels, numbers)).reshape(-1, 2)[:, ::-1]
    pixels = ndimage.sum_labels(bright, labels, numbers).astype(int)
    strong = np.stack([ndimage.maximum(one, labels, numbers) for one in np.moveaxis(image, -1, 0)])
    if len(strong) == 1:
        strong = np.repeat(strong, 3, 0)
    code = (strong > 0.5 * strong.max(0, initial=1e-9)).astype(int).T @ np.array([4, 2, 1])
    named = (COLOURS[number] for number in code.tolist())
    return list(zip(named, places, pixels.tolist(), strict=True))


def _parted(image: NDArray[np.float32], bright: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Numbers of connected bright pixels, and how many there are.

    Dots of two colours that touch would together have a third one, which no pixel of them has: they
    are parted by colour.
    """
    from scipy import ndimage

    touching = np.ones((3, 3), bool)
    labels, count = ndimage.label(bright, touching)
    lit = image > 0.5 * image.max(-1, keepdims=True)
    own = lit @ (1 << np.arange(image.shape[-1]))
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        here = labels[box] == number
        colours = np.unique(own[box][here])
        together = np.bitwise_or.reduce(colours)
        if together in colours:
            continue
        for colour in colours[1:].tolist():
            parts, more = ndimage.label(here & (own[box] == colour), touching)
            labels[box][parts > 0] = count + parts[parts > 0]
            count += more
    return labels, count


def _bright(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels that are brighter than half of the brightest one."""
    light = image.max(-1)
    return np.asarray((light > 0.5 * light.max()) & (light > 0))
