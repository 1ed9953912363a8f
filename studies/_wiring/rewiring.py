"""Training that rewires: weak connections go, and nearness and gradient say which come.

Every so many steps each unit of the `Proximity` layers drops its weakest connections and grows as
many new ones, so that its fan-in stays the same. One family holds the known rules:

    score of a candidate = |g|^γ · exp(−(d/λ)^p) · exp(τ · Gumbel noise)

with g the gradient of the loss with respect to the weight that the candidate would have.

| | γ | λ | τ |
|---|---|---|---|
| SET (Mocanu et al. 2018) | 0 | ∞ | 1 |
| RigL (Evci et al. 2020) | 1 | ∞ | 0 |
| spatial SET | 0 | finite | 1 |
| small world | 0 | finite, for all but a share β | 1 |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from placewise.errors import SettingsError
from placewise.layers.proximity import Nearness, Proximity
from placewise.layers.proximity.nearness import blocks

EVERYWHERE = Nearness(math.inf)


@dataclass(frozen=True)
class Growth:
    """How candidates for new connections are scored: a corner, or any point between them.

    Attributes:
        nearness: λ, p and the share β that is drawn as if λ were ∞.
        gradient: γ; above 0 the gradient of all candidates is calculated when rewiring.
        noise: τ; 1 draws in proportion to the score, 0 takes the best.

    Raises:
        SettingsError: a number that cannot be.

    Example:
        >>> Growth.rigl()
        Growth(nearness=Nearness(reach=inf, power=2.0, far=0.0), gradient=1.0, noise=0.0)
    """

    nearness: Nearness = EVERYWHERE
    gradient: float = 0.0
    noise: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.gradient < math.inf and 0 <= self.noise < math.inf):
            raise SettingsError(
                f"got gradient {self.gradient} and noise {self.noise}; both must be 0 or more"
            )

    @classmethod
    def set(cls) -> Growth:
        """Sparse evolutionary training: any candidate, all alike."""
        return cls()

    @classmethod
    def rigl(cls) -> Growth:
        """The rigged lottery: the candidates of largest gradient."""
        return cls(gradient=1.0, noise=0.0)

    @classmethod
    def spatial_set(cls, reach: float) -> Growth:
        """Near candidates more readily, whatever their gradient."""
        return cls(Nearness(reach))

    @classmethod
    def small_world(cls, reach: float, far: float = 0.1) -> Growth:
        """Near candidates more readily, and a share of them from anywhere."""
        return cls(Nearness(reach, far=far))


@dataclass(frozen=True)
class Schedule:
    """When connections are rewired, and how many of them.

    The share falls as in RigL, α(t) = α/2 · (1 + cos(π t / T)).

    Attributes:
        until: T, the step from which on nothing is rewired.
        every: ΔT, steps from one rewiring to the next.
        share: α, share of each unit's connections at the beginning.

    Raises:
        SettingsError: a number that cannot be.

    Example:
        >>> schedule = Schedule(until=1000, every=100, share=0.4)
        >>> schedule.due(500), round(schedule.share_at(500), 3), schedule.due(1000)
        (True, 0.2, False)
    """

    until: int
    every: int = 100
    share: float = 0.3

    def __post_init__(self) -> None:
        if not (self.until >= 1 and self.every >= 1 and 0 <= self.share <= 1):
            raise SettingsError(
                f"got until {self.until}, every {self.every} and share {self.share}; needed are "
                "at least 1 step for the first two, and a share from 0 to 1"
            )

    def due(self, step: int) -> bool:
        """Whether connections are rewired at this step, counted from 1."""
        return step < self.until and step % self.every == 0

    def share_at(self, step: int) -> float:
        """Share of each unit's connections that is rewired at this step."""
        return self.share / 2 * (1 + math.cos(math.pi * min(step / self.until, 1.0)))


