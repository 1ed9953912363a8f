"""What was labelled, step by step: edits that a journal keeps, and their undoing.

An edit says what an image's objects are now. It carries the tag of what they were, so that of two
tabs that changed the same thing one is told, and none loses anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any

from placewise.errors import PlacewiseError, SettingsError
from placewise.geometry import Size
from placewise.labelling.journal import Journal
from placewise.labelling.objects import (
    Definition,
    Objects,
    checked,
    is_empty,
    left,
    plain,
    read_objects,
    renamed,
    tag_of,
)


class ConflictError(PlacewiseError):
    """What was to be changed is not what it was when it was read."""


@dataclass(frozen=True)
class Edit:
    """The objects of an image before and after, and its size when they were changed."""

    image: str
    before: Objects
    after: Objects
    size: Size | None = None

    def line(self) -> dict[str, Any]:
        """What the journal keeps: the part that is new, and where it goes."""
        start = next(
            (i for i, (a, b) in enumerate(zip(self.before, self.after, strict=False)) if a != b),
            min(len(self.before), len(self.after)),
        )
        end, most = 0, min(len(self.before), len(self.after)) - start
        while end < most and self.before[-1 - end] == self.after[-1 - end]:
            end += 1
        new = self.after[start : len(self.after) - end]
        place = [start, len(self.before) - end]
        size = {"size": list(self.size)} if self.size else {}
        return {"image": self.image, "at": place, "objects": plain(new), **size}


@dataclass
class Redefinition:
    """The keypoints before and after, the names that became others, and all labels before."""

    before: Definition | None
    after: Definition
    names: Mapping[str, str]
    held: dict[str, Objects]

    def line(self) -> dict[str, Any]:
        """What the journal keeps."""
        return {"define": self.after.model_dump(mode="json"), "renamed": dict(self.names)}


class Session:
    """The labels of a folder, with all that was done to them.

    Args:
        journal: keeps every change before it counts. Of a journal that holds some they are done
            again.
        definition: of the keypoints to begin with; None: nobody has said it yet.
        objects: what was labelled to begin with, by image.
        sizes: (height, width) of images when they were labelled, as far as it is known.

    Attributes:
        count: changes so far, undone ones and undoings counted too.
        sizes: the same, after the changes.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder, Journal(Path(folder, "a")) as journal:
        ...     session = Session(journal, Definition.of("nose"))
        ...     tag = session.edit("a.png", read_objects([{"points": {"nose": [3, 1, 2]}}]))
        ...     session.undo(), session.objects("a.png")
        ('a.png', ())
    """

    def __init__(
        self,
        journal: Journal,
        definition: Definition | None = None,
        objects: Mapping[str, Objects] | None = None,
        sizes: Mapping[str, Size] | None = None,
    ) -> None:
        self.sizes = dict(sizes or {})
        self._journal, self._lock = journal, RLock()
        self.definition = definition
        self._objects = {name: held for name, held in (objects or {}).items() if held}
        self._done: list[Edit | Redefinition] = []
        self._undone: list[Edit | Redefinition] = []
        self.count = 0
        for line in journal.lines:
            self._replay(line)

    def objects(self, image: str) -> Objects:
        """What is labelled on an image."""
        return self._objects.get(image, ())

    def tag(self, image: str) -> str:
        """The tag of what is labelled on an image."""
        return tag_of(self.objects(image))

    def labelled(self) -> Iterator[tuple[str, Objects]]:
        """Images on which something is labelled, and what."""
        with self._lock:
            held = list(self._objects.items())
        return (item for item in held if not is_empty(item[1]))

    def left(self, image: str) -> int:
        """How many keypoints of an image are not labelled; -1 before anybody named them."""
        return -1 if self.definition is None else left(self.objects(image), self.definition)

    @property
    def undoable(self) -> tuple[int, int]:
        """How many changes can be undone, and done again."""
        return len(self._done), len(self._undone)

    def edit(
        self, image: str, objects: Objects, tag: str | None = None, size: Size | None = None
    ) -> str:
        """Say what an image's objects are.

        Args:
            image: its name.
            objects: all of them.
            tag: of what they were when they were read; None: whatever they were.
            size: (height, width) of the image, so that one of another size is noticed later.

        Returns:
            Their tag now.

        Raises:
            ConflictError: they are not what they were when they were read.
            SettingsError: there is no such keypoint.
            CheckpointError: the disk refused, and nothing has changed.
        """
        with self._lock:
            before = self.objects(image)
            if tag is not None and tag != tag_of(before):
                raise ConflictError(f"{image} was changed elsewhere; read it again")
            known = set(self.definition.names) if self.definition else set()
            held = {name for one in before for name in one.points}
            for one in objects:
                if strange := next((n for n in one.points if n not in known | held), None):
                    raise SettingsError(f"there is no keypoint {strange!r:.300}; name it first")
            if objects != before:
                self._do(Edit(image, before, objects, size))
            return tag_of(objects)

    def define(self, definition: Definition, names: Mapping[str, str] | None = None) -> None:
        """Say what the keypoints are.

        Args:
            definition: the keypoints. Labels of one that is no more in it are kept, and come back
                with its name.
            names: keypoints that got another name, old to new.
        """
        with self._lock:
            known = set(self.definition.names) if self.definition else set()
            moved = {a: b for a, b in (names or {}).items() if a != b}
            if not (set(moved) <= known and set(moved.values()) <= set(definition.names)):
                raise SettingsError(f"got the new names {moved}; rename keypoints that are there")
            if len(set(moved.values())) < len(moved):
                raise SettingsError(f"got the new names {moved}; two cannot become one")
            if definition != self.definition:
                self._do(Redefinition(self.definition, definition, moved, self._objects))

    def undo(self) -> str | None:
        """Take back the last change.

        Returns:
            The image whose labels are others now; empty where all are, None where there is nothing
            to undo.
        """
        with self._lock:
            if not self._done:
                return None
            self._journal.append({"undo": 1})
            return self._back()

    def redo(self) -> str | None:
        """Do again what was undone last; see `undo`."""
        with self._lock:
            if not self._undone:
                return None
            self._journal.append({"redo": 1})
            return self._again()

    def note(self, line: Mapping[str, Any]) -> None:
        """Keep something else in the journal, e.g. which file was written."""
        with self._lock:
            self._journal.append(line)

    def snapshot(self) -> tuple[Definition | None, Sequence[tuple[str, Objects]], int]:
        """Definition, labelled images and number of changes, of one moment."""
        with self._lock:
            return self.definition, list(self.labelled()), self.count

    def _do(self, change: Edit | Redefinition) -> None:
        self._journal.append(change.line())
        self._apply(change)

    def _apply(self, change: Edit | Redefinition) -> None:
        self._done.append(change)
        self._undone.clear()
        self.count += 1
        self._forward(change)

    def _forward(self, change: Edit | Redefinition) -> None:
        if isinstance(change, Edit):
            self._put(change.image, change.after)
            if change.size:
                self.sizes[change.image] = change.size
        else:
            self.definition, held = change.after, self._objects
            self._objects = {k: renamed(objects, change.names) for k, objects in held.items()}

    def _back(self) -> str:
        change = self._done.pop()
        self._undone.append(change)
        self.count += 1
        if isinstance(change, Edit):
            self._put(change.image, change.before)
            return change.image
        self.definition, self._objects = change.before, dict(change.held)
        return ""

    def _again(self) -> str:
        change = self._undone.pop()
        self._done.append(change)
        self.count += 1
        self._forward(change)
        return change.image if isinstance(change, Edit) else ""

    def _put(self, image: str, objects: Objects) -> None:
        self._objects[image] = objects
        if not objects:
            del self._objects[image]

    def _replay(self, line: Mapping[str, Any]) -> None:
        """Do again what a line of the journal says; lines of other things are left alone."""
        if "image" in line:
            before, (start, stop) = self.objects(line["image"]), line["at"]
            after = (*before[:start], *read_objects(line["objects"]), *before[stop:])
            size = tuple(line["size"]) if "size" in line else None
            self._apply(Edit(line["image"], before, after, size))
        elif "define" in line:
            definition = checked(Definition, line["define"], "keypoints")
            names, held = line["renamed"], self._objects
            self._apply(Redefinition(self.definition, definition, names, held))
        elif "undo" in line and self._done:
            self._back()
        elif "redo" in line and self._undone:
            self._again()
