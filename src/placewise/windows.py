"""Windows: parts of an image file that is too large to be held, and nothing is ever written to it.

A part has the numbers that `images.read_image` would give there. Which file can be read in parts:

- a TIFF in tiles or strips (package tifffile), uncompressed, deflate, zstd, LZMA or PackBits, and
  with the package imagecodecs also LZW, JPEG and others;
- whatever libvips reads (package pyvips): a tiled TIFF or slide tile by tile; a PNG or JPEG, which
  can only be read from the top, is unpacked once into a file without a name;
- a PNG or JPEG whose pixels fit into the memory that may be used, by Pillow.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from placewise.errors import ImageError, PlacewiseError
from placewise.geometry import Size
from placewise.images import ImageArray, image_kind, read_image

KEPT = 1 << 26
"""Bytes of unpacked tiles of a file that are kept because a neighbour may need them."""

PILLOW = 8
"""Bytes that Pillow and an array hold for each pixel while an image is read, at most."""

MOST = 1 << 40
"""Pixels of the largest image that is read in parts."""

HOW = (
    'install libvips with: pip install "placewise[huge]", or write the image as a tiled TIFF of 8 '
    "or 16 bits, grey or RGB, e.g.: vips tiffsave IMAGE slide.tif --tile --compression deflate "
    "--bigtiff"
)


class Windows(ABC):
    """An image of which parts are read.

    Attributes:
        size: (height, width) in pixels.
        channels: 1 or 3.
        dtype: uint8 or uint16.
    """

    size: Size
    channels: int
    dtype: np.dtype[Any]

    @abstractmethod
    def cut(self, rows: slice, columns: slice) -> ImageArray:
        """(height, width, channels) of a part that lies in the image."""

    def close(self) -> None:  # noqa: B027
        """Give up what is held."""


class Whole(Windows):
    """An image that is held as a whole.

    Example:
        >>> Whole(np.zeros((4, 5, 3), np.uint8)).cut(slice(1, 3), slice(0, 5)).shape
        (2, 5, 3)
    """

    def __init__(self, image: ImageArray) -> None:
        self.image = image
        self.size, self.channels, self.dtype = image.shape[:2], image.shape[2], image.dtype

    def cut(self, rows: slice, columns: slice) -> ImageArray:
        """See `Windows.cut`."""
        return self.image[rows, columns]


class _Rows(Windows):
    """Pixels that lie row by row in a file as they are."""

    def __init__(self, file: BinaryIO, offset: int, shape: Size, dtype: np.dtype[Any]) -> None:
        self.file, self.offset, self.stored = file, offset, dtype
        self.size, self.channels = shape[:2], shape[2]
        self.dtype = dtype.newbyteorder("=")

    def cut(self, rows: slice, columns: slice) -> ImageArray:
        """See `Windows.cut`."""
        pixel = self.channels * self.stored.itemsize
        whole, wide = self.size[1] * pixel, (columns.stop - columns.start) * pixel
        found = bytearray()
        for row in range(rows.start, rows.stop):
            self.file.seek(self.offset + row * whole + columns.start * pixel)
            data = self.file.read(wide)
            if len(data) < wide:
                raise ImageError(f"{self.file.name} ends before its last row; copy it again")
            found += data
        values = np.frombuffer(found, self.stored).astype(self.dtype, copy=False)
        shape = (rows.stop - rows.start, columns.stop - columns.start, self.channels)
        return values.reshape(shape)

    def close(self) -> None:
        """See `Windows.close`."""
        self.file.close()


class _Tiff(Windows):
    """The first page of a TIFF, tile by tile or strip by strip."""

    def __init__(self, path: Path, file: Any) -> None:
        self.path, self.file, self.page = path, file, file.pages[0]
        self.size = (int(self.page.imagelength), int(self.page.imagewidth))
        self.samples = int(self.page.samplesperpixel)
        self.channels = 1 if self.samples == 1 else 3
        deep = self.page.dtype == np.uint16 and self.channels == 1
        self.dtype = np.dtype(np.uint16 if deep else np.uint8)
        tiled = self.page.is_tiled
        self.tall = int(
            self.page.tilelength if tiled else min(self.page.rowsperstrip, self.size[0])
        )
        self.wide = int(self.page.tilewidth if tiled else self.size[1])
        self.kept: OrderedDict[int, NDArray[Any] | None] = OrderedDict()

    def cut(self, rows: slice, columns: slice) -> ImageArray:
        """See `Windows.cut`."""
        shape = (rows.stop - rows.start, columns.stop - columns.start, self.samples)
        found = np.zeros(shape, self.page.dtype)
        across = -(-self.size[1] // self.wide)
        down = range(rows.start // self.tall, -(-rows.stop // self.tall))
        for y, x in product(down, range(columns.start // self.wide, -(-columns.stop // self.wide))):
            tile = self._tile(y * across + x)
            if tile is None:  # of a file that leaves out what is empty
                continue
            top, left = y * self.tall, x * self.wide
            r0, r1 = max(rows.start, top), min(rows.stop, top + tile.shape[0])
            c0, c1 = max(columns.start, left), min(columns.stop, left + tile.shape[1])
            part = tile[r0 - top : r1 - top, c0 - left : c1 - left]
            found[r0 - rows.start : r1 - rows.start, c0 - columns.start : c1 - columns.start] = part
        return self._shown(found)

    def _tile(self, number: int) -> NDArray[Any] | None:
        """(height, width, samples) of a tile or strip."""
        if number in self.kept:
            self.kept.move_to_end(number)
            return self.kept[number]
        handle = self.file.filehandle
        handle.seek(self.page.dataoffsets[number])
        data = handle.read(self.page.databytecounts[number])
        tile = None
        if data:
            decoded = self.page.decode(data, number, jpegtables=self.page.jpegtables)[0]
            tile = None if decoded is None else decoded.reshape(*decoded.shape[-3:])
        self.kept[number] = tile
        size = self.tall * self.wide * self.samples * self.page.dtype.itemsize
        while len(self.kept) > max(1, KEPT // size):
            self.kept.popitem(last=False)
        return tile

    def _shown(self, values: NDArray[Any]) -> ImageArray:
        """Values as `read_image` gives them: white is high, colour has 8 bits, alpha over white."""
        if self.page.photometric == 0:
            return np.iinfo(values.dtype).max - values
        if values.dtype == np.uint16 and self.samples > 1:
            values = (values >> 8).astype(np.uint8)
        if self.samples < 4:
            return values
        wide = values.astype(np.uint16)
        colours, alpha = wide[..., :3], wide[..., 3:]
        return ((colours * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)

    def close(self) -> None:
        """See `Windows.close`."""
        self.file.close()


class _Vips(Windows):
    """What libvips can read at any place."""

    def __init__(self, library: Any, image: Any) -> None:
        self.size, self.channels = (image.height, image.width), image.bands
        self.dtype = np.dtype(np.uint8 if image.format == "uchar" else np.uint16)
        self.region = library.Region.new(image)

    def cut(self, rows: slice, columns: slice) -> ImageArray:
        """See `Windows.cut`."""
        tall, wide = rows.stop - rows.start, columns.stop - columns.start
        data = self.region.fetch(columns.start, rows.start, wide, tall)
        return np.frombuffer(data, self.dtype).reshape(tall, wide, self.channels)


@contextmanager
def windows_of(path: Path, memory: int) -> Iterator[Windows]:
    """An image file of which parts are read.

    Args:
        path: the file.
        memory: bytes that the pixels may take where they can only be read as a whole.

    Raises:
        ImageError: it is no image, is damaged, or cannot be read in parts; says what to do.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "grey.pgm")
        ...     _ = path.write_bytes(b"P5 3 2 255 abcdef")
        ...     with windows_of(path, 1 << 20) as image:
        ...         image.cut(slice(1, 2), slice(0, 2))[..., 0].tolist()
        [[100, 101]]
    """
    kind = image_kind(path, MOST)
    if kind.orientation != 1:
        raise ImageError(
            f"{path}: {kind.size[1]:,} × {kind.size[0]:,} pixels that have to be turned (EXIF "
            f"orientation {kind.orientation}), and an image that is read in parts must be upright; "
            "turn it and save it again"
        )
    found, why = _opened(path, kind.size, kind.format, memory)
    if found is None:
        raise ImageError(
            f"{path}: {kind.size[1]:,} × {kind.size[0]:,} pixels do not fit into the memory that "
            f"may be used ({memory:,} bytes), and its parts cannot be read ({why}); {HOW}"
        )
    try:
        yield found
    except PlacewiseError:  # it says itself what to do
        raise
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ImageError(f"{path}: cannot be read ({reason}); copy or save it again") from error
    finally:
        found.close()


def _opened(path: Path, size: Size, kind: str, memory: int) -> tuple[Windows | None, str]:
    """What reads parts of a file, or why nothing does."""
    why = f"the {kind} is packed from its first to its last row"
    if kind == "TIFF":
        tiff, why = _tiff(path, memory)
        if tiff is not None:
            return tiff, ""
    if size[0] * size[1] * PILLOW <= memory:
        return Whole(read_image(path, limit=MOST)), ""
    try:
        library: Any = import_module("pyvips")
    except (ImportError, OSError):
        return None, f"{why}; the package pyvips is not installed"
    return _vips(library, path, kind)


def _tiff(path: Path, memory: int) -> tuple[Windows | None, str]:
    """A TIFF whose tiles or strips tifffile unpacks, or why it does not."""
    try:
        library: Any = import_module("tifffile")
    except ImportError:
        return None, "the package tifffile is not installed"
    file = library.TiffFile(path)
    try:
        page = file.pages[0]
        why = _unfit(page)
        if not why and _plain(page):
            shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
            order = file.byteorder + page.dtype.str[1:]
            offset = page.dataoffsets[0]
            file.close()
            return _Rows(path.open("rb"), offset, shape, np.dtype(order)), ""
        found = None if why else _Tiff(path, file)
        if found is not None:
            piece = found.tall * found.wide * found.samples * page.dtype.itemsize
            if piece > memory // 4:
                why = f"one of its strips has {piece:,} bytes"
            else:
                first = next((n for n, count in enumerate(page.databytecounts) if count), 0)
                found._tile(first)
    except Exception as error:  # tifffile raises many kinds, also for what a package is needed for
        why = " ".join(str(error).split())[:200]
    if why:
        file.close()
        return None, why
    return found, ""


def _plain(page: Any) -> bool:
    """Whether its numbers lie in the file row by row as those of the array do."""
    as_is = page.photometric in (1, 2) and page.samplesperpixel in (1, 3)
    packed = page.compression != 1 or page.predictor != 1 or not page.is_contiguous
    return bool(as_is and not packed and (page.dtype == np.uint8 or page.samplesperpixel == 1))


def _unfit(page: Any) -> str:
    """Why a page is none of the kinds that are read in parts; empty where it is."""
    if page.dtype not in (np.uint8, np.uint16):
        return f"its numbers are {page.dtype}"
    grey, colour = page.photometric in (0, 1), page.photometric in (2, 6)
    if not (grey and page.samplesperpixel == 1) and not (colour and page.samplesperpixel in (3, 4)):
        return f"it has {page.samplesperpixel} samples of the kind {page.photometric}"
    if page.samplesperpixel == 4 and page.dtype != np.uint8:
        return "it has 16 bits and alpha"
    if page.planarconfig != 1 and page.samplesperpixel > 1:
        return "its colours lie in planes"
    return "" if page.bitspersample in (8, 16) else f"it has {page.bitspersample} bits"


def _vips(library: Any, path: Path, kind: str) -> tuple[Windows | None, str]:
    """What libvips reads: a TIFF at any place, other files unpacked into one without a name."""
    try:
        image = library.Image.new_from_file(
            str(path), access="random" if kind == "TIFF" else "sequential", fail_on="truncated"
        )
        if image.hasalpha():
            image = image.flatten(background=255)
        deep = image.bands == 1 and image.format == "ushort"
        image = image.colourspace("grey16" if deep else "b-w" if image.bands == 1 else "srgb")
        image = image.cast("ushort" if deep else "uchar")
        return (_Vips(library, image) if kind == "TIFF" else _unpacked(library, image)), ""
    except library.Error as error:
        return None, "libvips: " + " ".join(str(error).split())[:200]


def _unpacked(library: Any, image: Any) -> Windows:
    """The rows of an image in a file that goes when it is closed."""
    file: Any = tempfile.TemporaryFile(prefix="placewise")  # noqa: SIM115
    target = library.TargetCustom()
    target.on_write(file.write)
    image.write_to_target(target, ".raw")
    shape = (image.height, image.width, image.bands)
    dtype = np.dtype(np.uint16 if image.format == "ushort" else np.uint8)
    return _Rows(file, 0, shape, dtype)