class Rewiring:
    """Rewires the `Proximity` layers of a network while the user's own loop trains it.

    Call `step` once for each step, after `backward` and in front of the optimiser. A step that
    rewires takes the place of the optimiser's, as in RigL:

        loss.backward()
        if not rewiring.step():
            optimiser.step()

    A new connection begins with weight 0, gradient 0 and a fresh state of the optimiser (momentum,
    Adam's moments), so the network calculates the same but for what was dropped. A connection that
    is dropped competes with all candidates; if it wins, it was never gone and keeps all it had.
    What is chosen is a function of (seed, step) and the numbers at hand.

    With γ > 0 the gradient of all candidates is calculated in the steps that rewire: one matrix
    product of the size of a fully connected layer, and its result in memory until `step`. It adds
    up over several `backward`. Scores are made block by block on the CPU.

    Args:
        network: any module that holds `Proximity` layers.
        optimiser: what trains them; None where there is no state to reset.
        growth: how candidates are scored.
        schedule: when, and how many.
        seed: of the noise.

    Raises:
        SettingsError: the network has no `Proximity` layer.

    Example:
        >>> from placewise.layers.proximity import Places
        >>> layer = Proximity(Places((9,)), Places((9,)), 4, Nearness(1.0))
        >>> optimiser = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
        >>> rewiring = Rewiring(layer, optimiser, Growth.rigl(), Schedule(until=10, every=2))
        >>> for _ in range(2):
        ...     layer(torch.rand(3, 1, 9)).sum().backward()
        ...     print(rewiring.step())
        False
        True
    """

    def __init__(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer | None,
        growth: Growth,
        schedule: Schedule,
        *,
        seed: int = 0,
    ) -> None:
        self.layers = [module for module in network.modules() if isinstance(module, Proximity)]
        if not self.layers:
            raise SettingsError(
                f"{type(network).__name__} holds no Proximity layer, so there is nothing to rewire"
            )
        self.optimiser, self.growth, self.schedule, self.seed = optimiser, growth, schedule, seed
        self.steps = 0
        self._gradients: dict[int, torch.Tensor] = {}
        self._hooks: list[RemovableHandle] = []
        self._listen()

    def step(self) -> bool:
        """Count a step, and rewire if it is time to.

        Returns:
            Whether it has rewired.

        Raises:
            SettingsError: γ > 0, and a layer has had no gradient in this step.
        """
        self.steps += 1
        due = self.schedule.due(self.steps)
        if due:
            share = self.schedule.share_at(self.steps)
            for number, layer in enumerate(self.layers):
                count = math.floor(share * layer.fan_in + 0.5)
                chance = _generator(self.seed, self.steps, number)
                gradient = self._gradient(number) if self.growth.gradient else None
                renewed = rewire(layer, self.growth, count, gradient, chance)
                reset_state(self.optimiser, layer.weight, renewed)
        self._listen()
        return due

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint needs."""
        return {"steps": self.steps}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from a checkpoint."""
        self.steps = state["steps"]
        self._listen()

    def _listen(self) -> None:
        """Gather the candidates' gradients in the next step if it needs them."""
        for hook in self._hooks:
            hook.remove()
        self._gradients.clear()
        self._hooks = []
        if self.growth.gradient and self.schedule.due(self.steps + 1):
            self._hooks = [
                layer.register_forward_hook(partial(self._hear, number))
                for number, layer in enumerate(self.layers)
            ]

    def _hear(
        self, number: int, layer: nn.Module, args: tuple[torch.Tensor], output: torch.Tensor
    ) -> None:
        if not (layer.training and output.requires_grad):
            return
        read = args[0].detach()

        def add(gradient: torch.Tensor) -> None:
            product = gradient.flatten(1).t() @ read.to(gradient.dtype).flatten(1)
            former = self._gradients.get(number)
            self._gradients[number] = product if former is None else former + product

        output.register_hook(add)  # type: ignore[no-untyped-call]

    def _gradient(self, number: int) -> torch.Tensor:
        if number not in self._gradients:
            raise SettingsError(
                f"step {self.steps} rewires by gradient, but no gradient has reached "
                f"{self.layers[number]} in it; call `step` after `backward`, in training mode"
            )
        return self._gradients[number]


