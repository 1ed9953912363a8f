"""What a prediction has finished, so that the same command can go on where it was stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from placewise.errors import CheckpointError, SettingsError
from placewise.files import (
    folder_exists,
    is_leftover,
    make_folder,
    read_json,
    replacing,
    write_text,
)
from placewise.run import Run

HEAD, LINE = {"order"}, {"bytes", "images", "skipped"}
"""Keys of the first line of a journal, and of those of batches."""

CHOSEN = {"engine": str, "look": int}
"""What is chosen before the first batch, a line each: name, and type of its two values."""

KEYS = (HEAD, LINE, *({name} for name in CHOSEN))

JOURNAL, TABLE, RESULT = "progress.jsonl", "predictions.csv", "about.json"


@dataclass(frozen=True)
class Batch:
    """What one batch has added.

    Attributes:
        text: rows of `predictions.csv`.
        images: [name, *size] of each image that was predicted.
        skipped: [name, why] of each image that was passed over.
    """

    text: str
    images: list[tuple[Any, ...]]
    skipped: list[tuple[str, str]]

    def __len__(self) -> int:
        return len(self.images) + len(self.skipped)


class Journal:
    """The finished part of a prediction.

    A batch counts once its line in `progress.jsonl` is whole: the line tells how long
    `predictions.csv` is with the batch, so that rows without a line are cut off again.

    Args:
        out: folder of the prediction.
        order: what makes this prediction the same as another.

    Attributes:
        done: images that are finished, those that were passed over included.
        chosen: what was chosen, by its name in `CHOSEN`.
        finished: what `about.json` holds, where the prediction has come to its end.
    """

    def __init__(self, out: Path, order: str) -> None:
        self.out, self.order = out, order
        self.done = self.bytes = 0
        self.chosen: dict[str, tuple[Any, Any]] = {}
        self.finished: dict[str, Any] | None = None

    @classmethod
    def open(cls, out: Path, order: str, *, resume: bool) -> Journal:
        """Begin a prediction in a new or empty folder, or go on with one.

        A folder in which a prediction was begun and no image finished counts as empty.

        Args:
            out: the folder.
            order: see `order_of`.
            resume: go on with what is there.

        Raises:
            SettingsError: the folder is in use, or belongs to another prediction.
        """
        journal = cls(out, order)
        found = list(out.iterdir()) if folder_exists(out) else []
        names = {path.name for path in found if not is_leftover(path, RESULT)}
        lines = journal._read() if names == {JOURNAL} else []
        free = names <= {JOURNAL} and not any(set(line) == LINE for line in lines)
        if free and not (resume and lines and lines[0] == {"order": order}):
            make_folder(out)
            write_text(out / JOURNAL, json.dumps({"order": order}) + "\n")
            return journal
        if not (resume and is_begun(out)):
            more = "; add --resume to go on with the prediction there" if is_begun(out) else ""
            raise SettingsError(
                f"{out} is in use already{more}; --out must name a new or empty folder"
            )
        journal._restore()
        return journal

    @property
    def engine(self) -> tuple[str, str] | None:
        """Name and precision of the engine that predicts; None: it was not chosen yet."""
        return self.chosen.get("engine")

    @property
    def look(self) -> tuple[int, int] | None:
        """Factor and slack of coarse to fine, 0 and 0 where it is off; None: not tried yet."""
        return self.chosen.get("look")

    def note(self, name: str, first: str | int, second: str | int) -> None:
        """Keep what was chosen, before it is used."""
        self.chosen[name] = first, second
        _append(self.out / JOURNAL, json.dumps({name: [first, second]}) + "\n")

    def append(self, batch: Batch) -> None:
        """Put a batch on disk: its rows, then the line that makes them count."""
        self.bytes += _append(self.out / TABLE, batch.text)
        line = {"bytes": self.bytes, **asdict(batch)}
        del line["text"]
        _append(self.out / JOURNAL, json.dumps(line) + "\n")
        self.done += len(batch)

    def lines(self) -> Iterator[Batch]:
        """The batches that are finished, without their rows."""
        for line in self._read():
            if set(line) != LINE:
                continue
            images = [(name, *size) for name, *size in line["images"]]
            yield Batch("", images, [(name, why) for name, why in line["skipped"]])

    def gather(self, parts: Sequence[Journal]) -> None:
        """Take what others have finished, one after the other, in place of what is here."""
        self.done = self.bytes = 0
        self.chosen = dict(kept for part in reversed(parts) for kept in part.chosen.items())
        lines: list[dict[str, Any]] = [{"order": self.order}]
        lines += [{name: kept} for name, kept in self.chosen.items()]
        with replacing(self.out / TABLE) as table, table.open("wb") as text:
            for part in parts:
                listed = [line for line in part._read() if set(line) == LINE]
                lines += [{**line, "bytes": self.bytes + line["bytes"]} for line in listed]
                if part.bytes:
                    with (part.out / TABLE).open("rb") as rows:
                        shutil.copyfileobj(rows, text)
                self.bytes, self.done = self.bytes + part.bytes, self.done + part.done
        write_text(self.out / JOURNAL, "".join(json.dumps(line) + "\n" for line in lines))

    def close(self) -> None:
        """The prediction has come to its end."""
        (self.out / JOURNAL).unlink(missing_ok=True)

    def _restore(self) -> None:
        """Find what is finished; cut off what was written after it."""
        if (self.out / RESULT).is_file():
            self.finished = read_json(self.out / RESULT)
            if self.finished.get("order") != self.order:
                raise self._other()
            if not (self.out / TABLE).is_file():
                raise CheckpointError(
                    f"{self.out / TABLE} is missing, and {RESULT} beside it says that the "
                    "prediction has come to its end; begin anew with another --out"
                )
            self.close()
            return
        lines = self._read()
        if not lines or lines[0].get("order") != self.order:
            raise self._other()
        done = [line for line in lines if set(line) == LINE]
        self.done = sum(len(line["images"]) + len(line["skipped"]) for line in done)
        self.bytes = done[-1]["bytes"] if done else 0
        for line in lines:
            self.chosen |= _chosen(line)
        table = self.out / TABLE
        if (table.stat().st_size if table.is_file() else 0) < self.bytes:
            raise CheckpointError(
                f"{table} was changed since: it is shorter than what {JOURNAL} says is finished; "
                "begin anew with another --out"
            )
        whole = "".join(json.dumps(line) + "\n" for line in lines)
        _cut(self.out / JOURNAL, len(whole.encode()))
        _cut(self.out / TABLE, self.bytes)

    def _read(self) -> list[dict[str, Any]]:
        """Lines that are whole."""
        text = (self.out / JOURNAL).read_text(encoding="utf-8", errors="replace")
        found: list[dict[str, Any]] = []
        for line in text.split("\n")[:-1]:
            try:
                content = json.loads(line)
            except ValueError:
                break
            if not (isinstance(content, dict) and set(content) in KEYS):
                break
            found.append(content)
        return found

    def _other(self) -> SettingsError:
        return SettingsError(
            f"{self.out} holds a prediction of another run, of other images, or with other "
            "options; name a new folder with --out"
        )


def is_begun(out: Path) -> bool:
    """Whether a folder holds a prediction, begun or finished."""
    return any((out / name).is_file() for name in (JOURNAL, RESULT))


def _chosen(line: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What `Journal.note` kept; nothing where the line is no such thing."""
    ((name, kept), *more) = line.items()
    kind = CHOSEN.get(name)
    if more or kind is None or not isinstance(kept, list) or len(kept) != 2:
        return {}
    return {name: tuple(kept)} if all(isinstance(one, kind) for one in kept) else {}


def order_of(images: Path, names: Sequence[str], run: Run, options: Mapping[str, Any]) -> str:
    """What makes two predictions the same: images, weights and options.

    An image is the same as long as its file has the same size and time.

    Args:
        images: the folder of the images, or the one file.
        names: of the images, in order.
        run: the run.
        options: that change what is written.
    """
    best = run.checkpoints.folder / "best.safetensors"
    weights = hashlib.sha256(best.read_bytes()).hexdigest() if best.is_file() else ""
    files = [images / name for name in names] if images.is_dir() else [images]
    seen = [(file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
    parts = json.dumps([list(names), seen, weights, dict(sorted(options.items()))])
    return hashlib.sha256(parts.encode()).hexdigest()


def _append(path: Path, text: str) -> int:
    """Add text to a file and flush it to the disk; the number of bytes."""
    data = text.encode("utf-8")
    try:
        with path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CheckpointError(
            f"{path} could not be written: {error.strerror or error}; what was finished is kept: "
            "make room, then go on with --resume"
        ) from error
    return len(data)


def _cut(path: Path, size: int) -> None:
    """Shorten a file to what counts."""
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
        file.truncate(size)
