"""Several objects on one image: a map for each keypoint, one for centres, and offsets between."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from placewise.errors import SettingsError
from placewise.gathering import Gathering
from placewise.geometry import FloatArray, Size, to_image, to_map
from placewise.heads._centres import NOBODY, Objects, centre_loss, objects_about, offsets_to
from placewise.heads._maps import MapGrid, Maps
from placewise.labels import Visibility
from placewise.peak_losses import PEAK_LOSSES, PeakLoss
from placewise.peaks import Peaks, find_peaks

SIDE = 64
"""Length of each axis of a map that is assumed where the size of the images is not known."""

CLOSE = 2.0
"""Least distance of two peaks of a keypoint in σ: what is nearer is one."""

APART = 0.15
"""Least distance of the centres of two objects, as a share of an object's extent."""

DISC = 0.06
"""Radius about a centre within which its offsets are learnt, as a share of an object's extent."""

WIDE = 0.03
"""σ about a centre as a share of an object's extent, where that is more than a keypoint's."""

UNIT = 0.25
"""What is 1 in the offsets, as a share of an object's extent."""

LITTLE = 0.1
"""Offsets of an image, in units, count as this long at least for each keypoint."""

LEAST = 0.1
"""Score below which a peak is none; a network that knows nothing has 0.06."""

MOST = 100
"""Peaks of a map at most."""

MARGIN = 0.25
"""How far an object reaches beyond its located keypoints, as a share of the box about them."""


@dataclass(frozen=True)
class Candidates:
    """What the maps of one image say: centres, where each expects its keypoints, and peaks.

    All places are (x, y, …) in pixels of the image that the network saw.

    Attributes:
        centres: (n, axes) of objects, the surest first.
        scores: (n,) of the centres.
        expected: (n, keypoints, axes) centre plus offset.
        heat: (n, keypoints) largest score about each expected place.
        peaks: (m, axes) places at which maps of keypoints have a peak.
        kinds: (m,) of which keypoint.
        peak_scores: (m,) of the peaks.
    """

    centres: FloatArray
    scores: FloatArray
    expected: FloatArray
    heat: FloatArray
    peaks: FloatArray
    kinds: NDArray[np.intp]
    peak_scores: FloatArray


