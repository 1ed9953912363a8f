"""What all readers share: one collector for the marks and the faults of a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np

from placewise.errors import Fault, ImageError, LabelError, SettingsError
from placewise.geometry import Size
from placewise.images import image_size
from placewise.labels import (
    ClassDataset,
    ClassSample,
    KeypointDataset,
    KeypointSample,
    Visibility,
    guess_symmetry,
)
from placewise.labels.names import has_control, normal, shown, why_unfit, why_unsafe
from placewise.wording import natural

FAR = 0.1
"""A point further than this share of the diagonal beyond the edge is a fault; objects that the
border cuts have points a little outside."""

MAX_BYTES = 1 << 30
"""Largest file of labels that is read."""

MAX_NAMES = 2000
"""Most points or classes that labels may name; more is a column of something else."""

SPLIT_NAMES = {"train": "train", "val": "val", "validation": "val", "test": "test"}


@dataclass
class _Mark:
    """One point of one instance: its name, state and place."""

    instance: int
    name: str
    state: Visibility
    x: float
    y: float


@dataclass
class _ImageArray:
    """An image that the file names; its size is None where the image cannot be read."""

    size: Size | None
    split: str | None = None
    label: str = ""
    marks: list[_Mark] = field(default_factory=list)


class Collector:
    """Gathers the images, marks and faults of one file of labels.

    A reader hands over every value with the place where it stands (row and field). What is wrong
    becomes a fault and reading goes on; `labels` raises all faults together.

    Args:
        path: the file of labels.
        root: folder of the images; nothing outside of it is opened.
    """

    def __init__(self, path: Path, root: Path) -> None:
        self.path, self.root = path, root
        self.faults: list[Fault] = []
        self.images: dict[str, _ImageArray] = {}
        self.damaged: set[int] = set()
        self._real_root = root.resolve()
        self._normal: dict[str, str | None] = {}

    def fault(self, row: int, field: str, got: str, todo: str) -> None:
        """Note a fault; `field` may come from the file."""
        name = ascii(field)[1:-1] if has_control(field) else field
        self.faults.append(Fault(str(self.path), row, name, got, todo))

    def stop(self) -> NoReturn:
        """Raise the faults in the order of the file."""
        raise LabelError(sorted(self.faults, key=lambda fault: fault.row))

    def text(self) -> str:
        """Content of the file; each line that is not UTF-8 is a fault and one of `damaged`."""
        data = read_bytes(self.path)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            start = 0
            for number, line in enumerate(data.splitlines(keepends=True), 1):
                self._decode(line, number, start)
                start += len(line)
        return data.decode("utf-8-sig", errors="replace")

    def _decode(self, line: bytes, number: int, start: int) -> None:
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            self.damaged.add(number)
            self.fault(
                number,
                "text",
                f"byte 0x{line[error.start]:02x} at offset {start + error.start} is not UTF-8",
                "save the file as UTF-8",
            )

    def image(self, name: str, row: int, field: str, *, once: bool = True) -> str | None:
        """Normal name of an image, which is looked at when it is first named.

        Args:
            name: the name as it stands in the file.
            row: where it stands.
            field: where it stands.
            once: whether an image may be named only once.

        Returns:
            The name that `split` and `mark` take, None where the name itself is a fault.
        """
        if name not in self._normal:
            reason = why_unsafe(name)
            self._normal[name] = None if reason else normal(name)
            if reason:
                todo = "write the path of an image below the folder, e.g. images/a.png"
                self.fault(row, field, f"{shown(name)} {reason}", todo)
        image = self._normal[name]
        if image is None:
            return None
        if image not in self.images:
            self.images[image] = _ImageArray(self._size(image, row, field))
        elif once:
            todo = "keep one, or use a format with instances (long_csv, coco)"
            self.fault(row, field, f"{shown(image)} is named a second time", todo)
        return image

    def _size(self, image: str, row: int, field: str) -> Size | None:
        """Size of an image under the root, or None and a fault."""
        try:
            file = (self.root / image).resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: symlinks in a circle
            file = None
        if file is None or (file.is_relative_to(self._real_root) and not file.is_file()):
            todo = "put the image there, or name the folder of the images (root)"
            self.fault(row, field, f"there is no image {shown(image)}", todo)
        elif not file.is_relative_to(self._real_root):
            todo = "put the image itself into the folder"
            self.fault(row, field, f"{shown(image)} is a symlink out of the folder", todo)
        else:
            try:
                return image_size(file)
            except ImageError as error:
                todo = "replace the image or take it out of the labels"
                self.fault(row, field, f"{shown(image)} cannot be read ({error})", todo)
        return None

    def split(self, image: str | None, text: str, row: int, field: str) -> None:
        """Note the split of an image; an empty text says nothing."""
        if not text.strip():
            return
        split = SPLIT_NAMES.get(text.strip().lower())
        if split is None:
            todo = "write train, val, test or nothing"
            self.fault(row, field, f"{shown(text)} is not a split", todo)
        elif image is not None:
            pixels = self.images[image]
            if pixels.split not in (None, split):
                got = f"{shown(image)} is in '{split}' here and in '{pixels.split}' before"
                self.fault(row, field, got, "write one split for all labels of an image")
            pixels.split = pixels.split or split

    def name(self, text: str, row: int, field: str) -> str | None:
        """Name of a point or class without outer blanks, None where it is a fault."""
        name = text.strip()
        if why_unfit(name):
            self.fault(row, field, f"{shown(name)} {why_unfit(name)}", f"write the {field}'s name")
            return None
        return name

    def label(self, image: str | None, text: str, row: int, field: str) -> None:
        """Note the class of an image; an empty text says that it is not known."""
        name = self.name(text, row, field) if text.strip() else ""
        if image is not None and name:
            self.images[image].label = name

    def mark(self, image: str | None, mark: tuple[int, str, Visibility, float, float]) -> None:
        """Keep (instance, name, state, x, y) of an image whose name is good."""
        if image is not None:
            self.images[image].marks.append(_Mark(*mark))

    def near(self, image: str | None, x: float, y: float, row: int, fields: str) -> None:
        """Note a fault if a place is far outside its image."""
        size = self.images[image].size if image is not None else None
        if size is None:
            return
        height, width = size
        beyond = max(-0.5 - x, x - (width - 0.5), -0.5 - y, y - (height - 0.5))
        if beyond > FAR * math.hypot(height, width):
            self.fault(
                row,
                fields,
                f"({x:g}, {y:g}) lies {beyond:.0f} px outside the image of {width}×{height}",
                "correct it (0-based pixels, x right, y down), or label the point as absent",
            )

    def labels(
        self,
        names: tuple[str, ...],
        symmetry: tuple[tuple[str, str], ...] | None = None,
        skeleton: tuple[tuple[str, str], ...] = (),
    ) -> KeypointDataset:
        """The labels, if nothing was wrong.

        Args:
            names: the points' names.
            symmetry: pairs of names; None: guess them.
            skeleton: pairs of names.

        Raises:
            LabelError: all faults together.
        """
        self._check("point", "points", names)
        index = {name: i for i, name in enumerate(names)}
        samples = tuple(_sample(*item, index) for item in self.images.items())
        pairs = guess_symmetry(names) if symmetry is None else symmetry
        return KeypointDataset(self.root, names, samples, pairs, skeleton, self.path)

    def class_labels(self) -> ClassDataset:
        """The images with their classes, which are sorted by name, if nothing was wrong.

        Raises:
            LabelError: all faults together.
        """
        found = {pixels.label for pixels in self.images.values()} - {""}
        names = tuple(sorted(found, key=natural))
        self._check("class", "classes", names)
        self.check_classes(names)
        index = {name: i for i, name in enumerate(names)}
        samples = tuple(
            ClassSample(image, _size(image, pixels), index.get(pixels.label), pixels.split)
            for image, pixels in self.images.items()
        )
        return ClassDataset(self.root, names, samples, self.path)

    def check_classes(self, names: Sequence[str]) -> None:
        """Refuse a single class, with which there is nothing to learn."""
        if len(names) == 1:
            got = f"there is one class, {shown(names[0])}"
            self.fault(0, "class", got, "label at least two classes")
            self.stop()

    def _check(self, what: str, several: str, names: tuple[str, ...]) -> None:
        """Raise what was wrong."""
        if len(names) > MAX_NAMES:
            got = f"{len(names)} {several} are named, the most is {MAX_NAMES}"
            self.fault(1, what, got, f"write the names of {several} there, not places or images")
        if not self.faults and not (names and self.images):
            self.fault(1, "file", "there is no label in it", "label at least one image")
        if self.faults:
            self.stop()


def _sample(image: str, pixels: _ImageArray, index: dict[str, int]) -> KeypointSample:
    count = 1 + max((mark.instance for mark in pixels.marks), default=0)
    points = np.full((count, len(index), 2), np.nan)
    visibility = np.full((count, len(index)), Visibility.UNLABELLED, dtype=np.int8)
    for mark in pixels.marks:
        place = mark.instance, index[mark.name]
        visibility[place] = mark.state
        if mark.state >= Visibility.HIDDEN:
            points[place] = mark.x, mark.y
    return KeypointSample(image, _size(image, pixels), points, visibility, pixels.split)


def _size(image: str, pixels: _ImageArray) -> Size:
    if pixels.size is None:
        raise SettingsError(f"the size of {shown(image)} is not known; read the image first")
    return pixels.size


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """Content of a file of labels, or its first `most` bytes.

    Raises:
        SettingsError: the system refuses, or the whole file is too large.
    """
    try:
        if most is None and path.stat().st_size > MAX_BYTES:
            raise SettingsError(
                f"{path} has {path.stat().st_size >> 20} MiB, labels may have {MAX_BYTES >> 20}; "
                "split the file"
            )
        with path.open("rb") as file:
            return file.read(-1 if most is None else most)
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read: {error.strerror or error}; name a file of labels"
        ) from error
