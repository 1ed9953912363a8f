"""What all labels share, whatever they label: samples with images that can be read."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from placewise.errors import ImageError
from placewise.geometry import Size
from placewise.images import ImageArray, read_image

SPLITS = ("train", "val", "test")

Task = Literal["keypoints", "classes"]
"""What labels say of an image, and so what a run learns from them."""


class Sample(Protocol):
    """What is known of every labelled image."""

    @property
    def image(self) -> str:
        """Name of the image, which `Dataset.image` reads."""

    @property
    def size(self) -> Size:
        """(height, width) in pixels of the image as it is shown."""

    @property
    def split(self) -> str | None:
        """Its split: "train", "val", "test", or None where the labels do not say."""


S = TypeVar("S", bound=Sample)


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


class Dataset(ABC, Generic[S]):
    """Labels of images: `KeypointDataset` of points, or `ClassDataset`.

    Attributes:
        task: what is labelled.
        root: folder of the images, or of the file that holds them.
        names: of the points, or of the classes.
        samples: one for each image, in the order of the file.
        source: the file that was read, None where the labels were made in memory.
    """

    task: ClassVar[Task]
    what: ClassVar[str]
    """What the names are names of, in messages."""

    root: Path
    names: tuple[str, ...]
    samples: tuple[S, ...]
    source: Path | None

    @property
    @abstractmethod
    def images(self) -> Source:
        """Where the images lie."""

    def image(self, image: str) -> ImageArray:
        """Read an image: (height, width, channels) uint8, uint16, or float32 in 0..1.

        Args:
            image: its name, as a sample has it.

        Raises:
            ImageError: it cannot be read.
        """
        return self.images.read(image)
