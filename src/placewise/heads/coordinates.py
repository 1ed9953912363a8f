"""The usual way: features to a vector, and the vector to coordinates."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import nn

from placewise.errors import SettingsError
from placewise.heads import Decoded, KeypointHead
from placewise.heads._maps import CERTAIN, presence_loss
from placewise.labels import Visibility

Gather = Literal["flatten", "pool"]


class Coordinates(KeypointHead):
    """Flatten (or average) the features and regress the coordinates: the baseline.

    `flatten` joins every place of the features to every output, so the network is tied to the
    size it was trained on; `pool` averages over the places first, which any size allows and which
    leaves only what the channels know of place. Trained by the distance to the truth in units of
    the frame, whose larger side is 1.

    Args:
        channels: channels of the features.
        points: number of points.
        stride: image pixels for one pixel of the features.
        frame: (height, width) of the training images in pixels.
        gather: "flatten" or "pool".
        hidden: units of the hidden fully connected layer.
        cell: features are averaged over cells of this side before they are flattened, so that the
            fully connected layer stays of a usual size; 1 flattens every place.

    Example:
        >>> head = Coordinates(8, 2, 2, (16, 16), gather="flatten", cell=1)
        >>> head.keypoints(head(torch.rand(1, 8, 8, 8)), (16, 16)).points.shape
        torch.Size([1, 2, 2])
    """

    windows = False

    def __init__(
        self,
        channels: int,
        points: int,
        stride: int,
        frame: tuple[int, int],
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
        self.gather, self.stride, self.cell, self.frame = gather, stride, cell, frame
        self.any_size = gather == "pool"
        cells = [-(-side // stride // cell) for side in frame]
        inputs = channels * (1 if gather == "pool" else cells[0] * cells[1])
        self.hidden = nn.Linear(inputs, hidden)
        self.out = nn.Linear(hidden, 3 * points)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(batch, points, 3): x and y from −1 to 1 over the frame, and the logit of presence."""
        size = (features.shape[-2], features.shape[-1])
        if self.gather == "pool":
            vector = features.mean((-2, -1))
        elif (size[0] * self.stride, size[1] * self.stride) != self.frame:
            raise SettingsError(
                f"this head flattens features of {self.frame[1]}×{self.frame[0]} px images into "
                f"a vector, and each place has its own weights; it got an image of "
                f"{size[1] * self.stride}×{size[0] * self.stride} px. Bring the images to that "
                "size, or train with the head 'heatmap', which takes any size"
            )
        else:
            pooled = nn.functional.avg_pool2d(features, self.cell, ceil_mode=True)
            vector = pooled.flatten(1)
        hidden = torch.relu(self.hidden(vector))
        output: torch.Tensor = self.out(hidden)
        return output.view(len(output), -1, 3)

    def loss(
        self, output: torch.Tensor, points: torch.Tensor, visibility: torch.Tensor
    ) -> torch.Tensor:
        """(batch, points) losses; see `KeypointHead.loss`."""
        located = visibility >= Visibility.HIDDEN
        truth = torch.where(located[..., None], points, 0.0)
        distance = (self._pixels(output[..., :2]) - truth).norm(dim=-1) / max(self.frame)
        losses: torch.Tensor = distance * located + presence_loss(output[..., 2], visibility)
        return losses

    def encode(
        self, points: torch.Tensor, visibility: torch.Tensor, size: tuple[int, int]
    ) -> torch.Tensor:
        """The coordinates themselves; see `KeypointHead.encode`."""
        located = (visibility >= Visibility.HIDDEN)[..., None]
        sides = points.new_tensor([self.frame[1], self.frame[0]])
        relative = torch.where(located, (points + 0.5) / sides * 2 - 1, 0.0)
        return torch.cat((relative, torch.where(located, CERTAIN, -CERTAIN)), -1)

    def keypoints(self, output: torch.Tensor, size: tuple[int, int]) -> Decoded:
        """Keypoints; the spread is 1 everywhere, for a vector does not say how sure it is."""
        points = self._pixels(output[..., :2].float())
        limit = points.new_tensor([size[1] - 0.5, size[0] - 0.5])
        return Decoded(
            torch.minimum(points.clamp_min(-0.5), limit),
            torch.sigmoid(output[..., 2].float()),
            torch.ones_like(points[..., 0]),
        )

    def _pixels(self, relative: torch.Tensor) -> torch.Tensor:
        """−1..1 over the frame, from edge to edge, to pixels."""
        sides = relative.new_tensor([self.frame[1], self.frame[0]])
        return (relative + 1) / 2 * sides - 0.5
