"""Labels of pixels: the class of each (masks), or the object that each belongs to (instances).

What an image's pixels are is read when it is asked for: from a file of numbers, from an array in a
file, from outlines, or from memory. All of it has the size of the image, in 1, 2 or 3 dimensions.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from placewise.archives import ArchiveError, opened
from placewise.errors import DataError, SettingsError
from placewise.geometry import Size
from placewise.images import read_values
from placewise.labels.dataset import SPLITS, Dataset
from placewise.labels.names import repeated, shown, why_unfit
from placewise.labels.sources import Files, Source
from placewise.readers import reader_of

IGNORED = -1
"""Value of a pixel of which the labels do not say what it is."""

Labels = NDArray[np.int32]
"""(*size,) a number for each pixel: 0 background, 1, 2, …, and `IGNORED`."""


class Values(ABC):
    """Where the numbers of an image's pixels lie, as they are written there."""

    @abstractmethod
    def read(self) -> Labels:
        """(*size,) int32; raises DataError where they cannot be read."""

    @abstractmethod
    def digest(self) -> bytes:
        """SHA-256 of what is read."""


@dataclass(frozen=True)
class Held(Values):
    """Numbers in memory.

    Attributes:
        values: (*size,) whole numbers.

    Example:
        >>> Held(np.array([0, 1, 1])).read().tolist()
        [0, 1, 1]
    """

    values: NDArray[Any]

    def read(self) -> Labels:
        """The numbers; see `Values.read`."""
        return self.values.astype(np.int32)

    def digest(self) -> bytes:
        """SHA-256 of size and numbers."""
        values = np.ascontiguousarray(self.values, np.int32)
        return hashlib.sha256(f"{values.shape}\0".encode() + values.tobytes()).digest()


@dataclass(frozen=True)
class InImage(Values):
    """Numbers that a file of an image or of a volume holds; see `images.read_values`.

    Attributes:
        path: the file.
    """

    path: Path

    def read(self) -> Labels:
        """The numbers; see `Values.read`."""
        reader = reader_of(self.path)
        if reader is None:
            return read_values(self.path)
        values = reader.read(self.path)
        if values.shape[-1] != 1 or (values != np.rint(values)).any():
            raise DataError(
                f"{self.path}: holds {values.shape[-1]} channels, or values that are not whole "
                "numbers; a mask needs the numbers of classes or objects; save it with them"
            )
        return values[..., 0].astype(np.int32)

    def digest(self) -> bytes:
        """SHA-256 of the file's bytes."""
        return self.path.name.encode() + _digest(self.path)


@dataclass(frozen=True)
class InArray(Values):
    """Numbers in an array of an npz file.

    Attributes:
        path: the file.
        key: name of the array.
    """

    path: Path
    key: str

    def read(self) -> Labels:
        """The numbers; see `Values.read`."""
        try:
            with opened(self.path) as archive:
                values = archive.array(self.key)
        except ArchiveError as error:
            raise DataError(
                f"{self.path}: the array '{self.key}' cannot be read ({error}); write it again"
            ) from error
        if values.dtype == bool:
            return (values > 0).astype(np.int32)
        numeric = values.dtype.kind in "iuf"
        with np.errstate(invalid="ignore"):  # what is not finite is refused here
            numbers = values.astype(np.int32) if numeric else np.zeros(0, np.int32)
        if not numeric or (numbers != values).any():
            raise DataError(
                f"{self.path}: the array '{self.key}' of {values.dtype} holds something else than "
                "whole numbers; a mask needs the numbers of classes or objects; save it with them"
            )
        return numbers

    def digest(self) -> bytes:
        """SHA-256 of the file's bytes, with the array's name."""
        return f"{self.path.name}:{self.key}".encode() + _digest(self.path)


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror or error}") from error


class MaskSource(ABC):
    """Where the class of each pixel of an image is known from."""

    @abstractmethod
    def mask(self) -> Labels:
        """(*size,) 0 background, k the class k − 1, `IGNORED` where nothing is said."""

    @abstractmethod
    def digest(self) -> bytes:
        """What changes when the labels change."""

    def as_instances(self) -> InstanceSource:
        """The same as objects: each connected piece of a class is one."""
        return Pieces(self)


class InstanceSource(ABC):
    """Where the objects of an image are known from."""

    @abstractmethod
    def instances(self) -> tuple[Labels, NDArray[np.int32]]:
        """Which object each pixel belongs to, and the kinds of objects.

        Returns:
            (*size,) 0 background, 1 … n objects, `IGNORED` where nothing is said; and (n,) kinds
            as numbers among the names.
        """

    @abstractmethod
    def digest(self) -> bytes:
        """What changes when the labels change."""


