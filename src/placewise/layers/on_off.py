"""ON and OFF cells: what is brighter and what is darker than its surroundings."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from placewise.errors import SettingsError
from placewise.layers._windows import Each, Padding, WindowLayer, Windows, filtered


class OnOff(WindowLayer):
    """Difference of Gaussians, its positive half in ON maps and its negative half in OFF maps.

    r = DoG * x, ON = max(r, 0), OFF = max(−r, 0), as cells of the retina and of V1 answer. At most
    one of the two is more than 0, so at least half of the values are exactly 0; ON − OFF gives r
    back. An even map gives nothing, with every padding rule that keeps it even.

    Args:
        in_channels: of the maps; each is filtered on its own.
        radius: of the centre, in places: where the filter changes its sign.
        ratio: γ, of the centre's Gaussian to that of the surround, between 0 and 1.
        stride: from one window to the next.
        padding: places to add; None: as many as the rule does, see `Convolution`.
        padding_mode: member of `PADDINGS`.
        learnable: whether each channel's filter is learned, starting as the difference of
            Gaussians. Its mean is taken off, so that an even map still gives nothing.
        spatial_dims: 1, 2 or 3 axes.

    Attributes:
        kernel: (in_channels, 1, *kernel_size) of the filters if they are learned, else
            (*kernel_size) of the one.

    Example:
        >>> layer = OnOff(1, spatial_dims=1)
        >>> on, off = layer(torch.tensor([[[1.0] * 4 + [2.0] * 4]]))[0]
        >>> on.round(decimals=2), torch.allclose(off, on.flip(0), atol=1e-6)
        (tensor([0.0000, 0.0000, 0.0000, 0.0000, 0.2200, 0.5000, 0.5000, 0.0000]), True)
    """

    kernel: Tensor

    def __init__(
        self,
        in_channels: int,
        radius: float = 2.0,
        ratio: float = 2 / 3,
        stride: Each = 1,
        padding: Padding = None,
        padding_mode: str = "symmetric",
        *,
        learnable: bool = False,
        spatial_dims: int = 2,
    ) -> None:
        kernel = difference_of_gaussians(radius, ratio, spatial_dims)
        windows = Windows(spatial_dims, kernel.shape, stride, padding, 1, padding_mode, in_channels)
        super().__init__(in_channels, 2 * in_channels, windows)
        self.learnable = learnable
        if learnable:
            self.kernel = nn.Parameter(kernel.expand(in_channels, 1, *kernel.shape).clone())
        else:
            self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, 2 · channels, *size_after): all ON maps, then all OFF maps."""
        response = self.response(maps)
        return torch.relu(torch.cat((response, -response), 1))

    def response(self, maps: Tensor) -> Tensor:
        """(batch, channels, *size_after): the filtered maps, ON − OFF."""
        self.check(maps)
        kernel = self.kernel
        if self.learnable:
            kernel = kernel - kernel.flatten(1).mean(1).view(-1, *[1] * (self.spatial_dims + 1))
        return filtered(maps, kernel, self.windows)


def difference_of_gaussians(radius: float, ratio: float, spatial_dims: int) -> Tensor:
    """The filter that `OnOff` begins with.

    DoG(x) ∝ γ^−d · exp(−|x|² / 2γ²σ²) − exp(−|x|² / 2σ²) in d dimensions, which changes its sign at
    |x| = r if σ = r/γ · √((1 − γ²) / (−2d · ln γ)); for d = 2 that is the formula of "On-Off
    Center-Surround Receptive Fields" (Babaiee et al., ICML 2021). Its side is 2⌈r/γ⌉ − 1 places,
    or 2⌊r/√d⌋ + 3 where that is more, so that some lie beyond r. The positive part is scaled to a
    sum of 1 and the negative to −1.

    Args:
        radius: r in places, at least 1.
        ratio: γ, between 0 and 1.
        spatial_dims: d.

    Returns:
        (*size) of float32, whose sum is 0.

    Raises:
        SettingsError: the radius or the ratio cannot be.

    Example:
        >>> difference_of_gaussians(1.5, 0.6, 1)
        tensor([-0.5000,  0.2321,  0.5358,  0.2321, -0.5000])
    """
    if radius < 1 or not 0 < ratio < 1:
        raise SettingsError(
            f"radius is {radius} and ratio is {ratio}; the radius must be 1 place or more and the "
            "ratio between 0 and 1, both ends excluded"
        )
    half = max(math.ceil(radius / ratio) - 1, int(radius / math.sqrt(spatial_dims)) + 1)
    squares = torch.arange(-half, half + 1, dtype=torch.float64).square()
    distance = torch.zeros((), dtype=torch.float64)
    for _ in range(spatial_dims):
        distance = distance[..., None] + squares
    variance = (radius / ratio) ** 2 * (1 - ratio**2) / (-2 * spatial_dims * math.log(ratio))
    centre = ratio**-spatial_dims * torch.exp(-distance / (2 * ratio**2 * variance))
    difference = centre - torch.exp(-distance / (2 * variance))
    above, below = difference.clamp_min(0), difference.clamp_max(0)
    return (above / above.sum() - below / below.sum()).float()
