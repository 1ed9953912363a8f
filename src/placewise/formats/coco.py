"""COCO keypoints: JSON with images, annotations and a category that names the keypoints.

Read and written are `keypoints` as x, y, v with v = 0 not labelled, 1 hidden, 2 visible, the
category's `skeleton` (1-based), and beyond the standard: the category's `symmetry` (pairs of
names), an annotation's `absent` (names), `scores` and `track_id` (which object over the images),
and an image's `split`. Several annotations of an image are its instances; one without a labelled
keypoint is none, unless it has `absent`. An `area` that is not that of the box about the keypoints
is kept. The box of a crowd (`iscrowd` 1) is a region in which keypoints are not labelled one by
one; its `ignored`, beyond the standard, names them. Its corners are edges of pixels.
Coordinates are taken as they are: 0-based, an integer is a pixel's centre; files of Roboflow, CVAT
and Label Studio count from the image's corner.

Source: the data format page of cocodataset.org. Other tools deviate from it, and what they mean
is read where it can be one thing only: ids as text, a skeleton from 0, places that are no numbers
where v = 0, empty lists of keypoints, several categories, images in a folder nearby.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np

from placewise.formats._coco import is_coco, only_outlines
from placewise.formats._coco_text import VISIBILITY, Json, text_of
from placewise.formats._collect import Collector, subfolders
from placewise.formats._format import Joints, KeypointText
from placewise.formats._json import MEND, entry, finite, parsed, word
from placewise.geometry import PIXEL_CONVENTION
from placewise.labels import (
    Ignored,
    KeypointDataset,
    Visibility,
    guess_symmetry,
)
from placewise.labels.names import shown

MAX_LISTS = 5_000_000
"""Most lists and objects in a file: those of COCO 2017 with all of its outlines are 4 million."""

SAME = 0.001
"""Share of an area by which it may differ from that of the box about the keypoints."""

MAX_FOLDERS = 1000
"""Most folders that are searched for the images."""

_INFO = ("contributor", "date_created", "description", "url", "version", "year")
"""What `info` says of a file."""

_KINDS = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}
_BESIDE = ("annotations", "annotation", "labels")
"""Names of folders beside which the images may be."""

_T = TypeVar("_T")


class Coco(KeypointText):
    """COCO keypoints: JSON with the lists images, annotations and categories.

    Boxes and masks are not needed and not looked at. Holds everything that labels are.
    """

    first = ("points.json", "labels.json")
    patterns = ("*.json", "annotations/*keypoints*.json", "annotations/*.json")
    endings = (".json",)

    def recognises(self, path: Path, head: str) -> bool:
        """An object with one of the three lists, not of outlines alone."""
        return is_coco(head) and not only_outlines(path)

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`.

        Without a root the images are sought in the file's folder, the one above, and the folders
        below; for a file in `annotations` also in the folders beside that.
        """
        return Reader(Collector(path, root), find_root=root is None).labels()

    def joints(self, path: Path) -> Joints | None:
        """Skeleton and symmetry of the category; no image is looked at."""
        return Reader(Collector(path), find_root=False).joints()

    def losses(self, labels: KeypointDataset) -> list[str]:
        """Nothing."""
        return []

    def text(self, labels: KeypointDataset) -> str:
        """One line for each image and annotation."""
        return text_of(labels)


class _Category(NamedTuple):
    """A category with keypoints: what it says, where, its id, and the names."""

    said: Json
    path: str
    key: str
    names: tuple[str, ...]


