"""A folder that is labelled: its images, their labels, and the file that these go to."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from placewise.labelling.presence import GONE, REPLACED, Presence, fingerprint
from placewise.labelling.session import Session
from placewise.labels import Files, KeypointDataset, as_told
from placewise.labels.names import shown, why_unsafe
from placewise.labels.sources import file_of
from placewise.wording import natural

HOME = ".placewise"
"""Folder beside the images that holds the journals."""

RUNS = "placewise-runs"
"""Folder beside the images that holds what was trained from the page."""

FRAMES = 500
"""Frames of a video that are offered, spread evenly over it."""

RESIZED = "has another size than when it was labelled"

_KEPT = {
    GONE: "the labels are kept, and are written when it is there again; all others are written",
    REPLACED: "its labels are kept, and not written for the new file. Put the old one back, or "
    "give the new one another name; if the labels fit it too, start again with --accept-replaced",
    RESIZED: "look at it, and move what is wrong; its labels are written after the next edit of it",
}
"""What is done with the labels of images that cannot be labelled now, and what the user can do."""

_LOG = logging.getLogger(__name__)


class Project:
    """Images, their labels, and where these go. `open_project` opens one.

    Args:
        root: folder that the names of images are relative to.
        images: their names.
        journal: of the labels; its first line says what they were before.
        out: folder that everything is written to; None: beside the images or the labels.
        accept: whether labels of a file that was replaced by another hold for that one too.

    Attributes:
        home: folder of what is written.
        images: their names in natural order; those that no file of labels can hold are left out.
        files: which images can be labelled now.
        session: the labels.
        output: the file that they go to.
    """

    def __init__(
        self,
        root: Path,
        images: Sequence[str],
        journal: Journal,
        out: Path | None = None,
        accept: bool = False,
    ) -> None:
        head = journal.lines[0]
        self.root, self.home, self._accept = root, out or root, accept
        self._journal, self._lock = journal, Lock()
        self._facts: dict[str, Mapping[str, Any]] = head["images"]
        held = {name: read_objects(fact["objects"]) for name, fact in self._facts.items()}
        sizes: dict[str, Size] = {name: tuple(fact["size"]) for name, fact in self._facts.items()}
        said = head["definition"]
        definition = checked(Definition, said, "keypoints") if said else None
        self.session = Session(journal, definition, held, sizes)
        known = {name for name, _ in self.session.labelled()} | self._facts.keys()
        found = sorted({*images, *known}, key=natural)
        unfit = {name: why for name in found if (why := _why_unfit(name))}
        self.images = [name for name in found if name not in unfit]
        self._news = _left_out(unfit)
        self.files = Presence(root, self.images, _fingerprints(journal))
        self._note_files()
        self._told: set[str] = set()
        self.output = _output(root, out, head, journal)
        self._saved: tuple[int, frozenset[str]] | None = None

    def size(self, image: str) -> Size:
        """(height, width) of an image; raises ImageError where it cannot be read."""
        return self.files.size(image)

    def read(self, image: str) -> ImageArray:
        """(height, width, channels) of an image; raises ImageError where it cannot be read."""
        return self.files.read(image)

    def dataset(self) -> tuple[KeypointDataset, int]:
        """The labels of the images that are there, and the number of changes that they hold.

        Raises:
            SettingsError: nobody has said what the keypoints are.
        """
        labels, count, _ = self._able()
        return labels, count

    def _able(self) -> tuple[KeypointDataset, int, dict[str, str]]:
        """Labels that can be written, the number of changes, and images whose labels cannot be."""
        definition, labelled, count = self.session.snapshot()
        if definition is None:
            raise SettingsError("there are no keypoints yet; name them first")
        sizes, faults = self._sizes({**dict.fromkeys(self._facts), **dict(labelled)})
        labels = dataset_of(self.root, definition, labelled, self._facts, sizes)
        return labels, count, faults

    def _sizes(self, names: Iterable[str]) -> tuple[dict[str, Size], dict[str, str]]:
        """Sizes of images whose labels can be written, and why those of others cannot."""
        self.files.look()
        sizes, faults, able = {}, {}, set(self.images)
        for name in names:
            why = self.files.away.get(name, "")
            if not why and name not in able:
                why = "has a name that no file of labels can hold"
            try:
                size = () if why else self.size(name)
            except ImageError:
                why = "cannot be read"
            then = self.session.sizes.get(name)
            if not why and then and then != size and not self._accept:
                why = RESIZED
            if why:
                faults[name] = why
            else:
                sizes[name] = size
        return sizes, faults

    def _note_files(self) -> None:
        """Keep by what videos are known, while nothing is labelled on them or the user says so."""
        labelled = {self.files.within(name) for name, _ in self.session.labelled()}
        for file in self.files.many():
            now, then = fingerprint(self.root / file), self.files.known.get(file)
            if now and now != then and (self._accept or then is None or file not in labelled):
                self.session.note({"file": file, "content": now})
                self.files.known[file] = now

    def news(self) -> str:
        """What the user should know of images that cannot be labelled; each is told once."""
        _, labelled, _ = self.session.snapshot()
        _, faults = self._sizes(dict(labelled))
        return self._tell(faults)

    def _tell(self, faults: Mapping[str, str]) -> str:
        able = set(self.images)
        self._told &= faults.keys()
        fresh = {k: why for k, why in faults.items() if k not in self._told and k in able}
        self._told |= fresh.keys()
        said, self._news = [self._news, *_kept(fresh)], ""
        return " ".join(one for one in said if one)

    def save(self) -> str:
        """Write the file of labels if anything has changed.

        Labels of images that cannot be labelled now stay in the journal, and are written when the
        images are there again.

        Returns:
            What the user should know; empty if nothing.
        """
        with self._lock:
            if self.session.definition is None:
                return self.news()
            labels, count, faults = self._able()
            if (count, frozenset(faults)) == self._saved:
                return ""
            said = self._tell(faults)
            if labels.samples:
                said = " ".join(filter(None, [said, self.output.write(labels, self.session.note)]))
            elif not faults:
                self.output.clear()
            self._saved = count, frozenset(faults)
            return said

    @property
    def saved(self) -> bool:
        """Whether the file holds all that is labelled."""
        return self._saved is not None and self.session.count == self._saved[0]

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()


def _why_unfit(name: str) -> str:
    """Why no file of labels can hold the name of an image; empty if one can."""
    if "\\" in name:
        return "holds a backslash"
    return why_unsafe(name)


def _left_out(unfit: Mapping[str, str]) -> str:
    """Names the images that cannot be labelled, because of their names."""
    if not unfit:
        return ""
    names = _listed([f"{shown(name)} ({why})" for name, why in unfit.items()])
    return f"left out, because of the names: {names}. Rename these images to label them."


def _kept(faults: Mapping[str, str]) -> list[str]:
    """Says of images whose labels are not written what is the matter."""
    told = []
    for why in dict.fromkeys(faults.values()):
        names = [name for name, reason in faults.items() if reason == why]
        if why == REPLACED:
            names = list(dict.fromkeys(map(file_of, names)))
        told.append(f"{_listed(names)} {why}: {_KEPT.get(why, _KEPT[GONE])}.")
    return told


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def _fingerprints(journal: Journal) -> dict[str, str]:
    """By what videos were known when they were labelled."""
    return {line["file"]: line["content"] for line in journal.lines if "content" in line}


def _output(root: Path, out: Path | None, head: Mapping[str, Any], journal: Journal) -> Output:
    """The file of labels: in `out`, else beside the labels that were read, else the images."""
    source = None if head["source"] is None else Path(head["source"])
    wild = source is not None and "*" in str(source)
    beside = root if source is None or wild else (root / source).parent
    whole = None if source is None else root / source
    return Output(out or beside, whole, head["format"], journal.lines)


@contextmanager
def open_project(
    path: Path | str,
    definition: Definition | None = None,
    *,
    out: Path | str | None = None,
    accept: bool = False,
) -> Iterator[Project]:
    """Open images with their labels, and what was labelled before.

    Args:
        path: a folder of images, a video, or a file of labels.
        definition: of the keypoints where there are no labels; None: the user says it.
        out: folder that labels and everything else are written to; None: beside the images.
        accept: whether labels of a file that was replaced by another hold for that one too.

    Raises:
        SettingsError: there is nothing to label, or somebody labels it at this moment.
        LabelError: what is wrong in the labels that are there.
        ImageError: there is no image.
    """
    path = Path(path)
    aside = None if out is None else Path(out)
    if not path.exists() and "*" not in str(path):
        raise SettingsError(f"there is no {path}; name a folder of images, a video, or labels")
    former, labels, images = None, None, None
    if path.is_dir():
        former = _former(path, None, aside)
        labels = None if former else _found(path, definition is not None)
    elif path.is_file() and frames_of(path) is not None and not _is_labels(path):
        former, images = _former(path.parent, None, aside), _frames(path, path.parent)
        labels = None if former else _found(path.parent, definition is not None)
    else:
        labels = _keypoints(read_dataset(path))
        former, images = _former(labels.root, labels.source, aside), []
    root = labels.root if labels else path if path.is_dir() else path.parent
    if images is None:
        images = _images(root, may_be_none=labels is not None)
    if labels and former is None:
        former = _former(labels.root, labels.source, aside)
    journal = _begun(former or _unused(aside or root, labels), root, labels, definition, aside)
    try:
        yield Project(root, images, journal, aside, accept)
    finally:
        journal.close()


def _begun(
    path: Path,
    root: Path,
    labels: KeypointDataset | None,
    definition: Definition | None,
    out: Path | None,
) -> Journal:
    """A journal, whose first line says what was there before it.

    Raises:
        SettingsError: it cannot be written, or it is of other images.
    """
    journal = Journal(path)
    of = None if out is None else _relative(root, out)
    if not journal.lines:
        head = _head(root, labels, definition) | ({} if of is None else {"root": of})
        journal.append(head)
        journal.lines.append(head)
    elif of is not None and journal.lines[0].get("root", of) != of:
        journal.close()
        raise SettingsError(f"{out} holds labels of other images; name another folder with --out")
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


def _former(root: Path, file: Path | None, out: Path | None) -> Path | None:
    """The journal in which these labels were kept before, if they were.

    Args:
        root: folder of the images.
        file: of the labels; None: whichever the folder holds.
        out: folder of everything that is written; None: that of the images.
    """
    heads = {}
    for journal in sorted(((out or root) / HOME).glob("*.jsonl")):
        lines = read_lines(journal)
        if lines and "images" in lines[0]:
            names = [lines[0]["source"], *(line["wrote"] for line in lines if "wrote" in line)]
            heads[journal] = {name for name in names if name and name != SKELETON}
    if file is None:
        plain = [journal for journal in heads if journal.stem == "labels"]
        return next(iter([*plain, *heads]), None)
    name = _relative(file, root)
    return next((journal for journal, known in heads.items() if name in known), None)


def _unused(folder: Path, labels: KeypointDataset | None) -> Path:
    """A new name for a journal: `labels`, or with the name of a further file of labels."""
    home = folder / HOME
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
