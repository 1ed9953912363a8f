"""Several objects on one image: a map for each keypoint, one for centres, and offsets between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from placewise.errors import SettingsError
from placewise.geometry import FloatArray, Size, to_image, to_map
from placewise.heads._maps import MapGrid, Maps
from placewise.labels import Visibility
from placewise.losses import PEAK_LOSSES, PeakLoss
from placewise.peaks import Peaks, find_peaks

SIDE = 64
"""Length of each axis of a map that is assumed where the size of the images is not known."""

APART = 0.15
"""Least distance of the centres of two objects, as a share of an object's extent."""

DISC = 0.06
"""Radius about a centre within which its offsets are learnt, as a share of an object's extent."""

WIDE = 0.03
"""σ about a centre as a share of an object's extent, where that is more than a keypoint's."""

UNIT = 0.25
"""What is 1 in the offsets, as a share of an object's extent."""

LEAST = 0.05
"""Score below which a peak is none."""

MOST = 200
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
    offsets are learnt within a small disc about each centre, with the absolute error in units of
    a quarter of the object's extent, for located keypoints, also for those beyond the image. A
    centre beyond the image is not learnt, nor is anything about an object with a keypoint that is
    not labelled in the map of that keypoint.

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
        offsets: weight of the offsets' error.

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
        offsets: float = 1.0,
    ) -> None:
        if not (extent > 0 and math.isfinite(extent) and 0 < offsets < 1e6):
            raise SettingsError(
                f"extent is {extent} px and offsets is {offsets}; both must be above 0"
            )
        super().__init__(
            in_channels, keypoints, stride, input_size, spatial_dims, sigma=sigma, finer=finer
        )
        self.criterion = PEAK_LOSSES.make(loss)
        self.extent, self.offsets = extent, offsets
        axes = self.spatial_dims
        self.maps = Maps(in_channels, keypoints + 1, spatial_dims=axes, finer=finer)
        self.arrows = Maps(in_channels, axes * keypoints, spatial_dims=axes, finer=finer)
        pixels = float(SIDE**axes)
        if self.stride and self.input_size:
            pixels = math.prod(self.input_size) / math.prod(self.map_stride)
        nn.init.constant_(self.maps.values.bias, self.criterion.first_logit(pixels))  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """(batch, keypoints + 1 + axes · keypoints, *map): logits of keypoints and centres, offsets.

        The offsets of a keypoint are together, (x, y, …), in units of a quarter of the extent.
        """
        self.check(features)
        return torch.cat([self.maps(features), self.arrows(features)], 1)

    @property
    def wide(self) -> float:
        """σ about a centre in pixels of the map."""
        return max(self.sigma, WIDE * self.extent / max(self.map_stride))

    def loss(self, output: Tensor, keypoints: Tensor, visibility: Tensor) -> Tensor:
        """Loss of each image.

        Args:
            output: what `forward` returned.
            keypoints: (batch, instances, keypoints, axes) in pixels of the image, also beyond it;
                NaN where not located.
            visibility: (batch, instances, keypoints) of `Visibility`, absent beyond the image.

        Returns:
            (batch,).
        """
        count, size = self.keypoints, output.shape[2:]
        target = self._targets(keypoints, visibility, size).to(output.dtype)
        known = self._known(keypoints, visibility, size)
        each = self.criterion(output[:, : count + 1], target, known)
        offsets = self._offsets(output[:, count + 1 :], keypoints)
        return each[:, :count].mean(1) + each[:, count] + self.offsets * offsets

    def encode(self, keypoints: Tensor, visibility: Tensor, size: Size) -> Tensor:
        """Raw output of a network that knows the truth.

        Args:
            keypoints: see `loss`.
            visibility: see `loss`.
            size: of the image, multiples of the features' stride.
        """
        maps = tuple(side // step for side, step in zip(size, self.map_stride, strict=True))
        logits = self.criterion.ideal(self._targets(keypoints, visibility, maps))
        centres, places = _centres(keypoints), self._places(maps)
        away = (places[:, :, None] - centres[:, None]).nan_to_num(torch.inf).square().sum(-1)
        nearest = away.argmin(2)
        index = nearest[..., None, None].expand(*nearest.shape, *keypoints.shape[2:])
        chosen = keypoints.gather(1, index)
        arrows = (chosen - places[..., None, :]) / (UNIT * self.extent)
        arrows = arrows.nan_to_num(0.0).flatten(2).transpose(1, 2)
        return torch.cat([logits, arrows.reshape(len(logits), -1, *maps)], 1)

    def decode(self, output: Tensor, size: Size) -> list[Candidates]:
        """Centres, expected places and peaks of each image.

        Args:
            output: what `forward` returned.
            size: of the image proper; what lies beyond is padding, and no peak is there.
        """
        output = self.on_image(output.float(), size)
        count, stride = self.keypoints, self.map_stride[::-1]
        score, shape = self.criterion.read(output[:, :count], self.sigma)
        sure, round_ = self.criterion.read(output[:, count : count + 1], self.wide)
        apart = max(1.0, APART * self.extent / max(stride))
        peaks = find_peaks(
            score.flatten(0, 1), self.sigma, least=LEAST, most=MOST, shape=shape.flatten(0, 1)
        )
        centres = find_peaks(sure[:, 0], apart, least=LEAST, most=MOST, shape=round_[:, 0])
        arrows = output[:, count + 1 :].double().cpu().numpy()
        heat = score.double().cpu().numpy()
        return [
            self._candidates(centres[i], peaks[i * count : (i + 1) * count], heat[i], arrows[i])
            for i in range(len(output))
        ]

    def _candidates(
        self, centres: Peaks, peaks: Sequence[Peaks], heat: FloatArray, arrows: FloatArray
    ) -> Candidates:
        stride = [float(step) for step in self.map_stride[::-1]]
        size = np.array(heat.shape[1:])
        pixel = np.rint(centres.points[:, ::-1]).astype(int).clip(0, size - 1)
        shape = (self.keypoints, self.spatial_dims, len(pixel))
        away = arrows[(slice(None), *pixel.T)].reshape(shape).transpose(2, 0, 1)
        from_ = to_image(pixel[:, ::-1].astype(np.float64), stride)
        expected = from_[:, None] + away * UNIT * self.extent
        places = np.concatenate([one.points for one in peaks])
        return Candidates(
            to_image(centres.points, stride),
            centres.heat,
            expected,
            _about(heat, to_map(expected, stride)),
            to_image(places, stride),
            np.repeat(np.arange(len(peaks)), [len(one.heat) for one in peaks]),
            np.concatenate([one.heat for one in peaks]),
        )

    def _targets(self, keypoints: Tensor, visibility: Tensor, size: Size) -> Tensor:
        """(batch, keypoints + 1, *map) what the maps are compared with."""
        batch, _, count = visibility.shape
        stride = self.map_stride[::-1]
        image, _, kind = torch.nonzero(visibility >= Visibility.HIDDEN, as_tuple=True)
        places = to_map(keypoints[visibility >= Visibility.HIDDEN], stride)
        maps = self.criterion.target(places, image * count + kind, batch * count, size, self.sigma)
        centres = to_map(_centres(keypoints), stride)
        limit = centres.new_tensor(size[::-1]) - 0.5
        inside = ((centres >= -0.5) & (centres <= limit)).all(-1)
        of = torch.nonzero(inside)[:, 0]
        middle = self.criterion.target(centres[inside], of, batch, size, self.wide)
        return torch.cat([maps.view(batch, count, *size), middle[:, None]], 1)

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

    def _offsets(self, arrows: Tensor, keypoints: Tensor) -> Tensor:
        """(batch,) absolute error of the offsets: a mean for each object, summed over objects."""
        axes, size = self.spatial_dims, arrows.shape[2:]
        stride = self.map_stride[::-1]
        centres = _centres(keypoints)
        there = centres.isfinite().all(-1)
        middle = to_map(centres.nan_to_num(0.0), stride).round()
        pixels = middle[:, :, None] + self._disc(arrows.device)
        limit = pixels.new_tensor(size[::-1])
        inside = ((pixels >= 0) & (pixels < limit)).all(-1) & there[..., None]
        inside &= ((middle >= 0) & (middle < limit)).all(-1)[..., None]
        clamped = pixels.clamp_min(0).minimum(limit - 1)
        index = torch.zeros_like(clamped[..., 0])
        for axis in reversed(range(axes)):
            index = index * size[axes - 1 - axis] + clamped[..., axis]
        flat = index.long().flatten(1)[:, None].expand(-1, arrows.shape[1], -1)
        read = arrows.flatten(2).gather(2, flat)
        read = read.view(len(arrows), self.keypoints, axes, *pixels.shape[1:3])
        aims = keypoints[:, :, None] - to_image(clamped, stride)[:, :, :, None]
        aims = (aims / (UNIT * self.extent)).permute(0, 3, 4, 1, 2)
        counts = aims.isfinite() & inside[:, None, None]
        error = torch.where(counts, (read - aims.nan_to_num(0.0)).abs(), 0.0)
        each = error.sum((1, 2, 4)) / counts.sum((1, 2, 4)).clamp_min(1)
        return each.sum(1)

    def _disc(self, device: torch.device) -> Tensor:
        """(pixels, axes) steps from a centre to the pixels whose offsets are learnt."""
        radius = max(1.0, DISC * self.extent / max(self.map_stride))
        along = range(-math.floor(radius), math.floor(radius) + 1)
        steps = list(product(along, repeat=self.spatial_dims))
        near = [step for step in steps if math.dist(step, [0] * len(step)) <= radius]
        return torch.tensor(near, device=device, dtype=torch.float32)


def _centres(keypoints: Tensor) -> Tensor:
    """(batch, instances, axes) mean of the located keypoints; NaN where there is none."""
    return keypoints.nanmean(2)


def _about(heat: FloatArray, places: FloatArray) -> FloatArray:
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
