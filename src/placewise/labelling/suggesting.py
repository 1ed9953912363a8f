"""A run's predictions as suggestions: for the image that is shown at once, for all others after."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Condition, Thread
from typing import Any

import numpy as np

from placewise.devices import device_of
from placewise.errors import PlacewiseError
from placewise.geometry import Size
from placewise.images import ImageArray
from placewise.labelling.order import spread
from placewise.motion import FAR
from placewise.run import Run
from placewise.task import Suggestion
from placewise.tasks import task_named

_LOG = logging.getLogger(__name__)


def unsureness(suggestion: Suggestion) -> float:
    """How little a run is sure of an image, 0..1.

    The mean over its keypoints of max(r / (0.1 d), 1 − |2 s − 1|), where r is the radius, d the
    image's diagonal and s the score: a keypoint that may be far off, or of which it is open
    whether it is there.

    Args:
        suggestion: what it suggests.
    """
    sample = suggestion.sample
    if sample.scores is None:
        return 1.0
    scores = np.where(np.isfinite(sample.scores), sample.scores, 0.0)
    doubt = 1 - np.abs(2 * scores - 1)
    reach = FAR * math.hypot(*sample.size)
    far = np.where(np.isfinite(suggestion.radius), suggestion.radius, 0.0) / reach
    held = np.maximum(far * (scores >= 0.5), doubt)[np.isfinite(sample.scores)]
    return float(held.clip(0, 1).mean()) if held.size else 1.0


class Suggester:
    """Predicts images with a run in a thread of its own, those that are asked for first.

    Args:
        path: folder of the run.
        images: names of all images.
        read: from the name of an image to the image.
        size: from the name of an image to its size.

    Attributes:
        names: keypoints of the run.
        unsure: how unsure it is of each image that was predicted.
        error: why it suggests nothing; empty where it does.

    Raises:
        SettingsError: the folder is not a run, or that of another task.
    """

    def __init__(
        self,
        path: Path | str,
        images: Sequence[str],
        read: Callable[[str], ImageArray],
        size: Callable[[str], Size],
    ) -> None:
        self.run = Run.open(path)
        self.settings = self.run.facts.model
        self.names = self.settings.names
        self._task = task_named(self.settings.task)
        self._model: Any = None
        self._images, self._read, self._size = images, read, size
        self._found: dict[str, dict[str, Any] | None] = {}
        self.unsure: dict[str, float] = {}
        self.error = ""
        self._wanted: deque[str] = deque()
        self._rest = deque(images[i] for i in spread(len(images)))
        self._news = Condition()
        self._stopped = False
        self._thread = Thread(target=self._work, name="suggestions", daemon=True)

    def start(self) -> None:
        """Begin to predict."""
        self._thread.start()

    def stop(self) -> None:
        """End after the image that is being predicted."""
        with self._news:
            self._stopped = True
            self._news.notify_all()

    @property
    def progress(self) -> tuple[int, int]:
        """Images that are predicted, and that will be."""
        with self._news:
            return len(self._found), len(self._images)

    def of(self, image: str, patience: float = 0.0) -> tuple[dict[str, Any] | None, bool]:
        """The suggestion for an image, None where there is none; and whether that is known yet.

        Args:
            image: its name.
            patience: seconds to wait for it.
        """
        with self._news:
            if image not in self._found:
                self._wanted.append(image)
                self._news.notify_all()
                self._news.wait_for(lambda: image in self._found or self._stopped, patience)
            return self._found.get(image), image in self._found or self._stopped

    def _work(self) -> None:
        try:
            self._model = self.run.model().to(device_of("auto"))
        except PlacewiseError as error:
            self.error = str(error)
            self.stop()
        while True:
            with self._news:
                self._news.wait_for(lambda: self._stopped or self._wanted or self._rest)
                if self._stopped:
                    return
                image = self._wanted.pop() if self._wanted else self._rest.popleft()
                if image in self._found:
                    continue
            found, unsure = self._predict(image)
            with self._news:
                self._found[image] = found
                if unsure is not None:
                    self.unsure[image] = unsure
                self._news.notify_all()

    def _predict(self, image: str) -> tuple[dict[str, Any] | None, float | None]:
        try:
            pixels = self._read(image)
            shown = self._model.prepared(pixels)
            one = self._task.suggest(self._model, shown, pixels.shape[:-1])
            return as_json(one, self.names), unsureness(one)
        except PlacewiseError as error:
            _LOG.warning(f"no suggestion for {image}: {error}")
            return None, None


def as_json(one: Suggestion, names: Sequence[str]) -> dict[str, Any]:
    """A suggestion as plain JSON.

    Returns:
        `objects`, each with x, y, score and radius (or null) of its keypoints by name, and `hills`
        with places by name.
    """
    sample, objects = one.sample, []
    scores = np.ones(sample.visibility.shape) if sample.scores is None else sample.scores
    for i in range(len(sample.points)):
        points = {}
        for k in np.flatnonzero(sample.located[i]).tolist():
            values = [*sample.points[i, k], scores[i, k], one.radius[i, k]]
            points[names[k]] = [round(float(v), 2) if np.isfinite(v) else None for v in values]
        if points:
            objects.append({"points": points})
    hills = {name: places.round(2).tolist() for name, places in one.hills.items()}
    return {"objects": objects, "hills": hills}
