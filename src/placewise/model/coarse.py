"""Coarse to fine: find where an answer is on a small image, then compute only that part in full.

1. The images are averaged over `factor` × `factor` pixels, and predicted.
2. About the places that the network is sure of there, tiles are cut out of the images themselves,
   with a margin as wide as the network looks: in the middle of a tile, its maps are those of the
   whole image.
3. The answer is read off the tiles. It counts if the network is sure of all of it, and finds it in
   the middle of a tile and not in its margin. Else the image is predicted as a whole.

So a place is that of the whole image, unless the whole image is hotter elsewhere, where nothing was
found at the coarse scale: that cannot be excluded, and has to be measured
(`placewise.prediction.glance`). Scores and uncertainties are sums over maps, of which what lies
beyond the tiles is missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from placewise.gathering import Tile
from placewise.geometry import FloatArray, Size, ratio_of, rescale, to_image
from placewise.model.parts import Tiled

LIKELY = 0.5
"""Score from which on a place on the small image says where to look."""

SURE = 0.9
"""Score from which on a place that was found in a tile counts."""

STEPS = 2
"""Periods of the network that sides of tiles are multiples of, so that many are of one shape."""

MOST = 0.7
"""Share of an image's pixels that tiles may have; with more, the image is predicted as a whole."""

Box = tuple[slice, ...]


