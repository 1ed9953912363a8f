"""A convolution whose weights are not shared: every place has its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from placewise.errors import ShapeError
from placewise.geometry import Size
from placewise.layers._products import products
from placewise.layers._windows import Each, Padding, WindowLayer, Windows, ones
from placewise.layers.convolution import Convolution, check_groups

CLAMPED = "clamped"
"""Windows that would hang over the border are moved inside."""

DENSE = 2**16
"""Most entries of a dense matrix that is quicker than many small ones: benchmarks/layers.py."""


class LocallyConnected(WindowLayer):
    """Each place of the result has its own weights for its window, and its own bias.

    y_o(p) = b_o(p) + Σ_c Σ_t W_oc(p, t) · x_c(p·stride + t·dilation − margin): a convolution in
    which W and b depend on the place p, so the layer is tied to one size of maps. It costs the
    multiply-adds of the convolution and as many weights as multiply-adds.

    With `clamped`, windows that would hang over the border are moved inside: every place reads
    kernel_size^d true values. Weights begin normal with variance 2 / fan-in (He et al., 2015), the
    fan-in counted place by place, so that windows that read zeros begin with larger weights.

    Small layers calculate by one dense matrix, but are exported (and audited) as what they are:
    rows gathered for each place, and a product.

    Args:
        in_channels: of the maps that it reads.
        out_channels: of the maps that it gives.
        input_size: of the maps that it reads, one number for each of 1, 2 or 3 axes.
        kernel_size: places of a window along each axis.
        stride: from one window to the next.
        padding: places to add; None: as many as the rule does, see `Convolution`.
        dilation: from one place of a window to the next.
        groups: the channels fall into so many groups that do not read each other.
        bias: whether to add a number to each channel at each place.
        padding_mode: "clamped" or a member of `PADDINGS`.

    Attributes:
        weight: (places, out_channels, taps · channels / groups), the channels of a tap together.
        bias: (out_channels, *size_after), or None.
        index: (places · groups, taps) which rows each place reads.
        entries: (weights,) where each weight stands in a dense matrix; None where that is slower.
            Neither is saved with the weights: settings say them.

    Example:
        >>> layer = LocallyConnected(3, 8, (6, 5), 3, stride=2)
        >>> layer(torch.zeros(2, 3, 6, 5)).shape, layer.weight.shape
        (torch.Size([2, 8, 3, 3]), torch.Size([9, 8, 27]))
    """

    any_size = False
    index: Tensor
    entries: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        input_size: Sequence[int],
        kernel_size: Each,
        stride: Each = 1,
        padding: Padding = None,
        dilation: Each = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = CLAMPED,
    ) -> None:
        check_groups(in_channels, out_channels, groups)
        rule = "valid" if padding_mode == CLAMPED else padding_mode
        windows = Windows(
            len(input_size), kernel_size, stride, padding, dilation, rule, in_channels
        )
        super().__init__(in_channels, out_channels, windows)
        self.input_size, self.groups = tuple(input_size), groups
        self.clamped = padding_mode == CLAMPED
        self.windows.size_after(self.input_size)
        added = zip(self.input_size, self.windows.widths, strict=True)
        self._padded = tuple(length + sum(pair) for length, pair in added)
        self._after = tuple(len(starts) for starts in self._starts())
        self.register_buffer("index", self._index(), persistent=False)
        shape = (math.prod(self._after), out_channels)
        taps = math.prod(self.windows.kernel_size)
        self.weight = nn.Parameter(torch.empty(*shape, taps * in_channels // groups))
        self.bias = nn.Parameter(torch.zeros(out_channels, *self._after)) if bias else None
        self.register_buffer("entries", self._entries(), persistent=False)
        with torch.no_grad():
            self.weight.normal_().mul_((2 / self._fan_in())[:, None, None].sqrt())

    @classmethod
    def of(cls, convolution: Convolution, input_size: Sequence[int]) -> LocallyConnected:
        """A layer that begins as a convolution, with a copy of its weights at every place.

        Example:
            >>> shared = Convolution(3, 8, 3, padding_mode="symmetric")
            >>> own, maps = LocallyConnected.of(shared, (6, 6)), torch.rand(2, 3, 6, 6)
            >>> torch.allclose(own(maps), shared(maps), atol=1e-5)
            True
        """
        windows = convolution.windows
        layer = cls(
            convolution.in_channels,
            convolution.out_channels,
            input_size,
            windows.kernel_size,
            windows.stride,
            windows.widths,
            windows.dilation,
            convolution.groups,
            convolution.bias is not None,
            windows.padding_mode,
        ).to(convolution.weight)
        layer.windows.load_state_dict(windows.state_dict())
        with torch.no_grad():
            layer.weight.copy_(convolution.weight.flatten(2).transpose(1, 2).flatten(1))
            if layer.bias is not None and convolution.bias is not None:
                layer.bias.copy_(convolution.bias.view(-1, *[1] * layer.spatial_dims))
        return layer

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, out_channels, *size_after) of maps (batch, in_channels, *size)."""
        self.check(maps)
        self.size_after(maps.shape[2:])
        padded = maps if self.clamped else self.windows.pad(maps)
        entries = None if torch.compiler.is_exporting() else self.entries
        result = self._by_place(padded) if entries is None else self._at_once(padded, entries)
        if self.windows.rule.renormalises:
            result = result * self._shares(maps)
        result = torch.unflatten(result, 2, self._after)
        return result if self.bias is None else result + self.bias

    def _by_place(self, padded: Tensor) -> Tensor:
        """(batch, out_channels, places), the batch last in memory."""
        weight: Tensor = self.weight
        if torch.is_autocast_enabled(padded.device.type):
            fast = torch.get_autocast_dtype(padded.device.type)
            padded, weight = padded.to(fast), weight.to(fast)
        rows = padded.flatten(2).permute(2, 1, 0).contiguous()
        own = rows.view(-1, self.in_channels // self.groups, padded.shape[0])
        by_group = weight.view(len(self.index), -1, weight.shape[2])
        result = products(own, self.index, by_group)
        return result.view(*weight.shape[:2], padded.shape[0]).permute(2, 1, 0)

    def _at_once(self, padded: Tensor, entries: Tensor) -> Tensor:
        """(batch, out_channels, places), by one matrix that is zero where nothing is connected."""
        flat = padded.flatten(1)
        places, out_channels = self.weight.shape[:2]
        matrix = self.weight.new_zeros(out_channels * places * flat.shape[1])
        matrix = matrix.scatter(0, entries, self.weight.flatten())
        result = functional.linear(flat, matrix.view(-1, flat.shape[1]))
        return result.view(-1, out_channels, places)

    def size_after(self, size: Sequence[int]) -> Size:
        """How many windows there are along each axis."""
        if tuple(size) != self.input_size:
            raise ShapeError(
                f"every place of this layer has its own weights, for maps of "
                f"{'×'.join(map(str, self.input_size))} places; it got {'×'.join(map(str, size))}. "
                "Bring the images to the size it was made for, or use Convolution, which takes "
                "any size"
            )
        return self._after

    def _starts(self) -> list[Tensor]:
        """Where the windows begin, along each axis of the padded maps."""
        windows, starts = self.windows, []
        for axis, length in enumerate(self.input_size):
            stride, extent = windows.stride[axis], windows.extents[axis]
            if self.clamped:
                before = (extent - 1) // 2
                start = torch.arange(-(-length // stride)) * stride - before
                starts.append(start.clamp(0, length - extent))
            else:
                starts.append(torch.arange(windows.size_after(self.input_size)[axis]) * stride)
        return starts

    def _index(self) -> Tensor:
        """(places · groups, taps): the rows of the padded maps that each place reads."""
        index = torch.zeros(1, 1, dtype=torch.int64)
        for axis, starts in enumerate(self._starts()):
            length = self._padded[axis]
            steps = torch.arange(self.windows.kernel_size[axis]) * self.windows.dilation[axis]
            along = starts[:, None] + steps
            index = (index[:, None, :, None] * length + along[:, None]).flatten(0, 1).flatten(1)
        groups = torch.arange(self.groups)[:, None]
        return (index[:, None] * self.groups + groups).flatten(0, 1)

    def _entries(self) -> Tensor | None:
        """(weights,) where each weight stands in one dense matrix; None where that is too large."""
        places, out_channels, _ = self.weight.shape
        inputs = math.prod(self._padded)
        if inputs * self.in_channels * places * out_channels > DENSE:
            return None
        group_size = self.in_channels // self.groups
        read, group = self.index // self.groups, self.index % self.groups
        column = (group[..., None] * group_size + torch.arange(group_size)) * inputs
        column = (column + read[..., None]).view(places, self.groups, 1, -1)
        unit = torch.arange(out_channels).view(1, self.groups, -1, 1) * places
        row = unit + torch.arange(places).view(-1, 1, 1, 1)
        return (row * self.in_channels * inputs + column).flatten()

    def _shares(self, maps: Tensor) -> Tensor:
        """(places,) what each window is multiplied by, where the rule renormalises."""
        return self.windows.shares(maps, ones(self.windows.kernel_size)).flatten()

    def _fan_in(self) -> Tensor:
        """(places,) variance of a result for inputs and weights of variance 1."""
        maps = torch.ones(1, self.in_channels, *self.input_size)
        padded = self.windows.pad(maps)[0].square().flatten(1)
        rows = padded.t().reshape(-1, self.in_channels // self.groups)
        fan_in = rows[self.index].sum((1, 2)).view(-1, self.groups)[:, 0]
        if self.windows.rule.renormalises:
            fan_in = fan_in * self._shares(maps).square()
        return fan_in.clamp_min(1).detach()
