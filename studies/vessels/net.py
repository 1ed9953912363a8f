"""The U-Net without what its skip connections carry."""

from __future__ import annotations

from torch import Tensor, nn

from placewise.backbones import Backbone
from placewise.backbones.unet import UNet


class NoSkips(Backbone):
    """A U-Net whose skip connections add nothing: all must pass its coarsest maps.

    The weights of the skips are zero and stay so; all else is the U-Net of the package, with the
    same first weights.

    Args:
        in_channels: channels of the image.
        spatial_dims: axes of the image.
        width: see `UNet`.
        depth: see `UNet`.
        padding_mode: see `UNet`.
        stem: see `UNet`.

    Example:
        >>> import torch
        >>> net = NoSkips(1, width=16, depth=1, stem=2)
        >>> net(torch.zeros(1, 1, 8, 8)).shape
        torch.Size([1, 8, 4, 4])
    """

    def __init__(
        self,
        in_channels: int,
        spatial_dims: int = 2,
        *,
        width: int = 32,
        depth: int = 2,
        padding_mode: str = "zeros",
        stem: int = 2,
    ) -> None:
        super().__init__()
        self.unet = UNet(
            in_channels,
            spatial_dims,
            width=width,
            depth=depth,
            padding_mode=padding_mode,
            stem=stem,
        )
        self.in_channels, self.spatial_dims = in_channels, spatial_dims
        self.out_channels, self.stride = self.unet.out_channels, self.unet.stride
        self.multiple, self.receptive_field = self.unet.multiple, self.unet.receptive_field
        for up in self.unet.ups:
            weight = up.get_submodule("skip").get_parameter("weight")
            nn.init.zeros_(weight).requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, out_channels, *size / stem) features; see `Backbone.forward`."""
        features: Tensor = self.unet(images)
        return features
