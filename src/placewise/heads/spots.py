"""One map for each kind of spots: any number of spots is read off its hills."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from placewise.errors import SettingsError
from placewise.gathering import Gathering
from placewise.geometry import Size, to_image, to_map
from placewise.heads._maps import MapGrid, Maps
from placewise.peak_losses import PEAK_LOSSES, PeakLoss
from placewise.peaks import MOST, HillGathering, Peaks, find_peaks

SIDE = 64
"""Length of each axis of a map that is assumed where the size of the images is not known."""

LEAST = 0.005
"""Score below which a hill is no candidate."""

NO_KIND = -1
"""Kind of a place that only fills a batch up."""


class Spots(MapGrid):
    """One map of logits for each kind, hot at every spot of the kind.

    What a map is compared with, how, and how it is read, is the loss's affair: see
    `placewise.peak_losses.PeakLoss`; `placewise.peaks` finds the spots. Maps follow the features,
    so the head answers on images of any size, in 1, 2 or 3 dimensions.

    Args:
        in_channels: channels of the features.
        kinds: number of kinds of spots.
        stride: see `GridHead`.
        input_size: see `GridHead`.
        spatial_dims: see `GridHead`.
        loss: member of `PEAK_LOSSES`, or a loss.
        sigma: standard deviation of the Gaussians in pixels of the map.
        radius: pixels of the map within which there is one spot of a kind at most.
        most: spots of a kind that are read off every 65,536 pixels of a map at most, the surest.
        finer: map pixels for one pixel of the features, per axis.

    Raises:
        SettingsError: a setting that cannot be.

    Example:
        >>> head = Spots(8, kinds=2, stride=4)
        >>> maps = head(torch.rand(1, 8, 4, 4))
        >>> maps.shape, [len(kinds) for kinds in head.decode(maps, (16, 16))]
        (torch.Size([1, 2, 8, 8]), [2])
    """

    task = "spots"

    def __init__(
        self,
        in_channels: int,
        kinds: int,
        stride: int | Sequence[int] | None = None,
        input_size: Sequence[int] | None = None,
        spatial_dims: int | None = None,
        *,
        loss: str | PeakLoss = "poisson",
        sigma: float = 1.5,
        radius: float = 3.0,
        most: int = MOST,
        finer: int = 2,
    ) -> None:
        super().__init__(
            in_channels, kinds, stride, input_size, spatial_dims, sigma=sigma, finer=finer
        )
        if most < 1 or not 0 <= radius <= 1000:
            raise SettingsError(
                f"most is {most} and radius {radius} map pixels; most must be 1 or more, and "
                "radius between 0 and 1000"
            )
        self.radius, self.most = radius, most
        self.criterion = PEAK_LOSSES.make(loss)
        self.maps = Maps(in_channels, kinds, spatial_dims=self.spatial_dims, finer=finer)
        pixels = float(SIDE**self.spatial_dims)
        if self.stride and input_size:
            pixels = math.prod(input_size) / math.prod(self.map_stride)
        first = self.criterion.first_logit(pixels)
        nn.init.constant_(self.maps.values.bias, first)  # type: ignore[arg-type]

    @property
    def kinds(self) -> int:
        """Number of kinds: each has a map."""
        return self.keypoints

    def forward(self, features: Tensor) -> Tensor:
        """(batch, kinds, *map) logits of features (batch, in_channels, *size)."""
        self.check(features)
        logits: Tensor = self.maps(features)
        return logits

    def loss(self, output: Tensor, points: Tensor, kinds: Tensor, known: Tensor) -> Tensor:
        """Loss of each map, divided by the number of spots on its image, at least 1.

        Args:
            output: what `forward` returned.
            points: (batch, n, axes) in pixels of the image, in any order.
            kinds: (batch, n) kind of each; `NO_KIND` for a place that fills the batch up.
            known: (batch, kinds, *size) 1 where spots of a kind are labelled if there are any, 0
                where that is not known; *size is that of the image, or 1 along each axis.

        Returns:
            (batch, kinds) losses, exactly 0 for a kind of which nothing is known on an image.
        """
        target = self.target(points, kinds, tuple(output.shape[2:]))
        losses = self.criterion(output, target, self.known_on_maps(known))
        count = (kinds != NO_KIND).sum(1, keepdim=True).clamp_min(1)
        return losses / count

    def target(self, points: Tensor, kinds: Tensor, maps: Size) -> Tensor:
        """(batch, kinds, *maps) what the maps of logits are compared with; see `loss`."""
        image, number = torch.nonzero(kinds != NO_KIND, as_tuple=True)
        places = to_map(points[image, number], self.map_stride[::-1])
        of = image * self.kinds + kinds[image, number]
        count = len(points) * self.kinds
        made = self.criterion.target(places, of, count, maps, self.sigma)
        return made.view(len(points), self.kinds, *maps)

    def encode(self, points: Tensor, kinds: Tensor, size: Size) -> Tensor:
        """Raw output of a network that knows the truth, on images of this size; see `loss`."""
        maps = tuple(side // step for side, step in zip(size, self.map_stride, strict=True))
        return self.criterion.ideal(self.target(points, kinds, maps))

    def decode(self, output: Tensor, size: Size) -> list[list[Peaks]]:
        """Candidates of each image and kind, in pixels of the image, the surest first.

        Args:
            output: what `forward` returned.
            size: of the image proper; what lies beyond is padding, and no spot is put there.
        """
        scores, shapes = self.criterion.read(self.on_image(output.float(), size), self.sigma)
        found = find_peaks(
            scores.flatten(0, 1),
            self.radius,
            least=LEAST,
            most=self.most,
            shape=shapes.flatten(0, 1),
        )
        moved = self._on_image(found)
        return [moved[i : i + self.kinds] for i in range(0, len(moved), self.kinds)]

    def gathering(self, size: Size) -> Gathering[list[Peaks]]:
        """The same of one image, tile by tile.

        Args:
            size: of the image proper.
        """
        found = HillGathering(
            self.kinds,
            self.touched(size),
            lambda output: self.criterion.read(output, self.sigma),
            self.criterion.reach(self.sigma),
            radius=self.radius,
            least=LEAST,
            most=self.most,
        )
        return found.then(self._on_image)

    def _on_image(self, found: Sequence[Peaks]) -> list[Peaks]:
        """Points in pixels of the image."""
        return [Peaks(to_image(one.points, self.map_stride[::-1]), one.heat) for one in found]
