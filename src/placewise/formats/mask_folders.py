"""A folder of images and a folder of masks, matched by name; or a table that names both.

```
eyes/images/a.jpg            eyes/train/images/a.jpg        eyes/a.jpg
eyes/masks/a.png             eyes/train/masks/a.png         eyes/a_mask.png

image,mask,fov,split                  in split.csv; with `instances` instead of `mask` where each
images/a.jpg,masks/a.png,fov/a.png,train      object has a number of its own
```

A table with the column `volume` names npz files that hold the arrays `image` and `mask`; one with
the column `recording` those that hold `signal` and `mask`. Images with the same word in the column
`group` (or `subject`, `patient`, `animal`) are never parted into training and validation.

What the numbers in a mask mean is found from all masks together, by this rule:

- A folder or column called `instances`: each number but 0 is an object.
- More than `CLASSES` different numbers, of which nine in ten are one connected piece in each mask
  where they are: each number is an object too.
- Else each number but 0 is a class, the smallest first. 255 is ignored where it stands beside
  numbers below `SMALL`, as in index masks.

A folder or column called `fov` marks the field of view: what lies outside of it (0) is ignored. One
called `ignore` marks what is ignored. The classes are named by `classes.txt` (a name in a line, in
the order of the numbers) or `classes.json` (a list, or names by number), where one is there.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from placewise.archives import names_in
from placewise.errors import DataError, ImageError
from placewise.formats._collect import Collector, read_bytes, split_named, subfolders
from placewise.formats._format import Format
from placewise.formats._tables import Row, header_of, read_table
from placewise.geometry import Size
from placewise.images import is_hidden, is_image_name
from placewise.labels import Dataset
from placewise.labels.masks import (
    Coded,
    InArray,
    InImage,
    InstanceDataset,
    InstanceSample,
    Labels,
    MaskDataset,
    MaskSample,
    Values,
)
from placewise.labels.names import normal, shown, why_unfit, why_unsafe
from placewise.readers import list_files, reader_of
from placewise.readers.packed import SIGNALS, VOLUMES
from placewise.wording import IMAGES_OF, natural, sides_of

CLASSES = 8
"""More different numbers than this are those of objects, if they are connected."""

SMALL = 64
"""255 is ignored beside numbers below this."""

CONNECTED = 0.9
"""Share of numbers that are one connected piece in a mask of objects."""

FRAME = 0.01
"""Millimetres up to which the voxels of an image and of its mask may lie apart, about."""

IN_BETWEEN, WHOLE = 2.0, 16.0
"""Numbers are of smoothed edges where the pieces of half of them have at most so many pixels, and
those of another have so many times more."""

PEEK = 40
"""Masks whose pieces are counted."""

MOST = 255
"""Most classes."""

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages")
MASK_FOLDERS = (
    *("instances", "masks", "mask", "labels", "label", "segmentations", "segmentation"),
    *("annotations", "gt", "groundtruth", "segmentationclass", "segmentationobject"),
)
"""Names of folders in small letters, without blanks and marks between words."""
FIELDS = {"fov": False, "ignore": True}
"""Folders and columns of fields, and whether they mark what is ignored."""

_TABLE = "split.csv"
_COLUMNS = {
    **{name: name for name in ("image", "volume", "mask", "instances", "split", "group", *FIELDS)},
    **dict.fromkeys(("recording", "signal"), "volume"),
    "masks": "mask",
    "instance": "instances",
    **dict.fromkeys(("subject", "patient", "animal"), "group"),
}
_BESIDE = re.compile(r"(?P<image>.+)[_-](masks?|segmentation|seg|gt|labels?|instances)", re.I)


@dataclass(frozen=True)
class _Pair:
    """An image with its mask, as files below the folder; `row` and `column` are for faults."""

    image: str
    mask: str
    field: str = ""
    hides: bool = False
    split: str = ""
    row: int = 0
    column: str = "mask"
    group: str = ""


@dataclass
class _Read:
    """A pair that was looked at: its size and its numbers.

    Of each number that was looked at closer: whether it is one connected piece, and how many pixels
    its pieces have.
    """

    pair: _Pair
    size: Size
    values: Values
    numbers: tuple[int, ...]
    connected: list[bool] = field(default_factory=list)
    pixels: list[float] = field(default_factory=list)


class MaskFolders(Format):
    """Images and masks of the same names in two folders, or a table that names both.

    Masks are PNG, TIFF, BMP or GIF: 1 bit, grey levels, a colour table, colours, or 16 bits; of
    volumes NIfTI, stacks of TIFF, or the array `mask` of an npz file.
    """

    tasks = ("masks", "instances")
    whole_folders = True
    beside_files = True

    def recognises(self, path: Path, head: str) -> bool:
        """No file is one."""
        return False

    def recognises_folder(self, path: Path) -> bool:
        """There is an image with its mask."""
        return _table_of(path) is not None or next(_found(path), None) is not None

    def choice(self, path: Path) -> Literal["wins", "asks"]:
        """Masks of objects say more than a table of their places that lies beside them."""
        return "wins" if _objects_told(path) else "asks"

    def read(self, path: Path, root: Path | None = None) -> Dataset[Any]:
        """Read masks; see `Format.read`."""
        table = _table_of(path) if path.is_dir() else None
        collector = Collector(table or path, root or path)
        if not path.is_dir():
            todo = "name the folder that holds images and masks"
            collector.fault(0, "folder", "this is a file", todo)
            collector.stop()
        pairs = list(_rows(collector)) if table else list(_matched(collector, path))
        read = [one for pair in pairs if (one := _look(collector, pair)) is not None]
        if not read and not collector.faults:
            todo = "put a mask of the same name into a folder 'masks' for each image"
            collector.fault(0, "folder", "there is no image with a mask", todo)
        if collector.faults:
            collector.stop()
        _look_closer(read)
        return _dataset(collector, read, path, objects=_objects_told(path))


def _objects_told(path: Path) -> bool:
    """Whether a folder or a column is called instances."""
    table = _table_of(path)
    if table is not None:
        return "instances" in _columns(table)
    homes = [path, *(one for one in subfolders(path) if split_named(one.name))]
    return any(_named(home, MASK_FOLDERS[:1]) is not None for home in homes)


def _columns(table: Path) -> list[str]:
    head = read_bytes(table, 1 << 14).decode("utf-8", errors="replace")
    return [_COLUMNS.get(name.lower(), name) for name in header_of(head)]


def _table_of(path: Path) -> Path | None:
    """The table of a folder that names images and masks."""
    table = path / _TABLE
    if not table.is_file():
        return None
    columns = set(_columns(table))
    pairs = {"image", "volume"} & columns and {"mask", "instances"} & columns
    if pairs:
        return table
    return table if "volume" in columns and _volumes_hold_masks(table) else None


def _volumes_hold_masks(table: Path) -> bool:
    """Whether the first volume or recording that a table names is an npz file with a mask."""
    collector = Collector(table)
    _, rows = read_table(collector, ["volume"], _COLUMNS)
    name = next((row["volume"].text.strip() for row in rows), "")
    if why_unsafe(name) or not name.lower().endswith(".npz"):
        return False
    arrays = {one.removesuffix(".npy") for one in names_in(table.parent / name)}
    return "mask" in arrays and bool({*SIGNALS, *VOLUMES} & arrays)


def _rows(collector: Collector) -> Iterator[_Pair]:
    """The pairs of a table."""
    spelt, rows = read_table(collector, [], _COLUMNS)
    image = "image" if "image" in spelt else "volume"
    mask = next((name for name in ("instances", "mask") if name in spelt), image)
    fields = [name for name in FIELDS if name in spelt]
    for row in rows:
        names = [_name(collector, row, column) for column in (image, mask, *fields)]
        if None in names:
            continue
        shown_, labels, *rest = (name or "" for name in names)
        told = row["split"].text
        if told.strip() and split_named(told) is None:
            todo = "write train, val, test or nothing"
            collector.fault(row.number, "split", f"{shown(told)} is not a split", todo)
        over = next(
            ((name, FIELDS[key]) for name, key in zip(rest, fields, strict=True) if name),
            ("", False),
        )
        group = row["group"].text.strip()
        yield _Pair(shown_, labels, *over, told, row.number, mask, group)


def _name(collector: Collector, row: Row, column: str) -> str | None:
    """A file's name in a table; empty is a fault but for a field."""
    text = row[column].text.strip()
    if not text and column in FIELDS:
        return ""
    reason = why_unsafe(text)
    if reason:
        todo = "write the path of a file below the folder, e.g. masks/a.png"
        collector.fault(row.number, column, f"{shown(text)} {reason}", todo)
        return None
    return normal(text)


