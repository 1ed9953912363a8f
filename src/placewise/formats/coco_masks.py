"""COCO outlines and masks: JSON with images, categories, and annotations that have `segmentation`.

`segmentation` is a list of polygons [x0, y0, x1, y1, …], or an RLE of the whole image: `counts` as
a list, or packed into a text, down the columns, the first run outside. Polygons of one annotation
are one object. An annotation with `iscrowd` 1 marks a region of several objects, which is ignored;
an annotation without an outline, a box for example, is left out.

In COCO a pixel spans from its number to the next one; here an integer is a pixel's centre. So
half a pixel is taken off x and y. Source: the data format page of cocodataset.org, and maskApi.c.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from placewise.formats._coco import is_coco, only_outlines
from placewise.formats._coco_text import Json
from placewise.formats._collect import Collector
from placewise.formats._format import Format, rebased
from placewise.formats.coco import Reader
from placewise.geometry import FloatArray, Size
from placewise.labels import InstanceDataset, InstanceSample
from placewise.labels.names import shown
from placewise.labels.shapes import Shape, Shapes, unpacked
from placewise.wording import natural, sides_of

CORNERS = 3
"""Fewest corners of an outline."""

SMALL = 4.0
"""Pixels across from which on an outline surely covers the centre of one, or nearly so."""


class CocoMasks(Format):
    """COCO segmentation: JSON with images, categories, and annotations with polygons or RLE.

    Files that name keypoints too are read as keypoints (`coco`), unless this format is forced.
    """

    tasks = ("instances", "masks")
    patterns = ("*.json", "annotations/*instances*.json", "annotations/*.json")

    def recognises(self, path: Path, head: str) -> bool:
        """An object with one of the three lists, with outlines and without keypoints."""
        return is_coco(head) and only_outlines(path)

    def read(self, path: Path, root: Path | None = None) -> InstanceDataset:
        """Read objects; see `Format.read`. Images are sought as for `coco`."""
        return _Objects(Collector(path, root), find_root=root is None).objects()

    def join(self, parts: Sequence[InstanceDataset], source: Path) -> InstanceDataset:
        """One data set of the objects of all files, which may name different kinds."""
        names = sorted({name for part in parts for name in part.names}, key=natural)
        root, renamed = rebased(parts)
        samples = []
        for part, images in zip(parts, renamed, strict=True):
            number = {k: names.index(name) for k, name in enumerate(part.names)} | {-1: -1}
            for sample, image in zip(part.samples, images, strict=True):
                truth = sample.truth
                if isinstance(truth, Shapes):
                    kinds = (replace(shape, kind=number[shape.kind]) for shape in truth.shapes)
                    truth = replace(truth, shapes=tuple(kinds))
                samples.append(replace(sample, image=image, truth=truth))
        return InstanceDataset(root, tuple(names), tuple(samples), source)


class _Objects(Reader):
    """Walks through the JSON of one file, and makes shapes of its annotations."""

    tiny = 0
    """Outlines that cover no pixel's centre."""

    def objects(self) -> InstanceDataset:
        """Read everything.

        Raises:
            LabelError: all faults together.
        """
        content = self._content()
        images = self._get(content, "images", list, "")
        annotations = self._get(content, "annotations", list, "")
        kinds = self._kinds(content)
        if self.find_root and images:
            self._find_root(images)
        for i, image in enumerate(images or ()):
            self._image(image, f"images[{i}]")
        shapes: dict[str, list[Shape]] = {name: [] for name in self.collector.images}
        for i, annotation in enumerate(annotations or ()):
            self._shape(annotation, kinds, shapes, f"annotations[{i}]")
        if self.tiny:
            self.collector.assume(f"{self.tiny:,} outlines that cover no pixel's centre left out")
        used = {shape.kind for listed in shapes.values() for shape in listed} - {-1}
        if not used and not self.collector.faults:
            got, todo = "no annotation has an outline", "boxes make no masks; export polygons"
            self.fault("annotations", got, todo)
        return self._dataset(list(kinds.values()), shapes, sorted(used))

    def _dataset(
        self, names: list[str], shapes: dict[str, list[Shape]], used: list[int]
    ) -> InstanceDataset:
        if self.collector.faults:
            self.collector.stop()
        self.collector.tell()
        order = sorted(used, key=lambda kind: natural(names[kind]))
        number = {kind: place for place, kind in enumerate(order)} | {-1: -1}
        samples = []
        for image, pixels in self.collector.images.items():
            kept = (Shape(number[s.kind], s.rings, s.runs) for s in shapes[image])
            size = pixels.size or (0, 0)
            samples.append(InstanceSample(image, size, Shapes(size, tuple(kept)), pixels.split))
        named = tuple(names[kind] for kind in order)
        return InstanceDataset(self.collector.root, named, tuple(samples), self.collector.path)

    def _kinds(self, content: Json) -> dict[str, str]:
        """Names of the categories by their ids."""
        found: dict[str, str] = {}
        for i, value in enumerate(self._get(content, "categories", list, "") or ()):
            path = f"categories[{i}]"
            category: Json | None = self._typed(value, dict, path)
            key = None if category is None else self._key(category, "id", path)
            text = None if category is None else self._get(category, "name", str, path)
            name = None if text is None else self.collector.name(text, 0, f"{path}.name")
            if key is None or name is None:
                continue
            if key in found or name in found.values():
                got = f"{shown(name)} has an id or a name that another category has"
                self.fault(path, got, "give each category an id and a name of its own")
            found[key] = name
        return found

    def _shape(
        self, value: object, kinds: dict[str, str], shapes: dict[str, list[Shape]], path: str
    ) -> None:
        """Add an annotation to the shapes of its image."""
        annotation: Json | None = self._typed(value, dict, path)
        if annotation is None or not annotation.get("segmentation"):
            return
        image_key = self._key(annotation, "image_id", path)
        kind_key = self._key(annotation, "category_id", path)
        for key, known, what in (
            (image_key, self.images, "image"),
            (kind_key, kinds, "category"),
        ):
            if key is not None and key not in known:
                got = f"there is no {what} with the id {shown(key)}"
                self.fault(f"{path}.{what}_id", got, "add it, or delete the annotation")
                return
        image = self.images.get(image_key or "")
        size = self.collector.images[image].size if image is not None else None
        if image is None or size is None or kind_key is None:
            return
        kind = -1 if annotation.get("iscrowd") == 1 else list(kinds).index(kind_key)
        shape = self._outline(annotation["segmentation"], kind, size, f"{path}.segmentation")
        if shape is not None:
            shapes[image].append(shape)

    def _outline(self, value: object, kind: int, size: Size, path: str) -> Shape | None:
        """A shape from polygons or from an RLE; None and a fault where it is neither."""
        if isinstance(value, dict):
            return self._runs(value, kind, size, path)
        rings: list[FloatArray] = []
        for i, polygon in enumerate(self._typed(value, list, path) or ()):
            ring = _ring(polygon)
            if ring is None:
                got = f"{shown(polygon)} is no outline"
                todo = f"write x0, y0, x1, y1, … of at least {CORNERS} corners, finite numbers"
                self.fault(f"{path}[{i}]", got, todo)
                return None
            low, high = ring.min(0), ring.max(0)
            if (high < -0.5).any() or (low > np.array(size[::-1]) - 0.5).any():
                got = f"the outline lies outside the image of {sides_of(size)}"
                self.fault(f"{path}[{i}]", got, "correct it, or use the image that was labelled")
                return None
            rings.append(ring)
        if rings and not _covers(rings, size):
            self.tiny += 1
        return Shape(kind, tuple(rings)) if rings else None

    def _runs(self, value: Json, kind: int, size: Size, path: str) -> Shape | None:
        said = value.get("size")
        if said is not None and said != list(size):
            got = f"it is {shown(said)}, and the image is {list(size)} (height, width)"
            self.fault(f"{path}.size", got, "use the image that was labelled")
            return None
        counts = value.get("counts")
        try:
            runs = unpacked(counts) if isinstance(counts, str) else _lengths(counts)
        except ValueError as error:
            self.fault(f"{path}.counts", str(error), "export the masks again")
            return None
        if sum(runs) != math.prod(size):
            got = f"the runs add up to {sum(runs):,} pixels instead of {math.prod(size):,}"
            self.fault(f"{path}.counts", got, "export the masks of this image again")
            return None
        return Shape(kind, runs=runs)


def _covers(rings: Sequence[FloatArray], size: Size) -> bool:
    """Whether a pixel's centre lies in an outline; only small ones are drawn to find out."""
    wide = max(float(np.ptp(ring, axis=0).min()) for ring in rings)
    return wide >= SMALL or bool(Shape(0, tuple(rings)).mask(size).any())


def _ring(polygon: object) -> FloatArray | None:
    """(points, 2) corners, half a pixel up and left; None where it is no polygon."""
    if not isinstance(polygon, list) or len(polygon) % 2 or len(polygon) < 2 * CORNERS:
        return None
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in polygon):
        return None
    ring = np.array(polygon, np.float64).reshape(-1, 2) - 0.5
    return ring if np.isfinite(ring).all() and np.abs(ring).max() < 1e9 else None


def _lengths(counts: object) -> tuple[int, ...]:
    """Runs from a list."""
    if not isinstance(counts, list) or not counts:
        raise ValueError(f"{shown(counts)} is neither a list of runs nor a text")
    if not all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in counts):
        raise ValueError("a run is not a whole number of 0 or more")
    return tuple(counts)
