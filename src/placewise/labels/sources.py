"""Where the images of a dataset are: in files or in arrays."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.errors import ImageError
from placewise.images import ImageArray, read_image


class Source(ABC):
    """Where the images of a set lie."""

    @abstractmethod
    def read(self, image: str) -> ImageArray:
        """(height, width, channels) of an image; raises ImageError where it cannot be read."""

    @abstractmethod
    def digest(self, image: str) -> bytes:
        """SHA-256 of its content; raises ImageError where it cannot be read."""


@dataclass(frozen=True)
class Files(Source):
    """Images in files.

    Attributes:
        root: folder that names are relative to.
    """

    root: Path

    def read(self, image: str) -> ImageArray:
        """The image of a file; see `Source.read`."""
        return read_image(self.root / image)

    def digest(self, image: str) -> bytes:
        """SHA-256 of the file's bytes."""
        path = self.root / image
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise ImageError(f"{path} cannot be opened: {error.strerror or error}") from error


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
