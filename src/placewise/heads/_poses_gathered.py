"""What tiles of the maps of objects with keypoints say together; see `placewise.gathering`.

Centres and peaks are hills, which are kept. An object expects its keypoints at any distance from
its centre, and what the maps say there is asked once all centres are known: so the scores of all
pixels are kept in a file without a name, of 4 bytes for each keypoint and pixel of the maps.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from placewise.gathering import Filed, Gathering, Tile
from placewise.geometry import FloatArray, Size
from placewise.heads.poses import CLOSE, LEAST, MOST, Candidates, Poses
from placewise.peaks import HillGathering

FAR = 2
"""Pixels along each axis between a hill and the pixel that its point is in, at most."""


class PoseGathering(Gathering[Candidates]):
    """Hills of centres with the offsets about them, hills of keypoints, and all scores.

    Args:
        head: reads the maps.
        whole: size of the maps.
    """

    def __init__(self, head: Poses, whole: Size) -> None:
        self.head, self.whole = head, whole
        count, loss = head.keypoints, head.criterion
        self.peaks = HillGathering(
            count,
            whole,
            lambda output: loss.read(output[:, :count], head.sigma),
            loss.reach(head.sigma),
            radius=CLOSE * head.sigma,
            least=LEAST,
            most=MOST,
        )
        self.centres = HillGathering(
            1,
            whole,
            lambda output: loss.read(output[:, count : count + 1], head.wide),
            loss.reach(head.wide),
            radius=head.apart,
            least=LEAST,
            most=MOST,
        )
        self.margin = max(self.peaks.margin, self.centres.margin)
        self.scores = Filed((count, *whole), np.float32)
        self.arrows = _Arrows(whole)

    def add(self, tile: Tile) -> None:
        """See `Gathering.add`."""
        scores, shapes = self.peaks.read(tile.inside()[None])
        self.peaks.take(tile, scores[0], shapes[0])
        own = tile.own(scores[0]).cpu().numpy()
        self.scores.write(own, [part.start for part in tile.core])
        self.centres.add(tile)
        offsets = tile.inside()[self.head.keypoints + 1 :]
        self.arrows.keep(self.centres.pixels[0], offsets, tile.origin)

    def result(self) -> Candidates:
        """See `Gathering.result`."""
        (centres,) = self.centres.result()
        return self.head.candidates(
            centres, self.peaks.result(), self.scores.read(), self.arrows.at
        )


class _Arrows:
    """Raw offsets at the pixels in which the points of hills may lie."""

    def __init__(self, whole: Size) -> None:
        self.whole = whole
        self.keys: list[NDArray[np.intp]] = []
        self.values: list[FloatArray] = []

    def keep(self, hills: NDArray[np.intp], offsets: Tensor, origin: Size) -> None:
        """Keep the offsets about the hills of a tile.

        Args:
            hills: (n, axes) pixels of the whole map.
            offsets: (channels, *tile).
            origin: place of the tile's first pixel on the whole map.
        """
        steps = np.array(list(product(range(-FAR, FAR + 1), repeat=len(self.whole))), np.intp)
        last = np.array(self.whole) - 1
        pixels = (hills[:, None] + steps).reshape(-1, len(self.whole)).clip(0, last)
        keys = np.unique(np.ravel_multi_index(tuple(pixels.T), self.whole))
        places = np.array(np.unravel_index(keys, self.whole)) - np.array(origin)[:, None]
        index = torch.from_numpy(places).to(offsets.device)
        self.keys.append(keys)
        self.values.append(offsets[(slice(None), *index)].T.double().cpu().numpy())

    def at(self, pixels: NDArray[np.intp]) -> FloatArray:
        """(channels, n) the offsets at pixels (n, axes) of the whole map."""
        keys, values = np.concatenate(self.keys), np.concatenate(self.values)
        order = np.argsort(keys, kind="stable")
        wanted = np.ravel_multi_index(tuple(pixels.T), self.whole)
        found: FloatArray = values[order[np.searchsorted(keys[order], wanted)]].T
        return found