@dataclass(frozen=True)
class Coded(MaskSource, InstanceSource):
    """Numbers that stand for classes or for objects.

    Attributes:
        values: the numbers.
        codes: the number of each class, in the order of the names; empty: each number but 0 is an
            object of the first kind.
        ignored: numbers of pixels of which nothing is said.
        field: numbers of the same size: where they are 0 (or where they are not, with `hides`)
            nothing is said.
        hides: whether the field marks what is ignored, not what counts.

    Example:
        >>> Coded(Held(np.array([0, 255, 128])), codes=(128, 255)).mask().tolist()
        [0, 2, 1]
        >>> Coded(Held(np.array([0, 7, 7, 3]))).instances()[0].tolist()
        [0, 2, 2, 1]
    """

    values: Values
    codes: tuple[int, ...] = ()
    ignored: tuple[int, ...] = ()
    field: Values | None = None
    hides: bool = False

    def mask(self) -> Labels:
        """Classes of the pixels; see `MaskSource.mask`."""
        values = self.values.read()
        if not self.codes:
            return self._covered((values > 0).astype(np.int32), values)
        known = np.array([0, *self.codes], np.int64)
        order = np.argsort(known)
        place = np.searchsorted(known[order], values).clip(0, len(known) - 1)
        found = order[place].astype(np.int32)
        strange = (known[found] != values) & ~np.isin(values, self.ignored) & (values >= 0)
        if strange.any():
            got = ", ".join(map(str, np.unique(values[strange])[:8].tolist()))
            raise DataError(
                f"{self.values}: holds the values {got}, which are no class of the other masks "
                f"(they hold 0, {', '.join(map(str, self.codes))}); correct the mask"
            )
        return self._covered(found, values)

    def instances(self) -> tuple[Labels, NDArray[np.int32]]:
        """Objects in the order of their numbers; see `InstanceSource.instances`."""
        values = self.values.read()
        seen = self._covered(np.where(values > 0, values, 0), values)
        return numbered(seen)

    def _covered(self, found: Labels, values: Labels) -> Labels:
        """With what is ignored marked."""
        lost = (values < 0) | np.isin(values, self.ignored)
        if self.field is not None:
            field = self.field.read()
            if field.shape != values.shape:
                raise DataError(
                    f"{self.field} is of {_times(field.shape)} px, and {self.values} of "
                    f"{_times(values.shape)}; make them the same size"
                )
            lost |= (field != 0) == self.hides
        return np.where(lost, np.int32(IGNORED), found)

    def digest(self) -> bytes:
        """What changes when the labels change."""
        field = b"" if self.field is None else self.field.digest()
        told = f"{self.codes}{self.ignored}{self.hides}".encode()
        return hashlib.sha256(self.values.digest() + field + told).digest()

    def as_instances(self) -> InstanceSource:
        """Each number is an object, where there are several; else each connected piece."""
        return Pieces(self) if len(self.codes) == 1 else replace(self, codes=())


@dataclass(frozen=True)
class Pieces(InstanceSource):
    """Connected pieces of each class as objects; pieces that touch at a corner alone are two.

    Attributes:
        of: the mask.

    Example:
        >>> Pieces(Coded(Held(np.array([1, 0, 1, 1])), codes=(1,))).instances()[0].tolist()
        [1, 0, 2, 2]
    """

    of: MaskSource

    def instances(self) -> tuple[Labels, NDArray[np.int32]]:
        """The pieces, class after class; see `InstanceSource.instances`."""
        from scipy import ndimage

        mask = self.of.mask()
        labels = np.where(mask < 0, np.int32(IGNORED), np.int32(0))
        kinds: list[int] = []
        for number in range(1, int(mask.max(initial=0)) + 1):
            pieces, count = ndimage.label(mask == number)
            labels = np.where(pieces > 0, pieces + len(kinds), labels).astype(np.int32)
            kinds += [number - 1] * count
        return labels, np.array(kinds, np.int32)

    def digest(self) -> bytes:
        """What changes when the labels change."""
        return b"pieces" + self.of.digest()


@dataclass(frozen=True)
class Kinds(MaskSource):
    """The kinds of objects as classes of pixels.

    Attributes:
        of: the objects.

    Example:
        >>> Kinds(Coded(Held(np.array([0, 7, 7, 3])))).mask().tolist()
        [0, 1, 1, 1]
    """

    of: InstanceSource

    def mask(self) -> Labels:
        """Classes of the pixels; see `MaskSource.mask`."""
        labels, kinds = self.of.instances()
        table = np.concatenate([[0], kinds + 1, [IGNORED]]).astype(np.int32)
        return table[labels]

    def digest(self) -> bytes:
        """What changes when the labels change."""
        return b"kinds" + self.of.digest()

    def as_instances(self) -> InstanceSource:
        """The objects again."""
        return self.of


