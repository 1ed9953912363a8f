"""The contracts of formats: one that is read, and one that is written too."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from placewise.errors import SettingsError
from placewise.family import Family
from placewise.files import write_text
from placewise.geometry import FloatArray
from placewise.labels import Arrays, Dataset, KeypointDataset
from placewise.labels.names import normal, shown, why_unsafe

L = TypeVar("L", bound=Dataset[Any])


class Format(ABC):
    """A format of labels. Members are found by `FORMATS`.

    The first line of a member's docstring says what its files look like: it is shown where no
    format recognises a file.
    """

    task: ClassVar[str]

    whole_folders: ClassVar[bool] = False
    """Whether it is a folder as a whole, not a file in it."""

    @abstractmethod
    def recognises(self, path: Path, head: str) -> bool:
        """Whether a file is of this format, judged by its name and its first 64 KiB of text."""

    def recognises_folder(self, path: Path) -> bool:
        """Whether a folder as a whole is of this format."""
        return False

    @abstractmethod
    def read(self, path: Path, root: Path) -> Dataset[Any]:
        """Read labels of images under `root`; raises LabelError with all faults at once."""

    def root(self, path: Path) -> Path:
        """Folder that a file's images are relative to: its own."""
        return path if path.is_dir() else path.parent


class Written(Format, Generic[L]):
    """A format that is written too, as one file of text."""

    @abstractmethod
    def read(self, path: Path, root: Path) -> L:
        """Read labels of images under `root`; raises LabelError with all faults at once."""

    @abstractmethod
    def losses(self, labels: L) -> list[str]:
        """What these labels hold and the format cannot, in words; empty if nothing."""

    @abstractmethod
    def text(self, labels: L) -> str:
        """The content of a file of these labels, without what the format cannot hold."""

    def write(self, labels: L, path: Path, *, overwrite: bool = False, lossy: bool = False) -> None:
        """Write labels to a new file, whole or not at all.

        Args:
            labels: the labels; images are named relative to `labels.root`.
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


PointFormat = Written[KeypointDataset]


def _check_images(labels: Dataset[Any]) -> None:
    """Refuse names of images that no reader would take."""
    if not labels.samples:
        raise SettingsError("labels without an image cannot be written; add a sample")
    if isinstance(labels.images, Arrays):
        raise SettingsError(
            f"the images of {labels.source or 'these labels'} lie in arrays, and a file of "
            "labels names image files; train on the arrays as they are, or save the images "
            "first"
        )
    for image in (sample.image for sample in labels.samples):
        reason = why_unsafe(image) or ("" if normal(image) == image else "is not in normal form")
        if reason:
            raise SettingsError(
                f"{shown(image)} {reason}; name images relative to the folder of the labels, "
                "with forward slashes"
            )


def fit_scores(labels: KeypointDataset, scores: Sequence[FloatArray]) -> list[FloatArray]:
    """Scores as one array (instances, points) for each sample.

    Args:
        labels: the labels.
        scores: for each sample (instances, points), or (points,) where it has one instance.

    Raises:
        SettingsError: the scores do not fit the samples.
    """
    fitted = [np.atleast_2d(np.asarray(score, dtype=np.float64)) for score in scores]
    got, needed = [s.shape for s in fitted], [sample.visibility.shape for sample in labels.samples]
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
