"""From labels to a file beside the images: `points.csv`, or the format in which the labels came."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from placewise.errors import SettingsError
from placewise.files import remove, write_bytes
from placewise.formats import FORMATS, Written
from placewise.geometry import Size
from placewise.labelling.objects import Definition, Objects, sample_of
from placewise.labels import Ignored, KeypointDataset, guess_symmetry
from placewise.wording import natural

HEAD = 1 << 16
"""Bytes by which the format of a file is known."""

TABLE = "long_csv"
"""The format of `points.csv`, which holds all but a skeleton and pairs that names do not tell."""

SKELETON = "skeleton.json"


def dataset_of(
    root: Path,
    definition: Definition,
    labelled: Iterable[tuple[str, Objects]],
    facts: Mapping[str, Mapping[str, Any]],
    sizes: Mapping[str, Size],
) -> KeypointDataset:
    """Labels as a dataset: images of the file that was read in its order, then by name.

    Args:
        root: folder of the images.
        definition: of the keypoints.
        labelled: images and their objects.
        facts: split and ignored boxes of images, as far as they are known.
        sizes: of the images that are written; others are left out.
    """
    held = dict(labelled)
    names = [*facts, *sorted(held.keys() - facts.keys(), key=natural)]
    samples = []
    for name in (name for name in names if name in sizes):
        known = facts.get(name, {})
        sample = sample_of(name, sizes[name], held.get(name, ()), definition.names)
        boxes = tuple(Ignored(n, tuple(a), tuple(b)) for n, a, b in known.get("ignored", ()))
        samples.append(replace(sample, split=known.get("split"), ignored=boxes))
    made = KeypointDataset(
        root, definition.names, tuple(samples), definition.symmetry, definition.skeleton
    )
    return made.for_task(definition.task)


def format_of(source: Path) -> str | None:
    """Name of the format of a file of labels, where it is written too; else None."""
    if "*" in source.name or any("*" in part for part in source.parts):
        start = next(i for i, part in enumerate(source.parts) if "*" in part)
        found = sorted(Path(*source.parts[:start]).glob("/".join(source.parts[start:])))
        source = found[0] if found else source
    head = ""
    if source.is_file():
        with source.open("rb") as file:
            head = file.read(HEAD).decode("utf-8", "replace")
    for name in FORMATS.names():
        member = FORMATS[name]()
        if not isinstance(member, Written):
            continue
        if source.is_dir():
            able = member.recognises_folder(source)
        else:
            able = bool(head) and member.recognises(source, head)
        if able:
            return name
    return None


class Output:
    """The file of labels beside the images, which is written again and again.

    It is replaced only while it is what was written here: a file of the user's, or one that
    another program has changed, is left alone, and a new name is taken.

    Args:
        folder: where it is written.
        source: what the labels were read from; None where there were none.
        form: name of the format that the labels came in; None: a table.
        lines: of the journal, which say what was written before.
    """

    def __init__(
        self,
        folder: Path,
        source: Path | None,
        form: str | None,
        lines: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.folder, self.source, self.form = folder, source, form or TABLE
        self.name = ""
        self._ours: dict[str, set[str]] = {}
        for line in (line for line in lines if "wrote" in line):
            self._ours.setdefault(line["wrote"], set()).add(line["sha256"])
            self.name = self.name if line["wrote"] == SKELETON else line["wrote"]

    @property
    def path(self) -> Path:
        """The file; that of the next write, if there was none."""
        return self.folder / (self.name or self._free(self.form))

    def write(self, labels: KeypointDataset, note: Any) -> str:
        """Write labels, and the skeleton beside them where a table cannot hold it.

        Args:
            labels: what to write.
            note: called with a line for the journal before anything is written.

        Returns:
            What the user should know; empty if nothing.

        Raises:
            SettingsError: the folder cannot be written to.
            CheckpointError: the system refused, e.g. because the disk is full.
        """
        form, said = self.form, ""
        writer: Any = FORMATS[form]()
        losses = writer.losses(labels)
        if losses and form != TABLE:
            said = f"{form} cannot hold {', '.join(losses)}, so the labels are in a table"
            form = TABLE
            writer = FORMATS[form]()
        content = writer.content(labels)
        digest = _digest(content)
        if not self._may_replace(form):
            if self.name and (self.folder / self.name).exists():
                said = f"{self.name} was changed by another program, and is left as it is"
            self.name = self._free(form)
        self._ours.setdefault(self.name, set())
        if digest not in self._ours[self.name]:
            note({"wrote": self.name, "sha256": digest})
            self._ours[self.name].add(digest)
        if _digest_at(self.folder / self.name) != digest:
            writer.write(labels, self.folder / self.name, overwrite=True, lossy=True)
        if form == TABLE:
            self._write_skeleton(labels, note)
        return said

    def clear(self) -> None:
        """Remove the file where it is ours: nothing is labelled any more."""
        path = self.folder / self.name
        if self.name and path.is_file() and _digest_at(path) in self._ours[self.name]:
            remove(path)

    def _may_replace(self, form: str) -> bool:
        """Whether the name that was used last can be used again."""
        if not self.name or Path(self.name).suffix != Path(self._plain(form)).suffix:
            return False
        found = _digest_at(self.folder / self.name)
        return found is None or found in self._ours[self.name]

    def _plain(self, form: str) -> str:
        """The name of a file that the labels would have if it were free."""
        if self.source is None:
            return "points.csv"
        if form == TABLE and (self.form != TABLE or self.source.suffix.lower() != ".csv"):
            return "points-labelled.csv"
        stem = self.source.name if "*" not in self.source.name else "labels"
        stem, dot, ending = stem.partition(".")
        return f"{stem}-labelled{dot}{ending}"

    def _free(self, form: str) -> str:
        """A name that nobody has taken."""
        plain, number = self._plain(form), 1
        stem, dot, ending = plain.partition(".")
        name = plain
        while (self.folder / name).exists() or (self.folder / name).is_symlink():
            number += 1
            name = f"{stem}-{number}{dot}{ending}"
        return name

    def _write_skeleton(self, labels: KeypointDataset, note: Any) -> None:
        """A COCO file without images, which `read_dataset` of the folder takes the skeleton of."""
        told = {frozenset(pair) for pair in guess_symmetry(labels.names)}
        path = self.folder / SKELETON
        known = self._ours.setdefault(SKELETON, set())
        found = _digest_at(path)
        if found is not None and found not in known:
            return
        if not labels.skeleton and {frozenset(pair) for pair in labels.symmetry} == told:
            if found is not None:
                remove(path)
            return
        data = _skeleton(labels)
        digest = _digest(data)
        if found != digest:
            note({"wrote": SKELETON, "sha256": digest})
            known.add(digest)
            write_bytes(path, data)


def _skeleton(labels: KeypointDataset) -> bytes:
    """A category of COCO with names, skeleton and symmetry."""
    index = {name: i + 1 for i, name in enumerate(labels.names)}
    category = {
        "id": 1,
        "name": "object",
        "keypoints": list(labels.names),
        "skeleton": [[index[a], index[b]] for a, b in labels.skeleton],
        "symmetry": [list(pair) for pair in labels.symmetry],
    }
    content = {"images": [], "annotations": [], "categories": [category]}
    return (json.dumps(content, indent=1) + "\n").encode()


def _digest(content: bytes | Mapping[str, bytes]) -> str:
    """SHA-256 of a file, or of the files of a folder with their names."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    parts = (name.encode() + b"\0" + content[name] for name in sorted(content))
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _digest_at(path: Path) -> str | None:
    """The same of what is on the disk; None where nothing is."""
    try:
        if path.is_dir():
            files = (file for file in path.rglob("*") if file.is_file())
            return _digest({f.relative_to(path).as_posix(): f.read_bytes() for f in files})
        return _digest(path.read_bytes()) if path.exists() else None
    except OSError as error:
        reason = error.strerror or error
        raise SettingsError(f"{path} cannot be read: {reason}; check its rights") from error