def numbered(labels: Labels) -> tuple[Labels, NDArray[np.int32]]:
    """Objects with any numbers as 1 … n in the order of their numbers, all of the first kind.

    Args:
        labels: (*size,) 0 background, other numbers above 0 objects, `IGNORED` nothing said.

    Example:
        >>> numbered(np.array([0, 9, 4, -1]))[0].tolist()
        [0, 2, 1, -1]
    """
    numbers = np.unique(labels)
    numbers = numbers[numbers > 0]
    found = (np.searchsorted(numbers, labels) + 1).astype(np.int32)
    small = np.where(labels < 0, np.int32(IGNORED), np.int32(0))
    return np.where(labels > 0, found, small), np.zeros(len(numbers), np.int32)


@dataclass(frozen=True)
class MaskSample:
    """An image with the class of each of its pixels.

    Attributes:
        image: name of the image.
        size: of the image, in the order of its axes: (height, width).
        truth: where the classes are known from.
        split: "train", "val", "test", or None where the labels do not say.
        group: images that must be in one split have one, e.g. tiles of one field; None: alone.

    Example:
        >>> truth = Coded(Held(np.array([[0, 1]])), codes=(1,))
        >>> MaskSample("a.png", (1, 2), truth).truth.mask().tolist()
        [[0, 1]]
    """

    image: str
    size: Size
    truth: MaskSource
    split: str | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        _check_split(self.image, self.split)


@dataclass(frozen=True)
class InstanceSample:
    """An image with its objects.

    Attributes:
        image: name of the image.
        size: of the image, in the order of its axes: (height, width).
        truth: where the objects are known from.
        split: "train", "val", "test", or None where the labels do not say.
        group: images that must be in one split have one, e.g. tiles of one field; None: alone.

    Example:
        >>> InstanceSample("a.png", (1, 2), Coded(Held(np.array([[0, 5]])))).split is None
        True
    """

    image: str
    size: Size
    truth: InstanceSource
    split: str | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        _check_split(self.image, self.split)


def _check_split(image: str, split: str | None) -> None:
    if split not in (None, *SPLITS):
        raise SettingsError(
            f"sample {shown(image)} has the split {split!r}, which must be one of {SPLITS} or None"
        )


PixelSample = TypeVar("PixelSample", MaskSample, InstanceSample)


@dataclass(frozen=True)
class _Pixels(Dataset[PixelSample]):
    """What labels of pixels share.

    Attributes:
        root: folder of the images, or of the file that holds them.
        names: of the classes without the background, or of the kinds of objects.
        samples: one for each image.
        source: what was read, None where the labels were made in memory.
        held: where the images lie; None: in files under the root.
        order: place among the names of each class that the sources number; empty: as they are.
    """

    root: Path
    names: tuple[str, ...]
    samples: tuple[PixelSample, ...]
    source: Path | None = None
    held: Source | None = None
    order: tuple[int, ...] = ()

    singular: ClassVar[str]

    def __post_init__(self) -> None:
        if not self.names:
            raise SettingsError(f"labels without a {self.singular}; give at least one name")
        for name in self.names:
            if why_unfit(name):
                raise SettingsError(f"the name of a {self.singular} {why_unfit(name)}; rename it")
        if (twice := repeated(self.names)) is not None:
            raise SettingsError(f"{shown(twice)} is the name of two; rename one")
        if (image := repeated(sample.image for sample in self.samples)) is not None:
            raise SettingsError(f"two samples are of {shown(image)}; keep one")

    @property
    def images(self) -> Source:
        """Where the images lie; see `Dataset.images`."""
        return self.held or Files(self.root)

    def ordered(self, names: tuple[str, ...]) -> Self:
        """Labels numbered as a model numbers its classes; see `Dataset.ordered`."""
        if self.names == names:
            return self
        strange = [name for name in self.names if name not in names]
        if strange:
            raise DataError(
                f"the labels hold {', '.join(strange)}, which the run does not know; it knows "
                f"{', '.join(names)}: rename them, or train on these labels"
            )
        order = self.order or tuple(range(len(self.names)))
        return replace(
            self, names=names, order=tuple(names.index(self.names[place]) for place in order)
        )

    def _placed(self, numbers: NDArray[np.int32], sample: PixelSample) -> NDArray[np.int32]:
        """Numbers of kinds in the order of the names."""
        if not self.order:
            most = int(numbers.max(initial=-1))
            if most >= len(self.names):
                raise DataError(
                    f"{shown(sample.image)} holds class {most + 1}, and {len(self.names)} are "
                    "named; name them all"
                )
            return numbers
        return np.array(self.order, np.int32)[numbers]

    def _fitting(self, labels: Labels, sample: PixelSample) -> Labels:
        if labels.shape != tuple(sample.size):
            raise DataError(
                f"the labels of {shown(sample.image)} are of {_times(labels.shape)} px, and the "
                f"image is of {_times(sample.size)}; make them the same size"
            )
        return labels

    def _as(self, other: type[Any], samples: Sequence[Any]) -> Any:
        """The same for another task."""
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        return other(**{**held, "samples": tuple(samples)})


