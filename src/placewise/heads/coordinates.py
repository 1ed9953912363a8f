"""The usual way: features to a vector, and the vector to coordinates."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import nn

from placewise.errors import SettingsError
from placewise.heads import Decoded, KeypointHead
from placewise.heads._maps import CERTAIN, check_size, fixed_size, presence_loss
from placewise.labels import Visibility

Gather = Literal["flatten", "pool"]


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
        input_size: (height, width) of the training images in pixels.
        gather: "flatten" or "pool".
        hidden: units of the hidden fully connected layer.
        cell: features are averaged over cells of this side before they are flattened, so that the
            fully connected layer stays of a usual size; 1 flattens every place.

    Example:
        >>> head = Coordinates(8, 2, 2, (16, 16), gather="flatten", cell=1)
        >>> head.decode(head(torch.rand(1, 8, 8, 8)), (16, 16)).keypoints.shape
        torch.Size([1, 2, 2])
    """

    crops = False

    def __init__(
        self,
        in_channels: int,
        keypoints: int,
        stride: int | None = None,
        input_size: tuple[int, int] | None = None,
        *,
        gather: Gather = "flatten",
        hidden: int = 256,
        cell: int = 8,
    ) -> None:
        super().__init__()
        if gather not in get_args(Gather):
            raise SettingsError(f"gather is '{gather}'; it must be one of {get_args(Gather)}")
        if min(hidden, cell) < 1:
            raise SettingsError(f"hidden is {hidden} and cell is {cell}; both must be 1 or more")
        self.gather, self.cell, self.stride, self.input_size = gather, cell, stride, input_size
        self.any_size = gather == "pool"
        inputs = in_channels
        if gather == "flatten":
            known, sides = fixed_size("coordinates", stride, input_size)
            inputs *= math.prod(-(-side // known // cell) for side in sides)
        self.hidden = nn.Linear(inputs, hidden)
        self.out = nn.Linear(hidden, 3 * keypoints)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(batch, keypoints, 3): x and y, −1 to 1 over the input, and the logit of presence."""
        if self.gather == "pool":
            vector = features.mean((-2, -1))
        else:
            check_size(features, self.stride, self.input_size)
            pooled = nn.functional.avg_pool2d(features, self.cell, ceil_mode=True)
            vector = pooled.flatten(1)
        hidden = torch.relu(self.hidden(vector))
        output: torch.Tensor = self.out(hidden)
        return output.view(len(output), -1, 3)

    def loss(
        self, output: torch.Tensor, keypoints: torch.Tensor, visibility: torch.Tensor
    ) -> torch.Tensor:
        """(batch, keypoints) losses; see `KeypointHead.loss`."""
        located = visibility >= Visibility.HIDDEN
        truth = torch.where(located[..., None], keypoints, 0.0)
        distance = (self._pixels(output[..., :2]) - truth).norm(dim=-1) / max(self._size)
        losses: torch.Tensor = distance * located + presence_loss(output[..., 2], visibility)
        return losses

    def encode(
        self, keypoints: torch.Tensor, visibility: torch.Tensor, size: tuple[int, int]
    ) -> torch.Tensor:
        """The coordinates themselves; see `KeypointHead.encode`."""
        located = (visibility >= Visibility.HIDDEN)[..., None]
        sides = keypoints.new_tensor(self._size[::-1])
        relative = torch.where(located, (keypoints + 0.5) / sides * 2 - 1, 0.0)
        return torch.cat((relative, torch.where(located, CERTAIN, -CERTAIN)), -1)

    def decode(self, output: torch.Tensor, size: tuple[int, int]) -> Decoded:
        """Keypoints; the uncertainty is 1 everywhere, for a vector does not say how sure it is."""
        points = self._pixels(output[..., :2].float())
        limit = points.new_tensor([size[1] - 0.5, size[0] - 0.5])
        return Decoded(
            torch.minimum(points.clamp_min(-0.5), limit),
            torch.sigmoid(output[..., 2].float()),
            torch.ones_like(points[..., 0]),
        )

    @property
    def _size(self) -> tuple[int, int]:
        return fixed_size("coordinates", self.stride, self.input_size)[1]

    def _pixels(self, relative: torch.Tensor) -> torch.Tensor:
        """−1..1 over the input, from edge to edge, to pixels."""
        sides = relative.new_tensor(self._size[::-1])
        return (relative + 1) / 2 * sides - 0.5
