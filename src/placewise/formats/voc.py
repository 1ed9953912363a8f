"""PASCAL VOC: boxes in XML, one file for each image; the middle of a box is a spot.

```
Annotations/a.xml   JPEGImages/a.jpg   ImageSets/Main/train.txt
```

Corners are 1-based, and a box holds both of its corner pixels (the development kit of the PASCAL
VOC challenge, Everingham et al.), so its middle lies at (xmin + xmax) / 2 − 1 in our coordinates.
All objects of an image are labelled: a name without a box on an image is absent there. A box that
is `difficult` is no spot but a region that is ignored. A box that begins and ends in one row or
column of pixels is a slip, and is left out.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from placewise.formats._collect import Collector, read_bytes, split_named, subfolders
from placewise.formats._format import Format
from placewise.formats._located import files_below, split_of
from placewise.formats._xml import parsed
from placewise.images import is_image_name
from placewise.labels import Ignored, KeypointDataset, Visibility
from placewise.labels.names import shown
from placewise.wording import natural, sides_of

_BOXES = ("annotations", "annotation")
_IMAGES = ("JPEGImages", "images", "Images", "imgs")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_BEGIN = re.compile(r"<annotation[\s>]")


@dataclass
class _Read:
    """What is gathered over all files."""

    names: dict[str, None] = field(default_factory=dict)
    ignored: dict[str, list[Ignored]] = field(default_factory=dict)
    on_image: dict[str, int] = field(default_factory=dict)
    named: dict[str, set[str]] = field(default_factory=dict)
    flat: Counter[str] = field(default_factory=Counter)


class Voc(Format):
    """PASCAL VOC: a folder Annotations with an XML file for each image, whose boxes are spots.

    The images lie in JPEGImages or images, beside the XML files, or in the folder itself; lists in
    ImageSets/Main name the splits, or the folders that the XML files lie in.
    """

    tasks = ("spots",)
    whole_folders = True
    beside_files = True

    def recognises(self, path: Path, head: str) -> bool:
        """XML whose first element is an annotation."""
        return path.suffix.lower() == ".xml" and _BEGIN.search(head[:400]) is not None

    def recognises_folder(self, path: Path) -> bool:
        """An XML file of annotations."""
        file = next(_files(path), None)
        head = read_bytes(file, 400).decode("utf-8", "replace") if file else ""
        return _BEGIN.search(head) is not None

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`."""
        folder = path if path.is_dir() else path.parent
        collector, read = Collector(path, root or folder), _Read()
        files = [path] if path.is_file() else sorted(_files(path), key=lambda f: natural(f.name))
        splits = _splits(folder if (folder / "ImageSets").is_dir() else folder.parent)
        for file in files:
            _read_file(collector, read, file, splits.get(file.stem) or split_of(file, folder))
        lacking = False
        for image, named in read.named.items():
            for name in read.names:
                if name not in named:
                    mark = (0, name, Visibility.ABSENT, math.nan, math.nan, math.nan)
                    collector.mark(image, mark)
                    lacking = True
        if read.flat:
            counts = ", ".join(f"{name} ({count:,})" for name, count in read.flat.items())
            collector.assume(f"boxes that begin and end in one row or column left out: {counts}")
        if lacking:
            collector.assume("names without a box on an image as absent there")
        labels = collector.labels(tuple(read.names), symmetry=()).for_task("spots")
        return labels.ignoring(read.ignored)


def _files(folder: Path) -> Iterator[Path]:
    """The XML files of a folder of annotations, else those of its folders, e.g. of splits."""
    below = [one for one in subfolders(folder) if one.name.lower() in _BOXES]
    found = False
    for one in below or [folder]:
        for file in one.iterdir():
            if file.suffix.lower() == ".xml" and file.is_file() and not file.is_symlink():
                found = True
                yield file
    if not (found or below):
        yield from files_below(folder, ".xml")


def _splits(folder: Path) -> dict[str, str]:
    """The split of each image, by its name without ending."""
    found: dict[str, str] = {}
    lists = folder / "ImageSets" / "Main"
    for file in sorted(lists.glob("*.txt")) if lists.is_dir() else ():
        if split := split_named(file.stem):
            for line in read_bytes(file).decode("utf-8", "replace").splitlines():
                if line.strip():
                    found[line.split()[0]] = split
    return found


def _read_file(collector: Collector, read: _Read, file: Path, split: str) -> None:
    """The boxes of one image."""
    tree = _parsed(collector, file)
    if tree is None:
        return
    name = _image_of(collector.root, file, _text(tree, "filename"))
    image = collector.image(name, 0, file.name)
    collector.split(image, split, 0, file.name)
    if image is None:
        return
    said = tuple(_number(_text(tree, f"size/{side}")) for side in ("height", "width"))
    own = collector.images[image].size
    if own is not None and all(side > 0 for side in said) and said != tuple(own):
        got = f"it says {said[1]:g}×{said[0]:g} px, and {shown(image)} is of {sides_of(own)}"
        collector.fault(0, file.name, got, "use the image that was labelled")
        return
    read.named[image] = set()
    for element in tree.iter("object"):
        _read_box(collector, read, image, file.name, element)


def _read_box(
    collector: Collector, read: _Read, image: str, where: str, element: ElementTree.Element
) -> None:
    name = collector.name(_text(element, "name"), 0, where)
    box = element.find("bndbox")
    corners = [_number("" if box is None else _text(box, corner)) for corner in _CORNERS]
    if name is None:
        return
    left, top, right, bottom = corners
    if not all(map(math.isfinite, corners)) or right < left or bottom < top:
        got = f"the box of {shown(name)} is {', '.join(map(str, corners))}"
        got += "; xmin is larger than xmax" if right < left else ""
        got += "; ymin is larger than ymax" if bottom < top else ""
        collector.fault(0, where, got, "write xmin, ymin, xmax, ymax in pixels, each once")
        return
    if right == left or bottom == top:
        read.flat[name] += 1
        return
    read.names[name] = None
    if _text(element, "difficult") == "1":
        low, high = (left - 1.5, top - 1.5), (right - 0.5, bottom - 0.5)
        read.ignored.setdefault(image, []).append(Ignored(name, low, high))
        return
    x, y = (left + right) / 2 - 1, (top + bottom) / 2 - 1
    collector.near(image, x, y, 0, where)
    number = read.on_image.get(image, 0)
    collector.mark(image, (number, name, Visibility.VISIBLE, x, y, math.nan))
    read.on_image[image] = number + 1
    read.named[image].add(name)


def _parsed(collector: Collector, file: Path) -> ElementTree.Element | None:
    """The first element of a file; a file that defines entities is a fault, it may explode."""
    try:
        return parsed(read_bytes(file))
    except ValueError as error:
        collector.fault(0, file.name, str(error), "export the labels as PASCAL VOC again")
        return None


def _image_of(root: Path, file: Path, named: str) -> str:
    """Name of a file's image relative to the root, as it is said or by the file's own name."""
    said = named.replace("\\", "/").rpartition("/")[2]
    beside = file.parent.relative_to(root).as_posix() if file.is_relative_to(root) else "."
    folders = [*_IMAGES, beside, "."]
    for folder in folders:
        where = root / folder
        if said and (where / said).is_file():
            return f"{folder}/{said}"
    for folder in folders:
        if (root / folder).is_dir():
            for other in (root / folder).glob(f"{_escaped(file.stem)}.*"):
                if is_image_name(other.name):
                    return f"{folder}/{other.name}"
    first = next((f for f in _IMAGES if (root / f).is_dir()), ".")
    return f"{first}/{said or file.stem}"


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _text(element: ElementTree.Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
