"""Reading COCO key points: a walk through JSON that trusts nothing."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from placewise.formats._collect import Collector
from placewise.geometry import PIXEL_CONVENTION
from placewise.labels import KeypointDataset, Visibility
from placewise.labels.names import shown

VISIBILITY = (Visibility.UNLABELLED, Visibility.HIDDEN, Visibility.VISIBLE)
"""The states that COCO numbers 0, 1, 2."""

Json = dict[str, Any]
"""An object of a JSON file; each value's type is checked before it is used."""

_Key = int | str
"""An identifier."""

_KINDS = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}

_T = TypeVar("_T")


class Reader:
    """Walks through the JSON of one file and hands what it finds to the collector.

    Args:
        collector: takes images, marks and faults.
    """

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self.names: tuple[str, ...] = ()
        self.images: dict[_Key, str | None] = {}
        self.instances: Counter[str] = Counter()

    def labels(self) -> KeypointDataset:
        """Read everything.

        Raises:
            LabelError: all faults together.
        """
        content = self._content()
        images = self._get(content, "images", list, "")
        annotations = self._get(content, "annotations", list, "")
        found = self._category(content)
        for i, image in enumerate(images or ()):
            self._image(image, f"images[{i}]")
        if found is None or images is None or annotations is None:
            self.collector.stop()
        category, path = found
        for i, annotation in enumerate(annotations):
            self._annotation(annotation, category["id"], f"annotations[{i}]")
        symmetry = self._pairs(category, "symmetry", {n: n for n in self.names}, path)
        skeleton = self._pairs(category, "skeleton", dict(enumerate(self.names, 1)), path)
        self._check_partners(symmetry or (), f"{path}.symmetry")
        return self.collector.labels(self.names, symmetry, skeleton or ())

    def fault(self, field: str, got: str, todo: str) -> None:
        """Note a fault at a path of the JSON."""
        self.collector.fault(0, field, got, todo)

    def _content(self) -> Json:
        text = self.collector.text()
        if self.collector.faults:
            self.collector.stop()
        try:
            content = json.loads(text, object_pairs_hook=_unique)
        except RecursionError:
            self._broken("the JSON is nested too deeply")
        except json.JSONDecodeError as error:
            self._broken(f"the JSON is broken at line {error.lineno}: {error.msg}")
        except ValueError as error:  # a number of thousands of digits, or a key that stands twice
            self._broken(str(error).partition(";")[0])
        if not isinstance(content, dict):
            self._broken("the JSON is not an object")
        info = content.get("info")
        said = info.get("pixel_convention") if isinstance(info, dict) else None
        if said not in (None, PIXEL_CONVENTION):
            got = f"{shown(said)} is not our convention"
            self.fault("info.pixel_convention", got, f"convert to '{PIXEL_CONVENTION}'")
        return content

    def _broken(self, got: str) -> NoReturn:
        self.fault("file", got, "export it again, or mend it with an editor")
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

    def _key(self, parent: Json, key: str, path: str) -> _Key | None:
        """An identifier: a whole number or a text."""
        value = parent.get(key)
        if isinstance(value, int | str) and not isinstance(value, bool):
            return value
        got = f"{shown(value)} is not a whole number" if key in parent else "it is missing"
        self.fault(f"{path}.{key}", got, "write a whole number")
        return None

    def _category(self, content: Json) -> tuple[Json, str] | None:
        """The category that has key points and its path; its names go into `names`."""
        categories = self._get(content, "categories", list, "")
        if categories is None:
            return None
        found = [
            (category, f"categories[{i}]")
            for i, category in enumerate(categories)
            if isinstance(category, dict) and "keypoints" in category
        ]
        if len(found) != 1:
            got = f"{len(found)} categories have key points"
            self.fault("categories", got, "keep exactly one with a list 'keypoints'")
            return None
        category, path = found[0]
        key = self._key(category, "id", path)
        names = self._get(category, "keypoints", list, path)
        self.names = self._names(names or [], f"{path}.keypoints")
        whole = key is not None and names is not None and len(self.names) == len(names)
        return (category, path) if whole else None

    def _names(self, values: list[object], path: str) -> tuple[str, ...]:
        """The names that are good, each once."""
        names: dict[str, None] = {}
        for i, value in enumerate(values):
            text = self._typed(value, str, f"{path}[{i}]")
            name = None if text is None else self.collector.name(text, 0, f"{path}[{i}]")
            if name in names:
                self.fault(f"{path}[{i}]", f"{shown(name)} stands there twice", "rename one")
            elif name is not None:
                names[name] = None
        return tuple(names)

    def _pairs(
        self, category: Json, key: str, names: Mapping[Any, str], path: str
    ) -> tuple[tuple[str, str], ...] | None:
        """Pairs of names, by name or by 1-based number; None where the file has none."""
        if category.get(key) is None:
            return None
        field = f"{path}.{key}"
        pairs: list[tuple[str, str]] = []
        for i, pair in enumerate(self._typed(category[key], list, field) or ()):
            listed = isinstance(pair, list) and all(type(end) in (int, str) for end in pair)
            ends = [names[end] for end in pair if end in names] if listed else []
            if listed and len(pair) == len(set(ends)) == 2:
                pairs.append((ends[0], ends[1]))
            else:
                what = "names" if key == "symmetry" else "numbers from 1"
                got = f"{shown(pair)} is not a pair of points"
                self.fault(f"{field}[{i}]", got, f"write two {what} of key points")
        return tuple(pairs)

    def _check_partners(self, pairs: Sequence[tuple[str, str]], path: str) -> None:
        for name, count in Counter(name for pair in pairs for name in pair).items():
            if count > 1:
                self.fault(path, f"{shown(name)} is in two pairs", "give a point one partner")

    def _image(self, value: object, path: str) -> None:
        image: Json | None = self._typed(value, dict, path)
        if image is None:
            return
        key = self._key(image, "id", path)
        if key in self.images and key is not None:
            self.fault(f"{path}.id", f"{shown(key)} is the id of two images", "number them anew")
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
        """The size that the file gives must be the image's: else the points lie elsewhere."""
        size = self.collector.images[pixels].size if pixels is not None else None
        for axis, key in enumerate(("height", "width")):
            if image.get(key) is None:
                continue
            said = self._typed(image[key], int, f"{path}.{key}")
            if said is not None and size is not None and said != size[axis]:
                got = f"it is {shown(said)}, the image's {key} is {size[axis]}"
                todo = "use the image that was labelled, turned and scaled as it was then"
                self.fault(f"{path}.{key}", got, todo)

    def _annotation(self, value: object, category: _Key, path: str) -> None:
        annotation: Json | None = self._typed(value, dict, path)
        if annotation is None or annotation.get("category_id", category) != category:
            return
        if "keypoints" not in annotation and {"bbox", "segmentation"} & set(annotation):
            return  # a box or a mask alone
        key = self._key(annotation, "image_id", path)
        if key is not None and key not in self.images:
            got = f"there is no image with the id {shown(key)}"
            self.fault(f"{path}.image_id", got, "add the image or delete the annotation")
        image = self.images.get(key) if key is not None else None
        values = self._get(annotation, "keypoints", list, path)
        absent = self._absent(annotation, path)
        if values is not None and len(values) != 3 * len(self.names):
            got = f"{len(values)} numbers instead of 3 × {len(self.names)}"
            self.fault(f"{path}.keypoints", got, "write x, y, v for each point of the category")
        elif values is not None:
            self._points(values, image, absent, path)

    def _points(self, values: list[object], image: str | None, absent: set[str], path: str) -> None:
        """Mark the points of the next instance on an image."""
        instance = self.instances[image] if image is not None else 0
        for i, name in enumerate(self.names):
            field = f"{path}.keypoints[{3 * i}]"
            placed = self._point(values[3 * i : 3 * i + 3], image, field)
            if placed is None:
                continue
            if name in absent and placed[0] >= Visibility.HIDDEN:
                got = f"{shown(name)} is absent and has a place"
                self.fault(f"{path}.absent", got, "take it out, or set its v to 0")
            state = Visibility.ABSENT if name in absent else placed[0]
            self.collector.mark(image, (instance, name, state, *placed[1:]))
        if image is not None:
            self.instances[image] += 1

    def _absent(self, annotation: Json, path: str) -> set[str]:
        """Names of the points that an annotation calls absent."""
        if annotation.get("absent") is None:
            return set()
        names = self._typed(annotation["absent"], list, f"{path}.absent") or []
        for i, name in enumerate(names):
            if name not in self.names:
                got = f"{shown(name)} is not a point of the category"
                self.fault(f"{path}.absent[{i}]", got, "write names of key points")
        return {name for name in names if isinstance(name, str)}

    def _point(
        self, values: list[object], image: str | None, field: str
    ) -> tuple[Visibility, float, float] | None:
        """State and place from x, y, v, None where they are a fault."""
        x, y, v = (_finite(value) for value in values)
        if x is None or y is None or v is None:
            got = f"{shown(values)} are not three finite numbers"
            self.fault(field, got, "write x, y, v; 0, 0, 0 for a point that is not labelled")
            return None
        if v not in (0, 1, 2):
            got = f"the visibility {v:g} is unknown"
            self.fault(field, got, "write 0 (not labelled), 1 (hidden) or 2 (visible)")
            return None
        state = VISIBILITY[int(v)]
        if state == Visibility.UNLABELLED:
            return state, math.nan, math.nan
        self.collector.near(image, x, y, 0, field)
        return state, x, y


def _finite(value: object) -> float | None:
    """A number of a JSON file, None if it is anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _unique(pairs: list[tuple[str, Any]]) -> Json:
    """An object whose keys stand there once."""
    found = dict(pairs)
    if len(found) != len(pairs):
        key = next(key for key, count in Counter(k for k, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {shown(key)} stands twice in one object")
    return found
