"""idx files, as MNIST has them: images in one file, their classes in another.

```
train-images-idx3-ubyte    train-labels-idx1-ubyte
t10k-images-idx3-ubyte     t10k-labels-idx1-ubyte
```

A file begins with two zeros, the type of its numbers, the number of axes and the length of each
as a big-endian 32-bit number (LeCun, Cortes and Burges, "The MNIST database").
"""

from __future__ import annotations

import gzip
import math
import re
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from placewise.formats._arrays import (
    MAX_ARRAY_BYTES,
    Part,
    class_labels,
    guarded,
    split_of,
    unique_name,
)
from placewise.formats._collect import Collector
from placewise.formats._format import Format
from placewise.labels import ClassDataset

_FILE = re.compile(r"(.*?)[-_.]?(images|labels)[-_.]idx\d-ubyte(\.gz)?", re.IGNORECASE)
_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


class Idx(Format):
    """idx files: train-images-idx3-ubyte and train-labels-idx1-ubyte, also packed as .gz.

    Named is their folder, or one of them: then it and its partner are read.
    """

    tasks = ("classes",)
    whole_folders = True
    holds_images = True

    def recognises(self, path: Path, head: str) -> bool:
        """By the name: the content of a packed file says nothing."""
        return bool(_FILE.fullmatch(path.name))

    def recognises_folder(self, path: Path) -> bool:
        """A file of images in it."""
        return any(kind == "images" for _, kind in _found(path))

    def read(self, path: Path, root: Path | None = None) -> ClassDataset:
        """Read images and classes; see `Format.read`."""
        collector = Collector(path, root)
        only = None if path.is_dir() else _key(path)[0]
        files = _found(path if path.is_dir() else path.parent)
        kept = {key: file for key, file in files.items() if only in (None, key[0])}
        parts = []
        for group in dict.fromkeys(group for group, _ in kept):
            pair = [kept.get((group, kind)) for kind in ("images", "labels")]
            if pair[0] is None or pair[1] is None:
                missing = "labels" if pair[1] is None else "images"
                got = f"there is no file of {missing} for {(pair[0] or pair[1] or path).name}"
                collector.fault(0, missing, got, "put both into one folder")
                continue
            split = split_of(group)
            images, labels = (_read(collector, file) for file in (pair[0], pair[1]))
            if images is not None and labels is not None:
                name = unique_name(split, pair[0])
                parts.append(Part(name, split, (pair[0].name, pair[1].name), images, labels))
        if collector.faults or not parts:
            if not collector.faults:
                collector.fault(0, "file", "there are no idx files", "name the folder of the files")
            collector.stop()
        with guarded(collector, "file"):
            return class_labels(collector, parts, None)


def _key(file: Path) -> tuple[str, str]:
    """(what comes before "images" or "labels", which of the two)."""
    match = _FILE.fullmatch(file.name)
    return (match[1], match[2].lower()) if match else (file.name, "")


def _found(folder: Path) -> dict[tuple[str, str], Path]:
    """The idx files of a folder; of a packed and a plain one the plain one."""
    inside = folder.resolve()
    files = [
        file
        for file in sorted(folder.iterdir(), reverse=True)
        if _FILE.fullmatch(file.name) and file.is_file() and file.resolve().is_relative_to(inside)
    ]
    return dict(sorted((_key(file), file) for file in files))


def _read(collector: Collector, file: Path) -> NDArray[Any] | None:
    """The array of a file, None where it is a fault."""
    with guarded(collector, file.name), file.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        opened: Any = gzip.GzipFile(fileobj=raw) if packed else raw
        return _array(collector, file, opened)


def _array(collector: Collector, file: Path, opened: BinaryIO) -> NDArray[Any] | None:
    head = opened.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES or not 1 <= head[3] <= 4:
        got = f"it begins with {head!r}, which is no idx file"
        collector.fault(0, file.name, got, "fetch it again, whole")
        return None
    sizes = opened.read(4 * head[3])
    if len(sizes) < 4 * head[3]:
        collector.fault(0, file.name, "it ends within its header", "fetch it again, whole")
        return None
    shape = struct.unpack(f">{head[3]}I", sizes)
    kind = np.dtype(_TYPES[head[2]])
    needed = math.prod(shape) * kind.itemsize
    if needed > MAX_ARRAY_BYTES:
        got = f"its header asks for {needed >> 20} MiB, the most is {MAX_ARRAY_BYTES >> 20}"
        collector.fault(0, file.name, got, "split the file")
        return None
    content = opened.read(needed + 1)
    if len(content) != needed:
        has = "more" if len(content) > needed else f"{len(content):,}"
        got = f"it holds {has} bytes of numbers, its header says {needed:,}"
        collector.fault(0, file.name, got, "fetch it again, whole")
        return None
    return np.frombuffer(content, kind).reshape(shape).astype(kind.newbyteorder("="))
