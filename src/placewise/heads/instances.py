"""Objects by their outlines: what is foreground, where centres are, and who points at which."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from placewise.errors import SettingsError
from placewise.heads._centres import (
    NOBODY,
    Objects,
    centre_loss,
    labelled_objects,
    offset_loss,
    offsets_to,
)
from placewise.heads._maps import DenseHead
from placewise.peak_losses import PEAK_LOSSES, PeakLoss

SURE = 10.0
"""Logit of an ideal map where it is sure."""

FAINT = 0.1
"""Scores of centres from which on they are read; what counts is chosen on validation images."""


@dataclass(frozen=True)
class Read:
    """What the maps of some images say, before pixels are grouped.

    Attributes:
        foreground: (batch, *map) probability that a pixel belongs to an object.
        centres: (batch, *map) scores in 0..1, whose maxima are centres.
        shapes: (batch, *map) heat that is shaped as a Gaussian about each centre.
        offsets: (batch, axes, *map) of (x, y, …) from each pixel to its centre, in pixels of the
            map.
        kinds: (batch, kinds, *map) probabilities; None where there is one kind.
    """

    foreground: Tensor
    centres: Tensor
    shapes: Tensor
    offsets: Tensor
    kinds: Tensor | None


class Instances(DenseHead):
    """Maps of the foreground, of centres, of offsets to the centre, and of kinds.

    Every pixel of the foreground belongs to the centre that is nearest to where its offset points
    (`placewise.grouping.vote`), so objects that touch are separated, whatever their shape. It works
    for images of any size, in 1, 2 and 3 dimensions.

    The loss is a sum of parts that are each about 1 at the start: cross-entropy of the foreground,
    in which pixels beside another object or its edge weigh more; the loss of centres; the mean
    error of offsets over that of offsets which are 0; and cross-entropy of kinds, if there are
    several.

    Args:
        in_channels: channels of the features.
        kinds: number of kinds of objects.
        stride: image pixels for one pixel of the features, along each axis.
        spatial_dims: axes of an image.
        loss: member of `PEAK_LOSSES`, or a loss: how centres are learnt.
        sigma: standard deviation about a centre in pixels of the image.
        unit: pixels of the image for an offset of 1; a quarter of an object's size is right.
        rim: how much more a pixel beside another object or at an edge weighs.
        map_stride: image pixels for one pixel of the maps; it must divide the stride of the
            features.

    Raises:
        SettingsError: a setting that cannot be.

    Example:
        >>> head = Instances(8, kinds=1, stride=4)
        >>> head(torch.zeros(1, 8, 5, 6)).shape
        torch.Size([1, 4, 20, 24])
    """

    task: ClassVar[str] = "instances"
    mirrors: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: int,
        kinds: int,
        stride: int = 4,
        spatial_dims: int = 2,
        *,
        loss: str | PeakLoss = "focal",
        sigma: float = 2.0,
        unit: float = 5.0,
        rim: float = 0.0,
        map_stride: int = 1,
    ) -> None:
        if in_channels < 1 or kinds < 1:
            raise SettingsError(
                f"in_channels is {in_channels} and kinds is {kinds}; both must be 1 or more"
            )
        parts = 2 + spatial_dims + (kinds if kinds > 1 else 0)
        super().__init__(in_channels, parts, stride, spatial_dims, map_stride)
        for name, value, least in (("sigma", sigma, 0.3), ("unit", unit, 0.1), ("rim", rim, 0)):
            if not least <= value <= 1e4:
                raise SettingsError(f"{name} is {value}; it must be {least} to 10,000")
        self.kinds = kinds
        self.sigma, self.unit, self.rim = sigma / map_stride, unit / map_stride, rim
        self.criterion = PEAK_LOSSES.make(loss)
        first = torch.zeros(parts)
        first[1] = self.first = self.criterion.first_logit(float(SIDE**spatial_dims))
        self.begin(first)

    def loss(self, output: Tensor, labels: Tensor, kinds: Tensor) -> Tensor:
        """Loss of each image.

        Args:
            output: what `forward` returned.
            labels: (batch, *image) whole numbers: 0 background, above 0 objects, below 0 nothing is
                known.
            kinds: (batch, *image) kind of each pixel's object, from 0; (batch,) where there is one
                kind.

        Returns:
            (batch,).
        """
        foreground, centres, offsets, told = self._parts(output)
        objects, known = self._objects(labels)
        owned = objects.owner != NOBODY
        weight = known * (1 + self.rim * beside_others(self._coarse(labels)))
        off = functional.binary_cross_entropy_with_logits(
            foreground, owned.to(foreground.dtype), reduction="none"
        )
        total = _mean(off, weight) / math.log(2)
        total = total + centre_loss(self.criterion, centres, objects, self.sigma, known, self.first)
        target = offsets_to(objects.centres, objects.owner)
        total = total + offset_loss(offsets, target, (owned & known.bool())[:, None])
        if told is not None:
            wrong = functional.cross_entropy(
                told, self._coarse(kinds).clamp_min(0), reduction="none"
            )
            total = total + _mean(wrong, owned * known) / math.log(self.kinds)
        return total

    def encode(self, labels: Tensor, kinds: Tensor) -> Tensor:
        """Raw output of a network that knows the truth; see `loss` for the arguments."""
        objects, _ = self._objects(labels)
        batch, size = len(labels), objects.size
        target = self.criterion.target(objects.centres, objects.of, batch, size, self.sigma)
        owned = (objects.owner != NOBODY).to(target.dtype)
        parts = [
            (2 * SURE * owned - SURE)[:, None],
            self.criterion.ideal(target[:, None]),
            offsets_to(objects.centres, objects.owner) / self.unit,
        ]
        if self.kinds > 1:
            told = functional.one_hot(self._coarse(kinds).clamp_min(0), self.kinds).movedim(-1, 1)
            parts.append(SURE * told.to(target.dtype))
        return torch.cat(parts, 1)

    def unmirrored(self, output: Tensor, axes: Sequence[int]) -> Tensor:
        """Maps mirrored back, in which offsets along the axes point the other way."""
        maps = super().unmirrored(output, axes).clone()
        for axis in axes:
            maps[:, 1 - axis].neg_()  # after foreground and centres: x, y, …
        return maps

    def read(self, output: Tensor) -> Read:
        """What the maps say.

        Args:
            output: what `forward` returned, as float32.
        """
        foreground, centres, offsets, told = self._parts(output)
        scores, shapes = self.criterion.read(centres[:, None], self.sigma)
        chances = None if told is None else torch.softmax(told, 1)
        return Read(torch.sigmoid(foreground), scores[:, 0], shapes[:, 0], offsets, chances)

    def _parts(self, output: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Foreground, centres, offsets in pixels of the map, and kinds, as logits."""
        offsets = output[:, 2 : 2 + self.spatial_dims] * self.unit
        told = output[:, 2 + self.spatial_dims :] if self.kinds > 1 else None
        return output[:, 0], output[:, 1], offsets, told

    def _objects(self, labels: Tensor) -> tuple[Objects, Tensor]:
        """The objects, and (batch, *map) 1 where all pixels are known, else 0."""
        objects = labelled_objects(labels, (self.map_stride,) * self.spatial_dims)
        lost = (labels < 0).to(torch.float32)[:, None]
        if self.map_stride > 1:
            lost = POOLS[self.spatial_dims - 1](lost, self.map_stride)
        return objects, (1 - lost)[:, 0]

    def _coarse(self, labels: Tensor) -> Tensor:
        """Numbers at the maps' stride: the largest in each cell."""
        if self.map_stride == 1:
            return labels.long()
        pool = POOLS[self.spatial_dims - 1]
        return pool(labels[:, None].double(), self.map_stride)[:, 0].long()


POOLS = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)

SIDE = 64
"""Pixels along each axis of the map on which one object is expected at first."""


def beside_others(labels: Tensor) -> Tensor:
    """1 for a pixel beside which another number lies, corner to corner too; 0 for others.

    Args:
        labels: (batch, *size).

    Example:
        >>> beside_others(torch.tensor([[0, 0, 0, 3, 3, 3, 4]])).tolist()
        [[0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0]]
    """
    axes = labels.ndim - 1
    pool = POOLS[axes - 1]
    numbers = labels[:, None].double()
    highest = pool(numbers, 3, 1, 1)
    lowest = -pool(-numbers, 3, 1, 1)
    return (highest != lowest)[:, 0].float()


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """(batch,) weighted mean over the pixels; 0 where all weights are 0."""
    total = (values * weight).flatten(1).sum(1)
    return total / weight.flatten(1).sum(1).clamp_min(1e-6)
