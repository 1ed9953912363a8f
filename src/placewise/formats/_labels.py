"""What labels are: states, samples, and the contract of a format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from placewise.checkpoint import write_text
from placewise.errors import SettingsError
from placewise.family import Family
from placewise.formats._names import normal, shown, why_unfit, why_unsafe
from placewise.geometry import FloatArray, Size

SPLITS = ("train", "val", "test")


class State(IntEnum):
    """What is known of a point on a picture.

    The three states of the design never mix: not labelled (no loss), located (visible or hidden,
    drawn), and absent (known not to be on the picture: an empty map).

    Example:
        >>> State.HIDDEN >= State.HIDDEN, State.ABSENT >= State.HIDDEN
        (True, False)
    """

    UNLABELLED = 0
    ABSENT = 1
    HIDDEN = 2
    VISIBLE = 3


@dataclass(frozen=True)
class Sample:
    """One picture with its labels.

    Attributes:
        image: path of the picture relative to the root of the labels, with forward slashes.
        size: (height, width) in pixels of the picture as it is shown (EXIF orientation applied).
        points: (instances, points, 2) float64, (x, y) in pixels; NaN where not located. There is
            at least one instance: a picture without labels has one of unlabelled points.
        states: (instances, points) int8 of `State`; located means HIDDEN or VISIBLE.
        split: "train", "val", "test", or None where the labels do not say.

    Raises:
        SettingsError: the parts do not fit each other.

    Example:
        >>> points = np.array([[[3.0, 4.5], [np.nan, np.nan]]])
        >>> sample = Sample("a.png", (8, 8), points, np.array([[3, 1]], dtype=np.int8))
        >>> sample.located.tolist()
        [[True, False]]
    """

    image: str
    size: Size
    points: FloatArray
    states: NDArray[np.int8]
    split: str | None = None

    def __post_init__(self) -> None:
        shape = self.points.shape
        if len(shape) != 3 or shape[-1] != 2 or 0 in shape:
            reason = f"has points of shape {shape}, needed are (instances, points, 2)"
        elif self.states.shape != shape[:2]:
            reason = f"has states of shape {self.states.shape}, needed are {shape[:2]}"
        elif not np.isin(self.states, list(State)).all():
            reason = f"has states other than {[int(state) for state in State]}"
        elif not np.isfinite(self.points[self.located]).all():
            reason = "has located points without finite coordinates; give them another state"
        elif not np.isnan(self.points[~self.located]).all():
            reason = "has coordinates where nothing is located; write NaN there"
        elif self.split not in (None, *SPLITS):
            reason = f"has the split {self.split!r}, which must be one of {SPLITS} or None"
        else:
            return
        raise SettingsError(f"sample {shown(self.image)} {reason}")

    @property
    def located(self) -> NDArray[np.bool_]:
        """(instances, points): which points have coordinates."""
        return np.asarray(self.states >= State.HIDDEN)


@dataclass(frozen=True)
class Labels:
    """The labels of a folder of pictures.

    Attributes:
        root: folder that the samples' `image` is relative to.
        names: the points' names, in the order of the arrays.
        samples: one for each picture, in the order of the file.
        symmetry: pairs of names that change places when a picture is mirrored.
        skeleton: pairs of names that are drawn joined.
        source: the file that was read, None where the labels were made in memory.

    Raises:
        SettingsError: the parts do not fit each other.

    Example:
        >>> Labels(Path("mice"), ("nose", "tail"), ()).instances
        0
    """

    root: Path
    names: tuple[str, ...]
    samples: tuple[Sample, ...]
    symmetry: tuple[tuple[str, str], ...] = ()
    skeleton: tuple[tuple[str, str], ...] = ()
    source: Path | None = None

    def __post_init__(self) -> None:
        _check_names(self.names)
        _check_pairs("symmetry", self.symmetry, self.names)
        _check_pairs("skeleton", self.skeleton, self.names)
        twice = _repeated(name for pair in self.symmetry for name in pair)
        if twice is not None:
            raise SettingsError(f"the symmetry names {shown(twice)} twice; a point has one partner")
        image = _repeated(sample.image for sample in self.samples)
        if image is not None:
            raise SettingsError(f"two samples are of {shown(image)}; make them instances of one")
        for sample in self.samples:
            if sample.points.shape[1] != len(self.names):
                raise SettingsError(
                    f"sample {shown(sample.image)} has {sample.points.shape[1]} points, the labels "
                    f"name {len(self.names)}; give one for each name"
                )

    @property
    def instances(self) -> int:
        """Most instances on one picture."""
        return max((len(sample.points) for sample in self.samples), default=0)


def _check_names(names: tuple[str, ...]) -> None:
    if not names:
        raise SettingsError("labels without a point; give at least one name")
    for name in names:
        if why_unfit(name):
            raise SettingsError(f"a point's name {why_unfit(name)}: {shown(name)}; rename it")
    twice = _repeated(names)
    if twice is not None:
        raise SettingsError(f"two points are named {shown(twice)}; rename one")


def _check_pairs(what: str, pairs: tuple[tuple[str, str], ...], names: tuple[str, ...]) -> None:
    for pair in pairs:
        if len(set(pair)) != 2 or not set(pair) <= set(names):
            raise SettingsError(
                f"the {what} holds {shown(pair)}; a pair is two names of: {', '.join(names)}"
            )


def _repeated(values: Iterable[str]) -> str | None:
    """The first value that comes a second time."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


