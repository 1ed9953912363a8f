"""TPS of tpsDig: the landmarks of each specimen, numbered, with y upwards.

```
LM=3
10.75 27.00000
30.50000 41.75000
-1 -1
IMAGE=a.png
ID=0
SCALE=0.0125
```

x counts from the left side of the image and y upwards from its lower side, so that a place is
x − 1/2, height − 1/2 − y here. A landmark with a negative number is missing (`readland.tps` of
geomorph). That the corner counts as 0 is not written anywhere; the readers of StereoMorph and
ml-morph use height − y, which is half a pixel less. `SCALE` is not applied and curves are left out.
Several specimens with one image are several objects on it. `LM3` is of three dimensions.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from placewise.formats._collect import Collector
from placewise.formats._format import KeypointText
from placewise.formats._holds import Holds, lost
from placewise.formats._located import Located
from placewise.labels import KeypointDataset, Visibility
from placewise.labels.names import shown

HOLDS = Holds(names="none", outside=False)

_HEAD = re.compile(r"\s*(LM3?)\s*=\s*(\d{1,6})\s*", re.IGNORECASE)
_KEY = re.compile(r"\s*([A-Za-z]\w*)\s*=(.*)", re.DOTALL)
_SPACES = re.compile(r"[\s\t]+")


class Tps(KeypointText):
    """TPS: LM= and the landmarks of each specimen, then IMAGE=; y is upwards.

    Written with a specimen for each object. Landmarks are numbered and have no names.
    """

    patterns = ("*.tps",)
    endings = (".tps",)

    def recognises(self, path: Path, head: str) -> bool:
        """The first line that holds something is LM= or LM3=."""
        lines = (line for line in head.lstrip("\ufeff").splitlines() if line.strip())
        return bool(_HEAD.fullmatch(next(lines, "")))

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`."""
        collector = Collector(path, root)
        collector.from_corner("tpsDig")
        specimens = list(_specimens(collector))
        named = [[one.image] for one in specimens if one.image]
        located = Located(collector, named, find_root=root is None)
        counts = {len(one.places) for one in specimens} - {0}
        if len(counts) > 1 and not collector.faults:
            got = f"specimens have {', '.join(map(str, sorted(counts)))} landmarks"
            collector.fault(specimens[0].row, "LM", got, "place the same landmarks on each")
        seen: Counter[str] = Counter()
        for one in specimens:
            if not one.image:
                got = "the specimen names no image"
                collector.fault(one.row, "IMAGE", got, "add a line IMAGE= after its landmarks")
                continue
            image = located.image([one.image], one.image_row, "IMAGE", once=False)
            if image is None:
                continue
            size = collector.images[image].size
            for k, (row, x, y) in enumerate(one.places, 1):
                mark = (Visibility.UNLABELLED, math.nan, math.nan)
                if size is not None and x >= 0 and y >= 0:
                    mark = (Visibility.VISIBLE, x, size[0] - y)
                    collector.near(image, x, size[0] - y, row, "LM")
                collector.mark(image, (seen[image], str(k), *mark, math.nan))
            seen[image] += bool(one.places)
        count = max(counts, default=0)
        return collector.labels(tuple(str(k) for k in range(1, 1 + count)))

    def losses(self, labels: KeypointDataset) -> list[str]:
        """Names, states, splits, and all that is no place."""
        return lost(labels, HOLDS)

    def text(self, labels: KeypointDataset) -> str:
        """A specimen for each object."""
        lines: list[str] = []
        number = 0
        for sample in labels.samples:
            height, width = sample.size
            places = sample.points + 0.5
            inside = np.asarray(((places >= 0) & (places <= [width, height])).all(-1))
            for i in np.flatnonzero(inside.any(1)).tolist() or [0]:
                lines.append(f"LM={len(labels.names)}")
                for (x, y), here in zip(places[i].tolist(), inside[i].tolist(), strict=True):
                    lines.append(f"{x!r} {height - y!r}" if here else "-1 -1")
                lines += [f"IMAGE={sample.image}", f"ID={number}"]
                number += 1
        return "\n".join(lines) + "\n"


@dataclass
class _Specimen:
    """The landmarks of a specimen, each with its line, and the name of its image."""

    row: int
    places: list[tuple[int, float, float]] = field(default_factory=list)
    image: str = ""
    image_row: int = 0


def _specimens(collector: Collector) -> Iterator[_Specimen]:
    """The specimens of a file."""
    one: _Specimen | None = None
    left = 0  # landmarks, or with a negative number places of a curve, that are still to come
    for row, line in enumerate(map(str.strip, collector.lines()), 1):
        if row in collector.damaged or not line.strip():
            continue
        if head := _HEAD.fullmatch(line):
            if one is not None:
                yield _whole(collector, one, left)
            if head[1].upper() == "LM3":
                collector.fault(row, "LM3", "it is of three dimensions", "export LM, in pixels")
                collector.stop()
            one, left = _Specimen(row), int(head[2])
        elif one is None:
            collector.fault(row, "row", f"{shown(line)} is before LM=", "begin with LM=")
            collector.stop()
        elif key := _KEY.fullmatch(line):
            word, said = key[1].upper(), key[2].strip()
            if word == "IMAGE":
                one.image, one.image_row = said, row
            elif word == "POINTS" and said.isdecimal() and len(said) < 7:
                left = _whole_left(collector, one, left) - int(said)
                collector.assume("curves left out")
        elif left < 0:
            left += 1
        else:
            place = _place(collector, line, row)
            if place is not None and left > 0:
                one.places.append((row, *place))
            elif place is not None:
                got = "there are more landmarks than LM= says"
                collector.fault(row, "LM", got, "correct the number, or delete the line")
            left -= left > 0
    if one is not None:
        yield _whole(collector, one, left)


def _whole(collector: Collector, one: _Specimen, left: int) -> _Specimen:
    _whole_left(collector, one, left)
    return one


def _whole_left(collector: Collector, one: _Specimen, left: int) -> int:
    """Note a fault where landmarks are missing; none is then to come."""
    if left > 0 and not collector.faults:
        got = f"{left} landmarks fewer than LM= says"
        collector.fault(one.row, "LM", got, "write a line for each landmark, -1 -1 where missing")
    return 0


def _place(collector: Collector, line: str, row: int) -> tuple[float, float] | None:
    """X and y of a line, also with decimal commas."""
    words = _SPACES.split(line.strip())
    try:
        x, y = (float(word.replace(",", ".")) for word in words)
    except ValueError:
        x = y = math.nan
    if math.isfinite(x) and math.isfinite(y):
        if "," in line:
            collector.assume("decimal commas")
        return x, y
    got = f"{shown(line.strip())} are not two finite numbers"
    collector.fault(row, "LM", got, "write x and y with a blank between them, -1 -1 where missing")
    return None
