"""The contracts of formats: one that is read, and one that is written too."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar, final

from placewise.errors import DataError, SettingsError
from placewise.family import Family
from placewise.files import write_bytes
from placewise.labels import Arrays, Dataset, KeypointDataset, as_told
from placewise.labels.names import normal, shown, why_unsafe

L = TypeVar("L", bound=Dataset[Any])


class Format(ABC):
    """A format of labels. Members are found by `FORMATS`.

    The first line of a member's docstring says what its files look like.
    """

    tasks: ClassVar[tuple[str, ...]]
    """Names of the tasks whose labels it can hold."""

    whole_folders: ClassVar[bool] = False
    """Whether it is a folder as a whole, not a file in it."""

    beside_files: ClassVar[bool] = False
    """Whether a folder that is recognised as a whole may hold files of other labels too; see
    `choice`."""

    holds_images: ClassVar[bool] = False
    """Whether the images are in the file itself."""

    first: ClassVar[tuple[str, ...]] = ()
    """Names that are taken before all other files of a folder, the best first."""

    patterns: ClassVar[tuple[str, ...]] = ()
    """Where else its files are in a folder, as globs, the nearest first. Files that a pattern
    with a slash finds belong together and are read together."""

    @abstractmethod
    def recognises(self, path: Path, head: str) -> bool:
        """Whether a file is of this format, judged by its name and its first 64 KiB of text."""

    def recognises_folder(self, path: Path) -> bool:
        """Whether a folder as a whole is of this format."""
        return False

    def doubt(self, path: Path) -> str:
        """Why a folder that is recognised may be meant otherwise; empty where nothing says so."""
        return ""

    def choice(self, path: Path) -> Literal["wins", "asks", "yields"]:
        """What happens where a folder of this format holds a file of other labels too.

        Returns:
            "wins" where the folder as a whole is meant, "yields" where the file is, and "asks"
            where the user has to name the task.
        """
        return "yields"

    @abstractmethod
    def read(self, path: Path, root: Path | None = None) -> Dataset[Any]:
        """Read labels.

        Args:
            path: the file.
            root: folder of the images; None: the file's own, or where the format finds them.

        Raises:
            LabelError: all faults at once.
        """

    def join(self, parts: Sequence[Any], source: Path) -> Dataset[Any]:
        """Make one data set of several files.

        Args:
            parts: what was read from each.
            source: what all files are called together.

        Raises:
            DataError: the parts do not agree.
        """
        raise DataError(f"{source}: files of this format are read one at a time; name one of them")


class Written(Format, Generic[L]):
    """A format that is written too, as one file or as a folder of files."""

    endings: ClassVar[tuple[str, ...]] = ()
    """Endings of names for which it is the format that is written."""

    @abstractmethod
    def read(self, path: Path, root: Path | None = None) -> L:
        """Read labels; see `Format.read`."""

    @abstractmethod
    def losses(self, labels: L) -> list[str]:
        """What these labels hold and the format cannot, in words; empty if nothing."""

    @abstractmethod
    def content(self, labels: L) -> bytes | Mapping[str, bytes]:
        """The file of these labels, without what the format cannot hold.

        Returns:
            Its bytes; of a format that is a folder, the files by their names relative to it.
        """

    def write(self, labels: L, path: Path, *, overwrite: bool = False, lossy: bool = False) -> None:
        """Write labels to a new file, whole or not at all.

        Args:
            labels: the labels; images are named relative to `labels.root`.
            path: the file, or the folder where the format is one.
            overwrite: replace a file that exists (never one the labels were read from). Of a
                folder, files of the same names; others stay.
            lossy: leave out what the format cannot hold.

        Raises:
            SettingsError: the file exists, or something would be lost.
            CheckpointError: the system refused, e.g. because the disk is full.
        """
        _check_images(labels)
        losses = self.losses(labels)
        if losses and not lossy:
            raise SettingsError(
                f"{path}: {FORMATS.name_of(type(self))} cannot hold {', '.join(losses)}; "
                "write coco, or leave it out with lossy=True (--lossy)"
            )
        if labels.source is not None and _covers(labels.source.resolve(), path.resolve()):
            raise SettingsError(f"{path} is a file the labels were read from; name another")
        content = self.content(labels)
        files = {path: content} if isinstance(content, bytes) else _below(path, content)
        there = [file for file in files if file.exists() or file.is_symlink()]
        if there and not overwrite:
            raise SettingsError(
                f"{there[0]} exists; name another, or say overwrite=True (--overwrite)"
            )
        for file, data in files.items():
            if file != path:
                file.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(file, data)


class Text(Written[L]):
    """A format that is written as one file of text."""

    @abstractmethod
    def text(self, labels: L) -> str:
        """The content of a file of these labels, without what the format cannot hold."""

    @final
    def content(self, labels: L) -> bytes:
        """See `Written.content`."""
        return self.text(labels).encode("utf-8")


@dataclass(frozen=True)
class Joints:
    """How the keypoints of a file belong together.

    Attributes:
        names: of the keypoints.
        symmetry: pairs of names that change places when an image is mirrored.
        skeleton: pairs of names that are drawn joined.
    """

    names: tuple[str, ...]
    symmetry: tuple[tuple[str, str], ...]
    skeleton: tuple[tuple[str, str], ...]


class KeypointFormat(Format):
    """A format of keypoints, which may be those of one object, of several, or many of a kind."""

    tasks = ("keypoints", "poses", "spots")

    def joints(self, path: Path) -> Joints | None:
        """How keypoints belong together, where a file of this format says it.

        Args:
            path: the file.

        Raises:
            LabelError: what is wrong in the file.
        """
        return None

    def join(self, parts: Sequence[KeypointDataset], source: Path) -> KeypointDataset:
        """One data set of files that name the same keypoints; see `Format.join`."""
        first = parts[0]
        for part in parts[1:]:
            for one, other in ((first, part), (part, first)):
                strange = [name for name in one.names if name not in other.names]
                if strange:
                    raise DataError(
                        f"{source}: the files do not name the same keypoints: "
                        f"{', '.join(strange)} only in {one.source}; name one of the files, or "
                        "add the keypoint to all (with empty x and y)"
                    )
            if set(map(frozenset, part.symmetry)) != set(map(frozenset, first.symmetry)):
                raise DataError(
                    f"{source}: {part.source} and {first.source} have different symmetry pairs; "
                    "name one of the files, or correct the pairs"
                )
        root, renamed = rebased(parts)
        samples = []
        for part, images in zip(parts, renamed, strict=True):
            order = [part.names.index(name) for name in first.names]
            for sample, image in zip(part.samples, images, strict=True):
                points, visibility = sample.points[:, order], sample.visibility[:, order]
                scores = None if sample.scores is None else sample.scores[:, order]
                moved = replace(sample, image=image, points=points, visibility=visibility)
                samples.append(replace(moved, scores=scores))
        joined = replace(first, root=root, samples=tuple(samples), source=source)
        if len({part.task for part in parts}) > 1:  # one file may show several objects alone
            joined = as_told(joined.for_task("keypoints"))
        return joined


class WrittenKeypoints(KeypointFormat, Written[KeypointDataset]):
    """A format of keypoints that is written too."""


class KeypointText(KeypointFormat, Text[KeypointDataset]):
    """A format of keypoints that is written as one file of text."""


def rebased(parts: Sequence[Dataset[Any]]) -> tuple[Path, list[list[str]]]:
    """The folder that holds the images of all parts, and their names relative to it.

    Raises:
        DataError: two parts have an image in common.
    """
    roots = [Path(os.path.normpath(part.root.absolute())) for part in parts]
    common = Path(os.path.commonpath(roots))
    prefixes = [root.relative_to(common).as_posix() for root in roots]
    owners: dict[str, Path | None] = {}
    names: list[list[str]] = []
    for prefix, part in zip(prefixes, parts, strict=True):
        names.append([normal(f"{prefix}/{sample.image}") for sample in part.samples])
        for name in names[-1]:
            if name in owners:
                raise DataError(
                    f"{owners[name]} and {part.source} both label {shown(name)}; name one of them"
                )
            owners[name] = part.source
    return common, names


def members() -> list[Format]:
    """One of each format, those of plugins last."""
    return [FORMATS[name]() for name in FORMATS.names()]


def _below(folder: Path, content: Mapping[str, bytes]) -> dict[Path, bytes]:
    """Files of a folder by their paths.

    Raises:
        SettingsError: something that is no folder is in its place.
    """
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"{folder} is a file; this format is a folder: name another")
    return {folder / name: data for name, data in content.items()}


def _covers(source: Path, path: Path) -> bool:
    """Whether a path is the source, or one of the files that its wildcards stand for."""
    return path == source or ("*" in str(source) and path.match(str(source)))


def _check_images(labels: Dataset[Any]) -> None:
    """Refuse names of images that no reader would take."""
    if not labels.samples:
        raise SettingsError("labels without an image cannot be written; add a sample")
    if isinstance(labels.images, Arrays):
        raise SettingsError(
            f"the images of {labels.source or 'these labels'} are in arrays, and a file of "
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


FORMATS = Family("format", Format, "placewise.formats")
