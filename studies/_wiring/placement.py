"""Where to put the units of hidden layers so that the least wire is laid.

With its neighbours where they are, the wire of a hidden layer is linear in the assignment of units
to places: unit j at place k costs

    A_jk = Σ_i |w_ji| · d(k, i) + Σ_o |w_oj| · d(o, k)

over its inputs i and outputs o. So the best of all n! arrangements is found by the assignment
problem (Kuhn 1955; Crouse 2016 in scipy), not only a better one by swapping pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from placewise.errors import SettingsError
from placewise.layers.proximity import Places, Proximity

Weighing = nn.Linear | Proximity

LEAST_GAIN = 1e-12
"""Share of the cost below which a gain is rounding."""


@dataclass(frozen=True)
class Placement:
    """What `place` has done.

    Attributes:
        costs: wire of all layers, Σ |w| · d, before and after each move.
        orders: for each hidden layer (units,), which unit stands now at each place; whatever else
            the user keeps for each unit is to be indexed by it.
    """

    costs: tuple[float, ...]
    orders: tuple[torch.Tensor, ...]


@torch.no_grad()
def place(
    layers: Sequence[Weighing],
    places: Sequence[Places | None],
    *,
    optimiser: torch.optim.Optimizer | None = None,
    rounds: int = 20,
) -> Placement:
    """Put the units of hidden layers where the least wire is laid, one layer after the other.

    Units move with all that is theirs (rows of weights before, bias, columns of weights after,
    gradients, what the optimiser remembers), so the network calculates what it did. Between the
    layers may stand what treats all units alike, e.g. an activation or dropout. Each move is the
    best for one layer, so the cost never rises; it ends when no layer gains.

    Args:
        layers: layers in the order of the network, each `nn.Linear` or `Proximity`; are changed.
        places: where the inputs, the units of each hidden layer and the outputs lie: one more than
            there are layers. None: units without a place, whose wire costs nothing.
        optimiser: what trains the layers; its state moves too.
        rounds: most times to go through all layers.

    Returns:
        Costs and arrangements.

    Raises:
        SettingsError: layers and places do not fit.

    Example:
        >>> layers = [nn.Linear(9, 9), nn.Linear(9, 9)]
        >>> sheet = Places((3, 3))
        >>> costs = place(layers, [sheet, sheet, sheet]).costs
        >>> costs[-1] < costs[0]
        True
    """
    _require_fit(layers, places)
    orders = [torch.arange(layer.weight.shape[0]) for layer in layers[:-1]]
    costs = [_cost(layers, places)]
    for _ in range(rounds):
        gained = False
        for number in range(len(orders)):
            order = _best_order(layers, places, number, LEAST_GAIN * costs[-1])
            if order is None:
                continue
            _move(layers[number], layers[number + 1], order, optimiser)
            orders[number] = orders[number][order]
            costs.append(_cost(layers, places))
            gained = True
        if not gained:
            break
    return Placement(tuple(costs), tuple(orders))


def assign(costs: torch.Tensor) -> torch.Tensor:
    """The arrangement of least total cost.

    Args:
        costs: (units, places), what each unit costs at each place; as many places as units.

    Returns:
        (places,) int64, which unit stands at each place.

    Example:
        >>> assign(torch.tensor([[1.0, 0.0], [5.0, 9.0]])).tolist()
        [1, 0]
    """
    from scipy.optimize import linear_sum_assignment

    _, found = linear_sum_assignment(costs.cpu().numpy())
    return torch.from_numpy(found).argsort()


def _require_fit(layers: Sequence[Weighing], places: Sequence[Places | None]) -> None:
    if len(layers) < 2 or len(places) != len(layers) + 1:
        raise SettingsError(
            f"got {len(layers)} layers and {len(places)} places; needed are at least two layers, "
            "and places for the inputs and for the units of each layer"
        )
    for layer, ends in zip(layers, pairwise(places), strict=True):
        placed = isinstance(layer, Proximity)
        needed = (
            (layer.inputs, layer.outputs) if placed else (layer.in_features, layer.out_features)
        )
        for need, there in zip(needed, ends, strict=True):
            if there is not None and need not in (there, there.units):
                raise SettingsError(f"got {there} for the units of {layer}; needed is {need}")


def _strength(layer: Weighing) -> torch.Tensor:
    """(outputs, inputs) float64: |w|."""
    weight = layer.dense() if isinstance(layer, Proximity) else layer.weight
    return weight.abs().double().cpu()


def _wire(layer: Weighing, before: Places | None, after: Places | None) -> float:
    if before is None or after is None:
        return 0.0
    return float((_strength(layer) * after.distances(before)).sum())


def _cost(layers: Sequence[Weighing], places: Sequence[Places | None]) -> float:
    ends = zip(layers, pairwise(places), strict=True)
    return sum(_wire(layer, before, after) for layer, (before, after) in ends)


def _best_order(
    layers: Sequence[Weighing], places: Sequence[Places | None], number: int, least: float
) -> torch.Tensor | None:
    """Best arrangement of the units after layer `number`; None if none gains enough."""
    before, here, after = places[number : number + 3]
    if here is None:
        return None
    costs = torch.zeros(here.units, here.units, dtype=torch.float64)
    if before is not None:
        costs += _strength(layers[number]) @ here.distances(before).t()
    if after is not None:
        costs += _strength(layers[number + 1]).t() @ after.distances(here)
    order = assign(costs)
    gain = costs.trace() - costs[order, torch.arange(here.units)].sum()
    return order if gain > least else None


def _move(
    before: Weighing, after: Weighing, order: torch.Tensor, optimiser: torch.optim.Optimizer | None
) -> None:
    """Put unit `order[k]` at place k."""
    for parameter in before.parameters(recurse=False):
        _permute(parameter, 0, order, optimiser)
    if isinstance(before, Proximity):
        before.wire(before.index[order.to(before.index.device)])
    if isinstance(after, Proximity):
        now_at = order.argsort().to(after.index.device)
        after.wire(now_at[after.index])
    else:
        _permute(after.weight, 1, order, optimiser)


def _permute(
    parameter: torch.Tensor, axis: int, order: torch.Tensor, optimiser: torch.optim.Optimizer | None
) -> None:
    """Reorder a parameter, its gradient and what the optimiser remembers of it."""
    state = {} if optimiser is None else optimiser.state.get(parameter, {})
    kept = [value for value in state.values() if isinstance(value, torch.Tensor)]
    for tensor in (parameter, parameter.grad, *kept):
        if tensor is not None and tensor.shape == parameter.shape:
            tensor.copy_(tensor.index_select(axis, order.to(tensor.device)))
