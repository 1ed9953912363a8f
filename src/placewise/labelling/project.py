"""A folder that is labelled: its images, their labels, and the file that these go to."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from placewise.errors import ImageError, NoLabelsError, SettingsError
from placewise.formats import read_dataset
from placewise.frames import frame_named, frames_of
from placewise.geometry import PIXEL_CONVENTION, Size
from placewise.images import ImageArray, list_images
from placewise.labelling.journal import Journal, read_lines
from placewise.labelling.objects import (
    Definition,
    checked,
    objects_of,
    plain,
    read_objects,
)
from placewise.labelling.output import SKELETON, Output, dataset_of, format_of
from placewise.labelling.session import Session
from placewise.labels import Files, KeypointDataset, as_told
from placewise.wording import natural

HOME = ".placewise"
"""Folder beside the images that holds the journals."""

RUNS = "placewise-runs"
"""Folder beside the images that holds what was trained from the page."""

FRAMES = 500
"""Frames of a video that are offered, spread evenly over it."""

_LOG = logging.getLogger(__name__)


class Project:
    """Images, their labels, and where these go. `open_project` opens one.

    Args:
        root: folder that the names of images are relative to.
        images: their names in natural order.
        journal: of the labels; its first line says what they were before.

    Attributes:
        session: the labels.
        output: the file that they go to.
    """

    def __init__(self, root: Path, images: Sequence[str], journal: Journal) -> None:
        head = journal.lines[0]
        self.root, self._journal, self._lock = root, journal, Lock()
        self._files, self._sizes = Files(root), dict[str, Size]()
        self._facts: dict[str, Mapping[str, Any]] = head["images"]
        held = {name: read_objects(fact["objects"]) for name, fact in self._facts.items()}
        said = head["definition"]
        definition = checked(Definition, said, "keypoints") if said else None
        self.session = Session(journal, definition, held)
        known = {name for name, _ in self.session.labelled()} | self._facts.keys()
        self.images = sorted({*images, *known}, key=natural)
        source = None if head["source"] is None else Path(head["source"])
        wild = source is not None and "*" in str(source)
        folder = root if source is None or wild else (root / source).parent
        whole = None if source is None else root / source
        self.output = Output(folder, whole, head["format"], journal.lines)
        self._saved = -1

    def size(self, image: str) -> Size:
        """(height, width) of an image; raises ImageError where it cannot be read."""
        if image not in self._sizes:
            known = self._facts.get(image)
            self._sizes[image] = tuple(known["size"]) if known else self._files.size(image)
        return self._sizes[image]

    def read(self, image: str) -> ImageArray:
        """(height, width, channels) of an image; raises ImageError where it cannot be read."""
        return self._files.read(image)

    def dataset(self) -> tuple[KeypointDataset, int]:
        """The labels as they are, and the number of changes that they hold.

        Raises:
            SettingsError: nobody has said what the keypoints are.
        """
        definition, labelled, count = self.session.snapshot()
        if definition is None:
            raise SettingsError("there are no keypoints yet; name them first")
        return dataset_of(self.root, definition, labelled, self._facts, self.size), count

    def save(self) -> str:
        """Write the file of labels if anything has changed.

        Returns:
            What the user should know; empty if nothing.
        """
        with self._lock:
            if self.session.count == self._saved or self.session.definition is None:
                return ""
            labels, count = self.dataset()
            said = ""
            if labels.samples:
                said = self.output.write(labels, self.session.note)
            else:
                self.output.clear()
            self._saved = count
            return said

    @property
    def saved(self) -> bool:
        """Whether the file holds all that is labelled."""
        return self.session.count == self._saved

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()


@contextmanager
def open_project(path: Path | str, definition: Definition | None = None) -> Iterator[Project]:
    """Open images with their labels, and what was labelled before.

    Args:
        path: a folder of images, a video, or a file of labels.
        definition: of the keypoints where there are no labels; None: the user says it.

    Raises:
        SettingsError: there is nothing to label, or somebody labels it at this moment.
        LabelError: what is wrong in the labels that are there.
        ImageError: there is no image.
    """
    path = Path(path)
    if not path.exists() and "*" not in str(path):
        raise SettingsError(f"there is no {path}; name a folder of images, a video, or labels")
    former, labels, images = None, None, None
    if path.is_dir():
        former = _former(path, None)
        labels = None if former else _found(path, definition is not None)
    elif path.is_file() and frames_of(path) is not None and not _is_labels(path):
        former, images = _former(path.parent, None), _frames(path, path.parent)
        labels = None if former else _found(path.parent, definition is not None)
    else:
        labels = _keypoints(read_dataset(path))
        former, images = _former(labels.root, labels.source), []
    root = labels.root if labels else path if path.is_dir() else path.parent
    if images is None:
        images = _images(root, may_be_none=labels is not None)
    journal = _begun(
        former or _former_of(labels) or _unused(root, labels), root, labels, definition
    )
    try:
        yield Project(root, images, journal)
    finally:
        journal.close()


def _begun(
    path: Path, root: Path, labels: KeypointDataset | None, definition: Definition | None
) -> Journal:
    """A journal, whose first line says what was there before it."""
    journal = Journal(path)
    if not journal.lines:
        head = _head(root, labels, definition)
        journal.append(head)
        journal.lines.append(head)
    return journal


def _found(folder: Path, anew: bool) -> KeypointDataset | None:
    """Labels in a folder; None where there are none.

    Args:
        folder: of the images.
        anew: whether the user has said what to label, so that what is not understood is left alone.
    """
    try:
        return as_told(_keypoints(read_dataset(folder, task="keypoints")))
    except NoLabelsError:
        return None
    except SettingsError as error:
        if not anew:
            raise
        _LOG.warning(f"labels are begun anew: {error}")
        return None


def _former_of(labels: KeypointDataset | None) -> Path | None:
    """The journal in which labels that were found in a folder were kept before."""
    return _former(labels.root, labels.source) if labels else None


def _former(root: Path, file: Path | None) -> Path | None:
    """The journal in which these labels were kept before, if they were.

    Args:
        root: folder of the images.
        file: of the labels; None: whichever the folder holds.
    """
    heads = {}
    for journal in sorted((root / HOME).glob("*.jsonl")):
        lines = read_lines(journal)
        if lines and "images" in lines[0]:
            names = [lines[0]["source"], *(line["wrote"] for line in lines if "wrote" in line)]
            heads[journal] = {name for name in names if name and name != SKELETON}
    if file is None:
        plain = [journal for journal in heads if journal.stem == "labels"]
        return next(iter([*plain, *heads]), None)
    name = _relative(file, root)
    return next((journal for journal, known in heads.items() if name in known), None)


def _unused(root: Path, labels: KeypointDataset | None) -> Path:
    """A new name for a journal: `labels`, or with the name of a further file of labels."""
    home = root / HOME
    if not (home / "labels.jsonl").exists():
        return home / "labels.jsonl"
    stem = re.sub(r"[^\w-]+", "-", str(labels.source) if labels else "")[-60:]
    return home / f"labels-{stem}.jsonl"


def _head(
    root: Path, labels: KeypointDataset | None, definition: Definition | None
) -> dict[str, Any]:
    """The first line of a journal: what was there before."""
    images = {}
    if labels is not None:
        if definition is not None and definition.names != labels.names:
            raise SettingsError(
                f"the labels in {labels.source} name {', '.join(labels.names)}; leave --keypoints "
                "out, and add keypoints on the page"
            )
        for sample in labels.samples:
            ignored = [[one.name, one.low, one.high] for one in sample.ignored]
            images[sample.image] = {
                "size": list(sample.size),
                "split": sample.split,
                "ignored": ignored,
                "objects": plain(objects_of(sample, labels.names)),
            }
        definition = _definition(labels)
    source = labels.source if labels else None
    return {
        "pixel_convention": PIXEL_CONVENTION,
        "source": None if source is None else _relative(source, root),
        "format": None if source is None else format_of(source),
        "definition": None if definition is None else definition.model_dump(mode="json"),
        "images": images,
    }


def _definition(labels: KeypointDataset) -> Definition:
    """What labels say of their keypoints."""
    objects = {"poses": "several", "spots": "many"}.get(labels.task, "one")
    if objects == "one" and labels.instances > 1:
        objects = "several"
    content = {
        "names": labels.names,
        "skeleton": labels.skeleton,
        "symmetry": labels.symmetry,
        "objects": objects,
    }
    return checked(Definition, content, "keypoints")


def _keypoints(labels: Any) -> KeypointDataset:
    """Labels that are of keypoints on images in files.

    Raises:
        SettingsError: they are others.
    """
    if not (labels.has_keypoints and isinstance(labels.images, Files)):
        raise SettingsError(
            f"{labels.source or labels.root} holds {labels.what}; the page labels keypoints on "
            "images in files: name a folder of images"
        )
    if any(len(sample.size) != 2 for sample in labels.samples):
        raise SettingsError(f"{labels.source} is of signals or volumes; the page shows images")
    found: KeypointDataset = labels
    return found


def _is_labels(path: Path) -> bool:
    """Whether a file of frames is one of labels too."""
    return format_of(path) is not None


def _images(folder: Path, may_be_none: bool) -> list[str]:
    """Images of a folder, or the frames of its videos where it holds no image.

    Raises:
        ImageError: there are none, and there must be some.
    """
    try:
        found = list_images(folder)
    except ImageError:
        if may_be_none:
            return []
        files = (file for file in sorted(folder.iterdir()) if file.is_file())
        videos = [file for file in files if frames_of(file) and not _is_labels(file)]
        if not videos:
            raise
        return [name for video in videos for name in _frames(video, folder)]
    return [file.relative_to(folder).as_posix() for file in found]


def _frames(video: Path, root: Path) -> list[str]:
    """Names of frames that are spread evenly over a video."""
    member = frames_of(video)
    count = 0 if member is None else member.count(video)
    chosen = np.unique(np.linspace(0, max(0, count - 1), min(count, FRAMES)).round().astype(int))
    if count > FRAMES:
        _LOG.info(f"{video}: {FRAMES} of its {count:,} frames are offered, spread evenly")
    name = video.relative_to(root).as_posix()
    return [frame_named(name, int(number)) for number in chosen]


def _relative(file: Path, root: Path) -> str:
    """A file's path as seen from a folder, which it need not be in."""
    return Path(os.path.relpath(file.resolve(), root.resolve())).as_posix()
