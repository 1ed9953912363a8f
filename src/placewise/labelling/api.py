"""What the page can ask: plain values in, plain values out, and no word of HTTP but its numbers."""

from __future__ import annotations

import contextlib
import hmac
import io
import json
import logging
import math
import secrets
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from placewise.errors import CheckpointError, ImageError, PlacewiseError, SettingsError
from placewise.geometry import Size
from placewise.images import ImageArray
from placewise.labelling.background import Training
from placewise.labelling.objects import Definition, Name, checked, plain, read_objects
from placewise.labelling.project import RUNS, Project
from placewise.labelling.schedule import Schedule
from placewise.labelling.session import ConflictError
from placewise.labelling.suggesting import Suggester
from placewise.report.style import mark

QUIET = 1.5
"""Seconds without a change after which the file of labels is written."""

PATIENCE = 10.0
"""Seconds that a suggestion is waited for."""

LARGEST = 8192
"""Pixels along a side from which on the page gets a smaller image."""

LOOK = 5.0
"""Seconds after which it is seen again which images are there."""

FAR = 0.1
"""How far beyond the image a keypoint may be, as a share of its diagonal; readers refuse more."""

Keys = Literal["dlc", "sleap", "cvat"]

_LOG = logging.getLogger(__name__)


class NoImageError(PlacewiseError):
    """An id that no image has."""


@dataclass(frozen=True)
class Answer:
    """What is answered: JSON, or the bytes of an image."""

    status: int
    content: Any
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """The bytes to send."""
        if isinstance(self.content, bytes):
            return self.content
        return json.dumps(self.content, separators=(",", ":"), allow_nan=False).encode()

    @property
    def kind(self) -> str:
        """Their media type."""
        return "image/bmp" if isinstance(self.content, bytes) else "application/json"


Strict = Annotated[int, Field(strict=True)]


class _Write(BaseModel):
    model_config = ConfigDict(extra="forbid")
    objects: list[Any]
    size: Annotated[list[Strict], Field(min_length=2, max_length=2)] | None = None


class _Define(BaseModel):
    model_config = ConfigDict(extra="forbid")
    definition: Definition
    renamed: Annotated[dict[Name, Name], Field(max_length=2000)] = {}


