"""The order of the images of a folder, found while the first ones are labelled already."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from threading import Event, Lock, Thread

import numpy as np
from numpy.typing import NDArray

from placewise.errors import PlacewiseError
from placewise.geometry import Size
from placewise.images import ImageArray
from placewise.labelling.order import FIRST, Order, clusters, diverse, spread, thumbnail, worst

PIXELS = 400_000_000
"""Pixels that are read for thumbnails, about: some ten seconds."""


class Schedule:
    """Which image is labelled next.

    Args:
        images: their names, in natural order.
        order: how they follow each other.
        seed: of what is drawn.

    Attributes:
        version: changes when the order may have changed.

    Example:
        >>> Schedule(["a.png", "b.png", "c.png"], "name").names(["b.png"], {})
        ['a.png', 'b.png', 'c.png']
    """

    def __init__(self, images: Sequence[str], order: Order, seed: int = 0) -> None:
        self._images, self._order, self._seed = list(images), order, seed
        self._first = [images[i] for i in np.random.default_rng(seed).permutation(len(images))]
        self._of: dict[str, int] = {}
        self._lock, self._stopped = Lock(), Event()
        self.version = 0

    def start(self, read: Callable[[str], ImageArray], size: Callable[[str], Size]) -> None:
        """Begin to look at thumbnails, where the order needs them."""
        if self._order in ("kmeans", "worst"):
            Thread(target=self._look, args=(read, size), name="thumbnails", daemon=True).start()

    def stop(self) -> None:
        """Look at no more images."""
        self._stopped.set()

    def names(self, labelled: Sequence[str], unsure: Mapping[str, float]) -> list[str]:
        """All images: by name, or those that are labelled and then those that come next.

        Args:
            labelled: images that are labelled, in the order in which they were.
            unsure: how unsure a run is of images; empty where there is none.
        """
        if self._order == "name":
            return list(self._images)
        with self._lock:
            known = set(labelled)
            rest = [name for name in self._first if name not in known]
            if unsure and self._order != "random":
                rest = self._worst(rest, labelled, unsure)
            return [*labelled, *rest]

    def _worst(
        self, rest: list[str], labelled: Sequence[str], unsure: Mapping[str, float]
    ) -> list[str]:
        names = [*labelled, *rest]
        number = {name: i for i, name in enumerate(names)}
        told = {number[name]: unsure[name] for name in rest if name in unsure}
        of = [self._of.get(name, 0) for name in names]
        ranked = worst(told, of, [number[name] for name in labelled], self._seed)
        return [*(names[i] for i in ranked), *(name for name in rest if name not in unsure)]

    def _look(self, read: Callable[[str], ImageArray], size: Callable[[str], Size]) -> None:
        """Thumbnails, and what follows from them."""
        names, small = [], []
        for name in self._chosen(size):
            if self._stopped.is_set():
                return
            try:
                small.append(thumbnail(read(name)))
                names.append(name)
            except PlacewiseError:
                continue
        if len(small) > 1:
            self._arrange(names, np.stack(small))

    def _chosen(self, size: Callable[[str], Size]) -> list[str]:
        """Images whose thumbnails are compared."""
        try:
            pixels = math.prod(size(self._images[0]))
        except PlacewiseError:
            pixels = 1 << 20
        most = min(1000, max(2 * FIRST, PIXELS // pixels))
        return [self._images[i] for i in spread(len(self._images), most)]

    def _arrange(self, names: Sequence[str], small: NDArray[np.float32]) -> None:
        of, _ = clusters(small, FIRST, self._seed)
        order = [names[i] for i in diverse(small, self._seed)]
        with self._lock:
            known = set(order)
            self._of = dict(zip(names, of.tolist(), strict=True))
            self._first = [*order, *(name for name in self._first if name not in known)]
            self.version += 1
