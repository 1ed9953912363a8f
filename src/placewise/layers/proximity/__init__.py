"""Units that connect to the inputs that lie near: a fixed number each, drawn by nearness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from placewise.errors import SettingsError
from placewise.layers.proximity._sparse import Wiring, connect, wiring
from placewise.layers.proximity.nearness import Nearness, draw
from placewise.layers.proximity.places import PlacedLayer, Places, wiring_cost

__all__ = ["Nearness", "Places", "Proximity", "draw", "wiring_cost"]

TABLES = ("_firsts", "_bags", "_outputs", "_slots", "_starts")
"""What is made from `index` whenever it changes, in the order of `Wiring`."""


class Proximity(PlacedLayer):
    """Each unit reads a fixed number of inputs, the near ones more readily drawn.

    y_m = b_m + Σ_k w_mk · x_(index_mk), where the K inputs of unit m are drawn without replacement
    with probabilities proportional to exp(−(d/λ)^p). Between a fixed random wiring (λ = ∞) and a
    locally connected layer (λ → 0) it costs the same: `outputs.units · K` weights and multiply-adds
    for each sample.

    The batch is kept last in memory: the output is a view whose strides say so, and a chain of
    these layers with elementwise functions between them is never copied. It calculates in the type
    of its weights, under autocast too.

    Args:
        inputs: where the inputs lie; maps are (batch, inputs.channels, *inputs.shape).
        outputs: where the units lie, over the same extent.
        fan_in: K, inputs of each unit.
        nearness: how readily a unit connects to an input.
        bias: whether each unit has a bias.
        generator: where the choice of connections comes from; None: torch's own.

    Attributes:
        weight: (outputs.units, fan_in) parameter, begins with variance 2 / K (He et al. 2015).
        bias: (outputs.units,) parameter, begins with 0; or None.
        index: (outputs.units, fan_in) int64 buffer, the number of each connection's input.
        lengths: (outputs.units, fan_in) float32 buffer, the distance that each spans.

    Raises:
        SettingsError: the places do not fit each other, or there are fewer inputs than K.

    Example:
        >>> layer = Proximity(Places((8, 8)), Places((8, 8), 4), 9, Nearness(1.5))
        >>> layer(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 4, 8, 8])
    """

    index: Tensor
    lengths: Tensor

    def __init__(
        self,
        inputs: Places,
        outputs: Places,
        fan_in: int,
        nearness: Nearness,
        *,
        bias: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(inputs, outputs)
        self.fan_in = fan_in
        index = draw(inputs, outputs, fan_in, nearness, generator).to(torch.get_default_device())
        self.weight = nn.Parameter(torch.empty(index.shape).normal_(std=(2 / fan_in) ** 0.5))
        self.bias = nn.Parameter(torch.zeros(outputs.units)) if bias else None
        self.register_buffer("index", index)
        self.register_buffer("lengths", torch.empty(0), persistent=False)
        for name in TABLES:
            self.register_buffer(name, torch.empty(0), persistent=False)
        self._follow_index()

    def forward(self, maps: Tensor) -> Tensor:
        """Answer to a batch of maps.

        Args:
            maps: (batch, inputs.channels, *inputs.shape).

        Returns:
            (batch, outputs.channels, *outputs.shape).

        Raises:
            SettingsError: maps of another shape.
        """
        self.check(maps)
        flat = maps.to(self.weight.dtype).flatten(1)
        sums = connect(flat, self.weight, self.bias, self._table())
        return sums.view(-1, self.out_channels, *self.outputs.shape)

    def wire(self, index: Tensor) -> None:
        """Set the connections; the weights stay in their slots.

        Args:
            index: (outputs.units, fan_in) int64, without doubles in a row.

        Raises:
            SettingsError: no such table of connections.

        Example:
            >>> layer = Proximity(Places((3,)), Places((2,), extent=(3,)), 1, Nearness(1.0))
            >>> layer.wire(torch.tensor([[0], [2]]))
            >>> layer.lengths.tolist()
            [[0.25], [0.25]]
        """
        if fault := self._fault(index):
            raise SettingsError(fault)
        self.index.copy_(index)
        self._follow_index()

    def dense(self) -> Tensor:
        """(outputs.units, inputs.units): the same weights as a matrix, 0 where nothing connects.

        Example:
            >>> layer = Proximity(Places((4,)), Places((4,)), 2, Nearness(1.0))
            >>> (layer.dense() != 0).sum(1).tolist()
            [2, 2, 2, 2]
        """
        matrix = self.weight.new_zeros(self.outputs.units, self.inputs.units)
        return matrix.scatter(1, self.index, self.weight)

    def wiring_cost(self) -> Tensor:
        """Σ |w| · d over the connections: a scalar to add to a loss, differentiable.

        Example:
            >>> layer = Proximity(Places((4,)), Places((4,)), 1, Nearness(1e-3))
            >>> layer.wiring_cost().item()
            0.0
        """
        return (self.weight.abs() * self.lengths.to(self.weight.dtype)).sum()

    def extra_repr(self) -> str:
        """Shapes, for `print`."""
        (mine, theirs) = (
            "×".join(map(str, (places.channels, *places.shape)))
            for places in (self.inputs, self.outputs)
        )
        return f"{mine} → {theirs}, fan_in={self.fan_in}, bias={self.bias is not None}"

    def _table(self) -> Wiring:
        return Wiring(self.index, *(getattr(self, name) for name in TABLES))

    def _follow_index(self) -> None:
        """Make again what depends on the connections."""
        if self.index.is_meta:
            return  # it has a shape only
        for name, part in zip(TABLES, wiring(self.index, self.inputs.units)[1:], strict=True):
            setattr(self, name, part)
        self.lengths = _lengths(self.index, self.inputs, self.outputs)

    def _fault(self, index: Tensor) -> str | None:
        needed = (self.outputs.units, self.fan_in)
        if index.shape != needed or index.dtype != torch.int64:
            return f"got connections {index.dtype} {tuple(index.shape)}; needed is int64 {needed}"
        if int(index.min()) < 0 or int(index.max()) >= self.inputs.units:
            return (
                f"got connections to inputs {int(index.min())} to {int(index.max())}; "
                f"the inputs are numbered from 0 to {self.inputs.units - 1}"
            )
        ordered = index.sort(1).values
        if (ordered[:, 1:] == ordered[:, :-1]).any():
            return "got a unit that connects to an input twice; each input of a unit must differ"
        return None

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        index = state_dict.get(f"{prefix}index")
        if isinstance(index, Tensor) and (fault := self._fault(index)):
            raise SettingsError(f"{prefix}index: {fault}")
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self._follow_index()


def _lengths(index: Tensor, inputs: Places, outputs: Places) -> Tensor:
    """Distance that each connection spans, without the table of all pairs."""
    device = index.device
    theirs = inputs.coordinates().float().to(device)
    apart = outputs.coordinates().float().to(device)[:, None] - theirs[index]
    for axis in range(apart.shape[-1]):
        apart[..., axis] = inputs.shorter_way(apart[..., axis], axis)
    lengths: Tensor = torch.linalg.vector_norm(apart, dim=-1)
    return lengths
