"""Who connects to whom: inputs drawn by nearness, without drawing one twice.

The k highest of log p + Gumbel noise are k draws without replacement with probabilities
proportional to p (Vieira 2014; Kool, van Hoof and Welling 2019), so one draw serves for the
connections that a layer begins with and for those that grow in training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from placewise.errors import SettingsError
from placewise.layers.proximity.places import Places

BLOCK = 1 << 17
"""Pairs of units that are looked at together: few enough to stay in a processor's cache."""

LEAST = 1e-6
"""The least reach: its square is still a number of single precision."""


@dataclass(frozen=True)
class Nearness:
    """How readily two units connect: exp(−(d/λ)^p).

    λ = ∞ makes all pairs equal; a λ far below the distance of neighbouring places leaves the
    nearest, a local window.

    Attributes:
        reach: λ, in the unit of the places' extent.
        power: p; 1 falls off exponentially, 2 as a Gaussian, large ones leave a disc.
        far: share of the connections that are drawn as if λ were ∞ (a small world).

    Raises:
        SettingsError: a number that cannot be.

    Example:
        >>> Nearness(2.0).log(torch.tensor([0.0, 4.0, 16.0])).exp()
        tensor([1.0000, 0.3679, 0.0183])
    """

    reach: float
    power: float = 2.0
    far: float = 0.0

    def __post_init__(self) -> None:
        if not (self.reach >= LEAST and 0 < self.power < math.inf and 0 <= self.far <= 1):
            raise SettingsError(
                f"got reach {self.reach}, power {self.power} and far {self.far}; needed are reach "
                f"{LEAST:g} or more (math.inf: all alike), power above 0, far from 0 to 1"
            )

    def log(self, squared: Tensor) -> Tensor:
        """−(d/λ)^p.

        Args:
            squared: squared distances, of any shape.
        """
        highest = torch.finfo(squared.dtype).max
        return (squared / self.reach**2).pow(self.power / 2).clamp_max(highest).neg()

    def choose(
        self,
        taken: Tensor,
        count: int,
        squared: Tensor,
        *,
        preference: Tensor | None = None,
        noise: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Choose inputs for each unit by preference · nearness · noise.

        Args:
            taken: (units, inputs) bool, inputs that a unit cannot choose.
            count: how many inputs each unit chooses.
            squared: (units, inputs) squared distances.
            preference: (units, inputs), added to the logarithm; None: no preference.
            noise: τ, factor of the Gumbel noise; 1 draws in proportion, 0 takes the best.
            generator: where the noise comes from; None: torch's own.

        Returns:
            (units, inputs) bool, `count` of them in each row.

        Example:
            >>> taken = torch.tensor([[True, False, False, False]])
            >>> squared = torch.tensor([[0.0, 1.0, 4.0, 9.0]])
            >>> Nearness(1e-3).choose(taken, 2, squared).tolist()
            [[False, True, True, False]]
        """
        base = torch.zeros_like(squared) if preference is None else preference
        far = torch.zeros(len(squared), dtype=torch.long)
        if self.far:
            chance = torch.rand(len(squared), generator=generator, dtype=torch.float64)
            far = (count * self.far + chance).floor().long()
        score = base + _gumbel(squared, noise, generator)
        if self.reach < math.inf:
            score += self.log(squared)
        chosen = _highest(score.masked_fill_(taken, -math.inf), count - far)
        if far.any():
            score = base + _gumbel(squared, noise, generator)
            chosen |= _highest(score.masked_fill_(taken | chosen, -math.inf), far)
        return chosen


def draw(
    inputs: Places,
    outputs: Places,
    fan_in: int,
    nearness: Nearness,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw `fan_in` different inputs for each output, the near ones more readily.

    Args:
        inputs: where the inputs lie.
        outputs: where the outputs lie.
        fan_in: K, number of inputs of each output.
        nearness: how readily two units connect.
        generator: where chance comes from; None: torch's own.

    Returns:
        (outputs.units, fan_in) numbers of inputs, ascending in each row. Where tensors are made on
        the device "meta", as for a network of which only the shapes are wanted, nothing is drawn.

    Raises:
        SettingsError: there are not as many inputs.

    Example:
        >>> draw(Places((5,)), Places((5,)), 3, Nearness(1e-3)).tolist()[1:4]
        [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    """
    if not 1 <= fan_in <= inputs.units:
        raise SettingsError(
            f"got fan_in {fan_in} of {inputs.units} inputs; it must be from 1 to {inputs.units}"
        )
    if torch.get_default_device().type == "meta":
        return torch.empty(outputs.units, fan_in, dtype=torch.int64)
    drawn = []
    with torch.device("cpu"):
        for units in blocks(outputs.units, inputs.units):
            squared = outputs.squared_distances(inputs, units)
            taken = torch.zeros_like(squared, dtype=torch.bool)
            chosen = nearness.choose(taken, fan_in, squared, generator=generator)
            drawn.append(chosen.nonzero()[:, 1].view(-1, fan_in))
        return torch.cat(drawn)


def blocks(outputs: int, inputs: int) -> list[slice]:
    """Slices of the outputs so that a slice times all inputs stays of a bearable size.

    Example:
        >>> blocks(5, 1 << 16)
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    rows = max(1, BLOCK // inputs)
    return [slice(start, min(start + rows, outputs)) for start in range(0, outputs, rows)]


def _gumbel(like: Tensor, noise: float, generator: torch.Generator | None) -> Tensor | float:
    """τ times Gumbel noise, −log(−log u)."""
    if noise == 0:
        return 0.0
    even = torch.rand(like.shape, generator=generator, dtype=torch.float64).clamp_min_(1e-300)
    return even.log_().neg_().log_().mul_(-noise).to(like.dtype)


def _highest(score: Tensor, counts: Tensor) -> Tensor:
    """Mask of the `counts` highest scores of each row."""
    order = score.topk(int(counts.max()), dim=1).indices
    wanted = torch.arange(order.shape[1]) < counts[:, None]
    return torch.zeros_like(score, dtype=torch.bool).scatter_(1, order, wanted)
