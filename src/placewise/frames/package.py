"""Images inside of HDF5 files: packages of SLEAP, and arrays of images.

A package (`.pkg.slp`) has a group `videoN` for each video with the dataset `video`: a PNG or JPEG
for each image, and `frame_numbers`, which frames of the video they are. Facts: sleap-io 0.9.5,
`video_reading.py`; before format 1.4 OpenCV wrote the images with red and blue in each other's
place, and later files say the order in `channel_order`. Other files hold one array (count, height,
width, channels), or (count, channels, width, height) where MATLAB wrote it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.errors import ImageError
from placewise.files import file_stamp
from placewise.frames import Frames
from placewise.geometry import Size
from placewise.hdf5 import Hdf5, opened
from placewise.images import PIXEL_LIMIT, ImageArray, image_size, read_image
from placewise.readers import refusing

_GROUP = re.compile(r"video(\d+)")
_SWAPPED_BEFORE = 1.4
"""Format of SLEAP from which on images say the order of their channels."""

_DEPTHS = (1, 3)


@dataclass(frozen=True)
class Part:
    """The images of one video in a file.

    Attributes:
        dataset: where they are.
        start: number of the first one among all images of the file.
        frames: which frame of the video each is.
        packed: whether they are PNG or JPEG; else an array.
        swapped: whether red and blue are in each other's place.
    """

    dataset: str
    start: int
    frames: tuple[int, ...]
    packed: bool
    swapped: bool

    def holds(self, number: int) -> bool:
        """Whether an image of the file, by its number, is one of this video."""
        return 0 <= number - self.start < len(self.frames)


class Package(Frames):
    """Images in HDF5: a package of SLEAP (.pkg.slp), or an array of images."""

    endings = (".slp", ".h5", ".hdf5")
    what = "a package of images (.pkg.slp), or an HDF5 file with an array of images"

    def count(self, path: Path) -> int:
        """See `Frames.count`."""
        return sum(len(part.frames) for part in parts(path))

    def size(self, path: Path, number: int) -> Size:
        """See `Frames.size`."""
        part, row = _place(path, number)
        with refusing(path, self.what), opened(path) as file:
            if part.packed:
                name = Path(f"{path}[{number}]")
                return image_size(name, data=file.blob(part.dataset, row))
            height, width, _ = _layout(path, file.shape(part.dataset))
            return height, width

    def read(self, path: Path, number: int) -> ImageArray:
        """See `Frames.read`."""
        part, row = _place(path, number)
        name = Path(f"{path}[{number}]")
        with refusing(path, self.what), opened(path) as file:
            if part.packed:
                image = read_image(name, data=file.blob(part.dataset, row))
                turned = part.swapped and image.shape[-1] == 3
                return np.ascontiguousarray(image[..., ::-1]) if turned else image
            height, width, channels = _layout(path, file.shape(part.dataset))
            if height * width > PIXEL_LIMIT:
                raise ImageError(f"{name}: {height * width:,} pixels; the most is {PIXEL_LIMIT:,}")
            values = file.rows(part.dataset, row, row + 1)[0]
            if values.shape != (height, width, channels):
                values = values.transpose(2, 1, 0)
            return _pixels(name, values)


def parts(path: Path) -> tuple[Part, ...]:
    """The videos of a file whose images it holds; none where it holds none.

    Raises:
        ImageError: the file cannot be read.
    """
    with refusing(path, Package.what):
        return _parts(*file_stamp(path))


@lru_cache(maxsize=16)
def _parts(path: Path, size: int, modified: int) -> tuple[Part, ...]:
    with opened(path) as file:
        names = file.names()
        groups = sorted((m for name in names if (m := _GROUP.fullmatch(name))), key=_number)
        found: list[Part] = []
        for group in groups:
            part = _part(file, group[0], sum(len(one.frames) for one in found))
            found += [part] if part else []
        if not groups:
            arrays = [name for name in names if len(file.shape(name)) == 4]
            if len(arrays) == 1:
                frames = tuple(range(file.shape(arrays[0])[0]))
                found.append(Part(arrays[0], 0, frames, packed=False, swapped=False))
        return tuple(found)


def _number(match: re.Match[str]) -> int:
    return int(match[1])


def _part(file: Hdf5, group: str, start: int) -> Part | None:
    """The images of a video in a package."""
    dataset = f"{group}/video"
    shape = file.shape(dataset)
    if not shape:
        return None
    told = file.attributes(dataset)
    frames: tuple[int, ...] = tuple(range(shape[0]))
    if file.find(f"{group}/frame_numbers") is not None:
        numbers = file.array(f"{group}/frame_numbers").ravel()[: shape[0]].tolist()
        frames = tuple(int(number) for number in numbers)
    version = file.attributes("metadata").get("format_id")
    old = isinstance(version, int | float) and version < _SWAPPED_BEFORE
    swapped = told.get("channel_order", "BGR" if old else "RGB") == "BGR"
    return Part(dataset, start, frames, packed=len(shape) < 3, swapped=swapped)


def _place(path: Path, number: int) -> tuple[Part, int]:
    """Where an image of a file is: in which part, and its row there."""
    for part in parts(path):
        if part.holds(number):
            return part, number - part.start
    count = Package().count(path)
    raise ImageError(f"{path} holds {count:,} images; there is none with the number {number}")


def _layout(path: Path, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(height, width, channels) of an image of an array."""
    first, second, last = shape[1:]
    if last in _DEPTHS:
        return first, second, last
    if first in _DEPTHS:
        return last, second, first
    raise ImageError(
        f"{path}: its array has the shape {shape}; needed (count, height, width, 1 or 3)"
    )


def _pixels(name: Path, values: NDArray[Any]) -> ImageArray:
    """Values as those of an image: uint8, uint16, or float32 in 0..1."""
    if values.dtype in (np.uint8, np.uint16):
        return np.ascontiguousarray(values)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return np.ascontiguousarray(values, np.float32)
    if values.dtype.kind in "bui" and low >= 0 and high <= 65535:
        return np.ascontiguousarray(values, np.uint8 if high <= 255 else np.uint16)
    raise ImageError(
        f"{name}: its {values.dtype} numbers reach from {low:g} to {high:g}; needed whole numbers "
        "from 0 to 65535, or fractions from 0 to 1"
    )
