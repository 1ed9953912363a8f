"""What tiles of keypoint maps say together; see `placewise.gathering`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from placewise.decoders import Decoder, Hottest, hottest
from placewise.gathering import Gathering, Tile
from placewise.geometry import Size, to_image
from placewise.heads import Decoded
from placewise.heads._maps import FAINT

MOST = 1 << 20
"""Pixels of a map that are kept for the uncertainty. A map of which more are nearly as hot as the
hottest says nothing of a place; of it the hottest count."""

Heat = Callable[[Tensor, Tensor], Tensor]
"""(logits, logsumexp over the whole map) → heat; never falls where the logits rise."""


class _Sums:
    """Logsumexp over a map, and the mean place under its softmax, tile by tile in float64."""

    def __init__(self, maps: int, axes: int) -> None:
        self.top = torch.full((maps,), -torch.inf, dtype=torch.float64)
        self.mass = torch.zeros(maps, dtype=torch.float64)
        self.first = torch.zeros(maps, axes, dtype=torch.float64)

    def add(self, logits: Tensor, origin: Sequence[int]) -> None:
        """Take pixels.

        Args:
            logits: (maps, *size).
            origin: place of their first on the whole map, in the order of the axes.
        """
        axes = logits.ndim - 1
        top = torch.maximum(self.top, logits.flatten(1).amax(1).cpu().double())
        shift = top.to(logits.device, logits.dtype).view(-1, *[1] * axes)
        heat = (logits - shift).exp()
        before = (self.top - top).exp()
        self.mass = self.mass * before + heat.flatten(1).sum(1, dtype=torch.float64).cpu()
        moments = []
        for axis in reversed(range(axes)):
            over = tuple(d for d in range(1, axes + 1) if d != axis + 1)
            profile = heat.sum(over, dtype=torch.float64) if over else heat.double()
            places = torch.arange(profile.shape[1], dtype=torch.float64, device=heat.device)
            moments.append((profile * (places + origin[axis])).sum(1).cpu())
        self.first = self.first * before[:, None] + torch.stack(moments, -1)
        self.top = top

    @property
    def total(self) -> Tensor:
        """(maps,) logsumexp over all pixels."""
        return self.top + self.mass.log()

    @property
    def mean(self) -> Tensor:
        """(maps, axes) mean place (x, y, …) under the softmax."""
        return self.first / self.mass[:, None]


class KeypointGathering(Gathering[Decoded]):
    """The hottest pixel of each map with those about it, sums, and the pixels nearly as hot.

    Args:
        maps: number of maps.
        whole: size of the maps.
        stride: image pixels for one pixel of the maps, in the order of the axes.
        heat: from logits to heat.
        score: (largest logit, logsumexp) → probability that the keypoint is on the image.
        decoder: reads the place off the pixels about the hottest; None: the mean place of the
            softmax.
    """

    def __init__(
        self,
        maps: int,
        whole: Size,
        stride: Size,
        heat: Heat,
        score: Callable[[Tensor, Tensor], Tensor],
        decoder: Decoder | None,
    ) -> None:
        axes = len(whole)
        self.whole, self.stride, self.heat, self.score = whole, stride, heat, score
        self.decoder = decoder
        self.margin = decoder.reach if decoder else 0
        self.sums = _Sums(maps, axes)
        self.finite = torch.ones(maps, dtype=torch.bool)
        side = 2 * self.margin + 1
        self.top = torch.full((maps,), -torch.inf, dtype=torch.float64)
        self.lowest = torch.full((maps,), torch.inf, dtype=torch.float64)
        self.place = torch.zeros(maps, axes, dtype=torch.long)
        self.windows = torch.zeros(maps, *[side] * axes, dtype=torch.float64)
        self.inside = torch.zeros(maps, axes, side, dtype=torch.bool)
        self.hot = [torch.empty(0, 1 + axes, dtype=torch.float64) for _ in range(maps)]

    def add(self, tile: Tile) -> None:
        """See `Gathering.add`."""
        own, begin = tile.own(), [part.start for part in tile.core]
        self.finite &= own.isfinite().flatten(1).all(1).cpu()
        self.sums.add(own, begin)
        found = hottest(own, 0)
        self.lowest = torch.minimum(self.lowest, found.lowest)
        place = found.place + torch.tensor(begin[::-1])
        better = (found.peak > self.top) | (
            (found.peak == self.top) & (self._order(place) < self._order(self.place))
        )
        for number in torch.nonzero(better).flatten().tolist():
            self.top[number], self.place[number] = found.peak[number], place[number]
            self._cut(tile, number)
        self._keep(own, begin)

    def _order(self, place: Tensor) -> Tensor:
        """(maps,) number of pixels in reading order."""
        index = torch.zeros(len(place), dtype=torch.long)
        for side, along in zip(self.whole, place.flip(1).unbind(1), strict=True):
            index = index * side + along
        return index

    def _cut(self, tile: Tile, number: int) -> None:
        """Keep the pixels about the hottest of a map."""
        reach, place = self.margin, self.place[number].flip(0).tolist()
        sides = zip(place, self.whole, tile.origin, tile.inside().shape[1:], strict=True)
        self.inside[number], self.windows[number] = False, 0.0
        window, target = tile.maps[number], self.windows[number]
        for axis, (at, side, origin, length) in enumerate(sides):
            first, last = max(0, at - reach), min(side, at + reach + 1)
            if not origin <= first < last <= origin + length:
                raise AssertionError("a tile has a narrower margin than its gathering asks for")
            window = window.narrow(axis, first - origin, last - first)
            target = target.narrow(axis, first - at + reach, last - first)
            here = slice(first - at + reach, last - at + reach)
            self.inside[number, len(self.whole) - 1 - axis, here] = True
        target.copy_(window)

    def _keep(self, own: Tensor, begin: Sequence[int]) -> None:
        """Keep the pixels that are at least `FAINT` of the hottest until now."""
        for number, logits in enumerate(own):
            top = self.top[number].to(logits)
            least = FAINT * self.heat(top, top)
            there = torch.nonzero(self.heat(logits, top) >= least)
            if not len(there):
                continue
            values = logits[tuple(there.T)].double()[:, None]
            places = (there + torch.tensor(begin, device=there.device)).flip(1).double()
            kept = torch.cat([self.hot[number], torch.cat([values, places], 1).cpu()])
            self.hot[number] = self._hottest(kept, number)

    def _hottest(self, kept: Tensor, number: int) -> Tensor:
        """Pixels that still are hot enough, `MOST` at most."""
        top = self.top[number]
        kept = kept[self.heat(kept[:, 0], top) >= FAINT * self.heat(top, top)]
        return kept[kept[:, 0].topk(MOST).indices] if len(kept) > MOST else kept

    def result(self) -> Decoded:
        """See `Gathering.result`."""
        total, stride = self.sums.total, [float(step) for step in self.stride[::-1]]
        if self.decoder is None:
            points = self.sums.mean
        else:
            spread = total.view(-1, *[1] * len(self.whole))
            peak = self.heat(self.top, total)
            lowest = torch.where(self.top == self.lowest, peak, self.heat(self.lowest, total))
            heat = self.heat(self.windows, spread)
            found = Hottest(self.place, peak, lowest, heat, self.inside)
            points = self.decoder.read(found, self.whole)
        points = points.masked_fill(~self.finite[:, None], torch.nan)
        unsure = torch.stack([self._uncertainty(n, points[n]) for n in range(len(points))])
        scores = self.score(self.top, total)
        return Decoded(to_image(points, stride)[None], scores[None], unsure[None])

    def _uncertainty(self, number: int, point: Tensor) -> Tensor:
        """Root mean squared distance of the heat from a place; see `_maps.uncertainty`."""
        stride = torch.tensor(self.stride[::-1], dtype=torch.float64)
        kept = self._hottest(self.hot[number], number)
        heat = self.heat(kept[:, 0], self.top[number])
        squares = (((kept[:, 1:] - point) * stride) ** 2).sum(1)
        found = (heat * squares).sum() / heat.sum().clamp_min(1e-12)
        return found.sqrt().clamp_min(0.5 * min(self.stride))
