"""The files of the images as they are now, which need not be what they were when labelled."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from placewise.errors import ImageError
from placewise.files import file_stamp
from placewise.geometry import Size
from placewise.images import ImageArray
from placewise.labels import Files
from placewise.labels.sources import file_of

PART = 1 << 16
"""Bytes at the beginning, in the middle and at the end of a video by which it is known."""

GONE = "is not there"
REPLACED = "is another file than the one that was labelled"


class Presence:
    """Which images can be labelled: their files are there, and are what they were.

    Args:
        root: folder that the names of images are relative to.
        images: their names.
        known: fingerprints of the files that hold many images when they were labelled, by name.

    Attributes:
        known: the same; a file that is not in it is taken as it is.
        away: images that cannot be labelled at the moment, and why.
        version: changes whenever `away` does.
    """

    def __init__(self, root: Path, images: Iterable[str], known: Mapping[str, str]) -> None:
        self.root, self._files = root, Files(root)
        self._file = {image: _file_of(root, image) for image in images}
        self._sizes: dict[str, tuple[tuple[Path, int, int], Size]] = {}
        self.known = dict(known)
        self.away: dict[str, str] = {}
        self.version = 0

    def many(self) -> list[str]:
        """Files that hold many of the images: videos and the like."""
        return sorted({file for image, file in self._file.items() if file != image})

    def within(self, image: str) -> str:
        """The file that an image is in."""
        return self._file.get(image) or _file_of(self.root, image)

    def look(self) -> None:
        """See which files are there."""
        there = _there(self.root, set(self._file.values()))
        other = {file for file in self.many() if file in there and self._is_other(file)}
        away = {}
        for image, file in self._file.items():
            if file not in there:
                away[image] = GONE
            elif file in other:
                away[image] = REPLACED
        if away != self.away:
            self.away = away
            self.version += 1

    def size(self, image: str) -> Size:
        """(height, width) of an image as it is now; raises ImageError where it cannot be read."""
        try:
            stamp = file_stamp(self.root / self.within(image))
        except OSError as error:
            raise ImageError(_told(image, GONE)) from error
        held = self._sizes.get(image)
        if held is None or held[0] != stamp:
            held = self._sizes[image] = (stamp, self._files.size(image))
        return held[1]

    def read(self, image: str) -> ImageArray:
        """(height, width, channels) of an image; raises ImageError where it cannot be read."""
        if not (self.root / self.within(image)).is_file():
            raise ImageError(_told(image, GONE))
        return self._files.read(image)

    def check(self, image: str) -> None:
        """Raise ImageError where an image cannot be labelled now."""
        file = self.within(image)
        if file != image and self._is_other(file):
            raise ImageError(_told(image, REPLACED))

    def _is_other(self, file: str) -> bool:
        now = fingerprint(self.root / file)
        return bool(now) and self.known.get(file, now) != now


def fingerprint(path: Path) -> str:
    """SHA-256 of a file's size and of some of its bytes; empty where it cannot be read."""
    try:
        return _fingerprint(file_stamp(path))
    except OSError:
        return ""


@lru_cache(maxsize=4096)
def _fingerprint(stamp: tuple[Path, int, int]) -> str:
    path, count, _ = stamp
    digest = hashlib.sha256(f"{count}\0".encode())
    with path.open("rb") as file:
        for start in sorted({0, max(0, count // 2 - PART // 2), max(0, count - PART)}):
            file.seek(start)
            digest.update(file.read(PART))
    return digest.hexdigest()


def _file_of(root: Path, image: str) -> str:
    """The name of the file that an image is in."""
    file = file_of(image)
    return image if file == image or (root / image).is_file() else file


def _there(root: Path, files: set[str]) -> set[str]:
    """Which of some files are there: each folder is listed once, not each file asked for."""
    listed: dict[str, set[str]] = {}
    found = set()
    for file in files:
        folder, _, name = file.rpartition("/")
        if folder not in listed:
            listed[folder] = _names(root / folder)
        # the system may know a name that is written otherwise, with other capitals for example
        if name in listed[folder] or (root / file).is_file():
            found.add(file)
    return found


def _names(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except OSError:
        return set()


def _told(image: str, why: str) -> str:
    """What a user can do about an image that is away."""
    if why == GONE:
        return f"{image} is not there any more; put the file back, or go on with the next image"
    return (
        f"{file_of(image)} {why}: its labels are kept, and not written for this one. Put the old "
        "file back, or give the new one another name; if the labels fit it too, start again with "
        "--accept-replaced"
    )