class Poses(MapGrid):
    """One map for each keypoint, one for the centres of objects, and offsets centre → keypoint.

    Maps of keypoints and of centres have any number of peaks and are trained with a loss of peaks
    (see `placewise.losses`). The centre of an object is the mean of its located keypoints. The
    offsets are learnt within a small disc about each centre, with the absolute error, for located
    keypoints, also for those beyond the image. A centre beyond the image is not learnt. Where an
    object has a keypoint that is not labelled, nothing is learnt about it in the map of that
    keypoint.

    Args:
        in_channels: channels of the features.
        keypoints: number of keypoints.
        stride: see `GridHead`.
        input_size: see `GridHead`.
        spatial_dims: see `GridHead`.
        loss: member of `PEAK_LOSSES`, or a loss of peaks.
        sigma: standard deviation about a keypoint in pixels of the map.
        finer: map pixels for one pixel of the features, per axis.
        extent: diagonal of an object in pixels of the image that the network sees.

    Raises:
        SettingsError: a setting that cannot be.

    Example:
        >>> head = Poses(8, keypoints=3, stride=4)
        >>> head(torch.rand(1, 8, 4, 4)).shape
        torch.Size([1, 10, 8, 8])
    """

    task = "poses"

    def __init__(
        self,
        in_channels: int,
        keypoints: int,
        stride: int | Sequence[int] | None = None,
        input_size: Sequence[int] | None = None,
        spatial_dims: int | None = None,
        *,
        loss: str | PeakLoss = "focal",
        sigma: float = 1.5,
        finer: int = 2,
        extent: float = 64.0,
    ) -> None:
        if not 1 <= extent <= 1e5:
            raise SettingsError(f"extent is {extent} px; it must be between 1 and 100,000")
        super().__init__(
            in_channels, keypoints, stride, input_size, spatial_dims, sigma=sigma, finer=finer
        )
        self.criterion = PEAK_LOSSES.make(loss)
        self.extent = extent
        axes = self.spatial_dims
        self.maps = Maps(in_channels, keypoints + 1, spatial_dims=axes, finer=finer)
        self.arrows = Maps(in_channels, axes * keypoints, spatial_dims=axes, finer=finer)
        pixels = float(SIDE**axes)
        if self.stride and self.input_size:
            pixels = math.prod(self.input_size) / math.prod(self.map_stride)
        self.first = self.criterion.first_logit(pixels)
        nn.init.constant_(self.maps.values.bias, self.first)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """(batch, keypoints + 1 + axes · keypoints, *map): logits, and offsets of centres.

        The offsets of a keypoint are together, (x, y, …), in units of a quarter of the extent.
        """
        self.check(features)
        return torch.cat([self.maps(features), self.arrows(features)], 1)

    @property
    def unit(self) -> float:
        """Pixels of the map that are 1 in the offsets."""
        return UNIT * self.extent / max(self.map_stride)

    @property
    def wide(self) -> float:
        """σ about a centre in pixels of the map."""
        return max(self.sigma, WIDE * self.extent / max(self.map_stride))

    @property
    def apart(self) -> float:
        """Least distance of the centres of two objects in pixels of the map."""
        return max(1.0, APART * self.extent / max(self.map_stride))

    def loss(
        self, output: Tensor, keypoints: Tensor, visibility: Tensor, labelled: Tensor
    ) -> Tensor:
        """Loss of each image: maps of keypoints, map of centres and offsets, each 1 at the start.

        Args:
            output: what `forward` returned.
            keypoints: (batch, instances, keypoints, axes) in pixels of the image, also beyond it;
                NaN where not located.
            visibility: (batch, instances, keypoints) of `Visibility`, absent beyond the image.
            labelled: (batch, 1, *size) 1 where all objects are labelled, 0 in a crowd; *size is
                that of the image, or 1 along each axis.

        Returns:
            (batch,).
        """
        count, size = self.keypoints, output.shape[2:]
        known = self._known(keypoints, visibility, size) * self.known_on_maps(labelled)
        objects, places = self._objects(keypoints, size)
        peaks = self._peaks(output[:, :count], keypoints, visibility, known[:, :count])
        centres = centre_loss(
            self.criterion, output[:, count], objects, self.wide, known[:, count], self.first
        )
        return peaks + centres + self._offsets(output[:, count + 1 :], objects, places)

    def encode(self, keypoints: Tensor, visibility: Tensor, size: Size) -> Tensor:
        """Raw output of a network that knows the truth.

        Args:
            keypoints: see `loss`.
            visibility: see `loss`.
            size: of the image, multiples of the features' stride.
        """
        maps = tuple(side // step for side, step in zip(size, self.map_stride, strict=True))
        objects, places = self._objects(keypoints, maps)
        centres = self.criterion.target(
            objects.centres, objects.of, len(keypoints), maps, self.wide
        )
        target = torch.cat([self._targets(keypoints, visibility, maps), centres[:, None]], 1)
        arrows = [
            offsets_to(places[:, k].nan_to_num(0.0), objects.owner) / self.unit
            for k in range(self.keypoints)
        ]
        return torch.cat([self.criterion.ideal(target), *arrows], 1)

    def decode(self, output: Tensor, size: Size) -> list[Candidates]:
        """Centres, expected places and peaks of each image.

        Args:
            output: what `forward` returned.
            size: of the image proper; what lies beyond is padding, and no peak is there.
        """
        output = self.on_image(output.float(), size)
        count = self.keypoints
        score, shape = self.criterion.read(output[:, :count], self.sigma)
        sure, round_ = self.criterion.read(output[:, count : count + 1], self.wide)
        peaks = find_peaks(
            score.flatten(0, 1),
            CLOSE * self.sigma,
            least=LEAST,
            most=MOST,
            shape=shape.flatten(0, 1),
        )
        centres = find_peaks(sure[:, 0], self.apart, least=LEAST, most=MOST, shape=round_[:, 0])
        arrows = output[:, count + 1 :].double().cpu().numpy()
        heat = score.double().cpu().numpy()
        return [
            self.candidates(
                centres[i],
                peaks[i * count : (i + 1) * count],
                heat[i],
                lambda pixels, own=arrows[i]: own[(slice(None), *pixels.T)],  # type: ignore[misc]
            )
            for i in range(len(output))
        ]

    def gathering(self, size: Size) -> Gathering[Candidates]:
        """The same of one image, tile by tile.

        Args:
            size: of the image proper.
        """
        from placewise.heads._poses_gathered import PoseGathering  # it reads what is here

        return PoseGathering(self, self.touched(size))

    def candidates(
        self,
        centres: Peaks,
        peaks: Sequence[Peaks],
        heat: NDArray[np.floating],
        arrows: Callable[[NDArray[np.intp]], FloatArray],
    ) -> Candidates:
        """What the maps of one image say.

        Args:
            centres: of objects, in pixels of the map.
            peaks: of each keypoint.
            heat: (keypoints, *size) scores of all pixels.
            arrows: (n, axes) pixels (…, y, x) of the map → (axes · keypoints, n) raw offsets there.
        """
        stride = [float(step) for step in self.map_stride[::-1]]
        size = np.array(heat.shape[1:])
        pixel = np.rint(centres.points[:, ::-1]).astype(int).clip(0, size - 1)
        shape = (self.keypoints, self.spatial_dims, len(pixel))
        away = arrows(pixel).reshape(shape).transpose(2, 0, 1)
        expected = pixel[:, None, ::-1] + away * self.unit
        places = np.concatenate([one.points for one in peaks])
        return Candidates(
            to_image(centres.points, stride),
            centres.heat,
            to_image(expected, stride),
            _about(heat, expected),
            to_image(places, stride),
            np.repeat(np.arange(len(peaks)), [len(one.heat) for one in peaks]),
            np.concatenate([one.heat for one in peaks]),
        )

    def _objects(self, keypoints: Tensor, size: Size) -> tuple[Objects, Tensor]:
        """Objects whose centre is on the image, and (n, keypoints, axes) of each on the map."""
        places = to_map(keypoints, self.map_stride[::-1])
        centres = places.nanmean(2)
        limit = centres.new_tensor(size[::-1]) - 0.5
        on = ((centres >= -0.5) & (centres <= limit)).all(-1)
        of = torch.nonzero(on)[:, 0]
        reach = max(1.0, DISC * self.extent / max(self.map_stride))
        return objects_about(centres[on], of, len(keypoints), size, reach), places[on]

    def _targets(self, keypoints: Tensor, visibility: Tensor, size: Size) -> Tensor:
        """(batch, keypoints, *map) what the maps of keypoints are compared with."""
        batch, _, count = visibility.shape
        located = visibility >= Visibility.HIDDEN
        image, _, kind = torch.nonzero(located, as_tuple=True)
        places = to_map(keypoints[located], self.map_stride[::-1])
        of = image * count + kind
        maps = self.criterion.target(places, of, batch * count, size, self.sigma)
        return maps.view(batch, count, *size)

    def _peaks(
        self, logits: Tensor, keypoints: Tensor, visibility: Tensor, known: Tensor
    ) -> Tensor:
        """(batch,) loss of the maps of keypoints over that before training.

        An image with fewer keypoints than a single object has is divided by what one has.
        """
        size = tuple(logits.shape[2:])
        target = self._targets(keypoints, visibility, size).to(logits.dtype)
        with torch.no_grad():
            start = self.criterion(torch.full_like(logits, self.first), target, known).sum(1)
            middle = logits.new_tensor([[(side - 1) / 2 for side in reversed(size)]])
            one = torch.zeros(1, dtype=torch.long, device=logits.device)
            lone = self.criterion.target(middle, one, 1, size, self.sigma)[None]
            blank = torch.full_like(lone, self.first)
            least = self.keypoints * self.criterion(blank, lone, torch.ones_like(lone)).sum()
        return self.criterion(logits, target, known).sum(1) / torch.maximum(start, least)

    def _offsets(self, arrows: Tensor, objects: Objects, places: Tensor) -> Tensor:
        """(batch,) absolute error of the offsets over that of offsets which are 0."""
        owned = objects.owner != NOBODY
        pixels = torch.nonzero(owned)
        read = arrows.movedim(1, -1)[owned].view(-1, self.keypoints, self.spatial_dims)
        aims = places[objects.owner[owned]] - pixels[:, None, 1:].flip(-1)
        there = aims.isfinite()
        aims = aims.nan_to_num(0.0) / self.unit
        off = torch.where(there, (read - aims).abs(), 0.0).sum((1, 2))
        start = aims.abs().sum((1, 2))
        sums = arrows.new_zeros(2, len(arrows))
        sums = sums.index_add(1, pixels[:, 0], torch.stack([off, start]).to(sums.dtype))
        return sums[0] / sums[1].clamp_min(LITTLE * self.keypoints)

    def _known(self, keypoints: Tensor, visibility: Tensor, size: Size) -> Tensor:
        """(batch, keypoints + 1, *map): 0 where an object may have a keypoint without a label."""
        unlabelled = visibility == Visibility.UNLABELLED
        low = keypoints.nan_to_num(torch.inf).amin(2)
        high = keypoints.nan_to_num(-torch.inf).amax(2)
        more = MARGIN * (high - low).amax(-1, keepdim=True)
        nothing = unlabelled.all(2, keepdim=True)  # anything may be anywhere
        low = torch.where(nothing, -torch.inf, low - more)
        high = torch.where(nothing, torch.inf, high + more)
        places = self._places(size)[:, None]
        within = ((places >= low[:, :, None]) & (places <= high[:, :, None])).all(-1)
        hidden = torch.einsum("bip,bik->bkp", within.float(), unlabelled.float()) > 0
        no_centre = (within & nothing).any(1, keepdim=True)
        known = 1 - torch.cat([hidden, no_centre], 1).float()
        return known.view(*known.shape[:2], *size)

    def _places(self, size: Size) -> Tensor:
        """(1, pixels, axes) places (x, y, …) of a map's pixels on the image."""
        device = self.maps.values.weight.device
        sides = [torch.arange(side, device=device, dtype=torch.float32) for side in size]
        grid = torch.meshgrid(*sides, indexing="ij")
        places = torch.stack([one.flatten() for one in grid[::-1]], -1)
        return to_image(places, self.map_stride[::-1])[None]


def _about(heat: NDArray[np.floating], places: FloatArray) -> FloatArray:
    """(n, keypoints) largest score within a pixel of each place, 0 beyond the map.

    Args:
        heat: (keypoints, *size).
        places: (n, keypoints, axes) of (x, y, …) in pixels of the map.
    """
    axes = places.shape[-1]
    kinds = np.arange(len(heat))
    found = np.zeros(places.shape[:2])
    nearest = np.rint(places[..., ::-1]).astype(int)
    for step in product((-1, 0, 1), repeat=axes):
        pixel = nearest + step
        inside = np.asarray(((pixel >= 0) & (pixel < heat.shape[1:])).all(-1))
        pixel = np.where(inside[..., None], pixel, 0)
        values = heat[(kinds, *np.moveaxis(pixel, -1, 0))]
        found = np.maximum(found, np.where(inside, values, 0.0))
    return found
