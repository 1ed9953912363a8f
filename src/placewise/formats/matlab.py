"""MATLAB files: LEAP's `positions`, and arrays `points` with names.

```
positions (keypoints × 2 × frames), skeleton.nodes, skeleton.edges, boxPath      LEAP
points (images × keypoints × 2), names (keypoints), images (images)              placewise
```

MATLAB counts from 1, so 1 is taken off all places. Files of version 7.3 are HDF5, whose axes come
in reverse; older ones are read with scipy. Objects of classes in a file are never made.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.formats._arrays import guarded
from placewise.formats._collect import Collector, located, read_bytes
from placewise.formats._format import KeypointFormat
from placewise.formats._hdf5 import is_file_of, last_part, nearest, reading, video_there
from placewise.frames import frame_named
from placewise.hdf5 import MAX_BYTES, Hdf5, is_hdf5
from placewise.images import is_image_name
from placewise.labels import KeypointDataset, Visibility
from placewise.wording import natural

PLACES = ("positions", "points")
"""Names of the array of places, one of which a file has."""

WANTED = ("positions", "points", "names", "images", "skeleton", "boxPath")

_HEADER = 128
_COMPRESSED, _MATRIX = 15, 14
_WALKED = 64 << 20
"""Bytes of an array, unpacked, in which shapes are looked at."""

_INT32, _CELL, _STRUCTURE, _DEEPEST = 5, 1, 2, 20
"""Type of the numbers of a shape, classes of arrays that hold others, and how deep these go."""


@dataclass(frozen=True)
class _Content:
    """What a file says: places (images, keypoints, 2) from 1, and names."""

    places: NDArray[np.float64]
    names: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)
    video: str = ""


class Matlab(KeypointFormat):
    """MATLAB (.mat): LEAP's positions, or points (images × keypoints × 2), names and images.

    Places count from 1 in the file. NaN is a keypoint that is not labelled.
    """

    patterns = ("*.mat",)

    def recognises(self, path: Path, head: str) -> bool:
        """A MATLAB file with positions or points."""
        if head.startswith("MATLAB 5.0") and path.is_file():
            try:
                return any(name in PLACES for name, _ in _arrays(path))
            except ValueError:  # the reader says what is damaged
                return True
        if path.suffix.lower() != ".mat":
            return False
        return any(is_file_of(path, (name,), (".mat",)) for name in PLACES)

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`."""
        collector = Collector(path, root)
        if is_hdf5(path):
            with reading(collector) as file:
                content = _from_hdf5(file)
        else:
            with guarded(collector, "file"):
                content = _from_scipy(collector, path)
        return _labels(collector, content, root)


def _labels(collector: Collector, content: _Content, root: Path | None) -> KeypointDataset:
    collector.assume("places from 1, as MATLAB counts")
    shape = content.places.shape
    if len(shape) != 3 or shape[2] != 2 or 0 in shape:
        got = f"its places have the shape {' × '.join(map(str, shape))}"
        collector.fault(0, "points", got, "save them as images × keypoints × 2, e.g. with permute")
        collector.stop()
    count = shape[1]
    names = tuple(name.strip() for name in content.names)
    if len(names) != count:
        collector.assume("keypoints that are named by their numbers")
        names = tuple(f"point{k + 1}" for k in range(count))
    for name in names:
        collector.name(name, 0, "names")
    if len(set(names)) < count:
        collector.fault(0, "names", "two keypoints have one name", "rename one")
        collector.stop()
    there: NDArray[np.bool_] = np.asarray(np.isfinite(content.places).all(-1))
    rows = np.flatnonzero(there.any(1)).tolist() if content.video else range(len(there))
    images = _images(collector, content, list(rows), root)
    for row in rows:
        image = collector.image(images[row], 0, f"image {row + 1}")
        for k, name in enumerate(names):
            x, y = (content.places[row, k] - 1).tolist()
            seen = bool(there[row, k])
            if seen:
                collector.within(image, (x, y), 0, f"{name} of image {row + 1}")
            state = Visibility.VISIBLE if seen else Visibility.UNLABELLED
            place = (x, y) if seen else (np.nan, np.nan)
            collector.mark(image, (0, name, state, *place, np.nan))
    pairs = (
        (a - 1, b - 1) for a, b in content.edges if a != b and 0 < min(a, b) <= max(a, b) <= count
    )
    return collector.labels(names, None, tuple((names[a], names[b]) for a, b in pairs))


def _images(
    collector: Collector, content: _Content, rows: list[int], root: Path | None
) -> dict[int, str]:
    """The names of images: those in the file, frames of its video, or all images beside it."""
    total = len(content.places)
    if len(content.images) == total:
        collector.root = nearest(collector, content.images, root)
        folder = collector.root
        return {i: located(folder, n) or last_part(n) for i, n in enumerate(content.images)}
    if content.video:
        collector.root = nearest(collector, [content.video], root)
        video = located(collector.root, content.video) or last_part(content.video)
        if not video_there(collector, video, rows):
            collector.stop()
        return {row: frame_named(video, row) for row in rows}
    if content.images:
        got = f"it names {len(content.images)} images, and has places of {total}"
        collector.fault(0, "images", got, "save a name for each row of the places")
        collector.stop()
    listed = [file.name for file in collector.root.iterdir() if is_image_name(file.name)]
    if len(listed) != total:
        got = f"it has places of {total} images without their names, and there are {len(listed)}"
        todo = "save their names as 'images' in it, a cell array of texts"
        collector.fault(0, "images", f"{got} in {collector.root}", todo)
        collector.stop()
    collector.assume("the images of its folder in natural order")
    return dict(enumerate(sorted(listed, key=natural)))


