"""What all labels share, whatever they label: samples with pictures that can be read."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from placewise.errors import PictureError
from placewise.geometry import Size
from placewise.pictures import Picture, read_picture

SPLITS = ("train", "val", "test")

Task = Literal["dots", "classes"]
"""What labels say of a picture, and so what a run learns from them."""


class AnySample(Protocol):
    """What is known of every labelled picture."""

    @property
    def image(self) -> str:
        """Name of the picture, which `LabelSet.picture` reads."""

    @property
    def size(self) -> Size:
        """(height, width) in pixels of the picture as it is shown."""

    @property
    def split(self) -> str | None:
        """Its split: "train", "val", "test", or None where the labels do not say."""


S = TypeVar("S", bound=AnySample)


class Source(ABC):
    """Where the pictures of a set lie."""

    @abstractmethod
    def read(self, image: str) -> Picture:
        """(height, width, channels) of a picture; raises PictureError where it cannot be read."""

    @abstractmethod
    def digest(self, image: str) -> bytes:
        """SHA-256 of its content; raises PictureError where it cannot be read."""


@dataclass(frozen=True)
class Files(Source):
    """Pictures in files.

    Attributes:
        root: folder that names are relative to.
    """

    root: Path

    def read(self, image: str) -> Picture:
        """The picture of a file; see `Source.read`."""
        return read_picture(self.root / image)

    def digest(self, image: str) -> bytes:
        """SHA-256 of the file's bytes."""
        path = self.root / image
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise PictureError(f"{path} cannot be opened: {error.strerror or error}") from error


@dataclass(frozen=True)
class Arrays(Source):
    """Pictures in arrays: `train/00042` is number 42 of the array `train`.

    Attributes:
        arrays: (count, height, width, channels) by name.

    Example:
        >>> Arrays({"test": np.zeros((3, 8, 6, 1), np.uint8)}).read("test/00002").shape
        (8, 6, 1)
    """

    arrays: Mapping[str, NDArray[Any]]

    @staticmethod
    def name(array: str, index: int) -> str:
        """Name of a picture.

        Example:
            >>> Arrays.name("train", 42)
            'train/00042'
        """
        return f"{array}/{index:05d}"

    def read(self, image: str) -> Picture:
        """The picture's part of its array."""
        array, _, index = image.rpartition("/")
        picture: Picture = self.arrays[array][int(index)]
        return picture

    def digest(self, image: str) -> bytes:
        """SHA-256 of its size, type and pixels."""
        picture = self.read(image)
        head = f"{picture.shape} {picture.dtype.str}\0".encode()
        return hashlib.sha256(head + np.ascontiguousarray(picture).tobytes()).digest()


class LabelSet(ABC, Generic[S]):
    """Labels of pictures: `Labels` of points, or `ClassLabels`.

    Attributes:
        task: what is labelled.
        root: folder of the pictures, or of the file that holds them.
        names: of the points, or of the classes.
        samples: one for each picture, in the order of the file.
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
    def pictures(self) -> Source:
        """Where the pictures lie."""

    def picture(self, image: str) -> Picture:
        """Read a picture: (height, width, channels) uint8, uint16, or float32 in 0..1.

        Args:
            image: its name, as a sample has it.

        Raises:
            PictureError: it cannot be read.
        """
        return self.pictures.read(image)