class CoarseToFine:
    """Predicts images as `Network.predict_scaled` does, from the parts where the answer is.

    Args:
        network: a `Network` of images of two axes.
        factor: pixels along each axis that are averaged for the first look.
        slack: pixels about the places found then, within which all places are looked for. Where
            the network believes that such a place may be off by more, the image is predicted as a
            whole.

    Raises:
        SettingsError: the network cannot be computed in tiles, and why.
    """

    def __init__(self, network: Any, factor: int, slack: int) -> None:
        self.network, self.factor, self.slack = network, factor, slack
        with torch.inference_mode():
            self.tiled = Tiled.of(network)

    def at(self, factor: int, slack: int) -> CoarseToFine:
        """The same with another factor and slack."""
        other = copy(self)
        other.factor, other.slack = factor, slack
        return other

    def margin(self, size: Size) -> int:
        """Pixels about the middle of a tile whose maps are not those of the whole image.

        Args:
            size: of the images at the network's scale.
        """
        return self.tiled.margin(self.network.gathering(size, size, ""))

    def least(self, size: Size) -> float:
        """Share of an image's pixels that is computed at least: coarse, and in the smallest tile.

        Args:
            size: of the images at the network's scale.
        """
        side = 2 * (self.margin(size) + self.slack)
        tile = math.prod(min(side, whole) for whole in size)
        return 1 / self.factor**2 + tile / math.prod(size)

    def predict_scaled(
        self,
        shown: NDArray[np.float32],
        sizes: Sequence[Size],
        images: Sequence[str] | None = None,
    ) -> list[Any]:
        """Predictions for images of one size; see `Network.predict_scaled`."""
        named = images or [""] * len(sizes)
        found = self.looked(shown, sizes, named)
        left = [number for number, one in enumerate(found) if one is None]
        if left:
            part = [sizes[n] for n in left], [named[n] for n in left]
            whole = self.network.predict_scaled(shown[left], *part)
            for number, one in zip(left, whole, strict=True):
                found[number] = one
        return found

    @torch.inference_mode()
    def looked(
        self, shown: NDArray[np.float32], sizes: Sequence[Size], images: Sequence[str]
    ) -> list[Any]:
        """The same from the tiles alone; None for an image that they are not enough for."""
        size, margin = tuple(shown.shape[1:-1]), self.margin(shown.shape[1:-1])
        boxes = [self._boxes(one, size, margin) for one in self._coarse(shown)]
        maps = self._maps(shown, boxes)
        return [
            self._answer(boxes[n], maps[n], size, margin, sizes[n], images[n]) if maps[n] else None
            for n in range(len(sizes))
        ]

    def _coarse(self, shown: NDArray[np.float32]) -> list[Any]:
        """What is predicted for the small images, in their pixels."""
        planes = torch.from_numpy(shown).movedim(-1, 1)
        small = functional.avg_pool2d(planes, self.factor, ceil_mode=True).movedim(1, -1)
        size = tuple(small.shape[1:-1])
        found: list[Any] = self.network.predict_scaled(small.numpy(), [size] * len(small))
        return found

    def needed(self, shown: NDArray[np.float32], whole: Sequence[Any]) -> FloatArray:
        """(n,) the slack with which each image's places would have been looked for.

        Args:
            shown: (n, *size, channels) images of one size at the network's scale.
            whole: what is predicted for the whole images.
        """
        size, slacks = tuple(shown.shape[1:-1]), []
        for coarse, one in zip(self._coarse(shown), whole, strict=True):
            about, _ = self._likely(coarse)
            found = self._shown(one, size)
            if not len(about):
                slacks.append(math.inf)
                continue
            away = np.abs(found[:, None] - about).max(-1).min(1)
            slacks.append(float(np.nan_to_num(away, nan=math.inf).max(initial=0)))
        return np.array(slacks)

    def _likely(self, one: Any) -> tuple[FloatArray, FloatArray]:
        """(n, 2) likely places (y, x) on a small image, and (n,) doubts, in pixels of the large."""
        found = self.network.whereabouts(one)
        kept = (found.scores >= LIKELY) & np.isfinite(found.places).all(1)
        places = to_image(found.places[kept], float(self.factor))
        return places[:, ::-1], found.doubt[kept] * self.factor

    def _shown(self, one: Any, size: Size) -> FloatArray:
        """(n, 2) places (y, x) of an answer in pixels of the image at the network's scale."""
        places: FloatArray = rescale(self.network.whereabouts(one).places, ratio_of(one.size, size))
        return places[:, ::-1]

    def _boxes(self, one: Any, size: Size, margin: int) -> list[Box]:
        """The tiles about what was found on a small image; none where that is no help."""
        places, doubt = self._likely(one)
        if (doubt > self.slack).any():
            return []
        boxes: list[Box] = []
        reach = self.slack + margin
        for first, last in zip(places - reach, places + reach, strict=True):
            box = self._snapped(first, last, size)
            while touching := [other for other in boxes if _overlap(box, other)]:
                boxes = [other for other in boxes if other not in touching]
                box = self._snapped(*_hull([box, *touching]), size)
            boxes.append(box)
        pixels = sum(math.prod(part.stop - part.start for part in box) for box in boxes)
        return boxes if pixels <= MOST * math.prod(size) else []

    def _snapped(self, first: FloatArray, last: FloatArray, size: Size) -> Box:
        """Pixels from the first to the last, wider so that sides are multiples."""
        period = self.tiled.looks.period
        step = STEPS * period
        box = []
        for low, high, side in zip(first, last, size, strict=True):
            start = max(0, math.floor(low / period)) * period
            length = max(1, math.ceil((min(high, side) - start) / step)) * step
            if start + length >= side:  # it ends with the image
                start = max(0, (side - length) // period) * period
                box.append(slice(start, side))
            else:
                box.append(slice(start, start + length))
        return tuple(box)

    def _maps(
        self, shown: NDArray[np.float32], boxes: Sequence[Sequence[Box]]
    ) -> list[list[Tensor]]:
        """The maps of each image's tiles; tiles of one shape are computed together."""
        shapes: dict[Size, list[tuple[int, int]]] = {}
        for number, several in enumerate(boxes):
            for place, box in enumerate(several):
                shape = tuple(part.stop - part.start for part in box)
                shapes.setdefault(shape, []).append((number, place))
        maps: list[list[Any]] = [[None] * len(several) for several in boxes]
        for alike in shapes.values():
            tiles = np.stack([shown[number][boxes[number][place]] for number, place in alike])
            for (number, place), one in zip(alike, self.network.raw(tiles), strict=True):
                maps[number][place] = one
        return maps

    def _answer(
        self,
        boxes: Sequence[Box],
        maps: Sequence[Tensor],
        size: Size,
        margin: int,
        of: Size,
        image: str,
    ) -> Any:
        """The answer that tiles give; None where it does not count."""
        gathering, stride = self.network.gathering(size, of, image), self.tiled.looks.stride
        whole = tuple(-(-side // stride) for side in size)
        for box, one in zip(boxes, maps, strict=True):
            origin = tuple(part.start // stride for part in box)
            core = _inner(box, size, gathering.margin * stride)
            own = tuple(
                slice(part.start // stride, min(-(-part.stop // stride), side))
                for part, side in zip(core, whole, strict=True)
            )
            gathering.add(Tile(one, origin, own, whole))
        answer = gathering.result()
        exact = [_inner(box, size, margin) for box in boxes]
        sure = (self.network.whereabouts(answer).scores >= SURE).all()
        places = self._shown(answer, size).clip(0, np.array(size) - 1)  # a map may end beyond it
        counts = sure and all(_holds(exact, place) for place in places)
        return answer if counts else None


def _overlap(one: Box, other: Box) -> bool:
    """Whether two boxes share a pixel."""
    pairs = zip(one, other, strict=True)
    return all(a.start < b.stop and b.start < a.stop for a, b in pairs)


def _hull(boxes: Sequence[Box]) -> tuple[FloatArray, FloatArray]:
    """First and last of the box about several."""
    edges = np.array([[(part.start, part.stop) for part in box] for box in boxes], float)
    return edges[..., 0].min(0), edges[..., 1].max(0)


def _inner(box: Box, size: Size, margin: int) -> Box:
    """A box without its margins, which it has where the image goes on."""
    return tuple(
        slice(
            part.start + margin if part.start else 0,
            part.stop - margin if part.stop < side else side,
        )
        for part, side in zip(box, size, strict=True)
    )


def _holds(boxes: Sequence[Box], place: FloatArray) -> bool:
    """Whether a place (y, x) is in one of some boxes."""
    return any(
        all(part.start - 0.5 <= at <= part.stop - 0.5 for part, at in zip(box, place, strict=True))
        for box in boxes
    )