def _found(path: Path) -> Iterator[_Pair]:
    """The pairs of a folder: of two folders, in folders of splits or without, or side by side."""
    homes = [(path, "")]
    homes += [(one, one.name) for one in subfolders(path) if split_named(one.name)]
    for home, split in homes:
        images, masks = _named(home, IMAGE_FOLDERS), _named(home, MASK_FOLDERS)
        if masks is None:
            yield from _side_by_side(path, images or home, split)
            continue
        shown_ = _by_stem(images) if images else _by_stem(home, deep=False)
        labels = _by_stem(masks)
        fields = {key: _by_stem(found) for key in FIELDS if (found := _named(home, (key,)))}
        for stem, image in shown_.items():
            mask = labels.get(stem)
            if mask is not None:
                over = next(
                    ((found[stem], FIELDS[key]) for key, found in fields.items() if stem in found),
                    None,
                )
                name, hides = (_under(over[0], path), over[1]) if over else ("", False)
                told = split or (stem.split("/")[0] if "/" in stem else "")
                told = told if split_named(told) else ""
                yield _Pair(_under(image, path), _under(mask, path), name, hides, told)


def _matched(collector: Collector, path: Path) -> Iterator[_Pair]:
    """The pairs of a folder, and a fault for each image without a mask, and the other way round."""
    seen: set[str] = set()
    for pair in _found(path):
        seen |= {pair.image, pair.mask}
        yield pair
    homes = [path, *(one for one in subfolders(path) if split_named(one.name))]
    for home in homes:
        masks, images = _named(home, MASK_FOLDERS), _named(home, IMAGE_FOLDERS)
        if masks is None or images is None:
            continue
        for folder, other, missing in ((images, masks, "mask"), (masks, images, "image")):
            for file in _by_stem(folder).values():
                name = _under(file, path)
                if name not in seen:
                    got = f"{shown(name)} has no {missing} of the same name in {other.name}"
                    todo = "add it, or take the file out"
                    collector.fault(0, missing, got, todo)