class Format(ABC):
    """A file format of labels. Members are found by `FORMATS`.

    The first line of a member's docstring says what its files look like: it is shown where no
    format recognises a file.
    """

    @abstractmethod
    def recognises(self, path: Path, head: str) -> bool:
        """Whether a file is of this format, judged by its name and its first 64 KiB of text."""

    @abstractmethod
    def read(self, path: Path, root: Path) -> Labels:
        """Read labels of pictures under `root`; raises LabelError with all faults at once."""

    @abstractmethod
    def losses(self, labels: Labels) -> list[str]:
        """What these labels hold and the format cannot, in words; empty if nothing."""

    @abstractmethod
    def text(self, labels: Labels) -> str:
        """The content of a file of these labels, without what the format cannot hold."""

    def root(self, path: Path) -> Path:
        """Folder that a file's pictures are relative to: its own."""
        return path.parent

    def write(
        self, labels: Labels, path: Path, *, overwrite: bool = False, lossy: bool = False
    ) -> None:
        """Write labels to a new file, whole or not at all.

        Args:
            labels: the labels; pictures are named relative to `labels.root`.
            path: the file.
            overwrite: replace a file that is there (never the one the labels were read from).
            lossy: leave out what the format cannot hold.

        Raises:
            SettingsError: the file is there, or something would be lost.
            CheckpointError: the system refused, e.g. because the disk is full.
        """
        _check_images(labels)
        losses = self.losses(labels)
        if losses and not lossy:
            raise SettingsError(
                f"{path}: {FORMATS.name_of(type(self))} cannot hold {', '.join(losses)}; "
                "write coco, or leave it out with lossy=True (--lossy)"
            )
        if labels.source is not None and path.resolve() == labels.source.resolve():
            raise SettingsError(f"{path} is the file the labels were read from; name another")
        write_new(path, self.text(labels), overwrite=overwrite)


def _check_images(labels: Labels) -> None:
    """Refuse names of pictures that no reader would take."""
    if not labels.samples:
        raise SettingsError("labels without a picture cannot be written; add a sample")
    for image in (sample.image for sample in labels.samples):
        reason = why_unsafe(image) or ("" if normal(image) == image else "is not in normal form")
        if reason:
            raise SettingsError(
                f"{shown(image)} {reason}; name pictures relative to the folder of the labels, "
                "with forward slashes"
            )


def fit_scores(labels: Labels, scores: Sequence[FloatArray]) -> list[FloatArray]:
    """Scores as one array (instances, points) for each sample.

    Args:
        labels: the labels.
        scores: for each sample (instances, points), or (points,) where it has one instance.

    Raises:
        SettingsError: the scores do not fit the samples.
    """
    fitted = [np.atleast_2d(np.asarray(score, dtype=np.float64)) for score in scores]
    got, needed = [s.shape for s in fitted], [sample.states.shape for sample in labels.samples]
    if got != needed:
        raise SettingsError(
            f"scores of shapes {shown(got)}, needed for {len(needed)} samples are {shown(needed)}; "
            "give (instances, points) for each sample"
        )
    return fitted


def write_new(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Write a file, whole or not at all; one that is there is kept unless `overwrite`.

    Raises:
        SettingsError: the file is there.
        CheckpointError: the system refused.
    """
    if (path.exists() or path.is_symlink()) and not overwrite:
        raise SettingsError(f"{path} exists; name another, or say overwrite=True (--overwrite)")
    write_text(path, text)


FORMATS = Family("format", Format, "placewise.formats")
