"""What all readers share: one collector for the images, marks and faults of a file."""

from __future__ import annotations

import contextlib
import logging
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from placewise.errors import DataError, Fault, ImageError, LabelError
from placewise.formats._lines import UTF8, coding_of, lines_of
from placewise.geometry import Size
from placewise.images import is_hidden, is_result
from placewise.labels import (
    ClassDataset,
    ClassSample,
    Files,
    KeypointDataset,
    KeypointSample,
    Pixels,
    Visibility,
    as_told,
    guess_symmetry,
)
from placewise.labels.names import (
    has_control,
    is_absolute,
    normal,
    shown,
    why_unfit,
    why_unsafe,
)
from placewise.labels.sources import file_of
from placewise.wording import PIXELS_OF, natural, sides_of

COUNTED = {
    1: "samples",
    2: "pixels, x right, y down",
    3: "voxels: x, y and z along width, height and depth",
}
"""What places are numbers of, by the number of axes."""

FAR = 0.1
"""A keypoint further than this share of the diagonal beyond the edge is a fault; objects that the
border cuts have keypoints a little outside."""

MAX_BYTES = 1 << 30
"""Largest file of labels that is read."""

MAX_LINE = 1 << 22
"""Most characters of a line of a table."""

MAX_NAMES = 2000
"""Most keypoints or classes that labels may name; more is a column of something else."""

MAX_FAULTS = 1000
"""Reading stops after this many faults."""

LOOKED_AT = 200
"""Images by which the folder of a file's images is chosen, spread over the file."""

Mark = tuple[Any, ...]
"""(instance, keypoint, visibility, x[, y[, z]], score or NaN)."""

_SPLIT = re.compile(
    r"(train|training|val|valid|validation|test|testing)([ _-]?set)?((19|20)\d\d)?", re.IGNORECASE
)
_log = logging.getLogger(__name__)


def split_named(text: str) -> str | None:
    """The split that a word means.

    Example:
        >>> [split_named(text) for text in ("Valid", "train2017", "test_set", "dev")]
        ['val', 'train', 'test', None]
    """
    match = _SPLIT.fullmatch(text.strip())
    return {"tr": "train", "va": "val", "te": "test"}[match[1][:2].lower()] if match else None


@dataclass
class _Image:
    """An image that the file names; its size is None where the image cannot be read."""

    size: Size | None
    split: str | None = None
    label: str = ""
    marks: list[Mark] = field(default_factory=list)
    tracks: dict[int, int] = field(default_factory=dict)
    areas: dict[int, float] = field(default_factory=dict)


def located(folder: Path, stored: str) -> str | None:
    r"""Name in a folder of a file that a tool knows by a path, perhaps of another machine.

    The longest end of the path that is there counts: `D:\mice\one\a.png` is `one/a.png`, or
    `a.png`.
    """
    parts = normal(stored).split("/")
    for start in range(len(parts)):
        name = "/".join(parts[start:])
        if not why_unsafe(name) and (folder / name).is_file():
            return name
    return None