class Reader:
    """Walks through the JSON of one file, trusts nothing, and hands what it finds to a collector.

    Args:
        collector: takes images, marks and faults.
        find_root: whether to look for the folder of the images.
    """

    def __init__(self, collector: Collector, *, find_root: bool) -> None:
        self.collector, self.find_root = collector, find_root
        self.names: tuple[str, ...] = ()
        self.parts: dict[str, tuple[str, ...]] = {}
        self.alone = False
        self.images: dict[str, str | None] = {}
        self.instances: Counter[tuple[str, str]] = Counter()
        self.ignored: dict[str, list[Ignored]] = {}

    def labels(self) -> KeypointDataset:
        """Read everything.

        Raises:
            LabelError: all faults together.
        """
        content = self._content()
        images = self._get(content, "images", list, "")
        annotations = self._get(content, "annotations", list, "")
        found = self._categories(content)
        if tool := _corner_tool(content, self.collector.path.name):
            self.collector.from_corner(tool)
        if self.find_root and images:
            self._find_root(images)
        for i, image in enumerate(images or ()):
            self._image(image, f"images[{i}]")
        if not found or images is None or annotations is None:
            self.collector.stop()
        for i, annotation in enumerate(annotations):
            self._annotation(annotation, f"annotations[{i}]")
        labels = self.collector.labels(self.names, self._symmetry(found), self._skeleton(found))
        return labels.ignoring(self.ignored)

    def joints(self) -> Joints | None:
        """How the keypoints of the category belong together; None where nothing says it.

        Raises:
            LabelError: the file is broken.
        """
        found = self._categories(self._content())
        if not found or self.collector.faults:
            return None
        symmetry, skeleton = self._symmetry(found), self._skeleton(found)
        if self.collector.faults or not (symmetry or skeleton):
            return None
        return Joints(
            self.names, guess_symmetry(self.names) if symmetry is None else symmetry, skeleton
        )

    def fault(self, field: str, got: str, todo: str) -> None:
        """Note a fault at a path of the JSON."""
        self.collector.fault(0, field, got, todo)

    def _content(self) -> Json:
        text = self.collector.text()
        if self.collector.faults:
            self.collector.stop()
        try:
            content = parsed(text, MAX_LISTS)
        except ValueError as error:
            self._broken(str(error), MEND)
        if isinstance(content, list):
            got = "it is a list of results, not a data set: it names no images and no keypoints"
            self._broken(got, "give the file with images, annotations and categories")
        if not isinstance(content, dict):
            self._broken("the JSON is not an object", MEND)
        info = content.get("info")
        said = info.get("pixel_convention") if isinstance(info, dict) else None
        if said not in (None, PIXEL_CONVENTION):
            got = f"{shown(said)} is not our convention"
            self.fault("info.pixel_convention", got, f"convert to '{PIXEL_CONVENTION}'")
        return content

    def _broken(self, got: str, todo: str) -> NoReturn:
        self.fault("file", got, todo)
        self.collector.stop()

    def _get(self, parent: Json, key: str, kind: type[_T], path: str) -> _T | None:
        """A value of the kind that is needed, or None and a fault."""
        field = f"{path}.{key}" if path else key
        if key in parent:
            return self._typed(parent[key], kind, field)
        self.fault(field, "it is missing", f"write {_KINDS[kind]}")
        return None

    def _typed(self, value: object, kind: type[_T], field: str) -> _T | None:
        if isinstance(value, kind) and not isinstance(value, bool):
            return value
        self.fault(field, f"{shown(value)} is not {_KINDS[kind]}", f"write {_KINDS[kind]}")
        return None

    def _key(self, parent: Json, key: str, path: str) -> str | None:
        """An identifier: a whole number or a text; 1, 1.0 and "1" are the same."""
        value = _whole(parent.get(key))
        if isinstance(value, int | str) and not isinstance(value, bool):
            if isinstance(value, str) and value.strip().isdecimal():
                self.collector.assume("ids written as text")
            return str(value).strip()
        got = f"{shown(value)} is not a whole number" if key in parent else "it is missing"
        self.fault(f"{path}.{key}", got, "write a whole number")
        return None

    def _categories(self, content: Json) -> list[_Category]:
        """The categories with keypoints, none where one is a fault; fills `names` and `parts`.

        A keypoint of the same name in several categories is one keypoint. Where each category has
        a keypoint of its own, those of an image are of one object.
        """
        found: list[_Category] = []
        for i, value in enumerate(self._get(content, "categories", list, "") or ()):
            path, category = f"categories[{i}]", value if isinstance(value, dict) else {}
            listed = category.get("keypoints")
            key = None
            if listed or "id" in category:
                key = self._key(category, "id", path)
            if key in self.parts:
                self.fault(f"{path}.id", f"{shown(key)} is the id of two categories", "number them")
            if key is not None:
                self.parts[key] = ()
            if listed:
                names = self._typed(listed, list, f"{path}.keypoints") or []
                good = self._names(names, f"{path}.keypoints")
                if key is None or len(good) < max(1, len(names)):
                    return []
                found.append(_Category(category, path, key, good))
        self.names = tuple(dict.fromkeys(name for one in found for name in one.names))
        if not found:
            got, todo = "no category has a list 'keypoints'", "export the labels as keypoints"
            self.fault("categories", got, todo)
        self.parts.update({one.key: one.names for one in found})
        self.alone = len(self.names) > 1 and all(len(one.names) == 1 for one in found)
        if len(found) > 1:
            self.collector.assume(f"the keypoints of {len(found)} categories together")
        return found

    def _names(self, values: list[object], path: str) -> tuple[str, ...]:
        """The names that are good, each once."""
        names: dict[str, None] = {}
        for i, value in enumerate(values):
            text = self._typed(value, str, f"{path}[{i}]")
            name = None if text is None else self.collector.name(text, 0, f"{path}[{i}]")
            if name in names:
                self.fault(f"{path}[{i}]", f"{shown(name)} is there twice", "rename one")
            elif name is not None:
                names[name] = None
        return tuple(names)

    def _symmetry(self, categories: Sequence[_Category]) -> tuple[tuple[str, str], ...] | None:
        """Pairs of names, None where the file has none."""
        told = [one for one in categories if one.said.get("symmetry") is not None]
        pairs: dict[tuple[str, str], str] = {}
        for one in told:
            path = f"{one.path}.symmetry"
            for i, pair in enumerate(self._typed(one.said["symmetry"], list, path) or ()):
                named = _pair(pair, {name: name for name in one.names})
                if named is None:
                    got = f"{shown(pair)} is not a pair of keypoints"
                    self.fault(f"{path}[{i}]", got, "write two names of keypoints")
                elif one is told[0] or named[::-1] not in pairs:
                    pairs[named] = path
        for name, count in Counter(name for pair in pairs for name in pair).items():
            if count > 1:
                path = next(path for pair, path in pairs.items() if name in pair)
                self.fault(path, f"{shown(name)} is in two pairs", "give a keypoint one partner")
        return tuple(pairs) if told else None

    def _skeleton(self, categories: Sequence[_Category]) -> tuple[tuple[str, str], ...]:
        """Pairs of names that are drawn joined; what cannot be understood is left out."""
        found: dict[tuple[str, str], None] = {}
        for one in categories:
            listed = one.said.get("skeleton")
            listed = listed if isinstance(listed, list) else []
            first = 1
            if any(isinstance(pair, list) and 0 in pair for pair in listed):
                first = 0
                self.collector.assume("a skeleton whose numbers begin at 0")
            numbers: dict[Any, str] = {name: name for name in one.names}
            numbers.update(enumerate(one.names, first))
            pairs = [_pair(pair, numbers) for pair in listed]
            if None in pairs:
                left = f"{pairs.count(None)} of {len(pairs)} skeleton pairs left out"
                self.collector.assume(left)
            found.update(dict.fromkeys(pair for pair in pairs if pair))
        return tuple(found)

    def _find_root(self, images: list[object]) -> None:
        """Choose the folder that holds the most of the images."""
        listed = [image.get("file_name") for image in images if isinstance(image, dict)]
        names = [name for name in listed if isinstance(name, str)]
        own = self.collector.path.parent
        above = Path(os.path.normpath(own / ".."))
        found = self.collector.holding(names, [own, above])[:1]
        if not found:
            named = Path(os.path.normpath(own.absolute())).name.lower()
            places = [own, above] if named in _BESIDE else [own]
            found = self.collector.holding(names, [f for place in places for f in _below(place)])
            stem = self.collector.path.stem.lower()
            if len(found) > 1:
                found = [f for f in found if f.name.lower() in stem] or found
        if len(found) > 1:
            several = ", ".join(str(folder) for folder in found[:5])
            got = f"images of these names are in {len(found)} folders: {several}"
            self._broken(got, "name the right one with --root (root=)")
        if found and found[0] != own:
            self.collector.root = found[0]
            self.collector.assume(f"images in {found[0]}")

    def _image(self, value: object, path: str) -> None:
        image: Json | None = self._typed(value, dict, path)
        if image is None:
            return
        key = self._key(image, "id", path)
        if key in self.images and key is not None:
            got = f"{shown(image['id'])} is the id of two images"
            self.fault(f"{path}.id", got, "number them anew")
        name = self._get(image, "file_name", str, path)
        pixels = None
        if name is not None:
            pixels = self.collector.image(name, 0, f"{path}.file_name")
        if key is not None:
            self.images.setdefault(key, pixels)
        if image.get("split") is not None:
            split = self._typed(image["split"], str, f"{path}.split")
            self.collector.split(pixels, split or "", 0, f"{path}.split")
        self._check_size(image, pixels, path)

    def _check_size(self, image: Json, pixels: str | None, path: str) -> None:
        """The size that the file gives must be the image's: else the keypoints lie elsewhere."""
        size = self.collector.images[pixels].size if pixels is not None else None
        for axis, key in enumerate(("height", "width")):
            if image.get(key) in (None, 0):  # not known
                continue
            said = self._typed(_whole(image[key]), int, f"{path}.{key}")
            if said is not None and size is not None and said != size[axis]:
                got = f"it is {shown(said)}, the image's {key} is {size[axis]}"
                todo = "use the image that was labelled, turned and scaled as it was then"
                self.fault(f"{path}.{key}", got, todo)

    def _annotation(self, value: object, path: str) -> None:
        annotation: Json | None = self._typed(value, dict, path)
        if annotation is None:
            return
        names = self._parts(annotation, path)
        if names and annotation.get("iscrowd") == 1 and not _labelled(annotation):
            self._crowd(annotation, names)
            return
        empty = not annotation.get("keypoints") and "absent" not in annotation
        if not names or (empty and {"keypoints", "bbox", "segmentation"} & set(annotation)):
            return  # of another category, or a box or a mask alone
        key = self._key(annotation, "image_id", path)
        if key is not None and key not in self.images:
            got = f"there is no image with the id {shown(annotation['image_id'])}"
            self.fault(f"{path}.image_id", got, "add the image or delete the annotation")
        image = self.images.get(key) if key is not None else None
        values = self._get(annotation, "keypoints", list, path)
        absent = self._absent(annotation, names, path)
        if values is not None and len(values) != 3 * len(names):
            got = f"{len(values)} numbers instead of 3 × {len(names)}"
            self.fault(f"{path}.keypoints", got, "write x, y, v for each keypoint of the category")
        elif values is not None:
            scores = _scores(annotation.get("scores"), len(names))
            instance = self._points(values, image, names, absent, scores, path)
            if instance is not None:
                self._object(annotation, values, image, instance, path)

    def _crowd(self, annotation: Json, names: Sequence[str]) -> None:
        """Keep the box of a crowd, in which keypoints are not labelled one by one."""
        image = self.images.get(str(annotation.get("image_id"))) or ""
        box = annotation.get("bbox")
        numbers = [finite(value) for value in box] if isinstance(box, list) else []
        x, y, width, height = numbers if len(numbers) == 4 else (None,) * 4
        if x is None or y is None or not width or not height or min(width, height) <= 0:
            return
        listed = annotation.get("ignored")
        said = listed if isinstance(listed, list) else list(self.names)
        low, high = (x - 0.5, y - 0.5), (x + width - 0.5, y + height - 0.5)
        held = self.ignored.setdefault(image, [])
        held += [Ignored(name, low, high) for name in names if name in said]

    def _parts(self, annotation: Json, path: str) -> tuple[str, ...] | None:
        """The keypoints of an annotation's category; None and a fault where there is none."""
        keyed = [names for names in self.parts.values() if names]
        if "category_id" not in annotation and len(keyed) == 1:
            return keyed[0]
        key = self._key(annotation, "category_id", path)
        if key is None or key in self.parts:
            return self.parts[key] if key is not None else None
        known = ", ".join(islice(self.parts, 10))
        got = f"there is no category with the id {shown(annotation['category_id'])}"
        todo = f"correct it: the ids of the categories are {known}"
        self.fault(f"{path}.category_id", got, todo)
        return None

    def _points(
        self,
        values: list[object],
        image: str | None,
        names: Sequence[str],
        absent: set[str] | None,
        scores: list[float],
        path: str,
    ) -> int | None:
        """Mark the keypoints of the next instance on an image; its number, None if it has none."""
        of = image or "", names[0] if self.alone else ""
        instance = self.instances[of]
        marks = []
        for i, name in enumerate(names):
            field = f"{path}.keypoints[{3 * i}]"
            placed = self._point(values[3 * i : 3 * i + 3], image, field)
            if placed is None:
                continue
            if absent and name in absent:
                if placed[0] >= Visibility.HIDDEN:
                    got = f"{shown(name)} is absent and has a place"
                    self.fault(f"{path}.absent", got, "take it out, or set its v to 0")
                placed = (Visibility.ABSENT, math.nan, math.nan)
            marks.append((instance, name, *placed, scores[i]))
        if absent is not None or any(mark[2] for mark in marks):
            for mark in marks:
                self.collector.mark(image, mark)
            self.instances[of] += 1
            return instance
        return None

    def _object(
        self, annotation: Json, values: list[object], image: str | None, instance: int, path: str
    ) -> None:
        """Keep the identity and the area of an instance, where it has them."""
        track = _whole(annotation.get("track_id"))
        if track is not None and not (type(track) is int and 0 <= track < 1 << 31):
            got = f"{shown(track)} is not a whole number of 0 or more"
            self.fault(f"{path}.track_id", got, "number the objects over the images from 0")
        elif isinstance(track, int):
            self.collector.track(image, instance, track)
        area = finite(annotation.get("area"))
        if area is not None and area > 0 and abs(area - _box_area(values)) > SAME * area:
            self.collector.area(image, instance, area)

    def _absent(self, annotation: Json, known: Sequence[str], path: str) -> set[str] | None:
        """Names of the keypoints that an annotation calls absent, None where it does not say."""
        if annotation.get("absent") is None:
            return None
        names = self._typed(annotation["absent"], list, f"{path}.absent") or []
        for i, name in enumerate(names):
            if name not in known:
                got = f"{shown(name)} is not a keypoint of the category"
                self.fault(f"{path}.absent[{i}]", got, "write names of keypoints")
        return {name for name in names if isinstance(name, str)}

    def _point(
        self, values: list[object], image: str | None, field: str
    ) -> tuple[Visibility, float, float] | None:
        """Visibility and place from x, y, v, None where they are a fault."""
        x, y, v = (finite(value) for value in values)
        if v == 0 or values == [None] * 3:  # then x and y mean nothing
            return Visibility.UNLABELLED, math.nan, math.nan
        if x is None or y is None or v is None:
            got = f"{shown(values)} are not three finite numbers"
            self.fault(field, got, "write x, y, v; 0, 0, 0 for a keypoint that is not labelled")
            return None
        if v not in (1, 2):
            got = f"the visibility {v:g} is unknown"
            self.fault(field, got, "write 0 (not labelled), 1 (hidden) or 2 (visible)")
            return None
        self.collector.near(image, x, y, 0, field)
        return VISIBILITY[int(v)], x, y