@torch.no_grad()
def rewire(
    layer: Proximity,
    growth: Growth,
    count: int,
    gradient: torch.Tensor | None = None,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Drop the weakest connections of each unit and grow as many.

    Args:
        layer: is changed: its connections, and weight and gradient of the new ones, which are 0.
        growth: how candidates are scored.
        count: connections of each unit that are dropped.
        gradient: (outputs.units, inputs.units) gradient of all candidates; needed where γ > 0.
        generator: where the noise comes from; None: torch's own.

    Returns:
        (outputs.units, fan_in) bool: the slots that hold a new connection.

    Raises:
        SettingsError: γ > 0 and no gradient.

    Example:
        >>> from placewise.layers.proximity import Places
        >>> layer = Proximity(Places((9,)), Places((9,)), 4, Nearness(1.0))
        >>> new = rewire(layer, Growth.set(), 2)
        >>> bool((layer.weight[new] == 0).all()), int(new.sum(1).max()) <= 2
        (True, True)
    """
    if growth.gradient and gradient is None:
        raise SettingsError(f"{growth} needs the gradient of all candidates; pass `gradient`")
    strength, index = layer.weight.abs().float().cpu(), layer.index.cpu()
    weakest = strength.topk(min(count, layer.fan_in), dim=1, largest=False).indices
    renewed = torch.zeros_like(index, dtype=torch.bool)
    with torch.device("cpu"):
        for units in blocks(layer.outputs.units, layer.inputs.units):
            before = _mask(index[units], layer.inputs.units)
            kept = before.scatter(1, index[units].gather(1, weakest[units]), False)
            squared = layer.outputs.squared_distances(layer.inputs, units, torch.float32)
            grown = growth.nearness.choose(
                kept,
                weakest.shape[1],
                squared,
                preference=None if gradient is None else _preference(gradient[units], growth),
                noise=growth.noise,
                generator=generator,
            )
            gone = ~(kept | grown).gather(1, index[units])
            index[units] = index[units].masked_scatter(gone, (grown & ~before).nonzero()[:, 1])
            renewed[units] = gone
    layer.wire(index)
    renewed = renewed.to(layer.weight.device)
    layer.weight.masked_fill_(renewed, 0.0)
    if layer.weight.grad is not None:
        layer.weight.grad.masked_fill_(renewed, 0.0)
    return renewed


def reset_state(
    optimiser: torch.optim.Optimizer | None, weight: nn.Parameter, renewed: torch.Tensor
) -> None:
    """Forget what an optimiser remembers of some weights.

    All that it keeps of the parameter and has its shape becomes 0 there: momentum of SGD, both
    moments of Adam and AdamW. Adam's own correction of young moments counts steps for the whole
    parameter; late in training a renewed weight's first update is therefore up to
    (1 − β₁) / √(1 − β₂) learning rates long, 3.2 with the usual numbers, where a fresh one is 1.

    Args:
        optimiser: any of torch's; None: nothing to do.
        weight: one of its parameters.
        renewed: bool mask of the parameter's shape.

    Example:
        >>> weight = nn.Parameter(torch.ones(2))
        >>> optimiser = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
        >>> weight.sum().backward()
        >>> optimiser.step()
        >>> reset_state(optimiser, weight, torch.tensor([True, False]))
        >>> optimiser.state[weight]["momentum_buffer"]
        tensor([0., 1.])
    """
    state = {} if optimiser is None else optimiser.state.get(weight, {})
    for value in state.values():
        if isinstance(value, torch.Tensor) and value.shape == weight.shape:
            value.masked_fill_(renewed, 0.0)


def _mask(index: torch.Tensor, inputs: int) -> torch.Tensor:
    return torch.zeros(len(index), inputs, dtype=torch.bool).scatter_(1, index, True)


def _preference(gradient: torch.Tensor, growth: Growth) -> torch.Tensor:
    """γ log |g|, finite where g is 0."""
    size = gradient.float().cpu().abs()
    return size.clamp_min_(torch.finfo(size.dtype).tiny).log_().mul_(growth.gradient)


def _generator(seed: int, step: int, number: int) -> torch.Generator:
    """Chance of one layer in one step, the same wherever and whenever it is asked for."""
    key = np.random.SeedSequence((seed, step, number)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(key) >> 1)
