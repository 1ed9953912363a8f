"""HDF5 files that anybody may have written, read without trust.

Links are followed inside of the file only, data that lie in other files are refused, and the size
of an array is judged before memory is taken for it. The package h5py does the reading; it is the
optional extra `h5`.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from placewise.errors import SettingsError
from placewise.files import file_stamp

T = TypeVar("T")

MAX_BYTES = 1 << 30
"""Most bytes of an array that is read."""

MAX_TEXTS = 1_000_000
"""Most texts of a list that is read."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_STARTS = (0, 512, 1024, 2048)
"""Where the signature may be; MATLAB writes 512 bytes of its own before it."""

_LONGEST = 1 << 16
"""Most letters of a text behind a reference."""

_HOPS = 16
"""Most links to links that are followed."""

_CHUNK = 64 << 20
"""Bytes up to which texts of any length are read at a time."""


class Hdf5Error(ValueError):
    """What is wrong in a file, without its name."""


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5, by its first bytes.

    Example:
        >>> is_hdf5(Path("nowhere.h5"))
        False
    """
    try:
        with path.open("rb") as file:
            head = file.read(_STARTS[-1] + len(_SIGNATURE))
    except OSError:
        return False
    return any(head.startswith(_SIGNATURE, start) for start in _STARTS)


def has_h5py() -> bool:
    """Whether h5py is installed, without importing it."""
    return importlib.util.find_spec("h5py") is not None


def root_names(path: Path) -> frozenset[str]:
    """Names at the top of an HDF5 file; none where it cannot be read, or is none.

    Example:
        >>> root_names(Path("nowhere.h5"))
        frozenset()
    """
    if not (has_h5py() and is_hdf5(path)):
        return frozenset()
    return _root_names(*file_stamp(path))


def is_damaged(path: Path) -> bool:
    """Whether a file begins as HDF5 and cannot be opened, as one that was cut off.

    Example:
        >>> is_damaged(Path("nowhere.h5"))
        False
    """
    if not (has_h5py() and is_hdf5(path)):
        return False
    return not glanced(path, lambda _: True, otherwise=False)


@lru_cache(maxsize=256)
def _root_names(path: Path, size: int, modified: int) -> frozenset[str]:
    return glanced(path, lambda file: frozenset(file.names()), otherwise=frozenset())


def glanced(path: Path, look: Callable[[Hdf5], T], otherwise: T) -> T:
    """What a look into a file finds.

    Args:
        path: the file.
        look: what is asked of it.
        otherwise: the answer where the file cannot be read.

    Example:
        >>> glanced(Path("nowhere.h5"), lambda file: file.names(), otherwise=[])
        []
    """
    try:
        with opened(path) as file:
            return look(file)
    except Exception:  # h5py raises any kind on damaged bytes; the reader of a file says which
        return otherwise


@contextmanager
def opened(path: Path) -> Iterator[Hdf5]:
    """An HDF5 file, open for reading.

    Raises:
        SettingsError: h5py is not installed.
    """
    if not has_h5py():
        needs_h5py(path)
    import h5py

    with h5py.File(path, "r", locking=False) as file:
        yield Hdf5(file, path.stat().st_size)


def needs_h5py(what: object) -> NoReturn:
    """Say that an extra is needed.

    Raises:
        SettingsError: always.
    """
    raise SettingsError(f'{what}: HDF5 files need h5py; run: pip install "placewise[h5]"')


class Hdf5:
    """An HDF5 file that is open.

    Args:
        file: the file of h5py.
        size: of the file in bytes.
    """

    def __init__(self, file: Any, size: int) -> None:
        self.file = file
        self.size = size
        self._judged: set[str] = set()

    def names(self, where: str = "") -> list[str]:
        """Names in a group, up to a hundred thousand; none where there is no such group."""
        import h5py

        found = self.find(where)
        listed = islice(found, 100_000) if isinstance(found, h5py.Group) else ()
        return [name for name in listed if isinstance(name, str)]  # bytes: not UTF-8, damaged

    def find(self, where: str) -> Any:
        """The group or dataset of a path; None where there is none.

        Raises:
            Hdf5Error: a link on the way leads out of the file, or in circles.
        """
        import h5py

        parts, hops, here = _parts(where), 0, self.file
        while parts:
            part = parts.pop(0)
            link = here.get(part, getlink=True) if isinstance(here, h5py.Group) else None
            if link is None:
                return None
            if isinstance(link, h5py.SoftLink):
                hops += 1
                if hops > _HOPS:
                    raise Hdf5Error(f"the links of {where!r} lead in circles")
                parts = _parts(link.path) + parts
                here = self.file if link.path.startswith("/") else here
            elif not isinstance(link, h5py.HardLink):
                raise Hdf5Error(f"{where!r} is a link to another file, which is not followed")
            else:
                here = here[part]
        return here

    def attributes(self, where: str = "") -> dict[str, Any]:
        """Attributes of a group or a dataset: texts as text, arrays of one number as numbers."""
        found = self.find(where)
        told = () if found is None else found.attrs
        return {name: _plain(told, name) for name in told if isinstance(name, str)}

    def attribute_bytes(self, where: str, name: str) -> bytes:
        """An attribute as bytes, whatever their coding; none where there is no such text."""
        found = self.find(where)
        value = found.attrs[name] if found is not None and name in found.attrs else b""
        return bytes(value) if isinstance(value, bytes) else str(value).encode()

    def shape(self, where: str) -> tuple[int, ...]:
        """Shape of a dataset; () where there is none."""
        return getattr(self.find(where), "shape", None) or ()

    def array(self, where: str) -> NDArray[Any]:
        """A dataset of numbers, of texts of one length, or of records of these.

        Raises:
            Hdf5Error: there is no such dataset, or it is not read.
        """
        data = self._dataset(where)
        if data.dtype.hasobject:
            raise Hdf5Error(f"{where!r} holds values of any length; numbers are needed")
        _check_size(where, data.size * data.dtype.itemsize)
        return np.asarray(data[()])

    def rows(self, where: str, start: int, stop: int) -> NDArray[Any]:
        """Some rows of such a dataset; see `array`."""
        data = self._dataset(where)
        if not data.shape or data.dtype.hasobject:
            raise Hdf5Error(f"{where!r} has no rows of numbers")
        each = data.size // max(1, data.shape[0]) * data.dtype.itemsize
        _check_size(where, each * (stop - start))
        return np.asarray(data[start:stop])

    def blob(self, where: str, index: int) -> bytes:
        """A row of bytes: of one length in all rows, or of a length of its own.

        Raises:
            Hdf5Error: there is no such row.
        """
        data = self._dataset(where)
        if not data.shape or not 0 <= index < data.shape[0]:
            raise Hdf5Error(f"{where!r} has no row {index}")
        if data.dtype.hasobject:  # a value of any length is in the file as it is, unpacked
            value = data[index]
            return value if isinstance(value, bytes) else np.asarray(value).tobytes()
        return self.rows(where, index, index + 1).tobytes()

    def texts(self, where: str) -> list[str]:
        """A list of texts, or one text; none where there is no such dataset."""
        if self.find(where) is None:
            return []
        data = self._dataset(where)
        if data.size > MAX_TEXTS:
            raise Hdf5Error(f"{where!r} holds {data.size:,} texts; the most is {MAX_TEXTS:,}")
        if data.dtype.kind == "S":
            return [_text(value) for value in self.array(where).ravel().tolist()]
        if not data.dtype.hasobject or data.ndim > 1:
            return []
        if data.ndim == 0:
            return [_text(data[()])]
        step, found, left = max(1, _CHUNK // max(1, self.size)), [], MAX_BYTES
        for start in range(0, data.shape[0], step):
            part = [_text(value) for value in data[start : start + step]]
            left -= sum(map(len, part))
            _check_size(where, MAX_BYTES - left)
            found += part
        return found

    def referred(self, where: str) -> list[NDArray[Any]]:
        """The numbers that each reference of a dataset means; none where there are no references.

        Raises:
            Hdf5Error: one means something else.
        """
        import h5py

        if self.find(where) is None:
            return []
        data = self._dataset(where)
        if h5py.check_ref_dtype(data.dtype) is not h5py.Reference or data.size > MAX_TEXTS:
            return []
        found = []
        for reference in data[()].ravel():
            target = self.file[reference] if reference else None
            if not isinstance(target, h5py.Dataset) or target.dtype.hasobject or not target.shape:
                raise Hdf5Error(f"a reference of {where!r} leads to no numbers")
            _check_stored(where, target)
            if target.size > _LONGEST:
                raise Hdf5Error(f"a text of {where!r} has {target.size:,} letters")
            found.append(np.asarray(target[()]))
        return found

    def _dataset(self, where: str) -> Any:
        import h5py

        found = self.find(where)
        if not isinstance(found, h5py.Dataset) or found.shape is None:
            raise Hdf5Error(f"there is no dataset {where!r}")
        _check_stored(where, found)
        if where not in self._judged:
            self._check_lengths(where, found)
            self._judged.add(where)
        return found

    def _check_lengths(self, where: str, data: Any) -> None:
        """Refuse values of any length that say they are longer than the file.

        HDF5 takes the memory for a value before it looks for its bytes. What is packed is not
        looked at: damage shows when it is unpacked.
        """
        import h5py

        text = h5py.check_string_dtype(data.dtype)
        if not ((text and text.length is None) or h5py.check_vlen_dtype(data.dtype)):
            return
        address, _ = self.file.id.get_create_plist().get_sizes()
        record = np.dtype([("length", "<u4"), ("at", f"V{address}"), ("index", "<u4")])
        with Path(self.file.filename).open("rb") as raw:
            for start, size in _stored(data):
                raw.seek(start)
                told = raw.read(size)
                values = np.frombuffer(told, record, count=len(told) // record.itemsize)
                if values["length"].max(initial=0) > self.size:
                    raise Hdf5Error(f"a value of {where!r} says it is longer than the file")


def _stored(data: Any) -> Iterator[tuple[int, int]]:
    """(first byte, bytes) of the pieces of a dataset that lie in the file as they are."""
    if data.id.get_create_plist().get_nfilters():
        return
    if data.chunks:
        pieces = map(data.id.get_chunk_info, range(data.id.get_num_chunks()))
        yield from ((piece.byte_offset, piece.size) for piece in pieces)
    elif data.id.get_offset() is not None:
        yield data.id.get_offset(), data.id.get_storage_size()


def _check_stored(where: str, data: Any) -> None:
    """Refuse numbers that lie in another file, or are unpacked in one piece that is too large."""
    if data.is_virtual or data.external:
        raise Hdf5Error(f"{where!r} lies in another file, which is not opened")
    if data.chunks:
        _check_size(where, math.prod(data.chunks) * data.dtype.itemsize)


def _check_size(where: str, size: int) -> None:
    if size > MAX_BYTES:
        raise Hdf5Error(f"{where!r} takes {size >> 20:,} MiB; the most is {MAX_BYTES >> 20:,}")


def _parts(where: str) -> list[str]:
    return [part for part in where.split("/") if part not in ("", ".")]


def _text(value: Any) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def _plain(attributes: Any, name: str) -> Any:
    """The value of an attribute; None where it cannot be read."""
    import h5py

    try:
        value = attributes[name]
    except Exception:  # h5py raises any kind on damaged bytes
        return None
    if isinstance(value, h5py.Empty):
        return ""
    if isinstance(value, bytes):
        return _text(bytes(value))
    if isinstance(value, np.ndarray):
        return value.tolist() if value.size != 1 else _one(value.ravel()[0])
    return _one(value)


def _one(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return _text(value) if isinstance(value, bytes) else value