@dataclass(frozen=True)
class MaskDataset(_Pixels[MaskSample]):
    """The classes of pixels.

    Attributes:
        root: folder of the images, or of the file that holds them.
        names: of the classes, without the background.
        samples: one for each image.
        source: what was read, None where the labels were made in memory.
        held: where the images lie; None: in files under the root.
        order: place among the names of each class that the sources number; empty: as they are.

    Raises:
        SettingsError: the parts do not fit each other.

    Example:
        >>> truth = Coded(Held(np.array([[0, 255]])), codes=(255,))
        >>> labels = MaskDataset(Path(), ("vessel",), (MaskSample("a.png", (1, 2), truth),))
        >>> labels.mask(labels.samples[0]).tolist()
        [[0, 1]]
    """

    task = "masks"
    what = "classes of pixels"
    singular = "class"

    def mask(self, sample: MaskSample) -> Labels:
        """(*size,) int32: 0 background, k the class names[k − 1], −1 ignored.

        Raises:
            DataError: it cannot be read, or is of another size than its image.
        """
        found = self._fitting(sample.truth.mask(), sample)
        above = found > 0
        if above.any():
            found[above] = self._placed(found[above] - 1, sample) + 1
        return found

    def for_task(self, task: str) -> Any:
        """Masks, or the objects that they show: `InstanceDataset`.

        A mask of one class shows an object wherever it is connected; of several values each is one
        object.

        Example:
            >>> MaskDataset(Path(), ("cell",), ()).for_task("instances").task
            'instances'
        """
        if task != InstanceDataset.task:
            return super().for_task(task)
        found = [
            InstanceSample(s.image, s.size, s.truth.as_instances(), s.split, s.group)
            for s in self.samples
        ]
        one = all(isinstance(s.truth, Coded) and not s.truth.codes for s in found)
        kinds = ("object",) if found and one else self.names
        held = replace(self, names=kinds, order=()) if kinds != self.names else self
        return held._as(InstanceDataset, found)


@dataclass(frozen=True)
class InstanceDataset(_Pixels[InstanceSample]):
    """The objects that pixels belong to.

    Attributes:
        root: folder of the images, or of the file that holds them.
        names: of the kinds of objects.
        samples: one for each image.
        source: what was read, None where the labels were made in memory.
        held: where the images lie; None: in files under the root.
        order: place among the names of each kind that the sources number; empty: as they are.

    Raises:
        SettingsError: the parts do not fit each other.

    Example:
        >>> truth = Coded(Held(np.array([[0, 5, 9]])))
        >>> labels = InstanceDataset(Path(), ("cell",), (InstanceSample("a.png", (1, 3), truth),))
        >>> [part.tolist() for part in labels.instances(labels.samples[0])]
        [[[0, 1, 2]], [0, 0]]
    """

    task = "instances"
    what = "objects"
    singular = "kind of objects"

    def instances(self, sample: InstanceSample) -> tuple[Labels, NDArray[np.int32]]:
        """The objects of an image.

        Returns:
            (*size,) int32: 0 background, 1 … n objects, −1 ignored; and (n,) kinds as numbers
            among the names.

        Raises:
            DataError: they cannot be read, or are of another size than the image.
        """
        labels, kinds = sample.truth.instances()
        return self._fitting(labels, sample), self._placed(kinds, sample)

    def for_task(self, task: str) -> Any:
        """Objects, or the classes of pixels: `MaskDataset`.

        Example:
            >>> InstanceDataset(Path(), ("cell",), ()).for_task("masks").task
            'masks'
        """
        if task != MaskDataset.task:
            return super().for_task(task)
        found = [
            MaskSample(s.image, s.size, Kinds(s.truth), s.split, s.group) for s in self.samples
        ]
        return self._as(MaskDataset, found)


def _times(size: Sequence[int]) -> str:
    """Width × height, as one says it."""
    return "×".join(map(str, size[::-1]))