class _Train(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    minutes: Annotated[float, Field(gt=0, le=600, strict=True)] = 2.0


class Api:
    """Answers the page.

    Args:
        project: what is labelled.
        schedule: the order of its images.
        suggester: predicts them; None: nothing does yet.
        keys: whose keys the page uses.
        secret: names images by it, so that a page goes on with a server that was started again
            with the same one; None: it is drawn.
    """

    def __init__(
        self,
        project: Project,
        schedule: Schedule,
        suggester: Suggester | None = None,
        keys: Keys = "dlc",
        secret: str | None = None,
    ) -> None:
        self.project, self.schedule, self.keys = project, schedule, keys
        self.training = Training(project.home / RUNS)
        self._suggester, self._loading = suggester, Lock()
        key = (secret or secrets.token_urlsafe(32)).encode()
        root = f"{project.root.resolve()}\0"
        self._ids = {name: _opaque(key, root + name) for name in project.images}
        self._names: dict[str, str] = {id: name for name, id in self._ids.items()}
        self._said: deque[str] = deque(maxlen=5)
        self._heard, self._trouble, self._looked = 0, "", 0.0
        self._changed, self._stopped = Event(), Event()
        self._saver = Thread(target=self._save_when_quiet, name="saving", daemon=True)

    def start(self) -> None:
        """Begin to save, to put images in order, and to suggest."""
        self._tell(self.project.news())
        self._saver.start()
        self.schedule.start(self.project.read, self.project.size)
        if self._suggester:
            self._suggester.start()

    def stop(self) -> None:
        """End all that goes on, and save."""
        self._stopped.set()
        self._changed.set()
        self.schedule.stop()
        self.training.stop()
        if self._suggester:
            self._suggester.stop()
        if self._saver.is_alive():
            self._saver.join()
        said = self.project.save()
        if said:
            _LOG.warning(said)

    # --- what is there -------------------------------------------------------------------------

    def session(self) -> Answer:
        """Everything that does not change by itself."""
        session = self.project.session
        images = [
            {"id": self._ids[name], "name": name, "left": session.left(name)}
            for name in self._order()
        ]
        lost = self._lost()
        marks = [
            {"colour": f"#{r:02x}{g:02x}{b:02x}", "shape": shape}
            for (r, g, b), shape in map(mark, range(21))
        ]
        return Answer(
            200,
            {
                "folder": self.project.root.resolve().name,
                "definition": self._definition(),
                "images": images,
                "lost": lost,
                "marks": marks,
                "keys": self.keys,
                **self._state(),
            },
        )

    def state(self) -> Answer:
        """What changes by itself or by another tab."""
        suggester = self._suggester
        if suggester and suggester.error:
            self._tell(suggester.error)
            self._suggester = None
        if time.monotonic() - self._looked > LOOK:
            self._look()
        finished = self.training.finished()
        if finished:
            self._load(finished)
        return Answer(200, self._state())

    def order(self) -> Answer:
        """The order of the images, and those that cannot be labelled."""
        order = [self._ids[name] for name in self._order()]
        return Answer(200, {"order": order, "lost": self._lost()})

    def _lost(self) -> list[str]:
        return [self._ids[name] for name in self.project.files.away]

    def _look(self) -> None:
        """See which images are there, and save if there are others than before."""
        version = self.project.files.version
        self.project.files.look()
        self._looked = time.monotonic()
        if version != self.project.files.version:
            self._changed.set()

    def _order(self) -> list[str]:
        labelled = [name for name, _ in self.project.session.labelled() if name in self._ids]
        suggester = self._suggester
        unsure = suggester.unsure if suggester else {}
        return self.schedule.names(labelled, dict(unsure))

    def _definition(self) -> dict[str, Any] | None:
        held = self.project.session.definition
        return None if held is None else held.model_dump(mode="json")

    def _state(self) -> dict[str, Any]:
        session, suggester = self.project.session, self._suggester
        away = self.project.files.away
        names = [name for name, _ in session.labelled() if name in self._ids and name not in away]
        done = sum(session.left(name) == 0 for name in names)
        undo, redo = session.undoable
        predicted = None
        if suggester:
            ready, total = suggester.progress
            predicted = {"run": suggester.run.path.name, "ready": ready, "total": total}
        return {
            "count": session.count,
            "done": done,
            "labelled": len(names),
            "total": len(self._ids) - len(away),
            "undo": undo,
            "redo": redo,
            "file": self.project.output.path.name,
            "saved": self.project.saved,
            "said": list(self._said),
            "heard": self._heard,
            "trouble": self._trouble,
            "training": self.training.state(),
            "suggestions": predicted,
            "version": self.schedule.version
            + self.project.files.version
            + (0 if not suggester else 1 + ready // 20),
        }

    # --- one image -----------------------------------------------------------------------------

    def image(self, id: str) -> Answer:
        """Labels and size of an image."""
        name = self._name(id)
        return Answer(200, {**self._labels(name), "size": list(self._size(name))})

    def _size(self, name: str) -> Size:
        """The size of an image that can be labelled; raises ImageError where it cannot."""
        try:
            self.project.files.check(name)
            return self.project.size(name)
        except ImageError:
            self._look()
            raise

    def pixels(self, id: str) -> Answer:
        """The pixels of an image as a bitmap, as a training sees them: turned, 8 bits."""
        name = self._name(id)
        self._size(name)
        return Answer(200, bitmap(self.project.read(name)))

    def suggestion(self, id: str) -> Answer:
        """What the run suggests for an image, or null; `ready` once that is known."""
        name = self._name(id)
        suggester = self._suggester
        found, ready = suggester.of(name, PATIENCE) if suggester else (None, True)
        return Answer(200, {"suggestion": found, "ready": ready})

    def write(self, id: str, content: Any, tag: str | None) -> Answer:
        """Say what is labelled on an image.

        Args:
            id: of the image.
            content: its objects, and the size of the image as the page shows it.
            tag: of what was labelled when the page read it.
        """
        name = self._name(id)
        if not tag:
            return Answer(428, {"error": "say with If-Match what was changed"})
        asked = checked(_Write, content, "labels")
        objects, size = read_objects(asked.objects), self._size(name)
        if asked.size is not None and tuple(asked.size) != size:
            told = f"{name} was replaced by an image of {size[1]} × {size[0]} pixels, and is shown"
            return Answer(409, {"error": f"{told} anew; do the last step again on this one"})
        _check_near(size, objects)
        try:
            self.project.session.edit(name, objects, tag, size)
        except ConflictError as error:
            return Answer(412, {"error": str(error), **self._labels(name)})
        self._changed.set()
        return Answer(200, {**self._tagged(name), **self._counts()})

    def _labels(self, name: str) -> dict[str, Any]:
        return {"objects": plain(self.project.session.objects(name)), **self._tagged(name)}

    def _tagged(self, name: str) -> dict[str, Any]:
        session = self.project.session
        return {"tag": session.tag(name), "left": session.left(name)}

    def _counts(self) -> dict[str, Any]:
        state = self._state()
        return {key: state[key] for key in ("count", "done", "labelled", "undo", "redo", "saved")}

    # --- all of them ---------------------------------------------------------------------------

    def define(self, content: Any) -> Answer:
        """Say what the keypoints are."""
        asked = checked(_Define, content, "keypoints")
        self.project.session.define(asked.definition, asked.renamed)
        self._changed.set()
        return Answer(200, {"definition": self._definition(), **self._counts()})

    def undo(self) -> Answer:
        """Take back the last change."""
        return self._moved(self.project.session.undo())

    def redo(self) -> Answer:
        """Do again what was taken back."""
        return self._moved(self.project.session.redo())

    def _moved(self, name: str | None) -> Answer:
        self._changed.set()
        if not name:
            what = None if name is None else ""
            return Answer(200, {"image": what, "definition": self._definition(), **self._counts()})
        labels = self._labels(name) if name in self._ids else {}
        return Answer(200, {"image": self._ids.get(name), **labels, **self._counts()})

    def save(self) -> Answer:
        """Write the file of labels now."""
        self._save()
        return Answer(200, self._state())

    def train(self, content: Any) -> Answer:
        """Begin to train on what is labelled."""
        asked = checked(_Train, content, "training")
        labels, _ = self.project.dataset()
        self.training.start(labels, asked.minutes)
        return Answer(200, self._state())

    def halt(self) -> Answer:
        """End the training."""
        self.training.stop()
        return Answer(200, self._state())

    # --- inside --------------------------------------------------------------------------------

    def _name(self, id: str) -> str:
        if id not in self._names:
            raise NoImageError("there is no such image")
        return self._names[id]

    def _load(self, run: Path) -> None:
        """Suggest by another run from now on."""
        with self._loading:
            try:
                project = self.project
                found = Suggester(run, project.images, project.read, project.size)
            except PlacewiseError as error:
                self._tell(str(error))
                return
            if self._suggester:
                self._suggester.stop()
            self._suggester = found
            found.start()

    def _tell(self, line: str) -> None:
        """Say something on the page and in the terminal."""
        if line:
            self._said.append(line)
            self._heard += 1
            _LOG.warning(line)

    def _save(self) -> None:
        try:
            said = self.project.save()
        except PlacewiseError as error:
            self._trouble = str(error)
            raise
        self._trouble = ""
        self._tell(said)

    def _save_when_quiet(self) -> None:
        while not self._stopped.is_set():
            self._changed.wait()
            while self._changed.is_set() and not self._stopped.is_set():
                self._changed.clear()
                self._stopped.wait(QUIET)
            with contextlib.suppress(PlacewiseError):  # the page is told
                self._save()


def _check_near(size: Size, objects: Any) -> None:
    """Refuse keypoints that are far beyond an image."""
    high, wide = size
    most = FAR * math.hypot(high, wide)
    for one in objects:
        for keypoint, known in one.points.items():
            away = (
                max(-0.5 - min(known[1:]), known[1] - wide + 0.5, known[2] - high + 0.5)
                if len(known) == 3
                else 0.0
            )
            if away > most:
                raise SettingsError(
                    f"{keypoint!r} at {known[1:]} is {away:.0f} px beyond the image; place it "
                    "on the image, or say that it is absent"
                )


def bitmap(image: ImageArray) -> bytes:
    """An image as an uncompressed bitmap of 8 bits, which costs a browser next to nothing.

    More than 8 bits are brought to the range from their 0.1 to their 99.9 percentile.

    Args:
        image: (height, width, channels).
    """
    step = -(-max(image.shape[:2]) // LARGEST)
    if image.dtype != np.uint8:
        low, high = np.percentile(image[::4, ::4], (0.1, 99.9)).tolist()
        scaled = (image.astype(np.float32) - low) * (255 / max(high - low, 1e-9))
        image = scaled.clip(0, 255).astype(np.uint8)
    grey = image.shape[2] == 1
    made = Image.fromarray(np.ascontiguousarray(image[..., 0] if grey else image[..., :3]))
    made = made.reduce(step) if step > 1 else made
    data = io.BytesIO()
    made.save(data, "BMP")
    return data.getvalue()


def status_of(error: PlacewiseError) -> int:
    """The number of HTTP that an error of ours is."""
    if isinstance(error, NoImageError):
        return 404
    if isinstance(error, CheckpointError):
        return 507
    return 422 if isinstance(error, ImageError) else 400


def _opaque(key: bytes, name: str) -> str:
    return hmac.new(key, name.encode("utf-8", "surrogatepass"), "sha256").hexdigest()[:24]