def label_maps_in(folder: Path) -> frozenset[str]:
    """Names of the files in a folder that are masks or fields of its images.

    Args:
        folder: that may hold images with their masks.
    """
    if not folder.is_dir():
        return frozenset()
    table = _table_of(folder)
    with contextlib.suppress(DataError):
        pairs = list(_rows(Collector(table, folder)) if table else _found(folder))
        maps = {name for pair in pairs for name in (pair.mask, pair.field) if name}
        return frozenset(maps - {pair.image for pair in pairs})
    return frozenset()


def _named(home: Path, names: Sequence[str]) -> Path | None:
    """The folder of one of these names that holds images, capitals or not; the first name wins."""
    below = {re.sub("[ _-]", "", one.name.lower()): one for one in subfolders(home)}
    return next((below[name] for name in names if name in below and _shows(below[name])), None)


def _shows(folder: Path) -> bool:
    return bool(_listed_in(folder))


def _listed_in(folder: Path) -> list[Path]:
    """Images of a folder, or else volumes."""
    for axes in (2, 3):
        with contextlib.suppress(ImageError):
            return list_files(folder, axes)
    return []


def _by_stem(folder: Path, *, deep: bool = True) -> dict[str, Path]:
    """Images of a folder by their path without ending, in small letters, and without `_mask`."""
    files = _listed_in(folder) if deep else _loose(folder)
    found: dict[str, Path] = {}
    for file in files:
        stem = file.relative_to(folder).as_posix().lower().removesuffix(".gz")
        stem = stem[: len(stem) - len(Path(stem).suffix)]
        found.setdefault(stem, file)
    for stem in list(found):
        match = _BESIDE.fullmatch(stem)
        if match and match["image"] not in found:
            found[match["image"]] = found.pop(stem)
    return found


