"""ImageJ and Fiji: points in ROI files, in sets of them (RoiSet.zip), and in Results.csv.

```
a.png   a_RoiSet.zip: nose.roi, left_ear.roi, …            ,Label,X,Y
a.png   a.roi: one or several points                      1,a.png:nose,10.25,20.5
```

An integer is a pixel's centre, since points and lines use the centre in ImageJ (`PointRoi`).
Without subpixel coordinates they are whole numbers. A ROI's name is the keypoint's; the names that
ImageJ gives by itself (0012-0034) are none. Objects are groups of ROIs; without groups, numbers at
the ends of all names (nose_0, tail_0, nose_1) are objects. A set belongs to the image that it is
named after, else to the only image of the folder, else to the slice of each ROI. In Results.csv a
keypoint that repeats is of the next object. Numbers there must be pixels: remove the scale of the
image in ImageJ before. Outlines are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from placewise.errors import SettingsError
from placewise.formats._collect import Collector, read_bytes
from placewise.formats._format import WrittenKeypoints
from placewise.formats._holds import Holds, lost, one_file_each
from placewise.formats._located import (
    Located,
    Stems,
    beside,
    files_below,
    images_below,
    reading_order,
    split_of,
)
from placewise.formats._objects import Objects
from placewise.formats._roi import (
    GROUPS,
    MAGIC,
    Roi,
    decoded,
    encoded,
    is_archive,
    packed,
    unpacked,
)
from placewise.formats._tables import Cell, Row, header_of, read_point, read_table
from placewise.images import is_image_name
from placewise.labels import KeypointDataset, KeypointSample, Visibility

HOLDS = Holds(names="placed")

COLUMNS = {"label": "label", "x": "x", "y": "y", "slice": "slice", "frame": "slice"}

LOCATED_BY = 10_000
"""Rows whose images say where the images are, at most."""

_MEASURED = {"", "area", "mean", "min", "max", "slice", "counter", "ch", "frame"}
_TABLE = {"image", "recording", "signal", "volume", "keypoint", "point"}
"""Columns of tables of ours, which have an empty one first where pandas wrote its index."""

_OWN_NAME = re.compile(r"\d{3,6}-\d{3,6}(-\d{3,6})?(-\d+)?")
_SET = re.compile(r"(.*?)[ _-]?(roi[ _-]?sets?|rois?)?", re.IGNORECASE | re.DOTALL)
_NUMBERED = re.compile(r"(.+)_(\d{1,4})", re.DOTALL)
_UNSAFE = re.compile(r'[\\/:*?"<>|]')
_WAY_OUT = "give the ROIs of each object a group of their own, or delete one of them"


@dataclass(frozen=True)
class _Found:
    """A ROI: its image, its name or nothing, its group, its places, and where it is."""

    image: str | None
    name: str
    group: int | None
    roi: Roi
    field: str


class Imagej(WrittenKeypoints):
    """ImageJ: ROI files of points, sets of them in a_RoiSet.zip beside a.png, or Results.csv.

    Written as a folder: for each image the set of its ROIs, named after the image.
    """

    patterns = ("*.csv",)
    whole_folders = True
    beside_files = True

    def recognises(self, path: Path, head: str) -> bool:
        """A ROI file, an archive of them, or a table of results."""
        if path.suffix.lower() == ".roi" or head.startswith(MAGIC.decode()):
            return head.startswith(MAGIC.decode())
        if path.suffix.lower() == ".zip":
            return _is_set(path)
        cells = [cell.lower() for cell in header_of(head)]
        return {"x", "y"} <= set(cells) and bool(cells) and _results(cells)

    def recognises_folder(self, path: Path) -> bool:
        """A ROI file or a set of them."""
        return any(_is_set(file) for file in files_below(path, ".roi", ".zip"))

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`."""
        collector = Collector(path, root)
        if path.is_file() and path.suffix.lower() not in (".roi", ".zip"):
            return _read_results(collector, find_root=root is None)
        base, files = path.parent, [path]
        if path.is_dir():
            base = path
            files = [file for file in files_below(path, ".roi", ".zip") if _is_set(file)]
        stems = Stems(collector.root)
        named = {file: _images(stems, file) for file in files}
        files.sort(key=lambda file: reading_order(next(iter(named[file]), file.name)))
        located = Located(collector, [n for n in named.values() if n], find_root=root is None)
        found = [
            one for file in files for one in _read_file(collector, located, file, named[file], base)
        ]
        objects = Objects(collector, _WAY_OUT)
        for one in _grouped(collector, found):
            _add(collector, objects, one)
        others = sum(not one.roi.points for one in found)
        if others:
            collector.assume(f"{others} ROIs that are no points left out")
        if others == len(found) > 0:
            got = "no ROI is of points; an outline has no keypoints"
            collector.fault(0, "ROI", got, "mark points with the point tool of ImageJ")
        return collector.labels(objects.settle())

    def losses(self, labels: KeypointDataset) -> list[str]:
        """States, splits, names without a place, and all that is no place."""
        return lost(labels, HOLDS)

    def content(self, labels: KeypointDataset) -> Mapping[str, bytes]:
        """A set of ROIs for each image; objects are groups."""
        grouped = 1 < labels.instances < GROUPS
        if labels.instances >= GROUPS and any((s.located.sum(1) > 1).any() for s in labels.samples):
            raise SettingsError(
                f"ImageJ has {GROUPS} groups, and an image shows {labels.instances} objects; "
                "write coco"
            )
        files = one_file_each((sample.image for sample in labels.samples), "_RoiSet.zip")
        return {files[s.image]: packed(_rois(s, labels.names, grouped)) for s in labels.samples}