class Collector:
    """Gathers the images, marks and faults of one file of labels.

    A reader hands over every value with the place where it is (row and field). What is wrong
    becomes a fault and reading goes on; `labels` raises all faults together.

    Args:
        path: the file of labels.
        root: folder of the images, outside of which nothing is opened; None: the file's own.
    """

    def __init__(self, path: Path, root: Path | None = None) -> None:
        self.path = path
        self.root = (path if path.is_dir() else path.parent) if root is None else root
        self.faults: list[Fault] = []
        self.images: dict[str, _Image] = {}
        self.damaged: set[int] = set()
        self.decimals: set[str] = set()
        self.pixels: Pixels = "center"
        self._missing: list[int] = []
        self._assumed: dict[str, None] = {}
        self._normal: dict[str, str | None] = {}
        self._alike: dict[str, dict[str, list[str]]] = {}

    def fault(self, row: int, field: str, got: str, todo: str) -> None:
        """Note a fault; `field` may come from the file. Stops at the thousandth."""
        name = ascii(field)[1:-1] if has_control(field) else field
        self.faults.append(Fault(str(self.path), row, name, got, todo))
        if len(self.faults) == MAX_FAULTS:
            self.stop()

    def stop(self) -> NoReturn:
        """Raise the faults in the order of the file."""
        faults = list(self.faults)
        if len(self._missing) == len(self.images) > 1:
            first = faults[self._missing[0]]
            got = f"none of the {len(self._missing)} images is in {self.root}: {first.got}, …"
            for place in reversed(self._missing):
                del faults[place]
            faults.insert(0, Fault(first.file, first.row, first.field, got, first.todo))
        faults.sort(key=lambda fault: fault.row)
        if len(self.faults) >= MAX_FAULTS:
            todo = "correct these first; the rest of the file was not looked at"
            got = f"there are {MAX_FAULTS} faults or more"
            faults.append(Fault(str(self.path), faults[-1].row, "file", got, todo))
        raise LabelError(faults)

    def assume(self, what: str) -> None:
        """Note what the reader takes for granted; the log says it in one line."""
        self._assumed[what] = None

    def from_corner(self, tool: str) -> None:
        """Note that places count from the image's corner, since a tool wrote them.

        `mark` takes them as they are in the file; `labels` takes off half a pixel.
        """
        self.pixels = "corner"
        self.assume(f"places that count from the image's corner, as {tool} writes them")

    def head(self) -> str:
        """The first 64 KiB of the file as text."""
        data = read_bytes(self.path, 1 << 16)
        return data.decode(coding_of(data), errors="replace")

    def coding(self) -> str:
        """How the file is coded."""
        return coding_of(read_bytes(self.path, 1000))

    def text(self) -> str:
        """Content of the file; each line that is not UTF-8 is a fault and one of `damaged`."""
        data = read_bytes(self.path)
        coding = coding_of(data)
        if coding != "utf-8-sig":
            self.assume("text in UTF-16")
        try:
            return data.decode(coding)
        except UnicodeDecodeError as error:
            if coding != "utf-8-sig":
                self._stop_utf16(error)
        for _ in self.lines():
            pass
        return data.decode("utf-8-sig", errors="replace")

    def lines(self, longest: int = MAX_LINE) -> Iterator[str]:
        """Lines of the file with their ends; one that is not UTF-8 is a fault and in `damaged`.

        Args:
            longest: most characters of a line; of a longer one the first, and one more, are a line.
        """
        check_size(self.path)
        if self.coding() != UTF8:
            self.assume("text in UTF-16")
        try:
            for number, line in enumerate(lines_of(self.path, longest), 1):
                if line.bad is not None:
                    self.damaged.add(number)
                    got = "byte 0x{:02x} at offset {} is not UTF-8".format(*line.bad)
                    self.fault(number, "text", got, "save the file as UTF-8")
                yield line.text
        except UnicodeDecodeError as error:
            self._stop_utf16(error)

    def _stop_utf16(self, error: UnicodeDecodeError) -> NoReturn:
        """Say that text in UTF-16 is damaged."""
        self.fault(1, "text", f"the UTF-16 text is damaged ({error.reason})", "save it as UTF-8")
        self.stop()

    def holding(self, names: Sequence[str], folders: Iterable[Path]) -> list[Path]:
        """The folders that hold the most of these images; none where no folder holds one."""
        looked = names[:: max(1, len(names) // LOOKED_AT)]
        safe = [normal(name) for name in looked if not why_unsafe(name)]
        files = [file_of(name) for name in safe]
        counts = {folder: sum(_is_file(folder / file) for file in files) for folder in folders}
        most = max(counts.values(), default=0)
        return [folder for folder, count in counts.items() if 0 < count == most]

    def image(self, name: str, row: int, field: str, *, once: bool = True) -> str | None:
        """Normal name of an image, which is looked at when it is first named.

        Args:
            name: the name as it is in the file.
            row: where it is.
            field: where it is.
            once: whether an image may be named only once.

        Returns:
            The name that `split` and `mark` take, None where the name itself is a fault.
        """
        if name not in self._normal:
            reason, here = why_unsafe(name), self._of_elsewhere(name)
            self._normal[name] = here if reason else self._found(normal(name))
            if reason and here is None:
                todo = "write the path of an image below the folder, e.g. images/a.png"
                self.fault(row, field, f"{shown(name)} {reason}", todo)
        image = self._normal[name]
        if image is None:
            return None
        if image not in self.images:
            self.images[image] = _Image(None)
            self.images[image].size = self._size(image, row, field)
        elif once:
            todo = "keep one entry for each image"
            self.fault(row, field, f"{shown(image)} is named a second time", todo)
        return image

    def _of_elsewhere(self, name: str) -> str | None:
        """The image of an absolute path, which another machine wrote, if an end of it is here."""
        file = file_of(name)
        here = located(self.root, file) if is_absolute(name) else None
        if here is None:
            return None
        self.assume("images by the ends of absolute paths")
        return here + name[len(file) :]  # number of a frame

    def _found(self, image: str) -> str:
        """An image's name as its folder has it.

        Blanks about it, capitals and composed letters may differ, where that means one file only:
        some systems do not tell such names apart, and spreadsheets add blanks.
        """
        file = file_of(image)
        if _is_file(self.root / file):
            return image
        number = image[len(file) :]  # of a frame
        folder, _, name = file.rpartition("/")
        if folder not in self._alike:
            self._alike[folder] = defaultdict(list)
            with contextlib.suppress(OSError):
                for other in (self.root / folder).iterdir():
                    self._alike[folder][_plain(other.name)].append(other.name)
        alike = self._alike[folder].get(_plain(name), [])
        if len(alike) != 1:
            return image
        self.assume("names of images as the folder spells them")
        return (f"{folder}/{alike[0]}" if folder else alike[0]) + number

    def _size(self, image: str, row: int, field: str) -> Size | None:
        """Size of an image under the root, or None and a fault."""
        real = self.root.resolve()
        try:
            file = (self.root / file_of(image)).resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: symlinks in a circle
            file = None
        if file is None or (file.is_relative_to(real) and not file.is_file()):
            todo = "put the image there, or name the folder of the images with --root (root=)"
            self._missing.append(len(self.faults))
            self.fault(row, field, f"there is no image {shown(image)}", todo)
        elif not file.is_relative_to(real):
            todo = "put the image itself into the folder"
            self.fault(row, field, f"{shown(image)} is a symlink out of the folder", todo)
        else:
            try:
                return Files(self.root).size(image)
            except ImageError as error:
                todo = "replace the image or take it out of the labels"
                self.fault(row, field, f"{shown(image)} cannot be read ({error})", todo)
        return None

    def split(self, image: str | None, text: str, row: int, field: str) -> None:
        """Note the split of an image; an empty text says nothing."""
        if not text.strip():
            return
        split = split_named(text)
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
        """Name of a keypoint or class without outer blanks, None where it is a fault."""
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

    def mark(self, image: str | None, mark: Mark) -> None:
        """Keep a keypoint of an image whose name is good."""
        if image is not None:
            self.images[image].marks.append(mark)

    def track(self, image: str | None, instance: int, identity: int) -> None:
        """Note which object over the images an instance is: a number from 0."""
        if image is not None:
            self.images[image].tracks[instance] = identity

    def area(self, image: str | None, instance: int, area: float) -> None:
        """Note the area of an instance in px²."""
        if image is not None:
            self.images[image].areas[instance] = area

    def near(self, image: str | None, x: float, y: float, row: int, fields: str) -> None:
        """Note a fault if a place is far outside its image."""
        self.within(image, (x, y), row, fields)

    def within(self, image: str | None, place: Sequence[float], row: int, fields: str) -> None:
        """Note a fault if a place (x, y, …) is far outside its image, or has too few numbers."""
        size = self.images[image].size if image is not None else None
        if size is None:
            return
        if len(size) != len(place):
            got = f"the place has {len(place)} numbers, and {shown(image)} has {len(size)} axes"
            todo = "write x for signals, x and y for images, x, y and z for volumes"
            self.fault(row, fields, got, todo)
            return
        far = [max(-0.5 - x, x - (side - 0.5)) for x, side in zip(place, size[::-1], strict=True)]
        if max(far) > FAR * math.hypot(*size):
            where = ", ".join(f"{x:g}" for x in place)
            what = "image of " if len(size) == 2 else ""
            sides = sides_of(size).removesuffix(" px")
            self.fault(
                row,
                fields,
                f"({where}) lies {max(far):.0f} {PIXELS_OF[len(size)]} outside the {what}{sides}",
                f"correct it (0-based {COUNTED[len(size)]}), or label the keypoint as absent",
            )

    def labels(
        self,
        names: tuple[str, ...],
        symmetry: tuple[tuple[str, str], ...] | None = None,
        skeleton: tuple[tuple[str, str], ...] = (),
    ) -> KeypointDataset:
        """The labels, if nothing was wrong.

        Args:
            names: the keypoints' names.
            symmetry: pairs of names; None: guess them.
            skeleton: pairs of names.

        Raises:
            LabelError: all faults together.
        """
        self._check("keypoint", names)
        index = {name: i for i, name in enumerate(names)}
        scored = any(mark[-1] == mark[-1] for image in self.images.values() for mark in image.marks)
        samples = tuple(_sample(*item, index, scored) for item in self.images.items())
        pairs = guess_symmetry(names) if symmetry is None else symmetry
        found = KeypointDataset(self.root, names, samples, pairs, skeleton, self.path)
        return as_told(found.counted_from(self.pixels))

    def class_labels(self) -> ClassDataset:
        """The images with their classes, which are sorted by name, if nothing was wrong.

        Raises:
            LabelError: all faults together.
        """
        found = {pixels.label for pixels in self.images.values()} - {""}
        names = tuple(sorted(found, key=natural))
        self._check("class", names)
        self.check_classes(names)
        index = {name: i for i, name in enumerate(names)}
        samples = tuple(
            ClassSample(image, pixels.size or (0, 0), index.get(pixels.label), pixels.split)
            for image, pixels in self.images.items()
        )
        return ClassDataset(self.root, names, samples, self.path)

    def check_classes(self, names: Sequence[str]) -> None:
        """Refuse a single class, with which there is nothing to learn."""
        if len(names) == 1:
            got = f"there is one class, {shown(names[0])}"
            self.fault(0, "class", got, "label at least two classes")
            self.stop()

    def _check(self, what: str, names: tuple[str, ...]) -> None:
        """Raise what was wrong, and say what was assumed."""
        if len(names) > MAX_NAMES:
            got = f"{len(names):,} names, the most is {MAX_NAMES}"
            self.fault(1, what, got, f"write the name of a {what} there, not places or images")
        if {"thousands", "whole"} <= self.decimals and "," not in self.decimals:
            got = "numbers such as 1,234 may mean 1.234 or 1234"
            self.fault(1, "numbers", got, "write decimal points, and no mark between thousands")
        if not self.faults and not (names and self.images):
            left = [one for one in self._assumed if one.endswith("left out")]
            got = "there is no label in it" + (f": {', '.join(left)}" if left else "")
            self.fault(1, "file", got, "label at least one image")
        if self.faults:
            self.stop()
        self.tell()

    def tell(self) -> None:
        """Say in one line what was taken for granted, if anything was."""
        if self._assumed:
            _log.warning("%s is read with %s", self.path, ", ".join(self._assumed))


def _sample(image: str, pixels: _Image, index: dict[str, int], scored: bool) -> KeypointSample:
    count = 1 + max((mark[0] for mark in pixels.marks), default=0)
    points = np.full((count, len(index), len(pixels.size or (0, 0))), np.nan)
    visibility = np.full((count, len(index)), Visibility.UNLABELLED, dtype=np.int8)
    scores = np.full(visibility.shape, np.nan) if scored else None
    for instance, name, seen, *where, score in pixels.marks:
        place = instance, index[name]
        visibility[place] = seen
        if seen >= Visibility.HIDDEN:
            points[place] = where
        if scores is not None:
            scores[place] = score
    tracks = np.array([pixels.tracks.get(i, -1) for i in range(count)], np.int64)
    areas = np.array([pixels.areas.get(i, np.nan) for i in range(count)])
    return KeypointSample(
        image,
        pixels.size or (0, 0),
        points,
        visibility,
        pixels.split,
        scores=scores,
        tracks=tracks if pixels.tracks else None,
        areas=areas if pixels.areas else None,
    )


def subfolders(folder: Path) -> list[Path]:
    """Folders in a folder in natural order, without hidden ones, links and results of ours."""
    found = (one for one in folder.iterdir() if one.is_dir() and not one.is_symlink())
    shown = [one for one in found if not is_hidden(one.name) and not is_result(one)]
    return sorted(shown, key=lambda one: natural(one.name))


def _plain(name: str) -> str:
    """A name without what some systems do not tell apart."""
    return unicodedata.normalize("NFC", name.strip()).casefold()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # e.g. a name that is too long
        return False


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """Content of a file of labels, or its first `most` bytes.

    Raises:
        DataError: the system refuses, or the whole file is too large.
    """
    try:
        if most is None:
            check_size(path)
        with path.open("rb") as file:
            return file.read(-1 if most is None else most)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}; name a file of labels"
        ) from error


def check_size(path: Path) -> None:
    """Refuse a file that is too large.

    Raises:
        DataError: it is.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise DataError(
            f"{path} has {size >> 20} MiB, labels may have {MAX_BYTES >> 20}; split the file"
        )
