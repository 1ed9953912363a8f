"""VIA 2, the VGG Image Annotator: points of images, in JSON or in CSV.

```
{"a.png2070": {"filename": "a.png", "size": 2070, "regions": [
   {"shape_attributes": {"name": "point", "cx": 11, "cy": 21},
    "region_attributes": {"keypoint": "nose", "animal": "0"}}]}}
```

A project holds the same under `_via_img_metadata`; a CSV has a row for each region. Places count
from the image's corner and are rounded to whole numbers, so that they are up to half a pixel wrong.
Which attribute of a region is the keypoint's name is up to the user: one that is called so
(`keypoint`, `name`, `label`, …), else the only one that is no object. Other shapes are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from placewise.formats._collect import Collector
from placewise.formats._format import KeypointFormat
from placewise.formats._json import MEND, entries, entry, finite, parsed, word
from placewise.formats._located import Located, names_of
from placewise.formats._objects import Objects
from placewise.formats._tables import header_of, read_table
from placewise.labels import KeypointDataset, Visibility
from placewise.labels.names import shown

COLUMNS = ("filename", "region_shape_attributes", "region_attributes")

_NAMES = """keypoint keypoints landmark landmarks point bodypart body_part part name label type
class joint""".split()
_OBJECTS = "animal individual instance object track id group person mouse subject".split()
_KNOWN = re.compile(r'"(_via_img_metadata|region_attributes|shape_attributes)"\s*:')
_REGIONS = re.compile(r'"filename"\s*:.*"regions"\s*:', re.DOTALL)


class _Region(NamedTuple):
    """A region of an image, with the place where it is in the file."""

    image: str
    shape: Mapping[str, Any]
    said: Mapping[str, Any]
    row: int
    field: str


class Via(KeypointFormat):
    """VIA 2: a project, or its regions as JSON or as CSV; points count, in whole pixels."""

    patterns = ("*.json", "*.csv")

    def recognises(self, path: Path, head: str) -> bool:
        """The words of VIA in JSON, or its columns."""
        if head.lstrip("\ufeff \t\r\n").startswith("{"):
            return bool(_KNOWN.search(head) or _REGIONS.search(head))
        cells = [cell.lower().lstrip("#") for cell in header_of(head)]
        return set(COLUMNS) <= set(cells)

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`."""
        collector = Collector(path, root)
        collector.from_corner("VIA")
        text = collector.head().lstrip("\ufeff \t\r\n")
        images: dict[str, tuple[int, str]] = {}
        find = _from_json if text.startswith("{") else _from_csv
        regions = list(find(collector, images))
        named = [names_of(image) for image in images]
        located = Located(collector, named, find_root=root is None)
        found = {
            image: located.image(names_of(image), row, field, once=False)
            for image, (row, field) in images.items()
        }
        objects = Objects(collector, "give each object a region attribute 'object', or delete one")
        points = [region for region in regions if region.shape.get("name") == "point"]
        if len(points) < len(regions):
            collector.assume(f"{len(regions) - len(points)} regions that are no points left out")
        name, group = _attributes(collector, points)
        for region in points:
            _add(collector, objects, region, found[region.image], name, group)
        return collector.labels(objects.settle())


def _from_json(collector: Collector, images: dict[str, tuple[int, str]]) -> Iterator[_Region]:
    """The regions of a project or of an export; fills `images`."""
    text = collector.text()
    if collector.faults:
        collector.stop()
    try:
        content = entry(parsed(text))
    except ValueError as error:
        collector.fault(0, "file", str(error), MEND)
        collector.stop()
    listed = content.get("_via_img_metadata", content)
    for key, value in entry(listed).items():
        image = entry(value)
        name = word(image.get("filename"))
        if not name:
            collector.fault(0, key, "it names no image", "write filename")
            continue
        images.setdefault(name, (0, f"{key}.filename"))
        regions = image.get("regions")
        regions = list(regions.values()) if isinstance(regions, dict) else regions
        for i, region in enumerate(entries(regions)):
            shape = entry(region.get("shape_attributes"))
            said = entry(region.get("region_attributes"))
            yield _Region(name, shape, said, 0, f"{key}.regions[{i}]")


def _from_csv(collector: Collector, images: dict[str, tuple[int, str]]) -> Iterator[_Region]:
    """The rows of a table, whose cells hold JSON; fills `images`."""
    known = {**{name: name for name in COLUMNS}, "#filename": "filename"}
    _, rows = read_table(collector, COLUMNS, known)
    for row in rows:
        name = row["filename"].text
        images.setdefault(name, (row.number, "filename"))
        cells = []
        for column in COLUMNS[1:]:
            try:
                cells.append(entry(parsed(row[column].text or "{}")))
            except ValueError as error:
                collector.fault(row.number, column, str(error), MEND)
        if len(cells) == 2 and cells[0]:
            yield _Region(name, cells[0], cells[1], row.number, COLUMNS[1])


def _attributes(collector: Collector, points: Sequence[_Region]) -> tuple[str | None, str | None]:
    """Which attributes are the name of a keypoint and the object that it is of."""
    used = dict.fromkeys(key for point in points for key, said in point.said.items() if _told(said))
    small = {key.strip().lower(): key for key in used}
    group = next((small[one] for one in _OBJECTS if one in small), None)
    rest = [key for key in used if key != group]
    name = next((small[one] for one in _NAMES if one in small), None)
    if name is None and len(rest) > 1:
        got = f"regions have the attributes {', '.join(map(shown, rest))}"
        todo = "call the one that is the keypoint's name 'keypoint'"
        collector.fault(0, "region_attributes", got, todo)
        collector.stop()
    return name or (rest[0] if rest else None), group


def _told(said: object) -> str:
    """The value of an attribute: a text, or what is ticked."""
    if isinstance(said, dict):
        return next((key for key, on in said.items() if on is True), "")
    return word(said).strip()


def _add(
    collector: Collector,
    objects: Objects,
    region: _Region,
    image: str | None,
    name: str | None,
    group: str | None,
) -> None:
    """Add a point."""
    x, y = finite(region.shape.get("cx")), finite(region.shape.get("cy"))
    row, field = region.row, region.field
    if x is None or y is None:
        got = f"cx and cy are {shown(region.shape.get('cx'))} and {shown(region.shape.get('cy'))}"
        collector.fault(row, field, got, "write two finite numbers, in pixels")
        return
    collector.near(image, x, y, row, field)
    placed = (Visibility.VISIBLE, x, y)
    of = (_told(region.said.get(group)) if group else "") or None
    if name is None:
        objects.add(image, None, placed, group=of, row=row, field=field, kind="")
        return
    named = collector.name(_told(region.said.get(name)), row, f"{field}: {name}")
    objects.add(image, named, placed, group=of, row=row, field=field)
