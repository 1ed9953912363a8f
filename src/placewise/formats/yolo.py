"""YOLO-pose: a text file for each image, with a line for each object, in shares of the sides.

```
data.yaml                 kpt_shape: [3, 3]   flip_idx: [0, 2, 1]   train: images/train
images/train/a.png        labels/train/a.txt:   0 0.5 0.5 0.2 0.3 0.168 0.4375 2 0.47 0.13 1 0 0 0
```

A line is the class, the box (middle and sides), then x, y and v of each keypoint; v is 0 where it
is not labelled, 1 hidden, 2 visible. Without v (`kpt_shape: [K, 2]`) a place 0, 0 is not labelled.
Shares count from the image's corner. `flip_idx` says which keypoints change places in a mirror.
Names are in `kpt_names`, if anywhere; else keypoints are numbered. Labels lie where Ultralytics
looks for them: the last folder `images` of the image's path becomes `labels`. Without a
`data.yaml` a folder `labels` beside one of images is read.

We write lists of the images of each split, and `skeleton`, `splits` and `images`, which Ultralytics
leaves alone: it asks for `train` and `val`, and they may be the same.
"""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from placewise.errors import DataError
from placewise.formats._collect import Collector, read_bytes, split_named, subfolders
from placewise.formats._format import WrittenKeypoints
from placewise.formats._holds import Holds, lost, one_file_each
from placewise.formats._json import entry, word
from placewise.formats._lines import coding_of
from placewise.formats._located import files_below, images_below
from placewise.formats._yaml import parsed
from placewise.labels import SPLITS, KeypointDataset, KeypointSample, Visibility
from placewise.labels.names import normal, shown, why_unsafe

HOLDS = Holds(hidden=True, symmetry=True, skeleton=True, splits=True, outside=False)

LOOKED_AT = 20
"""Files that are looked at where nothing says how many keypoints there are."""

_SHAPE = re.compile(r"^\s*kpt_shape\s*:", re.MULTILINE)
_STATES = (Visibility.UNLABELLED, Visibility.HIDDEN, Visibility.VISIBLE)
_MEND = "export the labels as YOLO-pose again"