def _corner_tool(content: Json, name: str) -> str | None:
    """The tool that wrote a file and counts from the image's corner; None: one that does not.

    Label Studio and Roboflow say who they are. CVAT writes with Datumaro, which leaves all of
    `info` empty. X-AnyLabeling cuts places off to whole pixels, which are those of the centres.
    """
    info = entry(content.get("info"))
    if info.get("pixel_convention") is not None:
        return None
    said = {key: word(info.get(key)) for key in _INFO}
    if "roboflow" in " ".join(said.values()).lower() or name == "_annotations.coco.json":
        return "Roboflow"
    if said["contributor"] == "Label Studio":
        return "Label Studio"
    return "CVAT" if set(_INFO) <= set(info) and not any(said.values()) else None


def _pair(pair: object, names: Mapping[Any, str]) -> tuple[str, str] | None:
    """Two names, None where it is no pair of different keypoints."""
    if not isinstance(pair, list) or not all(type(end) in (int, str) for end in pair):
        return None
    ends = [names[end] for end in pair if end in names]
    return (ends[0], ends[1]) if len(pair) == len(set(ends)) == 2 else None


def _scores(listed: object, count: int) -> list[float]:
    """Scores from 0 to 1, NaN where there is none."""
    values = listed if isinstance(listed, list) and len(listed) == count else [None] * count
    found = [finite(value) for value in values]
    return [math.nan if s is None or not 0 <= s <= 1 else s for s in found]


def _box_area(values: list[object]) -> float:
    """Area of the box about the keypoints x, y, v of which v is not 0."""
    numbers = [finite(value) or 0.0 for value in values]
    seen = [numbers[i : i + 2] for i in range(0, len(numbers) - 2, 3) if numbers[i + 2]]
    if not seen:
        return 0.0
    wide, high = np.ptp(np.array(seen), axis=0).tolist()
    return float(wide * high)


def _below(folder: Path) -> Iterator[Path]:
    """Folders one and two levels below, without hidden ones."""
    here = subfolders(folder)
    return islice((f for group in (here, *map(subfolders, here)) for f in group), MAX_FOLDERS)


def _whole(value: object) -> object:
    """A float such as 640.0 as the whole number that it is; all else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _labelled(annotation: Json) -> bool:
    """Whether any keypoint of an annotation is labelled: then it is an object, whatever it says."""
    values = annotation.get("keypoints")
    return isinstance(values, list) and any(seen not in (0, None) for seen in values[2::3])
