"""Arrays of numpy: images and their classes in one `.npz`.

```
images (count, height, width), labels (count)
x_train, y_train, x_test, y_test
```
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from placewise.archives import names_in, opened
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
from placewise.formats.beats import signal_arrays
from placewise.labels import ClassDataset
from placewise.labels.names import shown
from placewise.readers.packed import SPACINGS

_SPLIT = r"(train|training|val|valid|validation|test|testing)"
_IMAGES = re.compile(rf"(?:{_SPLIT}_)?(images?|images|data|x)(?:_{_SPLIT})?", re.IGNORECASE)
_LABELS = re.compile(rf"(?:{_SPLIT}_)?(labels?|classes|targets?|y)(?:_{_SPLIT})?", re.IGNORECASE)
_OF_VOLUMES = frozenset(f"{name}.npy" for name in ("volume", *SPACINGS))
"""Files in the archive of a volume, which is read by `placewise.readers`."""
_NAMES = ("class_names", "label_names", "names")


class Npz(Format):
    """Arrays in a .npz: images and labels, or x_train and y_train, x_test and y_test.

    Images are (count, height, width), (count, height, width, channels) or (count, channels,
    height, width). Labels are whole numbers, −1 where the class is not known, or names;
    `class_names` may name the numbers.
    """

    tasks = ("classes",)
    holds_images = True
    patterns = ("*.npz",)

    def recognises(self, path: Path, head: str) -> bool:
        """By the name, or a zip whose first file is an array; not of one signal or volume."""
        if path.is_file() and (signal_arrays(path) or _OF_VOLUMES.intersection(names_in(path))):
            return False
        named = path.suffix.lower() == ".npz"
        return named or (head.startswith("PK\x03\x04") and ".npy" in head[:400])

    def read(self, path: Path, root: Path | None = None) -> ClassDataset:
        """Read images and classes; see `Format.read`."""
        collector = Collector(path, root)
        with guarded(collector, "file"):
            arrays = _load(collector, path)
            parts = _parts(collector, arrays, path)
            given = next((arrays[name] for name in _NAMES if name in arrays), None)
            if given is not None and (given.ndim != 1 or given.dtype.kind not in "US"):
                got = f"the array is of {given.dtype} and has the shape {given.shape}"
                collector.fault(0, "class_names", got, "write one name for each class")
            if collector.faults:
                collector.stop()
            names = None if given is None else [str(name) for name in given.astype(str).tolist()]
            return class_labels(collector, parts, names)


def _load(collector: Collector, path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of the file; nothing in it is executed."""
    arrays: dict[str, NDArray[Any]] = {}
    with opened(path) as archive:
        if archive.size > MAX_ARRAY_BYTES:
            got = f"its arrays take {archive.size >> 20} MiB, the most is {MAX_ARRAY_BYTES >> 20}"
            collector.fault(0, "file", got, "split the file, or save smaller images")
            collector.stop()
        for name in archive.arrays:
            with guarded(collector, shown(name)):
                arrays[name] = archive.array(name)
    return arrays


def _parts(collector: Collector, arrays: dict[str, NDArray[Any]], path: Path) -> list[Part]:
    """Images with their labels, by split."""
    images, labels = (
        {split_of(name): name for name in arrays if pattern.fullmatch(name)}
        for pattern in (_IMAGES, _LABELS)
    )
    for split, name in images.items():
        if split not in labels:
            got = f"there are no labels for {shown(name)}"
            collector.fault(0, "labels", got, "add an array labels, y_train, y_test, ...")
    for split, name in labels.items():
        if split not in images:
            got = f"there are no images for {shown(name)}"
            collector.fault(0, "images", got, "add an array images, x_train, x_test, ...")
    if not (images or labels):
        listed = sorted(arrays) or names_in(path)
        got = f"the arrays are {shown(', '.join(listed) or 'none')}"
        todo = "name them images and labels, or x_train, y_train, x_test, y_test"
        collector.fault(0, "images", got, todo)
    return [
        Part(
            unique_name(split, path),
            split,
            (name, labels[split]),
            arrays[name],
            arrays[labels[split]],
        )
        for split, name in images.items()
        if split in labels
    ]