def _loose(folder: Path) -> list[Path]:
    """Images that lie in a folder itself, in natural order."""
    files = (one for one in folder.iterdir() if is_image_name(one.name) and one.is_file())
    return sorted((one for one in files if not is_hidden(one.name)), key=lambda f: natural(f.name))


def _side_by_side(path: Path, home: Path, split: str) -> Iterator[_Pair]:
    """Images with `NAME_mask` beside them."""
    files = {file.stem.lower(): file for file in _loose(home)}
    for stem, mask in files.items():
        match = _BESIDE.fullmatch(stem)
        image = files.get(match["image"]) if match else None
        if image is not None:
            yield _Pair(_under(image, path), _under(mask, path), split=split)


def _under(file: Path, path: Path) -> str:
    return file.relative_to(path).as_posix()


def _look(collector: Collector, pair: _Pair) -> _Read | None:
    """Size and numbers of a pair; None and a fault where something is wrong."""
    mask = collector.root / pair.mask
    values: Values = InArray(mask, "mask") if _packed(pair.mask) else InImage(mask)
    found: Labels | None = None
    try:
        found = values.read()
    except (DataError, ImageError) as error:
        todo = "put the mask there as PNG, or take its image out"
        collector.fault(pair.row, pair.column, _short(error), todo)
    image = collector.image(pair.image, pair.row, "image")
    size = collector.images[image].size if image is not None else None
    collector.split(None, pair.split, pair.row, "split")
    if found is None or size is None:
        return None
    if found.shape != tuple(size):
        got = (
            f"{shown(pair.mask)} is of {sides_of(found.shape)}, and {shown(pair.image)} of "
            f"{sides_of(size)}"
        )
        todo = f"give the mask of this {IMAGES_OF[len(size)].removesuffix('s')} at its own size"
        collector.fault(pair.row, pair.column, got, todo)
        return None
    if not _one_frame(collector.root / pair.image, mask):
        got = f"the voxels of {shown(pair.mask)} lie elsewhere than those of {shown(pair.image)}"
        todo = "resample the mask to the image: their affines must be equal"
        collector.fault(pair.row, pair.column, got, todo)
        return None
    numbers = np.unique(found)
    return _Read(pair, found.shape, values, tuple(numbers[numbers > 0].tolist()))


def _one_frame(image: Path, mask: Path) -> bool:
    """Whether both files say that their voxels lie at the same places, where both say it."""
    frames = []
    for path in (image, mask):
        reader = reader_of(path)
        frame = None if reader is None else reader.frame(path)
        if frame is not None:
            frames.append(frame)
    return len(frames) < 2 or bool(np.abs(frames[0] - frames[1]).max() < FRAME)


def _packed(name: str) -> bool:
    return name.lower().endswith(".npz")


def _short(error: Exception) -> str:
    return str(error).split("; ")[0]


