"""Readers of signals and volumes: files to arrays, and nothing is ever written.

A signal is an array (length, channels), a volume (depth, height, width, channels), float32 of the
numbers that the file means. What a file holds is found from its ending and its first bytes; its
size is judged from its header, before any memory is taken. Images are read by `images`. Each file
of this folder is a member.
"""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from placewise.errors import ImageError
from placewise.family import Family
from placewise.geometry import Size
from placewise.images import PIXEL_LIMIT, is_image_name, list_images
from placewise.wording import counted

_LOG = logging.getLogger("placewise")

CHANNELS = 1024
"""Most channels of a signal or a volume."""


LARGEST = 1e37
"""Largest number of a signal or a volume: differences and sums of such are float32 too."""


@dataclass(frozen=True)
class Facts:
    """What the header of a file says.

    Attributes:
        size: (length) of a signal, (depth, height, width) of a volume.
        channels: numbers at each place.
        spacing: distance of neighbouring places along each axis, in s or mm; None: not known.
    """

    size: Size
    channels: int = 1
    spacing: tuple[float, ...] | None = None


class Reader(ABC):
    """A kind of file that holds a signal or a volume.

    Attributes:
        endings: of names, in small letters.
        axes: numbers of axes that what it holds may have.
        what: what such a file is called in messages.
    """

    endings: ClassVar[tuple[str, ...]]
    axes: ClassVar[tuple[int, ...]]
    what: ClassVar[str]

    def takes(self, path: Path) -> bool:
        """Whether a file is of this kind."""
        return path.name.lower().endswith(self.endings)

    def files(self, path: Path) -> list[Path]:
        """The files whose bytes are its content."""
        return [path]

    @abstractmethod
    def look(self, path: Path) -> Facts:
        """What its header says; may raise anything on a damaged file."""

    @abstractmethod
    def values(self, path: Path) -> NDArray[Any]:
        """Its numbers, (*size) or (*size, channels); may raise anything on a damaged file."""

    def frame(self, path: Path) -> NDArray[np.float64] | None:
        """(4, 4) from voxels to where they lie in the body; None where the file does not say it."""
        return None

    def alike(self, path: Path, labels: NDArray[np.integer]) -> bytes | None:
        """A file of this kind with other numbers at the same places, e.g. a mask of a volume.

        Args:
            path: the file whose places, distances and orientation it has.
            labels: (*size,) whole numbers, 0 or more.

        Returns:
            Its bytes; None where such numbers are not written in this kind of file.
        """
        return None

    @final
    def facts(self, path: Path) -> Facts:
        """What its header says.

        Raises:
            ImageError: the file cannot be read, or is too large.
        """
        with refusing(path, self.what):
            found = self.look(path)
            _check(path, found)
            return found

    @final
    def read(self, path: Path) -> NDArray[np.float32]:
        """Its numbers: (*size, channels) float32.

        Raises:
            ImageError: the file cannot be read, is too large, or holds what is no number.
        """
        facts = self.facts(path)
        with refusing(path, self.what):
            found = np.asarray(self.values(path))
            if found.dtype.kind not in "biuf":
                raise ValueError(f"its numbers are of type {found.dtype}, needed whole or floats")
            values = as_measured(found.reshape(*facts.size, facts.channels))
        if values is None:
            raise ImageError(
                f"{path}: holds values that are not finite numbers up to {LARGEST:g}; replace "
                "them, or cut them out"
            )
        return values


def as_measured(values: NDArray[Any]) -> NDArray[np.float32] | None:
    """Numbers as float32; None where some are not finite, or above `LARGEST`.

    Args:
        values: one or more real numbers.

    Example:
        >>> as_measured(np.array([1, 2])), as_measured(np.array([1e300]))
        (array([1., 2.], dtype=float32), None)
    """
    with np.errstate(over="ignore"):
        found = np.asarray(values, np.float32)
    low, high = float(found.min()), float(found.max())
    return found if low >= -LARGEST and high <= LARGEST else None


READERS = Family("reader", Reader, "placewise.readers")


@contextmanager
def refusing(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a damaged file raises into one error of ours.

    Raises:
        ImageError: says which file, what is wrong and what to do.
    """
    if not path.is_file():
        raise ImageError(f"{path}: there is no such file; needed {what}; check the path")
    try:
        with np.errstate(all="ignore"):  # numbers that are too large are refused afterwards
            yield
    except ImageError:
        raise
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except Exception as error:  # each library raises kinds of its own
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ImageError(
            f"{path}: cannot be read ({reason}); needed {what}; write it again, or take it out"
        ) from error


def _check(path: Path, facts: Facts) -> None:
    """Refuse a size that no memory is taken for, and distances that cannot be."""
    count = math.prod(facts.size) * facts.channels
    if min(facts.size, default=0) < 1 or not 1 <= facts.channels <= CHANNELS:
        raise ImageError(
            f"{path}: holds {facts.channels} channels of size {facts.size}; needed at least one "
            f"place, and 1 to {CHANNELS} channels"
        )
    if count > PIXEL_LIMIT:
        raise ImageError(
            f"{path}: holds {count:,} numbers; needed at most {PIXEL_LIMIT:,}; cut it into parts"
        )
    if facts.spacing is not None and not all(0 < one < 1e6 for one in facts.spacing):
        raise ImageError(
            f"{path}: says that its places are {facts.spacing} apart; needed numbers above 0; "
            "correct the header"
        )


def reader_of(path: Path) -> Reader | None:
    """The reader of a file; None where it is none of a signal or a volume.

    Example:
        >>> type(reader_of(Path("seven.wav"))).__name__, reader_of(Path("a.png"))
        ('Wav', None)
    """
    return next((reader for reader in _members() if reader.takes(path)), None)


def list_files(where: Path | str, axes: int) -> list[Path]:
    """Signals (1 axis), images (2) or volumes (3) of a folder; see `list_images`.

    A file whose ending may be that of a volume, but which is an image, is among them, so that
    whoever reads it says so. Tables that are not of numbers alone are labels, and left out.

    Raises:
        ImageError: there is no such file or folder, or nothing to read in it.
    """
    if axes == 2:
        return list_images(where)
    able = [reader for reader in _members() if axes in reader.axes]
    endings = tuple(end for reader in able for end in reader.endings)
    found = list_images(where, endings, {1: "signal", 3: "volume"}[axes])
    kept = {f: is_image_name(f.name) or any(one.takes(f) for one in able) for f in found}
    tables = [file for file, meant in kept.items() if not meant]
    if not 0 < len(tables) < len(found):
        return found
    count = counted(len(tables), "tables")
    _LOG.info(f"left out as labels: {count} with more than numbers, e.g. {tables[0].name}")
    return [file for file, meant in kept.items() if meant]


@lru_cache(maxsize=1)
def _members() -> tuple[Reader, ...]:
    return tuple(READERS[name]() for name in READERS.names())


def __getattr__(name: str) -> type:
    """The members by their classes' names, loaded when they are asked for."""
    return READERS.class_named(name)
