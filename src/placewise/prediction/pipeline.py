"""Images to predictions, with everything that takes long going on at the same time.

```
READERS threads     read and scale images, up to `AHEAD` of them ahead
lanes.calls threads network and decoding, a batch each; see `placewise.engines`
the caller          what is done with predictions, in the order of the images
```

A batch is neighbours of one size, so that what is in it follows from the images alone, and not from
who was faster. As much is under way as the numbers above say and no more: memory does not grow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from torch import Tensor

from placewise.devices import threads
from placewise.errors import ImageError, SettingsError, ShapeError
from placewise.geometry import Size
from placewise.images import ImageArray
from placewise.labels.names import has_control
from placewise.model import BATCH, Network, Scaled
from placewise.prediction.choosing import Lanes
from placewise.prediction.huge import HUGE, Huge
from placewise.prediction.shards import BLOCK

AHEAD = 2 * BATCH
"""Images that are read before the network asks for them."""

READERS = 2
"""Threads that read and scale images."""


@dataclass(frozen=True)
class Read:
    """An image that was read, or was passed over.

    Attributes:
        name: of the image.
        image: as its source gives it.
        scaled: the same at the network's scale.
        fault: why it was passed over; empty where it was not, `HUGE` where it is predicted in
            tiles.
    """

    name: str
    image: ImageArray | None = None
    scaled: Scaled | None = None
    fault: str = ""


Answer = Callable[[Scaled, Sequence[Size], Sequence[str]], list[Any]]
"""Predictions for images of one size at the network's scale; see `Network.predict_scaled`."""

Found = list[tuple[ImageArray | None, Any]]
"""(image, prediction) of the images of a batch that could be read; no image of a huge one."""


def read(model: Network[Any], huge: Huge, name: str) -> Read:
    """Read an image and bring it to the network's scale; a huge one is left where it is."""
    if has_control(name):
        return Read(name, fault="its name holds a line break or no text; rename the file")
    try:
        if huge.holds(name):
            return Read(name, fault=HUGE)
        image = huge.source.read(name)
        scaled = model.prepared(image, huge.source.spacing(name))
        model.margins(scaled.shape[:-1])
    except (ImageError, SettingsError, ShapeError) as error:
        return Read(name, fault=str(error))
    return Read(name, image, scaled)


def each_padded(model: Network[Any], huge: Huge, names: Iterable[str]) -> Iterator[Tensor]:
    """Each image that can be read, and is not huge, as a padded batch of one."""
    for name in names:
        scaled = read(model, huge, name).scaled
        if scaled is not None:
            yield model.padded(scaled)


def batches(
    model: Network[Any], huge: Huge, names: Sequence[str], first: int = 0
) -> Iterator[list[Read]]:
    """Images in order, read ahead, together as far as neighbours have one size.

    An image that cannot be read belongs to the batch in which its turn comes; a huge one is a batch
    of its own. `first` is the number of the first name among all images: no batch crosses a
    multiple of `BLOCK`.
    """
    held: list[Read] = []
    shape: tuple[int, ...] | None = None
    for number, one in enumerate(_ahead(model, huge, names), first):
        other = one.scaled is not None and shape not in (None, one.scaled.shape)
        alone = bool(held) and HUGE in (one.fault, held[-1].fault)
        if held and (other or alone or len(held) == BATCH or number % BLOCK == 0):
            yield held
            held, shape = [], None
        held.append(one)
        shape = one.scaled.shape if one.scaled is not None else shape
    if held:
        yield held


def _ahead(model: Network[Any], huge: Huge, names: Sequence[str]) -> Iterator[Read]:
    """Images in order, while up to `AHEAD` of them are being read."""
    with ThreadPoolExecutor(READERS) as readers:
        left = iter(names)
        waiting = deque(readers.submit(read, model, huge, name) for name in islice(left, AHEAD))
        try:
            while waiting:
                first = waiting.popleft()
                waiting.extend(readers.submit(read, model, huge, n) for n in islice(left, 1))
                yield first.result()
        finally:
            readers.shutdown(cancel_futures=True)


def predicted(
    model: Network[Any],
    huge: Huge,
    names: Sequence[str],
    lanes: Lanes,
    first: int = 0,
    answer: Answer | None = None,
) -> Iterator[tuple[list[Read], Found]]:
    """Batches of images with what was found on them, in order.

    Args:
        model: the model, with its engine.
        huge: reads the images, and predicts huge ones.
        names: of the images.
        lanes: how many batches are computed at once.
        first: number of the first name among all images.
        answer: predicts images; None: the model does, as a whole.
    """
    answer = answer or model.predict_scaled
    under_way: deque[Future[tuple[list[Read], Found]]] = deque()
    with threads(lanes.threads), ThreadPoolExecutor(lanes.calls) as workers:
        try:
            for batch in batches(model, huge, names, first):
                under_way.append(workers.submit(_found, answer, huge, batch))
                if len(under_way) > lanes.calls:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            workers.shutdown(cancel_futures=True)


def _found(answer: Answer, huge: Huge, batch: list[Read]) -> tuple[list[Read], Found]:
    """The batch, and what the model finds on its images that could be read."""
    if batch[0].fault == HUGE:
        name = batch[0].name
        try:
            return [Read(name)], [(None, huge.predicted(name))]
        except (ImageError, SettingsError) as error:
            return [Read(name, fault=str(error))], []
    able = [(one.name, one.image, one.scaled) for one in batch if one.scaled is not None]
    if not able:
        return batch, []
    arrays = [image for _, image, _ in able if image is not None]
    sizes = [image.shape[:-1] for image in arrays]
    scaled = np.stack([one for _, _, one in able])
    try:
        found = answer(scaled, sizes, [name for name, _, _ in able])
    except ShapeError as error:  # all have one size, which is too small for a window
        return [one if one.fault else Read(one.name, fault=str(error)) for one in batch], []
    return batch, list(zip(arrays, found, strict=True))
