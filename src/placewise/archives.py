"""Zip archives and arrays of numpy that anybody may have written, read without trust.

Damaged bytes, methods of compression that Python does not know, and versions that are not there
yet are one error, whatever zipfile, its codecs and numpy raise. The size of an array is judged by
its header before memory is taken for it, and nothing in a file is executed.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 8 << 30
"""Most bytes of an array, after unpacking."""


class ArchiveError(ValueError):
    """What is wrong in an archive or an array, without the name of the file."""


@dataclass(frozen=True)
class Header:
    """What an array says before its numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Bytes of its numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


class Archive:
    """A zip archive that is open.

    Args:
        packed: the archive of zipfile.
    """

    def __init__(self, packed: zipfile.ZipFile) -> None:
        self.packed = packed
        self.names = tuple(packed.namelist())
        self.arrays = tuple(n.removesuffix(".npy") for n in self.names if n.endswith(".npy"))
        self.size = sum(info.file_size for info in packed.infolist())

    def content(self, name: str, most: int) -> bytes:
        """The first bytes of a file, at most so many.

        Raises:
            ArchiveError: it cannot be unpacked.
        """
        with _refusing(), self.packed.open(name) as file:
            return file.read(most)

    def header(self, name: str) -> Header:
        """What an array of a `.npz` says before its numbers; see `header`."""
        with _refusing(), self.packed.open(f"{name}.npy") as file:
            return header(cast(BinaryIO, file))

    def array(self, name: str) -> NDArray[Any]:
        """An array of a `.npz`; see `array`."""
        with _refusing():
            self.header(name)  # of a size that can be
            with self.packed.open(f"{name}.npy") as file:
                return array(cast(BinaryIO, file))


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """A zip archive, open for reading.

    Raises:
        ArchiveError: it is none that can be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(Path(folder, "a.npz"), image=np.zeros((3, 4)))
        ...     with opened(Path(folder, "a.npz")) as archive:
        ...         archive.arrays, archive.header("image").shape
        (('image',), (3, 4))
    """
    with _refusing():
        packed = zipfile.ZipFile(path)
    with packed:
        with _refusing():
            archive = Archive(packed)
        yield archive


def names_in(path: Path) -> tuple[str, ...]:
    """Names of the files in an archive; none where it cannot be read.

    Example:
        >>> names_in(Path("nowhere.zip"))
        ()
    """
    try:
        with opened(path) as archive:
            return archive.names
    except ArchiveError:
        return ()


def header(file: BinaryIO) -> Header:
    """Shape and type of an array, from the beginning of its file.

    Raises:
        ArchiveError: it is damaged, or takes more than `MAX_BYTES`.
    """
    with _refusing():
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        found = Header(shape, dtype)
        if min(shape, default=0) < 0:
            raise ArchiveError(f"an array has the shape {shape}")
        if found.size > MAX_BYTES:
            raise ArchiveError(
                f"an array takes {found.size >> 20:,} MiB, the most is {MAX_BYTES >> 20:,}"
            )
        return found


def array(file: BinaryIO) -> NDArray[Any]:
    """The array of a file; Python objects are refused.

    Raises:
        ArchiveError: it is damaged.
    """
    with _refusing():
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn whatever a library raises on damaged bytes into an error of ours."""
    try:
        yield
    except ArchiveError:
        raise
    except Exception as error:  # zipfile, zlib, bz2, lzma, struct and numpy raise any kind
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ArchiveError(reason) from error
