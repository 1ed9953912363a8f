"""Where the images of a dataset are: in files or in arrays."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.errors import ImageError
from placewise.files import file_stamp
from placewise.frames import Frames, frames_of
from placewise.geometry import Size
from placewise.images import ImageArray, image_size, read_image
from placewise.readers import Facts, reader_of


class Source(ABC):
    """Where the images of a set lie."""

    @abstractmethod
    def read(self, image: str) -> ImageArray:
        """(height, width, channels) of an image; raises ImageError where it cannot be read."""

    def file(self, image: str) -> Path | None:
        """The file that holds an image and nothing else; None where there is none."""
        return None

    def spacing(self, image: str) -> tuple[float, ...] | None:
        """Distance of neighbouring pixels along each axis, in the order of the array's axes.

        In mm of a volume, in s of a signal; None where nothing says it.
        """
        return None

    def channels(self, image: str) -> int | None:
        """Channels of a signal or a volume, as its header says; None where nothing says it."""
        return None

    @abstractmethod
    def digest(self, image: str) -> bytes:
        """SHA-256 of its content; raises ImageError where it cannot be read."""


_PART = re.compile(r"(.+)\[([0-9]{1,12})(?::([0-9]{1,12}))?\]")


def part_named(image: str, start: int, stop: int) -> str:
    """Name of a part of a recording, from sample `start` up to `stop`, which is not in it.

    Example:
        >>> part_named("100.hea", 0, 432000)
        '100.hea[0:432000]'
    """
    return f"{image}[{start}:{stop}]"


def file_of(image: str) -> str:
    """The file that an image is in: the whole one of a frame or a part, else itself.

    Example:
        >>> file_of("clips/a.mp4[17]"), file_of("100.hea[0:432000]"), file_of("a.png")
        ('clips/a.mp4', '100.hea', 'a.png')
    """
    match = _PART.fullmatch(image)
    return match[1] if match else image


def _same(digest: Any) -> Any:
    return digest


@dataclass(frozen=True)
class Files(Source):
    """Images, signals and volumes in files.

    Parts of recordings are named `FILE[START:STOP]`, frames of videos `FILE[NUMBER]`.

    Attributes:
        root: folder that names are relative to.
    """

    root: Path

    def read(self, image: str) -> ImageArray:
        """The image of a file; see `Source.read`."""
        path, cut = self._file(image)
        if isinstance(cut, int):
            return _frames(path).read(path, cut)
        reader = reader_of(path)
        if reader is None:
            return read_image(path)
        values = reader.read(path)
        if cut is None:
            return values
        if not cut[0] < cut[1] <= len(values):
            raise ImageError(
                f"{path} has {len(values):,} samples, and the part {cut[0]:,} to {cut[1]:,} was "
                "asked for; correct where it starts and stops"
            )
        return values[cut[0] : cut[1]]

    def file(self, image: str) -> Path | None:
        """The file of an image that is no part, frame, signal or volume; see `Source.file`."""
        path, cut = self._file(image)
        return path if cut is None and reader_of(path) is None else None

    def size(self, image: str) -> Size:
        """Size of an image, from the header of its file; raises ImageError."""
        path, cut = self._file(image)
        if isinstance(cut, int):
            return _frames(path).size(path, cut)
        reader = reader_of(path)
        size = image_size(path) if reader is None else reader.facts(path).size
        return size if cut is None else (cut[1] - cut[0],)

    def spacing(self, image: str) -> tuple[float, ...] | None:
        """What the header of a signal or a volume says; see `Source.spacing`."""
        facts = self._facts(image)
        return facts.spacing if facts else None

    def channels(self, image: str) -> int | None:
        """What the header of a signal or a volume says; see `Source.channels`."""
        facts = self._facts(image)
        return facts.channels if facts else None

    def digest(self, image: str) -> bytes:
        """SHA-256 of the file's bytes; of a part or a frame, with which one it is."""
        path, cut = self._file(image)
        reader = None if isinstance(cut, int) else reader_of(path)
        files = [path] if reader is None else reader.files(path)
        if cut is None:
            return _digest(files)
        return hashlib.sha256(_digest(files) + f"{cut}".encode()).digest()

    def _facts(self, image: str) -> Facts | None:
        """What the header of a signal or a volume says; None of an image."""
        path, cut = self._file(image)
        reader = None if isinstance(cut, int) else reader_of(path)
        return reader.facts(path) if reader else None

    def _file(self, image: str) -> tuple[Path, tuple[int, int] | int | None]:
        """The file, and the part or the number of the frame in it that is meant."""
        match = _PART.fullmatch(image)
        if match is None or (self.root / image).is_file():
            return self.root / image, None
        path, first = self.root / match[1], int(match[2])
        return path, first if match[3] is None else (first, int(match[3]))


def _frames(path: Path) -> Frames:
    """What reads the frames of a file; raises ImageError where it holds none."""
    found = frames_of(path)
    if found is None:
        raise ImageError(f"{path} holds no numbered frames; name the image, or a video")
    return found


def _digest(files: Sequence[Path]) -> bytes:
    """SHA-256 of the bytes of files, one after the other; raises ImageError."""
    try:
        return _digest_of(tuple(map(file_stamp, files)))
    except OSError as error:
        raise ImageError(f"{files[0]} cannot be opened: {error.strerror or error}") from error


@lru_cache(maxsize=64)
def _digest_of(stamps: tuple[tuple[Path, int, int], ...]) -> bytes:
    """The same of files that are as large and as old as these: many frames are of one file."""
    digest = hashlib.sha256()
    for file, _, _ in stamps:
        with file.open("rb") as data:
            hashlib.file_digest(data, partial(_same, digest))
    return digest.digest()


@dataclass(frozen=True)
class Arrays(Source):
    """Images in arrays: `train/00042` is number 42 of the array `train`.

    Attributes:
        arrays: (count, height, width, channels) by name.

    Example:
        >>> Arrays({"test": np.zeros((3, 8, 6, 1), np.uint8)}).read("test/00002").shape
        (8, 6, 1)
    """

    arrays: Mapping[str, NDArray[Any]]

    @staticmethod
    def name(array: str, index: int) -> str:
        """Name of an image.

        Example:
            >>> Arrays.name("train", 42)
            'train/00042'
        """
        return f"{array}/{index:05d}"

    def read(self, image: str) -> ImageArray:
        """The image's part of its array."""
        array, _, index = image.rpartition("/")
        pixels: ImageArray = self.arrays[array][int(index)]
        return pixels

    def digest(self, image: str) -> bytes:
        """SHA-256 of its size, type and pixels."""
        pixels = self.read(image)
        head = f"{pixels.shape} {pixels.dtype.str}\0".encode()
        return hashlib.sha256(head + np.ascontiguousarray(pixels).tobytes()).digest()