def _results(cells: Sequence[str]) -> bool:
    """Whether these columns beside x and y are those of a table of results."""
    measured = bool(_MEASURED & set(cells)) and not _TABLE & set(cells)
    return cells[0] in ("", "label") and measured


def _is_set(file: Path) -> bool:
    """Whether a file is a ROI file, or an archive of nothing else."""
    if file.suffix.lower() == ".roi":
        return read_bytes(file, 4) == MAGIC
    if read_bytes(file, 2) != b"PK":
        return False
    named = _SET.fullmatch(file.stem)
    if named and named[2]:
        return True
    return is_archive(file)


def _images(stems: Stems, file: Path) -> list[str]:
    """Names of the image that a file belongs to; none where its slices say it."""
    match = _SET.fullmatch(file.stem)
    named = stems.names(file, file.stem, match[1] if match else file.stem)
    alone = [name for names in stems.near(file.parent).values() for name in names]
    return named or (beside(file, stems.root, alone[0]) if len(alone) == 1 else [])


def _read_file(
    collector: Collector, located: Located, file: Path, named: Sequence[str], base: Path
) -> Iterator[_Found]:
    """The ROIs of a file."""
    where = file.relative_to(base).as_posix()
    image = located.image(named, 0, where, once=False) if named else None
    collector.split(image, split_of(file, base), 0, where)
    listed = [] if named else images_below(file.parent)
    todo = "save the ROIs in ImageJ again"
    try:
        is_roi = file.suffix.lower() == ".roi"
        held = [(file.name, read_bytes(file))] if is_roi else list(unpacked(file))
    except ValueError as error:
        collector.fault(0, where, str(error), todo)
        return
    for entry, data in held:
        field = where if is_roi else f"{where}: {entry}"
        try:
            roi = decoded(data)
        except ValueError as error:
            collector.fault(0, field, str(error), todo)
            continue
        on = image
        if not named and roi.points:
            on = _by_slice(collector, located, file, listed, roi, field)
        name = roi.name or entry[: -len(".roi")]
        own = (image or "").rpartition("/")[2].rpartition(".")[0]
        name = "" if _OWN_NAME.fullmatch(name) or (is_roi and name == own) else name
        yield _Found(on, name, roi.group or None, roi, field)


def _by_slice(
    collector: Collector, located: Located, file: Path, listed: Sequence[str], roi: Roi, field: str
) -> str | None:
    """The image of a ROI's slice; the images of a folder are the stack."""
    if 0 < roi.slice <= len(listed):
        collector.assume("slices as the images of the folder in their order")
        name = beside(file, collector.root, listed[roi.slice - 1])
        return located.image(name, 0, field, once=False)
    got = f"nothing says which of {len(listed)} images it belongs to"
    todo = (
        "name the file after its image, as in a_RoiSet.zip beside a.png, and name the folder of "
        "the images with --root (root=) where they lie elsewhere"
    )
    collector.fault(0, field, got, todo)
    return None


