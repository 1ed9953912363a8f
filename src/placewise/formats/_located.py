"""Images that a tool names by the paths of another machine, of its server, or by name alone."""

from __future__ import annotations

import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import ClassVar, final

from placewise.formats._collect import (
    LOOKED_AT,
    Collector,
    read_bytes,
    split_named,
    subfolders,
)
from placewise.formats._format import KeypointFormat
from placewise.formats._lines import coding_of
from placewise.images import is_hidden, is_image_name
from placewise.labels.names import normal, shown, why_unsafe
from placewise.wording import natural

MAX_FOLDERS = 1000
"""Most folders that are searched for images."""

FIRST = 51
"""Files that are looked at to see whether a folder is of a format with a file for each image."""

_MARK = re.compile(rb"%([0-9A-Fa-f]{2})")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-~/")


class Located:
    """Finds images below a folder: by their path, else by their name alone.

    Without a given root, the images are below the folder of the labels or below the one above it:
    below the one that holds more of them.

    Args:
        collector: of the labels; its root is set.
        named: for some images, the names that each may have, the best first.
        find_root: whether the root is to be found.
    """

    def __init__(
        self, collector: Collector, named: Sequence[Sequence[str]], *, find_root: bool
    ) -> None:
        self.collector = collector
        self._index: dict[str, list[str]] | None = None
        self._known: dict[tuple[str, ...], list[str]] = {}
        if find_root and named:
            own = collector.root
            looked = named[:: max(1, len(named) // LOOKED_AT)]
            here = self._count(looked)
            above = Path(os.path.normpath(own / ".."))
            if here < len(looked):
                collector.root, self._index = above, None
                if self._count(looked) <= here:
                    collector.root, self._index = own, None
                else:
                    collector.assume(f"images in {above}")

    def image(self, named: Sequence[str], row: int, field: str, *, once: bool = True) -> str | None:
        """The image of these names, as `Collector.image` returns it."""
        key = tuple(named)
        if key not in self._known:  # tables name an image in row after row
            self._known[key] = self._found(named)
        found = self._known[key]
        if len(found) > 1:
            got = f"{len(found)} images have the name {shown(_last(named[0]))}: {found[0]}, …"
            todo = "name the folder that holds the right one with --root (root=)"
            self.collector.fault(row, field, got, todo)
            return None
        name = found[0] if found else _last(named[0]) if named else ""
        return self.collector.image(name, row, field, once=once)

    def _count(self, named: Sequence[Sequence[str]]) -> int:
        return sum(bool(self._found(names)) for names in named)

    def _found(self, named: Sequence[str]) -> list[str]:
        """The images that are meant: one, or several of which each may be."""
        root = self.collector.root
        for name in named:
            if not why_unsafe(name) and _is_file(root / normal(name)):
                return [normal(name)]
        if self._index is None:
            self._index = _index(root)
        for name in named:
            parts = [part.casefold() for part in name.replace("\\", "/").split("/")]
            alike = self._index.get(parts[-1], [])
            shared = [_shared(parts, one.casefold().split("/")) for one in alike]
            best = [one for one, k in zip(alike, shared, strict=True) if k == max(shared)]
            if best:
                return best
        return []


def names_of(path: str) -> list[str]:
    """Names that an image may have by the path or address that a tool wrote, the best first.

    Example:
        >>> names_of("/data/local-files/?d=mice/a%20b.png")
        ['mice/a b.png']
        >>> names_of("s3://bucket/mice/a.png")
        ['bucket/mice/a.png']
    """
    if "://" in path or path.startswith("/data/"):
        address = path.partition("://")[2] or path
        told = address.partition("?d=")[2]
        return [unquoted(told or address.partition("?")[0]).lstrip("/")]
    return [path]


def unquoted(text: str) -> str:
    """A part of an address without its marks for other letters.

    Example:
        >>> unquoted("a%20b%C3%BC.png")
        'a bü.png'
    """
    data = _MARK.sub(lambda match: bytes([int(match[1], 16)]), text.encode("utf-8", "replace"))
    return data.decode("utf-8", errors="replace")


def quoted(text: str) -> str:
    """A path as a part of an address.

    Example:
        >>> quoted("mice/a bü.png")
        'mice/a%20b%C3%BC.png'
    """
    return "".join(
        chr(byte) if chr(byte) in _PLAIN else f"%{byte:02X}" for byte in text.encode("utf-8")
    )


def images_below(folder: Path) -> list[str]:
    """Names of the images in a folder and its folders, in natural order."""
    found = (name for names in _index(folder).values() for name in names)
    return sorted(found, key=natural)


def _index(root: Path) -> dict[str, list[str]]:
    """Images below a folder by their names in small letters, as paths relative to it."""
    found: dict[str, list[str]] = defaultdict(list)
    for folder in _folders(root):
        for file in folder.iterdir():
            if is_image_name(file.name) and not is_hidden(file.name) and file.is_file():
                found[file.name.casefold()].append(file.relative_to(root).as_posix())
    return found


def _folders(root: Path) -> Iterator[Path]:
    """A folder and those below it, level by level."""
    level, seen = [root] if root.is_dir() else [], 0
    while level and seen < MAX_FOLDERS:
        yield from level[: MAX_FOLDERS - seen]
        seen += len(level)
        level = list(chain.from_iterable(map(subfolders, level)))


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """How many parts two paths share at their ends."""
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        count += 1
    return count


def _last(name: str) -> str:
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2] or name


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a NUL
        return False


def reading_order(name: str) -> tuple[int, tuple[list[str | int], str]]:
    """What puts files in the order in which folders are read: level by level.

    Example:
        >>> sorted(["sub/a.png", "b10.png", "b2.png"], key=reading_order)
        ['b2.png', 'b10.png', 'sub/a.png']
    """
    return name.count("/"), natural(name)


def files_below(folder: Path, *endings: str) -> Iterator[Path]:
    """Files of these endings in a folder and its folders, without hidden ones and links.

    In natural order within each folder.
    """
    for one in _folders(folder):
        named = (file for file in one.iterdir() if file.name.lower().endswith(endings))
        files = [file for file in named if not is_hidden(file.name) and not file.is_symlink()]
        for file in sorted(files, key=lambda file: natural(file.name)):
            if file.is_file():
                yield file


class FileForEach(KeypointFormat):
    """A format with a file of its own for each image: a folder of such files, or one of them.

    Attributes:
        ending: of their names, in small letters.
    """

    ending: ClassVar[str]
    whole_folders = True
    beside_files = True

    @final
    def recognises_folder(self, path: Path) -> bool:
        """One of the first files of the ending is of the format."""
        return any(map(self._is_one, islice(files_below(path, self.ending), FIRST)))

    @final
    def files(self, path: Path) -> list[Path]:
        """The file itself; of a folder all files of the format."""
        if not path.is_dir():
            return [path]
        return [file for file in files_below(path, self.ending) if self._is_one(file)]

    def _is_one(self, file: Path) -> bool:
        data = read_bytes(file, 1 << 16)
        return self.recognises(file, data.decode(coding_of(data), errors="replace"))


def beside(file: Path, root: Path, path: str) -> list[str]:
    """Names, relative to a root, of an image that a file names by a path from its own folder."""
    folder = file.parent.relative_to(root).as_posix() if file.is_relative_to(root) else "."
    joined = posixpath.normpath(posixpath.join(folder, path.replace("\\", "/")))
    return [joined, path] if not why_unsafe(joined) else [path]


class Stems:
    """Images by their names without ending: in a file's own folder, else below the root.

    Args:
        root: folder of the images.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._below: dict[str, list[str]] | None = None
        self._near: dict[Path, dict[str, list[str]]] = {}

    def near(self, folder: Path) -> dict[str, list[str]]:
        """Names of the images in a folder, by their stems in small letters."""
        if folder not in self._near:
            listed = sorted(one.name for one in folder.iterdir() if is_image_name(one.name))
            self._near[folder] = _by_stem(listed)
        return self._near[folder]

    def names(self, file: Path, *stems: str) -> list[str]:
        """Names, relative to the root, of the image that a file belongs to."""
        near, small = self.near(file.parent), [stem.casefold() for stem in stems]
        if found := [name for stem in small for name in near.get(stem, ())]:
            return [name for one in found for name in beside(file, self.root, one)]
        if self._below is None:
            self._below = _by_stem(images_below(self.root))
        return [name for stem in small for name in self._below.get(stem, ())]


def _by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        found[posixpath.basename(name).rpartition(".")[0].casefold()].append(name)
    return found


def split_of(file: Path, folder: Path) -> str:
    """The split that a folder on the way to a file is named after; empty where none is."""
    if not file.is_relative_to(folder):
        return ""
    named = (split_named(part) for part in file.relative_to(folder).parts[:-1])
    return next((split for split in named if split), "")


def check_size(
    collector: Collector, image: str | None, width: object, height: object, field: str
) -> None:
    """Note a fault where a file gives another size than its image has: places would be wrong."""
    size = collector.images[image].size if image is not None else None
    for said, axis, what in ((height, 0, "height"), (width, 1, "width")):
        if size is None or isinstance(said, bool) or not isinstance(said, int | float):
            continue
        if said > 0 and said != size[axis]:
            got = f"the {what} is said to be {said:g}, and that of the image is {size[axis]}"
            todo = "use the image that was labelled, turned and scaled as it was then"
            collector.fault(0, field, got, todo)
