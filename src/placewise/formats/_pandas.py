"""Tables of pandas in HDF5, read and written without pandas, PyTables or pickle.

Two layouts (pandas 3.1, `io/pytables.py`): *fixed* has the levels of rows and columns as arrays
(`axis0_level0`, `axis0_label0`, …) and the numbers in `block0_values`; *table* has records in
`table`, and the columns as a pickle in the attributes. A pickle is a program, and is never run: its
steps are walked through, and any step but those that make lists, tuples, texts and whole numbers is
refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.files import file_stamp
from placewise.hdf5 import Hdf5, Hdf5Error, glanced, has_h5py, is_hdf5

LEVELS = 8
"""Most levels of names that rows or columns may have."""

MAX_CELLS = 1 << 27
"""Most numbers of a table: 1 GiB."""

_KEYS = 50
"""Names at the top of a file among which a table is looked for."""


@dataclass(frozen=True)
class Frame:
    """A table of numbers.

    Attributes:
        columns: the names of each column, one for each level.
        rows: the names of each row, one for each level; whole numbers as text.
        values: (rows, columns).
    """

    columns: tuple[tuple[str, ...], ...]
    rows: tuple[tuple[str, ...], ...]
    values: NDArray[np.float64]


def key_of(path: Path) -> str:
    """Name of the first table of pandas in a file; empty where there is none."""
    if not (path.is_file() and has_h5py() and is_hdf5(path)):
        return ""
    return _key_of(*file_stamp(path))


@lru_cache(maxsize=256)
def _key_of(path: Path, size: int, modified: int) -> str:
    return glanced(path, _first_table, otherwise="")


def _first_table(file: Hdf5) -> str:
    return next((key for key in file.names()[:_KEYS] if _is_table(file, key)), "")


def _is_table(file: Hdf5, key: str) -> bool:
    return file.attributes(key).get("pandas_type") in ("frame", "frame_table")


def read_frame(file: Hdf5, key: str) -> Frame:
    """A table of a file.

    Raises:
        Hdf5Error: it is of another layout, or holds what is not read.
    """
    frame = _table(file, key) if file.find(f"{key}/table") is not None else _fixed(file, key)
    if frame.values.shape != (len(frame.rows), len(frame.columns)):
        raise Hdf5Error(
            f"{key!r} has {frame.values.shape} numbers for {len(frame.rows)} rows and "
            f"{len(frame.columns)} columns"
        )
    return frame


def _fixed(file: Hdf5, key: str) -> Frame:
    blocks = file.attributes(key).get("nblocks")
    columns, rows = _index(file, f"{key}/axis0", key), _index(file, f"{key}/axis1", key)
    place = {name: i for i, name in enumerate(columns)}
    if not isinstance(blocks, int) or len(rows) * len(columns) > MAX_CELLS:
        raise Hdf5Error(f"{key!r} is no table of pandas that is read")
    values = np.full((len(rows), len(columns)), np.nan)
    for number in range(min(blocks, _KEYS)):
        names = _index(file, f"{key}/block{number}_items", key)
        where = f"{key}/block{number}_values"
        found = file.array(where)
        if not file.attributes(where).get("transposed"):
            found = found.T
        values[:, [place[name] for name in names]] = _numbers(where, found)
    return Frame(columns, rows, values)


def _index(file: Hdf5, where: str, key: str) -> tuple[tuple[str, ...], ...]:
    """The names of rows or columns, one tuple for each."""
    told = file.attributes(key)
    name = where.rpartition("/")[2]
    if told.get(f"{name}_variety") != "multi":
        return tuple((text,) for text in _names(file, where))
    levels = int(told.get(f"{name}_nlevels") or 0)
    if not 0 < levels <= LEVELS:
        raise Hdf5Error(f"{where!r} has {levels} levels of names")
    parts = []
    for level in range(levels):
        words = [*_names(file, f"{where}_level{level}"), ""]  # −1 means none
        codes = file.array(f"{where}_label{level}").ravel().tolist()
        if not all(isinstance(code, int) and -1 <= code < len(words) - 1 for code in codes):
            raise Hdf5Error(f"{where!r} has names that do not exist")
        parts.append([words[code] for code in codes])
    return tuple(zip(*parts, strict=True))


def _names(file: Hdf5, where: str) -> list[str]:
    """The names of a level: texts or whole numbers."""
    if file.attributes(where).get("PSEUDOATOM") == "object":
        raise Hdf5Error(
            f"{where!r} holds Python objects, which may hold code and are not opened; "
            "read the CSV of the same name"
        )
    found = file.array(where).ravel()
    if found.dtype.kind == "S":
        return [text.decode("utf-8", errors="replace") for text in found.tolist()]
    if found.dtype.kind in "iu":
        return [str(number) for number in found.tolist()]
    raise Hdf5Error(f"{where!r} holds {found.dtype} where names should be")


def _table(file: Hdf5, key: str) -> Frame:
    axes = unpickled(file.attribute_bytes(key, "non_index_axes"))
    if not (isinstance(axes, list) and len(axes) == 1 and isinstance(axes[0], tuple)):
        raise Hdf5Error(f"{key!r} does not say its columns")
    columns = _column_names(axes[0][1])
    place = {name: i for i, name in enumerate(columns)}
    where = f"{key}/table"
    records = file.array(where)
    fields = [name for name in records.dtype.names or () if name.startswith("values_block_")]
    if "index" not in (records.dtype.names or ()) or records.ndim != 1:
        raise Hdf5Error(f"{where!r} has no column 'index'")
    if len(records) * len(columns) > MAX_CELLS:
        raise Hdf5Error(f"{key!r} has {len(records):,} rows of {len(columns):,} columns: too many")
    values = np.full((len(records), len(columns)), np.nan)
    for field in fields:
        names = _column_names(unpickled(file.attribute_bytes(where, f"{field}_kind")))
        found = _numbers(where, records[field].reshape(len(records), -1))
        values[:, [place[name] for name in names]] = found
    index = records["index"].tolist()
    rows = tuple((_word(name),) for name in index)
    return Frame(columns, rows, values)


def _column_names(value: Any) -> tuple[tuple[str, ...], ...]:
    """Names of columns from a list of tuples of texts."""
    if not isinstance(value, list):
        raise Hdf5Error("the columns of the table are no list")
    found = [name if isinstance(name, tuple) else (name,) for name in value]
    if any(len(name) > LEVELS for name in found):
        raise Hdf5Error("the columns of the table have too many levels of names")
    if not all(isinstance(word, str | int) for name in found for word in name):
        raise Hdf5Error("the columns of the table have names that are no text")
    return tuple(tuple(str(word) for word in name) for name in found)


def _word(value: Any) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def _numbers(where: str, values: NDArray[Any]) -> NDArray[np.float64]:
    if values.dtype.kind not in "biuf":
        raise Hdf5Error(f"{where!r} holds {values.dtype} where numbers should be")
    return values.astype(np.float64)


def unpickled(data: bytes) -> Any:
    r"""What a pickle means that makes lists, tuples, texts and whole numbers only.

    Args:
        data: the pickle.

    Raises:
        Hdf5Error: it has any other step; nothing was run.

    Example:
        >>> unpickled(b"(lp0\n(I1\nVnose\ntp1\na.")
        [(1, 'nose')]
    """
    if not data:
        raise Hdf5Error("an attribute that names columns is missing")
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    mark = object()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            match opcode.name:
                case "MARK":
                    stack.append(mark)
                case "LIST" | "TUPLE":
                    start = len(stack) - 1 - stack[::-1].index(mark)
                    items = stack[start + 1 :]
                    stack[start:] = [items if opcode.name == "LIST" else tuple(items)]
                case "UNICODE" | "STRING" | "INT" | "LONG":
                    stack.append(argument)
                case "PUT":
                    memo[argument] = stack[-1]
                case "GET":
                    stack.append(memo[argument])
                case "APPEND":
                    item = stack.pop()
                    stack[-1].append(item)
                case "STOP":
                    return stack.pop()
                case other:
                    raise Hdf5Error(f"a pickle in it has the step {other}, which could run code")
    except Hdf5Error:
        raise
    except (ValueError, LookupError, AttributeError, TypeError, UnicodeError) as error:
        raise Hdf5Error(f"a pickle in it is damaged ({error})") from error
    raise Hdf5Error("a pickle in it has no end")


def written_frame(frame: Frame, names: Sequence[str], key: str = "df_with_missing") -> bytes:
    """An HDF5 file with a table in the fixed layout, as `pandas.read_hdf` reads it.

    Args:
        frame: the table; rows of one level that are all whole numbers become numbers.
        names: of the levels of columns.
        key: what the table is called.
    """
    import h5py

    buffer = BytesIO()
    with h5py.File(buffer, "w") as file:
        _mark(file, "GROUP", "1.0")
        _say(file, "PYTABLES_FORMAT_VERSION", "2.1")
        group = file.create_group(key)
        _mark(group, "GROUP", "1.0")
        told = {"pandas_type": "frame", "encoding": "UTF-8", "errors": "strict"}
        for name, text in told.items():
            _say(group, name, text)
        group.attrs["ndim"], group.attrs["nblocks"] = np.int64(2), np.int64(1)
        _write_index(group, "axis0", frame.columns, names)
        _write_index(group, "axis1", frame.rows, [""] * len(frame.rows[0]))
        _write_index(group, "block0_items", frame.columns, names)
        _array(group, "block0_values", frame.values)
    return buffer.getvalue()


def _say(node: Any, name: str, text: str) -> None:
    """A text as an attribute; PyTables takes UTF-8 of one length for text, else for bytes."""
    import h5py

    if text:
        kind = h5py.string_dtype("utf-8", len(text.encode()))
        node.attrs.create(name, text.encode(), dtype=kind)
    else:
        node.attrs.create(name, h5py.Empty(h5py.string_dtype("utf-8", 1)))


def _mark(node: Any, kind: str, version: str) -> None:
    """The attributes by which PyTables knows what a node is."""
    for name, text in (("CLASS", kind), ("VERSION", version), ("TITLE", "")):
        _say(node, name, text)


def _array(group: Any, name: str, values: NDArray[Any]) -> Any:
    node = group.create_dataset(name, data=values)
    _mark(node, "ARRAY", "2.4")
    _say(node, "FLAVOR", "numpy")
    node.attrs["transposed"] = np.uint8(1)
    return node


def _write_index(
    group: Any, key: str, rows: Sequence[tuple[str, ...]], names: Sequence[str]
) -> None:
    """The names of rows or columns: levels, and which word of each level every row has."""
    if len(names) == 1:
        words = [row[0] for row in rows]
        _say(group, f"{key}_variety", "regular")
        whole = all(word.isdecimal() for word in words)
        node = _array(group, key, np.array(words, np.int64) if whole else _texts(words))
        _name_level(node, key, "", "integer" if whole else "string")
        return
    _say(group, f"{key}_variety", "multi")
    group.attrs[f"{key}_nlevels"] = np.int64(len(names))
    for level, name in enumerate(names):
        words = sorted({row[level] for row in rows})
        place = {word: i for i, word in enumerate(words)}
        node = _array(group, f"{key}_level{level}", _texts(words))
        _name_level(node, key, name, "string")
        codes = np.array([place[row[level]] for row in rows], np.int32)
        _array(group, f"{key}_label{level}", codes)


def _name_level(node: Any, key: str, name: str, kind: str) -> None:
    """What a level is called; "N." is how PyTables writes that it has no name."""
    _say(node, "kind", kind)
    if kind == "string":
        _say(node, "nan_rep", "")
    for attribute in ("name", f"{key}_name{name or None}"):
        if name:
            _say(node, attribute, name)
        else:  # None as PyTables writes it: bytes, not text
            node.attrs[attribute] = np.bytes_("N.")


def _texts(words: Sequence[str]) -> NDArray[np.bytes_]:
    return np.array([word.encode() for word in words], np.bytes_)
