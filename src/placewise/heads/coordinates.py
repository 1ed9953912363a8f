"""The usual way: features to a vector, and the vector to coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from placewise.errors import SettingsError
from placewise.geometry import Size
from placewise.heads import Decoded, KeypointHead
from placewise.heads._maps import check_size, fixed_size
from placewise.labels import Visibility
from placewise.losses import CERTAIN, presence_loss

Gather = Literal["flatten", "pool"]

AVERAGES = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)


class Coordinates(KeypointHead):
    """Flatten (or average) the features and regress the coordinates: the baseline.

    `flatten` joins every place of the features to every output, so the network is tied to the
    size it was trained on; `pool` averages over the places first, which any size allows and which
    leaves only what the channels know of place. Trained by the distance to the truth in units of
    the input, whose larger side is 1.

    Args:
        in_channels: channels of the features.
        keypoints: number of keypoints.
        stride: image pixels for one pixel of the features.
        input_size: size of the training images in pixels, which is the unit of the coordinates.
        spatial_dims: axes of an image; None: as many as the input size has, or else 2.
        gather: "flatten" or "pool"; "pool" can be told stride and input size by the model.
        hidden: units of the hidden fully connected layer.
        cell: features are averaged over cells of this side before they are flattened, so that the
            fully connected layer stays of a usual size; 1 flattens every place.

    Raises:
        SettingsError: a setting that cannot be, or "flatten" without stride or input size.

    Example:
        >>> head = Coordinates(8, 2, stride=2, input_size=(16, 16), gather="flatten", cell=1)
        >>> head.decode(head(torch.rand(1, 8, 8, 8)), (16, 16)).keypoints.shape
        torch.Size([1, 2, 2])
    """

    crops = False

    def __init__(
        self,
        in_channels: int,
        keypoints: int,
        stride: int | Sequence[int] | None = None,
        input_size: Sequence[int] | None = None,
        spatial_dims: int | None = None,
        *,
        gather: Gather = "flatten",
        hidden: int = 256,
        cell: int = 8,
    ) -> None:
        if gather not in get_args(Gather):
            raise SettingsError(f"gather is '{gather}'; it must be one of {get_args(Gather)}")
        if min(hidden, cell) < 1:
            raise SettingsError(f"hidden is {hidden} and cell is {cell}; both must be 1 or more")
        if gather == "flatten":
            fixed_size("coordinates", stride, input_size)
        super().__init__(in_channels, keypoints, stride, input_size, spatial_dims)
        self.gather, self.cell = gather, cell
        self.any_size = gather == "pool"
        inputs = in_channels
        if gather == "flatten":
            sides = zip(self._sides(), self.stride or (), strict=True)
            inputs *= math.prod(-(-side // step // cell) for side, step in sides)
        self.hidden = nn.Linear(inputs, hidden)
        self.out = nn.Linear(hidden, (self.spatial_dims + 1) * keypoints)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, keypoints, axes + 1): x, y, … from −1 to 1 over the input, logit of presence."""
        self.check(features)
        if self.gather == "pool":
            vector = features.mean(tuple(range(2, features.ndim)))
        else:
            check_size(features, self)
            average = AVERAGES[self.spatial_dims - 1]
            cells = [min(self.cell, side) for side in features.shape[2:]]
            vector = average(features, cells, ceil_mode=True).flatten(1)
        hidden = torch.relu(self.hidden(vector))
        output: Tensor = torch.unflatten(self.out(hidden), 1, (-1, self.spatial_dims + 1))
        return output

    def loss(self, output: Tensor, keypoints: Tensor, visibility: Tensor) -> Tensor:
        """(batch, keypoints) losses; see `KeypointHead.loss`."""
        located = visibility >= Visibility.HIDDEN
        truth = torch.where(located[..., None], keypoints, 0.0)
        distance = (self._pixels(output[..., :-1]) - truth).norm(dim=-1) / max(self._sides())
        losses: Tensor = distance * located + presence_loss(output[..., -1], visibility)
        return losses

    def encode(self, keypoints: Tensor, visibility: Tensor, size: Size) -> Tensor:
        """The coordinates themselves; see `KeypointHead.encode`."""
        located = (visibility >= Visibility.HIDDEN)[..., None]
        sides = keypoints.new_tensor(self._sides()[::-1])
        relative = torch.where(located, (keypoints + 0.5) / sides * 2 - 1, 0.0)
        return torch.cat((relative, torch.where(located, CERTAIN, -CERTAIN)), -1)

    def decode(self, output: Tensor, size: Size) -> Decoded:
        """Keypoints; the uncertainty is 1 for all, for a vector does not say how sure it is."""
        points = self._pixels(output[..., :-1].float())
        places = zip(points.unbind(-1), size[::-1], strict=True)
        return Decoded(
            torch.stack([place.clamp(-0.5, side - 0.5) for place, side in places], -1),
            torch.sigmoid(output[..., -1].float()),
            torch.ones_like(points[..., 0]),
        )

    def _sides(self) -> Size:
        """The input size, in whose units coordinates are given."""
        if self.input_size is None:
            raise SettingsError(
                "the head 'coordinates' gives coordinates in units of the input size, which it "
                "does not know; join it with a backbone in a KeypointModel, or build it with "
                "input_size=(height, width)"
            )
        return self.input_size

    def _pixels(self, relative: Tensor) -> Tensor:
        """−1..1 over the input, from edge to edge, to pixels."""
        sides = relative.new_tensor(self._sides()[::-1])
        return (relative + 1) / 2 * sides - 0.5