class Yolo(WrittenKeypoints):
    """YOLO-pose: data.yaml with kpt_shape, and labels/*.txt with a line for each object.

    Written as a folder: data.yaml, lists of the images of each split, and the files of labels
    where Ultralytics looks for them.
    """

    patterns = ("*.y*ml",)
    whole_folders = True
    beside_files = True

    def recognises(self, path: Path, head: str) -> bool:
        """YAML that says the number of keypoints."""
        return path.suffix.lower() in (".yaml", ".yml") and bool(_SHAPE.search(head))

    def recognises_folder(self, path: Path) -> bool:
        """A folder of labels beside one of images, with keypoints in its files."""
        return any(_shape_of(folder) is not None for folder in _label_folders(path))

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`."""
        if path.is_dir():
            listed = (file for file in sorted(path.iterdir()) if file.is_file())
            path = next((f for f in listed if self.recognises(f, _start(f))), path)
        base = path if path.is_dir() else path.parent
        collector = Collector(path, root or base)
        collector.from_corner("YOLO")
        data = _Data.of(collector, path) if path.is_file() else _Data.guessed(collector, path)
        images = _images(collector, data, base)
        empty = 0
        for name, split in images.items():
            image = collector.image(name, 0, name)
            collector.split(image, split, 0, name)
            labels = _labels_file(collector, base, name)
            if labels is not None:
                _read_labels(collector, data, image, labels)
            empty += labels is None
        if empty:
            collector.assume(f"{empty} images without a file of labels as not labelled")
        return collector.labels(data.names, data.symmetry, data.skeleton)

    def losses(self, labels: KeypointDataset) -> list[str]:
        """Absent keypoints, what lies outside of an image, scores, identities."""
        return lost(labels, HOLDS)

    def content(self, labels: KeypointDataset) -> Mapping[str, bytes]:
        """The data file, the lists of images and a file for each image."""
        files = {}
        for image, file in one_file_each((s.image for s in labels.samples), ".txt").items():
            files[image] = _labels_of(image, file)
        lists: dict[str, list[str]] = {}
        for sample in labels.samples:
            lists.setdefault(sample.split or "images", []).append(sample.image)
        found = {"data.yaml": _data_text(labels, lists)}
        for name, images in lists.items():
            found[f"{name}.txt"] = "".join(f"./{image}\n" for image in images)
        for sample in labels.samples:
            found[files[sample.image]] = "".join(_lines(sample))
        return {name: text.encode() for name, text in found.items()}


@dataclass
class _Data:
    """What a data file says, or what the files of labels themselves show."""

    count: int
    axes: int
    names: tuple[str, ...]
    symmetry: tuple[tuple[str, str], ...] | None = None
    skeleton: tuple[tuple[str, str], ...] = ()
    splits: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def of(collector: Collector, path: Path) -> _Data:
        """Read a data file."""
        try:
            said = entry(parsed(collector.text(), str(path)))
        except DataError:  # PyYAML is missing
            raise
        except ValueError as error:
            collector.fault(0, "file", str(error), "mend it with an editor")
            collector.stop()
        shape = said.get("kpt_shape")
        if not (isinstance(shape, list) and len(shape) == 2 and all(type(n) is int for n in shape)):
            shape = [0, 0]
        if not 0 < shape[0] <= 1000 or shape[1] not in (2, 3):
            got = f"it is {shown(said.get('kpt_shape'))}"
            collector.fault(0, "kpt_shape", got, "write the number of keypoints, and 2 or 3")
            collector.stop()
        names = _names(collector, said, shape[0])
        symmetry = _symmetry(collector, said.get("flip_idx"), names)
        skeleton = tuple(_pairs(said.get("skeleton"), names))
        return _Data(shape[0], shape[1], names, symmetry, skeleton, _splits(said))

    @staticmethod
    def guessed(collector: Collector, folder: Path) -> _Data:
        """Judge by the files of labels in a folder without a data file."""
        for labels in _label_folders(folder):
            shape = _shape_of(labels)
            if shape is not None:
                collector.assume(f"{shape[0]} keypoints, by the numbers in a line")
                names = tuple(str(k) for k in range(1, 1 + shape[0]))
                return _Data(*shape, names)
        todo = "add a data.yaml with kpt_shape: [number of keypoints, 2 or 3]"
        collector.fault(0, "labels", "no file of labels holds keypoints of YOLO-pose", todo)
        collector.stop()


def _splits(said: Mapping[str, Any]) -> dict[str, str]:
    """The folders and lists of images, each with its split; one of two splits has none."""
    found: dict[str, str] = {}
    ours = said.get("splits")
    base = said.get("path")
    start = f"{base.strip()}/" if isinstance(base, str) and base.strip(" ./") else ""
    for key in ("train", "val", "test", "images"):
        if isinstance(ours, list) and key != "images" and key not in ours:
            continue
        listed = said.get(key)
        for one in listed if isinstance(listed, list) else [listed]:
            if isinstance(one, str) and one.strip():
                place = start + one.strip()
                found[place] = "" if key == "images" or found.get(place, key) != key else key
    return found


def _names(collector: Collector, said: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """Names of the keypoints: those of the first class that has some, or numbers."""
    listed = said.get("kpt_names", said.get("keypoint_names"))
    if isinstance(listed, Mapping):
        listed = next(iter(listed.values()), None)
    if not isinstance(listed, list):
        return tuple(str(k) for k in range(1, 1 + count))
    named = [collector.name(word(name), 0, f"kpt_names[{i}]") for i, name in enumerate(listed)]
    found = tuple(dict.fromkeys(name for name in named if name is not None))
    if len(found) != count:
        got = f"there are {len(found)} different names, and kpt_shape says {count} keypoints"
        collector.fault(0, "kpt_names", got, "name each keypoint once")
        collector.stop()
    return found


def _symmetry(
    collector: Collector, flip: object, names: tuple[str, ...]
) -> tuple[tuple[str, str], ...] | None:
    """Pairs of left and right by the places that keypoints take in a mirror; None: not said."""
    if flip is None or flip == []:
        return None
    order = flip if isinstance(flip, list) else []
    good = len(order) == len(names) and all(type(k) is int and 0 <= k < len(names) for k in order)
    if not good or any(order[order[k]] != k for k in range(len(names))):
        got = f"{shown(flip)} does not exchange {len(names)} keypoints in pairs"
        collector.fault(0, "flip_idx", got, "write the number of each keypoint's partner, from 0")
        return None
    return tuple((names[k], names[order[k]]) for k in range(len(names)) if k < order[k])


def _pairs(listed: object, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for pair in listed if isinstance(listed, list) else ():
        ends = pair if isinstance(pair, list) and len(pair) == 2 else [-1, -1]
        if all(type(end) is int and 0 <= end < len(names) for end in ends) and ends[0] != ends[1]:
            yield names[ends[0]], names[ends[1]]


def _images(collector: Collector, data: _Data, base: Path) -> dict[str, str]:
    """The images of a data set, each with its split."""
    if not data.splits:
        every = images_below(collector.root)
        return {name: _split_of(name) for name in every if _labels_file(collector, base, name)}
    found: dict[str, str] = {}
    for place, split in data.splits.items():
        for folder in (base, collector.root):
            inside = _inside(folder, place)
            where = folder / inside if inside is not None else None
            if where is not None and (where.is_file() or where == folder or images_below(where)):
                break
        if where is not None and where.is_file() and where.suffix.lower() == ".txt":
            names = [_folder(inside) + name for name in _listed(where)]
            names = [_inside(collector.root, name) or name for name in names]
        elif where is not None and where.is_dir():
            names = [f"{inside}/{name}" for name in images_below(where)]
        else:
            got = f"there is no folder and no list {shown(place)} below {collector.root}"
            collector.fault(0, split or "train", got, "correct the path, or name it with --root")
            continue
        for name in map(normal, names):
            found[name] = split if found.get(name, split) == split else ""
    return found


def _inside(folder: Path, place: str) -> str | None:
    """What a path means below a folder, also where the data file writes `../` before its path."""
    parts = [part for part in place.replace("\\", "/").split("/") if part not in ("", ".")]
    while parts:
        name = "/".join(parts)
        if ".." not in parts and not why_unsafe(name):
            file = folder / name
            if file.exists() and file.resolve().is_relative_to(folder.resolve()):
                return name
        del parts[0]
    return "" if place.strip(" ./") == "" else None


def _start(file: Path) -> str:
    data = read_bytes(file, 1 << 16)
    return data.decode(coding_of(data), errors="replace")


def _listed(file: Path) -> list[str]:
    """The images of a list."""
    data = read_bytes(file)
    lines = data.decode(coding_of(data), errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _folder(name: str | None) -> str:
    folder = (name or "").rpartition("/")[0]
    return f"{folder}/" if folder else ""


def _labels_file(collector: Collector, base: Path, name: str) -> Path | None:
    """The file of labels of an image: below the data file, or below the folder of the images."""
    for folder in (base, collector.root):
        file = folder / _labels_of(name)
        if file.is_file() and file.resolve().is_relative_to(folder.resolve()):
            return file
    return None


def _split_of(name: str) -> str:
    """The split that a folder of an image's path is named after."""
    named = (split_named(part) for part in name.split("/")[:-1])
    return next((split for split in named if split), "")


def _labels_of(image: str, file: str | None = None) -> str:
    """The file of labels of an image: the last folder `images` becomes `labels`.

    Example:
        >>> _labels_of("images/train/a.png"), _labels_of("a.png")
        ('labels/train/a.txt', 'a.txt')
    """
    file = file or posixpath.splitext(image)[0] + ".txt"
    parts = file.split("/")
    for k in range(len(parts) - 2, -1, -1):
        if parts[k] == "images":
            return "/".join([*parts[:k], "labels", *parts[k + 1 :]])
    return file


def _label_folders(folder: Path) -> list[Path]:
    """Folders of labels in a folder, or in its folders of splits, that lie beside images."""
    tops = [folder, *(one for one in subfolders(folder) if split_named(one.name))]
    found = [top / "labels" for top in tops if (top / "images").is_dir()]
    return [one for one in found if one.is_dir() and not one.is_symlink()]


def _shape_of(folder: Path) -> tuple[int, int] | None:
    """How many keypoints the lines in a folder have, and how many numbers each; None: no pose."""
    rows: list[list[float]] = []
    for number, file in enumerate(files_below(folder, ".txt")):
        if number == LOOKED_AT:
            break
        for line in _listed(file):
            values = _numbers(line)
            if values is None:
                return None
            rows += [values] if values else []
    widths = {len(row) for row in rows}
    if len(widths) != 1 or not rows:
        return None
    table = np.array(rows)
    box, points = table[:, 1:5], table[:, 5:]
    if points.shape[1] and points.shape[1] % 3 == 0 and np.isin(points[:, 2::3], (0, 1, 2)).all():
        return points.shape[1] // 3, 3
    pairs = points.reshape(len(points), -1, 2) if points.shape[1] % 2 == 0 else np.empty((0, 0, 2))
    away = np.abs(pairs - box[:, None, :2]) > box[:, None, 2:] / 2 + 0.02
    inside = not (away.any(-1) & (pairs != 0).any(-1)).any()
    return (pairs.shape[1], 2) if pairs.size and inside else None


def _numbers(line: str) -> list[float] | None:
    """The numbers of a line without its comment; None where something is no finite number."""
    try:
        values = [float(word) for word in line.partition("#")[0].split()]
    except ValueError:
        return None
    return values if all(map(math.isfinite, values)) else None


def _read_labels(collector: Collector, data: _Data, image: str | None, file: Path) -> None:
    """The objects of an image."""
    size = collector.images[image].size if image is not None else None
    if size is None:
        return
    instance = 0
    for number, line in enumerate(_listed(file), 1):
        values = _numbers(line)
        where = f"{file.name}, line {number}"
        if values == []:
            continue
        if values is None or len(values) != 5 + data.count * data.axes:
            got = f"{shown(line)} is not a class, a box and {data.count} × {data.axes} numbers"
            collector.fault(0, where, got, _MEND)
            continue
        marks = [
            _mark(collector, image, size, values[k : k + data.axes], where)
            for k in range(5, len(values), data.axes)
        ]
        if any(seen for seen, *_ in marks):
            for name, mark in zip(data.names, marks, strict=True):
                collector.mark(image, (instance, name, *mark, math.nan))
            instance += 1


def _mark(
    collector: Collector,
    image: str | None,
    size: Sequence[int],
    values: Sequence[float],
    where: str,
) -> tuple[Visibility, float, float]:
    """Visibility and place of a keypoint."""
    x, y, *state = values
    seen = state[0] if state else 2.0 * bool(x or y)
    if seen not in (0, 1, 2):
        collector.fault(0, where, f"the visibility {seen:g} is unknown", "write 0, 1 or 2")
        return Visibility.UNLABELLED, math.nan, math.nan
    if seen == 0:
        return Visibility.UNLABELLED, math.nan, math.nan
    collector.near(image, x * size[1], y * size[0], 0, where)
    return _STATES[int(seen)], x * size[1], y * size[0]


def _lines(sample: KeypointSample) -> Iterator[str]:
    """A line for each object; what lies outside of the image is not labelled."""
    sides = np.array(sample.size[::-1], float)
    for points, seen in zip(sample.points, sample.visibility, strict=True):
        places = (points + 0.5) / sides
        kept = (seen >= Visibility.HIDDEN) & ((places >= 0) & (places <= 1)).all(-1)
        if not kept.any():
            continue
        low, high = places[kept].min(0), places[kept].max(0)
        box = [*((low + high) / 2).tolist(), *np.maximum(high - low, 1 / sides).tolist()]
        values = ["0", *(f"{value:.6f}" for value in box)]
        for place, state, here in zip(places.tolist(), seen.tolist(), kept.tolist(), strict=True):
            v = _STATES.index(Visibility(state)) if here else 0
            values += [*(repr(value) for value in place), str(v)] if here else ["0", "0", "0"]
        yield " ".join(values) + "\n"


def _data_text(labels: KeypointDataset, lists: Mapping[str, Sequence[str]]) -> str:
    """The data file."""
    index = {name: k for k, name in enumerate(labels.names)}
    flip = list(range(len(index)))
    for a, b in labels.symmetry:
        flip[index[a]], flip[index[b]] = index[b], index[a]
    first = next(name for name in (*SPLITS, "images") if name in lists)
    said = {
        "train": f"{first}.txt",
        "val": f"{'val' if 'val' in lists else first}.txt",
        **({"test": "test.txt"} if "test" in lists else {}),
        **({"images": "images.txt"} if "images" in lists else {}),
    }
    lines = [  # without `path` Ultralytics looks where the file lies; `.` is where it was started
        f"splits: [{', '.join(name for name in SPLITS if name in lists)}]",
        *(f"{key}: {value}" for key, value in said.items()),
        f"kpt_shape: [{len(index)}, 3]",
        f"flip_idx: {flip}",
        "names:\n  0: object",
        f"kpt_names:\n  0: [{', '.join(map(_quoted, labels.names))}]",
    ]
    if labels.skeleton:
        lines.append(f"skeleton: {[[index[a], index[b]] for a, b in labels.skeleton]}")
    return "\n".join(lines) + "\n"


def _quoted(name: str) -> str:
    """A name as YAML."""
    escaped = []
    for letter in name:
        code = ord(letter)
        if letter in '"\\':
            escaped.append(f"\\{letter}")
        elif 32 <= code < 127:
            escaped.append(letter)
        else:
            escaped.append(f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}")
    return f'"{"".join(escaped)}"'