def _look_closer(read: Sequence[_Read]) -> None:
    """Which numbers are connected, in some masks, where there are so many that it matters."""
    from scipy import ndimage

    if len({number for one in read for number in one.numbers}) <= CLASSES:
        return
    for one in read[:: max(1, len(read) // PEEK)]:
        found = one.values.read()
        for number, box in enumerate(ndimage.find_objects(np.maximum(found, 0)), 1):
            if box is not None:
                here = found[box] == number
                _, pieces = ndimage.label(here, np.ones((3,) * found.ndim))
                one.connected.append(pieces == 1)
                one.pixels.append(np.count_nonzero(here) / pieces)


def _dataset(
    collector: Collector, read: Sequence[_Read], path: Path, *, objects: bool
) -> Dataset[Any]:
    """The labels, once it is known what the numbers mean."""
    numbers = sorted({number for one in read for number in one.numbers})
    others = [number for number in numbers if number != 255]
    hidden = (255,) if 255 in numbers and others and others[-1] < SMALL else ()
    if hidden:
        _check_ignored(collector, read)
    codes = [number for number in numbers if number not in hidden]
    if not codes:
        todo = "give masks that mark something"
        collector.fault(0, "mask", f"all {len(read)} masks are empty", todo)
        collector.stop()
    connected = [one for part in read for one in part.connected]
    many = len(codes) > CLASSES and sum(connected) >= CONNECTED * max(1, len(connected))
    if not objects and (_is_smoothed(read) or (len(codes) > MOST and not many)):
        got = f"there are {len(codes):,} different values in the masks, and pieces of each"
        todo = f"write a number for each class, at most {MOST}; masks that were resized, or saved"
        collector.fault(0, "mask", got, f"{todo} as JPEG before, hold values in between")
        collector.stop()
    if objects or many:
        kind = _told(collector, path, [1])
        found = [InstanceSample(*_parts(one), _source(collector, one), *_lot(one)) for one in read]
        return InstanceDataset(collector.root, tuple(kind or ["object"]), tuple(found), path)
    names = _told(collector, path, codes) or _numbered(codes)
    samples = [
        MaskSample(*_parts(one), _source(collector, one, tuple(codes), hidden), *_lot(one))
        for one in read
    ]
    return MaskDataset(collector.root, tuple(names), tuple(samples), path)


def _is_smoothed(read: Sequence[_Read]) -> bool:
    """Whether most numbers are in between those of larger pieces, at their edges."""
    pixels = [part for one in read for part in one.pixels] or [np.inf]
    middle = float(np.median(pixels))
    return middle <= IN_BETWEEN and max(pixels) >= WHOLE * middle


def _check_ignored(collector: Collector, read: Sequence[_Read]) -> None:
    """Refuse 255 that is never in one mask with a class: it may be the same class as a smaller one.

    Masks of two tools often say 1 and 255 for the same thing.
    """
    alone = [one for one in read if one.numbers == (255,)]
    if alone and len(alone) == sum(255 in one.numbers for one in read):
        rest = sorted({number for one in read for number in one.numbers} - {255})
        got = (
            f"255 is the only number in {len(alone)} masks, and others hold "
            f"{', '.join(map(str, rest[:8]))}"
        )
        todo = "write one number for the same class in all masks, and 255 for what is ignored"
        collector.fault(0, shown(alone[0].pair.mask), got, todo)
        collector.stop()


def _numbered(codes: Sequence[int]) -> list[str]:
    """Names of classes of which nothing else is known."""
    if len(codes) == 1:
        return ["object"]
    return [f"class {k}" for k in range(1, len(codes) + 1)]


def _parts(one: _Read) -> tuple[str, Size]:
    return one.pair.image, one.size


def _lot(one: _Read) -> tuple[str | None, str | None]:
    """Split and group."""
    return split_named(one.pair.split), one.pair.group or None


def _source(
    collector: Collector, one: _Read, codes: tuple[int, ...] = (), hidden: tuple[int, ...] = ()
) -> Coded:
    over = InImage(collector.root / one.pair.field) if one.pair.field else None
    return Coded(one.values, codes, hidden, over, one.pair.hides)


def _told(collector: Collector, path: Path, codes: Sequence[int]) -> list[str]:
    """Names of the classes from classes.txt or classes.json; none where neither is there."""
    file = next(
        (path / f"classes.{end}" for end in ("txt", "json") if (path / f"classes.{end}").is_file()),
        None,
    )
    if file is None:
        return []
    inner = Collector(file, collector.root)
    text = inner.text()
    if inner.faults:
        inner.stop()
    listed = _listed(text, codes) if file.suffix == ".json" else text.split("\n")
    names = [name.strip() for name in listed if name.strip()]
    if len(names) == len(codes) + 1:
        names = names[1:]  # the background is named first
    if len(names) != len(codes) or any(map(why_unfit, names)) or len(set(names)) < len(names):
        got = f"it names {len(names)} classes, and the masks hold the numbers {codes}"
        inner.fault(0, "classes", got, "write a different name for each number, in their order")
        inner.stop()
    return names


def _listed(text: str, codes: Sequence[int]) -> list[str]:
    """Names in a JSON: a list, or an object with a name for each number."""
    try:
        held = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if isinstance(held, dict):
        held = [held.get(str(code), "") for code in codes]
    return [str(name) for name in held] if isinstance(held, list) else []