def _grouped(collector: Collector, found: Sequence[_Found]) -> list[_Found]:
    """The same with the object of each ROI, where groups or the ends of names say it."""
    points = [one for one in found if one.roi.points]
    if any(one.group for one in points):
        return [_without_end(one) for one in points]
    matches = [_NUMBERED.fullmatch(one.name) for one in points]
    told = [match for match in matches if match is not None]
    if len(told) < len(matches) or len({match[1] for match in told}) < 2:
        return points
    numbers = {int(match[2]) for match in told}
    low = min(numbers)
    if low > 1 or numbers != set(range(low, low + len(numbers))):
        return points
    collector.assume("numbers at the ends of names as objects")
    return [
        replace(one, name=match[1], group=int(match[2]))
        for one, match in zip(points, told, strict=True)
    ]


def _without_end(one: _Found) -> _Found:
    """A ROI whose name does not repeat its group: nose_0 is the nose of group 1."""
    return replace(one, name=one.name.removesuffix(f"_{(one.group or 0) - 1}"))


def _add(collector: Collector, objects: Objects, one: _Found) -> None:
    """Add the points of a ROI."""
    single = len(one.roi.places) == 1
    name = collector.name(one.name, 0, one.field) if one.name else None
    if one.name and name is None:
        return
    for x, y in one.roi.places:
        collector.near(one.image, x, y, 0, one.field)
        placed = (Visibility.VISIBLE, x, y)
        if single and name is not None:
            objects.add(one.image, name, placed, group=one.group, field=one.field)
        else:
            kind = name or ""
            objects.add(one.image, None, placed, group=one.group, field=one.field, kind=kind)


def _read_results(collector: Collector, *, find_root: bool) -> KeypointDataset:
    """The points of a table of results."""
    _, lazy = read_table(collector, ("x", "y"), COLUMNS)
    first = list(islice(lazy, LOCATED_BY))
    named = [[name] for row in first if (name := _labelled(row)[0])]
    located = Located(collector, named, find_root=find_root)
    listed = images_below(collector.root)
    objects = Objects(collector, "keep one of them")
    held: dict[str, tuple[int, set[str]]] = {}
    said: dict[tuple[str, str, object], int] = {}
    for row in chain(first, lazy):
        image_name, name = _labelled(row)
        image = _image_of_row(collector, located, listed, row, image_name)
        placed = read_point(collector, image, row.number, row["x"], row["y"], Cell())
        if not placed or image is None:
            continue
        before = said.setdefault((image, name, placed), row.number)
        if before != row.number:
            got = f"the row says the same as row {before}"
            collector.fault(row.number, "X,Y", got, "delete one of them")
            continue
        if not name:
            objects.add(image, None, placed, row=row.number, field="X,Y", kind="")
            continue
        number, names = held.get(image, (0, set()))
        if name in names:
            collector.assume("a keypoint that repeats as of the next object")
            number, names = number + 1, set()
        held[image] = number, {*names, name}
        good = collector.name(name, row.number, "Label")
        objects.add(image, good, placed, group=number, row=row.number, field="Label")
    return collector.labels(objects.settle())


def _labelled(row: Row) -> tuple[str, str]:
    """The image and the keypoint that a row names; either may be empty."""
    parts = [part.strip() for part in row["label"].text.split(":")]
    image = parts[0] if len(parts) > 1 or is_image_name(parts[0]) else ""
    name = parts[-1] if not image or len(parts) > 1 else ""
    return image, "" if _OWN_NAME.fullmatch(name) else name


def _image_of_row(
    collector: Collector, located: Located, listed: Sequence[str], row: Row, named: str
) -> str | None:
    """The image of a row: by its label, else by its slice, else the only one of the folder."""
    if named:
        return located.image([named], row.number, "Label", once=False)
    text = row["slice"].text.strip()
    number = int(text) if re.fullmatch("[0-9]{1,9}", text) else 1 if len(listed) == 1 else 0
    if 0 < number <= len(listed):
        return collector.image(listed[number - 1], row.number, "Slice", once=False)
    got = f"nothing says which of {len(listed)} images it belongs to"
    todo = "measure with 'Display label' switched on (Analyze, Set Measurements)"
    collector.fault(row.number, "Label", got, todo)
    return None


def _rois(sample: KeypointSample, names: Sequence[str], grouped: bool) -> dict[str, bytes]:
    """The ROI files of an image by their names in the archive."""
    found: dict[str, bytes] = {}
    for instance, k in zip(*sample.located.nonzero(), strict=True):
        x, y = sample.points[instance, k].tolist()
        name = f"{names[k]}_{instance}" if grouped else names[k]
        base = _UNSAFE.sub("_", name)
        entry, more = f"{base}.roi", 0
        while entry in found:
            more += 1
            entry = f"{base}-{more}.roi"
        found[entry] = encoded(name, x, y, int(instance) + 1 if grouped else 0)
    return found