def _content(
    found: dict[str, Any], names: Sequence[str], images: list[str], edges: Any, video: str
) -> _Content:
    """Places with the axes image, keypoint, xy, whichever array they are in."""
    if "positions" in found:
        places = np.asarray(found["positions"], np.float64)
        places = places[..., None] if places.ndim == 2 else places
        places = places.transpose(2, 0, 1) if places.ndim == 3 else places
    else:
        places = np.asarray(found["points"], np.float64)
    pairs = [(int(a), int(b)) for a, b in edges] if np.shape(edges)[1:] == (2,) else []
    return _Content(places, list(names), images, pairs, video)


def _from_hdf5(file: Hdf5) -> _Content:
    """A file of version 7.3, whose axes are in reverse, and whose texts are behind references."""
    found = {name: file.array(name).T for name in PLACES if file.find(name) is not None}
    names = _cells(file, "names") or _cells(file, "skeleton/nodes")
    edges = file.array("skeleton/edges").T if file.find("skeleton/edges") is not None else ()
    video = file.array("boxPath") if file.find("boxPath") is not None else np.empty(0)
    return _content(found, names, _cells(file, "images"), edges, _letters(video))


def _cells(file: Hdf5, where: str) -> list[str]:
    """The texts of a cell array."""
    return [_letters(values) for values in file.referred(where)]


def _letters(values: NDArray[Any]) -> str:
    """A text that MATLAB keeps as numbers of its letters."""
    return (
        "".join(chr(int(code)) for code in values.T.ravel()[:4096])
        if values.dtype.kind == "u"
        else ""
    )


def _from_scipy(collector: Collector, path: Path) -> _Content:
    from scipy.io import loadmat

    large = [name for name, size in _arrays(path) if name in WANTED and size > MAX_BYTES]
    if large:
        got = f"{', '.join(large)} takes more than {MAX_BYTES >> 20} MiB"
        collector.fault(0, "file", got, "save fewer images in it")
        collector.stop()
    found = loadmat(path, variable_names=list(WANTED))
    skeleton = found.get("skeleton")
    fields = skeleton.dtype.names or () if isinstance(skeleton, np.ndarray) else ()
    one = skeleton.ravel()[0] if skeleton is not None and fields and skeleton.size else None
    nodes = one["nodes"] if one is not None and "nodes" in fields else ()
    edges = one["edges"] if one is not None and "edges" in fields else ()
    names = _texts(found.get("names", ())) or _texts(nodes)
    video = _texts(found.get("boxPath", ()))
    return _content(found, names, _texts(found.get("images", ())), edges, video[0] if video else "")


def _texts(cells: Any) -> list[str]:
    """The texts of a cell array, or of an array of texts."""
    flat = np.asarray(cells).ravel().tolist()
    inner = (np.asarray(cell).ravel().tolist() for cell in flat)
    return [str(one[0]).strip() for one in inner if one and isinstance(one[0], str)]


def _arrays(path: Path) -> Iterator[tuple[str, int]]:
    """Names of the arrays in a file of version 5, each with the bytes that it says it takes.

    A file is a header and elements: type and number of bytes, then the bytes, mostly packed. An
    array begins with its flags, its shape and its name (MAT-File Format, MathWorks, 1-4 to 1-17).
    """
    data = read_bytes(path)
    order = "little" if data[126:128] == b"IM" else "big"

    def number(part: bytes, at: int) -> int:
        return int.from_bytes(part[at : at + 4], order)  # type: ignore[arg-type]

    at = _HEADER
    while at + 8 <= len(data):
        kind, size = number(data, at), number(data, at + 4)
        if kind == _COMPRESSED:
            try:
                part = zlib.decompressobj().decompress(data[at + 8 : at + 8 + size], _WALKED)
            except zlib.error:
                return
        else:
            part = data[at : at + 8 + min(size, _WALKED)]
        _check_shapes(part, 0, number)
        if number(part, 0) == _MATRIX and len(part) >= 32:
            name_at = 32 + -(-number(part, 28) // 8) * 8  # after the tag and flags, and the shape
            tag = number(part, name_at)
            short = tag >> 16  # a short name is in the tag itself
            length = short or number(part, name_at + 4)
            start = name_at + (4 if short else 8)
            yield part[start : start + length].decode("latin-1"), number(part, 4)
        at += 8 + size


def _check_shapes(part: bytes, at: int, number: Callable[[bytes, int], int], deep: int = 0) -> None:
    """Refuse an array without a shape, also in a cell or a structure: scipy would break down.

    What is not understood is left to scipy.
    """
    if number(part, at) != _MATRIX or deep > _DEEPEST:
        return
    stop = min(len(part), at + 8 + number(part, at + 4))
    shape = number(part, at + 24)
    size = shape >> 16 or number(part, at + 28)
    if shape & 0xFFFF == _INT32 and at + 32 <= len(part) and size < 8:
        raise ValueError("an array in it has no shape")
    inside = number(part, at + 16) & 0xFF
    at += 32 + (-(-size // 8) * 8 if not shape >> 16 else 0)
    for _ in range({_CELL: 1, _STRUCTURE: 3}.get(inside, 0)):  # its name; names of its fields
        at += 8 if number(part, at) >> 16 else 8 + -(-number(part, at + 4) // 8) * 8
    while inside in (_CELL, _STRUCTURE) and at + 8 <= stop:
        _check_shapes(part, at, number, deep + 1)
        at += 8 + number(part, at + 4)
