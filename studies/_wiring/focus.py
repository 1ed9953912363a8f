"""Units that learn where to look and how widely, and end as units with a few connections."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from placewise.errors import SettingsError
from placewise.layers.proximity import Nearness, Places, Proximity
from placewise.layers.proximity.places import PlacedLayer


class Focus(PlacedLayer):
    """A fully connected layer seen through a Gaussian that each unit places and widens itself.

    Unit m weights input n, which lies at c_n, with a profile of its centre μ_m and its width σ_ma
    along each axis a:

        y_m = b_m + Σ_n w_mn · φ_mn · x_n        Σ_n φ²_mn = N
        log φ_mn = −r²/2 + log gate(r²) + constant,        r² = Σ_a ((c_na − μ_ma) / σ_ma)²

    The constant keeps the variance, whatever the profile: w has variance 2 / N, so the sum has that
    of He's initialisation with as many inputs as the profile lets through. (Focusing neurons, Tek
    2021, do this along the flattened index; here along each axis of the places.)

    The gate lets the K nearest inputs through. As `anneal` goes from 0 to 1, it goes from no gate
    at all to a hard one, sigmoid((1 − r²/ρ) · h / (1 − h)) with ρ between the K-th and the next r².
    At 1 each unit has K inputs, and `harden` gives the same function as a `Proximity` layer, which
    costs K / N of it.

    Args:
        inputs: where the inputs lie; maps are (batch, inputs.channels, *inputs.shape).
        outputs: where the units lie, over the same extent; centres begin there.
        fan_in: K, inputs of each unit in the end. Channels of a place are equally near; a multiple
            of the channels cuts none of them off.
        width: σ that each unit begins with, in the unit of the places' extent.
        bias: whether each unit has a bias.

    Attributes:
        weight: (outputs.units, inputs.units) parameter.
        centre: (outputs.units, axes) parameter.
        log_width: (outputs.units, axes) parameter, log σ.
        bias: (outputs.units,) parameter or None.
        hardness: h, set by `anneal`; it goes into the state dict.

    Raises:
        SettingsError: the places do not fit each other, or a number that cannot be.

    Example:
        >>> layer = Focus(Places((8, 8)), Places((4, 4), 3, extent=(8, 8)), 9, width=1.5)
        >>> layer(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 3, 4, 4])
        >>> layer.anneal(1.0)
        >>> layer.harden()
        Proximity(1×8×8 → 3×4×4, fan_in=9, bias=True)
    """

    _inputs_at: torch.Tensor

    def __init__(
        self,
        inputs: Places,
        outputs: Places,
        fan_in: int,
        *,
        width: float = 1.0,
        bias: bool = True,
    ) -> None:
        super().__init__(inputs, outputs)
        if not (1 <= fan_in <= inputs.units and 0 < width < math.inf):
            raise SettingsError(
                f"got fan_in {fan_in} and width {width}; fan_in must be from 1 to {inputs.units}, "
                "the number of inputs, and width above 0"
            )
        self.fan_in, self.hardness = fan_in, 0.0
        size, dtype = (outputs.units, inputs.units), torch.get_default_dtype()
        self.weight = nn.Parameter(torch.empty(size).normal_(std=(2 / inputs.units) ** 0.5))
        self.bias = nn.Parameter(torch.zeros(outputs.units)) if bias else None
        self.centre = nn.Parameter(outputs.coordinates().to(dtype))
        self.log_width = nn.Parameter(torch.full(self.centre.shape, math.log(width)))
        self.register_buffer("_inputs_at", inputs.coordinates().to(dtype), persistent=False)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Answer to a batch of maps; costs a fully connected layer and its profiles.

        Args:
            maps: (batch, inputs.channels, *inputs.shape).

        Returns:
            (batch, outputs.channels, *outputs.shape).
        """
        self.check(maps)
        flat = maps.to(self.weight.dtype).flatten(1)
        sums = functional.linear(flat, self.dense(), self.bias)
        maps_after: torch.Tensor = sums.view(-1, self.out_channels, *self.outputs.shape)
        return maps_after

    def anneal(self, progress: float) -> None:
        """Set how hard the gate is.

        Args:
            progress: from 0, a pure Gaussian, to 1, exactly `fan_in` inputs.

        Raises:
            SettingsError: less than 0 or more than 1.

        Example:
            >>> layer = Focus(Places((9,)), Places((9,)), 3)
            >>> layer.anneal(1.0)
            >>> (layer.profile() > 0).sum(1).unique().tolist()
            [3]
        """
        if not 0 <= progress <= 1:
            raise SettingsError(f"got progress {progress}; it must be from 0 to 1")
        self.hardness = float(progress)

    def profile(self) -> torch.Tensor:
        """(outputs.units, inputs.units): φ, whose squares sum to `inputs.units` in each row.

        Example:
            >>> layer = Focus(Places((4,)), Places((4,)), 2)
            >>> layer.profile().square().sum(1).round().tolist()
            [4.0, 4.0, 4.0, 4.0]
        """
        squared = self._squared()
        heights = 2 * self._log_gate(squared) - squared
        log_share = functional.log_softmax(heights, dim=1)
        return (log_share / 2).exp() * math.sqrt(self.inputs.units)

    def dense(self) -> torch.Tensor:
        """(outputs.units, inputs.units): the weights as they act, w · φ.

        Example:
            >>> Focus(Places((4,)), Places((2,), extent=(4,)), 2).dense().shape
            torch.Size([2, 4])
        """
        return self.weight * self.profile()

    @torch.no_grad()
    def spill(self) -> float:
        """Largest share of a unit's Σ φ² that lies outside of its `fan_in` nearest inputs.

        Example:
            >>> layer = Focus(Places((9,)), Places((9,)), 3, width=3.0)
            >>> layer.spill() > 0.3
            True
            >>> layer.anneal(1.0)
            >>> layer.spill()
            0.0
        """
        outside = self.profile().square().scatter(1, self._nearest(self._squared()), 0.0)
        return float(outside.sum(1).max() / self.inputs.units)

    @torch.no_grad()
    def harden(self) -> Proximity:
        """The layer with its gate shut, as a layer of fixed fan-in.

        The function is the same to rounding where `anneal(1.0)` has been called; before, it differs
        by what the gate still lets through, of which `spill` is the measure.

        Returns:
            A new layer; this one stays as it is.

        Example:
            >>> layer = Focus(Places((9,)), Places((9,)), 3)
            >>> layer.anneal(1.0)
            >>> maps = torch.rand(2, 1, 9)
            >>> torch.allclose(layer(maps), layer.harden()(maps), atol=1e-6)
            True
        """
        squared = self._squared()
        index = self._nearest(squared)
        log_share = functional.log_softmax(-squared.gather(1, index), dim=1)
        weight = self.weight.gather(1, index) * (log_share / 2).exp() * math.sqrt(self.inputs.units)
        hard = Proximity(
            self.inputs,
            self.outputs,
            self.fan_in,
            Nearness(math.inf),
            bias=self.bias is not None,
            generator=torch.Generator(),
        ).to(weight)
        hard.wire(index)
        hard.weight.copy_(weight)
        if hard.bias is not None and self.bias is not None:
            hard.bias.copy_(self.bias)
        return hard.train(self.training)

    def get_extra_state(self) -> torch.Tensor:
        """The hardness, for the state dict."""
        return torch.tensor(self.hardness, dtype=torch.float64)

    def set_extra_state(self, state: torch.Tensor) -> None:
        """The hardness, from the state dict."""
        self.anneal(float(state))

    def extra_repr(self) -> str:
        """Shapes, for `print`."""
        return f"{self.inputs} → {self.outputs}, fan_in={self.fan_in}"

    def _squared(self) -> torch.Tensor:
        """(units, inputs): r²."""
        axes = [
            self.inputs.shorter_way(self._inputs_at[:, axis] - self.centre[:, axis, None], axis)
            for axis in range(self.spatial_dims)
        ]
        return (torch.stack(axes, -1) / self.log_width.exp()[:, None]).square().sum(-1)

    def _nearest(self, squared: torch.Tensor) -> torch.Tensor:
        """(units, fan_in): the inputs of least r²."""
        return squared.topk(self.fan_in, dim=1, largest=False).indices

    def _log_gate(self, squared: torch.Tensor) -> torch.Tensor:
        """Logarithm of the gate, up to a constant."""
        if self.hardness == 0 or self.fan_in == self.inputs.units:
            return torch.zeros_like(squared)
        if self.hardness == 1:
            shut = torch.full_like(squared, -math.inf)
            return shut.scatter_(1, self._nearest(squared), 0.0)
        ordered = squared.topk(self.fan_in + 1, dim=1, largest=False).values
        edge = ordered[:, -2:].mean(1, keepdim=True).clamp_min(1e-6)
        steepness = self.hardness / (1 - self.hardness)
        return functional.logsigmoid((1 - squared / edge) * steepness)
