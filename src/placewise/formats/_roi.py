"""Points in the bytes of ImageJ's ROI files, and ROI files in zip archives.

All numbers are big-endian. The places of integers below are those of `ij/io/RoiDecoder.java`:

```
0 "Iout"   4 version   6 type (10: points)   8 top, left, bottom, right   16 number of points
50 options (128: floats follow)   56 slice   60 place of the second header   64 coordinates
second header: 16 place of the name, 20 its length (UTF-16)   30 group
```

Coordinates are whole numbers from the left and the top, all x before all y; after them, where the
options say so, floats in pixels of the image. An integer is a pixel's centre.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from placewise.archives import ArchiveError, names_in, opened

MAGIC = b"Iout"
POINT = 10
FLOATS = 128
GROUPS = 255
"""Groups that ImageJ has; 0 is none."""

MAX_ENTRIES = 100_000
MAX_ROI = 1 << 22
"""Most bytes of a ROI file."""

_VERSION, _FLOAT_VERSION = 228, 222
_DATED = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Roi:
    """The points of a ROI file.

    Attributes:
        name: of the ROI, empty where the file does not say it.
        places: (x, y) of each point, in pixels; none where it is not of points.
        group: its number, 0 where it has none.
        slice: number of the image in a stack from 1, 0 where nothing says it.
        points: whether it is of points at all.
    """

    name: str
    places: tuple[tuple[float, float], ...]
    group: int = 0
    slice: int = 0
    points: bool = True


def decoded(data: bytes) -> Roi:
    """The points of a ROI file.

    Raises:
        ValueError: why it cannot be read, in words.

    Example:
        >>> decoded(encoded("nose", 10.25, 20.5)).places
        ((10.25, 20.5),)
    """
    if len(data) < 64 or not data.startswith(MAGIC):
        raise ValueError("it is no ROI file of ImageJ")
    version, kind = struct.unpack_from(">hB", data, 4)
    top, left = struct.unpack_from(">hh", data, 8)
    (count,) = struct.unpack_from(">H", data, 16)
    (options,) = struct.unpack_from(">H", data, 50)
    number, second = struct.unpack_from(">ii", data, 56)
    if kind != POINT:
        return Roi("", (), points=False)
    if count == 0:  # more points than 16 bits can number
        count = max(0, struct.unpack_from(">i", data, 18)[0])
    floats = bool(options & FLOATS) and version >= _FLOAT_VERSION
    if 64 + count * (12 if floats else 4) > len(data):
        raise ValueError(f"it is cut short: {count} points do not fit into {len(data)} bytes")
    if floats:
        xs = struct.unpack_from(f">{count}f", data, 64 + 4 * count)
        ys = struct.unpack_from(f">{count}f", data, 64 + 8 * count)
    else:
        xs = tuple(float(left + v) for v in struct.unpack_from(f">{count}h", data, 64))
        ys = tuple(float(top + v) for v in struct.unpack_from(f">{count}h", data, 64 + 2 * count))
    if not all(map(math.isfinite, (*xs, *ys))):
        raise ValueError("a place is not a finite number")
    name, group = _second(data, second)
    return Roi(name, tuple(zip(xs, ys, strict=True)), group, max(0, number))


def _second(data: bytes, start: int) -> tuple[str, int]:
    """Name and group of the second header; nothing where there is none."""
    if not 64 <= start <= len(data) - 52:
        return "", 0
    place, length = struct.unpack_from(">ii", data, start + 16)
    name = b""
    if place > 0 and 0 < length <= (len(data) - place) // 2:
        name = data[place : place + 2 * length]
    return name.decode("utf-16-be", errors="replace"), data[start + 30]


def encoded(name: str, x: float, y: float, group: int = 0) -> bytes:
    """A ROI file of one point.

    Args:
        name: of the ROI.
        x: in pixels, kept as a 32-bit float.
        y: in pixels.
        group: its number, 0 for none.
    """
    left, top = math.floor(x), math.floor(y)
    second = 64 + 4 + 8
    head = bytearray(64)
    struct.pack_into(">4shBx4hH", head, 0, MAGIC, _VERSION, POINT, top, left, top + 1, left + 1, 1)
    struct.pack_into(">H", head, 50, FLOATS)
    struct.pack_into(">ii", head, 56, 0, second)
    named = name.encode("utf-16-be")
    more = bytearray(64)
    struct.pack_into(">ii", more, 16, second + 64, len(named) // 2)
    more[30] = group
    return bytes(head) + struct.pack(">hhff", 0, 0, x, y) + bytes(more) + named


def packed(files: dict[str, bytes]) -> bytes:
    """Files as a zip archive, the same bytes whenever it is made."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _DATED), data)
    return buffer.getvalue()


def is_archive(path: Path) -> bool:
    """Whether a file is an archive of ROI files."""
    return any(name.lower().endswith(".roi") for name in names_in(path))


def unpacked(path: Path) -> Iterator[tuple[str, bytes]]:
    """The ROI files of an archive by their names, which are never taken as paths.

    Raises:
        ValueError: why it cannot be read, in words.
    """
    try:
        with opened(path) as archive:
            listed = [name for name in archive.names if name.lower().endswith(".roi")]
            if len(listed) > MAX_ENTRIES:
                raise ValueError(f"it holds more than {MAX_ENTRIES:,} files")
            for name in listed:
                content = archive.content(name, MAX_ROI + 1)
                if len(content) > MAX_ROI:
                    raise ValueError(f"a file in it has more than {MAX_ROI:,} bytes")
                yield name.replace("\\", "/").rpartition("/")[2], content
    except ArchiveError as error:
        raise ValueError(f"the archive cannot be read ({error})") from None
