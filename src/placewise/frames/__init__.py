"""Files that hold many images, each with a number: videos, and packages of labelled frames.

A frame is named `FILE[NUMBER]`, as in `clip.mp4[17]`, counted from 0, and is read like an image.
Each file of this folder is a member.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from placewise.family import Family
from placewise.frames._writer import VideoWriter
from placewise.geometry import FloatArray, Size
from placewise.images import ImageArray

__all__ = ["FRAMES", "Frames", "VideoWriter", "frame_named", "frames_of"]


class Frames(ABC):
    """A kind of file that holds many images.

    Attributes:
        endings: of names, in small letters.
        what: what such a file is called in messages.
        moving: whether its images follow each other in time.
    """

    endings: ClassVar[tuple[str, ...]]
    what: ClassVar[str]
    moving: ClassVar[bool] = False

    def takes(self, path: Path) -> bool:
        """Whether a file is of this kind."""
        return path.name.lower().endswith(self.endings)

    @abstractmethod
    def count(self, path: Path) -> int:
        """How many images can be read.

        Raises:
            ImageError: the file cannot be read.
        """

    @abstractmethod
    def size(self, path: Path, number: int) -> Size:
        """(height, width) of an image in pixels, as it is shown; see `read`."""

    @abstractmethod
    def read(self, path: Path, number: int) -> ImageArray:
        """(height, width, channels) of an image.

        Args:
            path: the file.
            number: of the image, from 0.

        Raises:
            ImageError: the file cannot be read, or has no such image.
        """

    def times(self, path: Path) -> FloatArray | None:
        """(images,) seconds since the first image, of each; None where nothing says them."""
        return None


FRAMES = Family("frames", Frames, "placewise.frames")


def frames_of(path: Path) -> Frames | None:
    """What reads the images of a file; None where it is no file of many images.

    Example:
        >>> frames_of(Path("a.png")) is None
        True
    """
    return next((member for member in _members() if member.takes(path)), None)


def frame_named(file: str, number: int) -> str:
    """Name of an image in a file.

    Example:
        >>> frame_named("clip.mp4", 17)
        'clip.mp4[17]'
    """
    return f"{file}[{number}]"


@lru_cache(maxsize=1)
def _members() -> tuple[Frames, ...]:
    return tuple(FRAMES[name]() for name in FRAMES.names())


def __getattr__(name: str) -> type:
    """The members by their classes' names, loaded when they are asked for."""
    return FRAMES.class_named(name)
