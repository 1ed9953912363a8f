"""labelme and X-AnyLabeling: one JSON file for each image, in which points are shapes.

```
a.png   a.json: {"shapes": [{"label": "nose", "shape_type": "point", "points": [[10.5, 21]],
                             "group_id": 0, "flags": {}}], "imagePath": "a.png", …}
```

Places count from the image's corner (labelme draws a point at 0, 0 on it). `group_id` says which
object a point is of. X-AnyLabeling calls a hidden point `difficult`; labelme has no word for it, so
that a flag `hidden` of the shape is one too. Other shapes are left out. What we add: `keypoints`,
the names in their order, and the split as a flag of the image; labelme keeps both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from placewise.formats._collect import Collector, read_bytes, split_named
from placewise.formats._format import WrittenKeypoints
from placewise.formats._holds import Holds, lost, one_file_each
from placewise.formats._json import MEND, entries, entry, finite, parsed, word
from placewise.formats._lines import coding_of
from placewise.formats._located import (
    FileForEach,
    Located,
    Stems,
    beside,
    check_size,
    split_of,
)
from placewise.formats._objects import Objects
from placewise.labels import KeypointDataset, KeypointSample, Visibility
from placewise.labels.names import shown

HOLDS = Holds(hidden=True, splits=True)

_SHAPES = re.compile(r'"shapes"\s*:\s*\[')
_MORE = re.compile(r'"(imagePath|flags|version)"\s*:')
_WAY_OUT = "give each object a group_id of its own, or delete one of the points"


class Labelme(FileForEach, WrittenKeypoints):
    """labelme or X-AnyLabeling: a folder with a JSON file for each image, whose points count.

    Written as a folder: for each image the JSON file that labelme opens beside it.
    """

    ending = ".json"

    def recognises(self, path: Path, head: str) -> bool:
        """An object with a list of shapes."""
        named = bool(_SHAPES.search(head)) and bool(_MORE.search(head))
        return named and head.lstrip("\ufeff \t\r\n").startswith("{")

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`."""
        collector = Collector(path, root)
        collector.from_corner("labelme")
        read = [(file, _content(collector, file)) for file in self.files(path)]
        base = path if path.is_dir() else path.parent
        stems = Stems(collector.root)
        named = {file: _images(stems, file, content) for file, content in read}
        located = Located(collector, list(named.values()), find_root=root is None)
        objects = Objects(collector, _WAY_OUT)
        others = 0
        for file, content in read:
            where = file.relative_to(base).as_posix()
            image = located.image(named[file], 0, f"{where}: imagePath")
            sizes = content.get("imageWidth"), content.get("imageHeight")
            check_size(collector, image, *sizes, f"{where}: imageWidth")
            flagged = [name for name, on in entry(content.get("flags")).items() if on is True]
            splits = [name for name in flagged if split_named(name)] or [split_of(file, base)]
            collector.split(image, splits[0], 0, f"{where}: flags")
            objects.name(*filter(None, map(word, content.get("keypoints") or ())))
            for i, shape in enumerate(entries(content.get("shapes"))):
                others += not _add(collector, objects, image, shape, f"{where}: shapes[{i}]")
        if others:
            collector.assume(f"{others} shapes that are no points left out")
        return collector.labels(objects.settle())

    def losses(self, labels: KeypointDataset) -> list[str]:
        """Absent keypoints, scores, identities, a skeleton, a symmetry that names do not tell."""
        return lost(labels, HOLDS)

    def content(self, labels: KeypointDataset) -> Mapping[str, bytes]:
        """A JSON file for each image, named after it."""
        files = one_file_each((sample.image for sample in labels.samples), ".json")
        return {files[s.image]: _written(s, labels.names).encode() for s in labels.samples}


def _content(collector: Collector, file: Path) -> dict[str, Any]:
    """The JSON of a file without its image; empty and a fault where it is broken."""
    data = read_bytes(file)
    try:
        content = entry(parsed(data.decode(coding_of(data))))
    except UnicodeDecodeError:
        collector.fault(0, file.name, "it is no text in UTF-8", MEND)
        return {}
    except ValueError as error:
        collector.fault(0, file.name, str(error), MEND)
        return {}
    content.pop("imageData", None)
    if not isinstance(content.get("keypoints"), list):
        content.pop("keypoints", None)
    return content


def _images(stems: Stems, file: Path, content: Mapping[str, Any]) -> list[str]:
    """Names that the image of a file may have."""
    named = content.get("imagePath")
    said = beside(file, stems.root, named) if isinstance(named, str) and named else []
    return [*said, *stems.names(file, file.stem)] or [file.stem]


def _add(
    collector: Collector, objects: Objects, image: str | None, shape: Mapping[str, Any], field: str
) -> bool:
    """Add a point; False where the shape is none."""
    if shape.get("shape_type") != "point":
        return False
    points = shape.get("points")
    place = points[0] if isinstance(points, list) and points else None
    x, y = map(finite, place) if isinstance(place, list) and len(place) == 2 else (None, None)
    name = collector.name(word(shape.get("label")), 0, f"{field}.label")
    if x is None or y is None:
        got = f"{shown(points)} is not one point of two finite numbers"
        collector.fault(0, f"{field}.points", got, "write [[x, y]]")
        return True
    collector.near(image, x, y, 0, f"{field}.points")
    hidden = shape.get("difficult") is True or entry(shape.get("flags")).get("hidden") is True
    seen = Visibility.HIDDEN if hidden else Visibility.VISIBLE
    group = shape.get("group_id")
    group = group if isinstance(group, int | str) else None
    objects.add(image, name, (seen, x, y), group=group, field=field)
    return True


def _written(sample: KeypointSample, names: tuple[str, ...]) -> str:
    """The JSON of an image; a group is written where there are several objects."""
    shapes = []
    for instance, k in zip(*sample.located.nonzero(), strict=True):
        x, y = (sample.points[instance, k] + 0.5).tolist()
        hidden = bool(sample.visibility[instance, k] == Visibility.HIDDEN)
        shapes.append(
            {
                "label": names[k],
                "points": [[x, y]],
                "group_id": int(instance) if len(sample.points) > 1 else None,
                "description": "",
                "shape_type": "point",
                "flags": {"hidden": True} if hidden else {},
                "difficult": hidden,
            }
        )
    height, width = sample.size
    content = {
        "version": "5.5.0",
        "flags": {sample.split: True} if sample.split else {},
        "shapes": shapes,
        "imagePath": sample.image.rpartition("/")[2],
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
        "keypoints": list(names),
    }
    return json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
