"""StereoMorph: one text file for each image, with a row NAME, x, y for each landmark.

```
<shapes>
    <image.name>a.jpg</image.name>
    <landmarks.pixel type=matrix rownames=TRUE>
        Handle_Top    1041    324
        Handle_Base    NA    NA
    </landmarks.pixel>
```

x is to the right and y down. That places count from the image's corner is assumed, since it is not
written anywhere. NA is missing. The old form is the rows alone. Scaled landmarks, curves and
scales are left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from placewise.formats._collect import Collector, read_bytes
from placewise.formats._lines import coding_of
from placewise.formats._located import FileForEach, Located, Stems, beside, split_of
from placewise.formats._objects import Objects
from placewise.labels import KeypointDataset, Visibility
from placewise.labels.names import shown

_BLOCK = re.compile(r"<landmarks\.pixel[^>]*>(.*?)(?:</landmarks\.pixel>|\Z)", re.DOTALL)
_NAME = re.compile(r"<image\.name[^>]*>(.*?)</image\.name>", re.DOTALL)
_ROW = re.compile(r"[^\t<>=,]+\t(NA|[-+]?[\d.]+(?:e[-+]?\d+)?)\t(NA|[-+]?[\d.]+(?:e[-+]?\d+)?)\s*")


class Stereomorph(FileForEach):
    """StereoMorph: a text file for each image with a block landmarks.pixel, or rows NAME x y."""

    ending = ".txt"

    def recognises(self, path: Path, head: str) -> bool:
        """A block of landmarks in pixels, or rows of a name and two numbers between tabs."""
        if "<landmarks.pixel" in head:
            return True
        lines = [line for line in head.splitlines() if line.strip()]
        return path.suffix.lower() == ".txt" and len(lines) > 1 and all(map(_ROW.fullmatch, lines))

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`."""
        collector = Collector(path, root)
        collector.from_corner("StereoMorph")
        base = path if path.is_dir() else path.parent
        texts = {file: _text(collector, file) for file in self.files(path)}
        stems = Stems(collector.root)
        named = {file: _images(stems, file, text) for file, text in texts.items()}
        located = Located(collector, list(named.values()), find_root=root is None)
        objects = Objects(collector, "keep each landmark once")
        for file, text in texts.items():
            where = file.relative_to(base).as_posix()
            image = located.image(named[file], 0, where)
            collector.split(image, split_of(file, base), 0, where)
            for row, words in _rows(text):
                _add(collector, objects, image, words, f"{where}, row {row}")
        return collector.labels(objects.settle())


def _text(collector: Collector, file: Path) -> str:
    data = read_bytes(file)
    try:
        return data.decode(coding_of(data))
    except UnicodeDecodeError:
        collector.fault(0, file.name, "it is no text in UTF-8", "save the file as UTF-8")
        return ""


def _images(stems: Stems, file: Path, text: str) -> list[str]:
    """Names that the image of a file may have: the one that it says, or its own."""
    said = _NAME.search(text)
    named = beside(file, stems.root, said[1].strip()) if said and said[1].strip() else []
    return [*named, *stems.names(file, file.stem)] or [file.stem]


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of the landmarks, each with its line."""
    block = _BLOCK.search(text)
    body, before = (block[1], text.count("\n", 0, block.start(1))) if block else (text, 0)
    for number, line in enumerate(body.split("\n"), 1):
        if line.strip():
            yield before + number, [word.strip() for word in line.strip().split("\t")]


def _add(
    collector: Collector, objects: Objects, image: str | None, words: list[str], field: str
) -> None:
    """Add a landmark."""
    name = collector.name(words[0], 0, field)
    if name is None:
        return
    if len(words) == 3 and words[1:] == ["NA", "NA"]:
        objects.add(image, name, (Visibility.UNLABELLED, math.nan, math.nan), field=field)
        return
    try:
        x, y = map(float, words[1:])
    except ValueError:
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y)):
        got = f"{shown(' '.join(words))} is not a name and two finite numbers"
        collector.fault(0, field, got, "write NAME, x and y between tabs, NA where it is missing")
        return
    collector.near(image, x, y, 0, field)
    objects.add(image, name, (Visibility.VISIBLE, x, y), field=field)
