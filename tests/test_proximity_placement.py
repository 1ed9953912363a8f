"""Units put where the least wire is laid: the best arrangement, and nothing else changed."""

from __future__ import annotations

import copy
import itertools
from itertools import pairwise

import pytest
import torch
from torch import nn

from placewise.errors import SettingsError
from placewise.layers.proximity import Nearness, Places, Proximity, wiring_cost
from studies._wiring.placement import assign, place

INPUTS = Places((4, 4))
SHEETS = [INPUTS, INPUTS.resized((3, 3), 2), INPUTS.resized((4, 3)), INPUTS.resized((2, 2))]


def a_chain(kinds: str, places: list[Places], seed: int = 0) -> list[nn.Linear | Proximity]:
    """ "l" is fully connected, "p" of fixed fan-in; weights are heavy-tailed, biases not 0."""
    torch.manual_seed(seed)
    layers: list[nn.Linear | Proximity] = []
    for kind, (before, after) in zip(kinds, pairwise(places), strict=True):
        if kind == "l":
            layers.append(nn.Linear(before.units, after.units))
        else:
            layers.append(Proximity(before, after, 5, Nearness(3.0)))
        nn.init.normal_(layers[-1].bias)
        with torch.no_grad():
            layers[-1].weight.copy_(torch.randn_like(layers[-1].weight) ** 3)
    return [layer.double() for layer in layers]


def answer(layers: list[nn.Linear | Proximity], maps: torch.Tensor) -> torch.Tensor:
    for layer in layers:
        if isinstance(layer, Proximity):
            maps = layer(maps.reshape(len(maps), layer.inputs.channels, *layer.inputs.shape))
        else:
            maps = layer(maps.flatten(1))
        maps = torch.tanh(maps)
    return maps.flatten(1)


def slow_cost(layers: list[nn.Linear | Proximity], places: list[Places | None]) -> float:
    total = 0.0
    for layer, (before, after) in zip(layers, pairwise(places), strict=True):
        if before is not None and after is not None:
            weight = layer.dense() if isinstance(layer, Proximity) else layer.weight
            total += wiring_cost(weight.detach(), before, after).item()
    return total


@pytest.mark.parametrize("kinds", ["lll", "ppp", "lpl", "plp"])
def test_the_function_stays_and_the_cost_never_rises(kinds: str):
    layers = a_chain(kinds, SHEETS)
    maps = torch.randn(5, 1, 4, 4, dtype=torch.float64)
    before = answer(layers, maps)
    first = slow_cost(layers, SHEETS)
    found = place(layers, SHEETS)
    assert (answer(layers, maps) - before).abs().max() <= 1e-12
    assert found.costs[0] == pytest.approx(first)
    assert found.costs[-1] == pytest.approx(slow_cost(layers, SHEETS))
    assert all(later < earlier for earlier, later in pairwise(found.costs))
    assert len(found.costs) > 3
    assert found.costs[-1] < 0.95 * first
    again = place(layers, SHEETS)
    assert len(again.costs) == 1
    assert all(torch.equal(o, torch.arange(len(o))) for o in again.orders)


@pytest.mark.parametrize("kinds", ["ll", "pp", "lp", "pl"])
@pytest.mark.parametrize("seed", range(2))
def test_one_hidden_layer_is_put_best_of_all_arrangements(kinds: str, seed: int):
    """All 120 of them, each tried by moving rows and columns of full matrices."""
    places = [INPUTS, INPUTS.resized((5, 1)), INPUTS.resized((1, 4))]
    layers = a_chain(kinds, places, seed)
    first, second = (
        (layer.dense() if isinstance(layer, Proximity) else layer.weight).detach()
        for layer in layers
    )
    best = min(
        wiring_cost(first[list(order)], places[0], places[1]).item()
        + wiring_cost(second[:, list(order)], places[1], places[2]).item()
        for order in itertools.permutations(range(5))
    )
    assert place(layers, places).costs[-1] == pytest.approx(best)


@pytest.mark.parametrize("kinds", ["ll", "pl", "lp"])
@pytest.mark.parametrize("adam", [False, True])
def test_training_goes_on_as_if_nothing_had_moved(kinds: str, adam: bool):
    """Gradients and what the optimiser remembers move with their units."""
    places = [*SHEETS[:2], SHEETS[3]]
    layers, maps = a_chain(kinds, places), torch.randn(30, 7, 1, 4, 4, dtype=torch.float64)

    def train(moved: bool) -> torch.Tensor:
        own = copy.deepcopy(layers)
        parameters = [p for layer in own for p in layer.parameters()]
        optimiser = (
            torch.optim.AdamW(parameters, lr=0.01)
            if adam
            else torch.optim.SGD(parameters, lr=0.01, momentum=0.9)
        )
        for step, batch in enumerate(maps):
            optimiser.zero_grad()
            answer(own, batch).square().sum().backward()
            if moved and step == 10:
                costs = place(own, places, optimiser=optimiser).costs
                assert costs[-1] < costs[0]
            optimiser.step()
        return answer(own, maps[0])

    still = train(moved=False)
    assert (still - answer(layers, maps[0])).abs().max() > 0.1
    assert torch.allclose(train(moved=True), still, atol=1e-8)


def test_orders_say_where_each_unit_went():
    """After several moves of the same units, too."""
    layers = a_chain("lll", SHEETS)
    before = copy.deepcopy(layers)
    found = place(layers, SHEETS)
    assert len(found.costs) > 3
    first, second = found.orders
    for order in found.orders:
        assert torch.equal(order.sort().values, torch.arange(len(order)))
    assert torch.equal(layers[0].weight, before[0].weight[first])
    assert torch.equal(layers[0].bias, before[0].bias[first])
    assert torch.equal(layers[1].weight, before[1].weight[second][:, first])
    assert torch.equal(layers[2].weight, before[2].weight[:, second])


def test_units_without_a_place_cost_nothing():
    layers = a_chain("ll", [*SHEETS[:2], SHEETS[3]])
    places = [SHEETS[0], SHEETS[1], None]
    expected = slow_cost(layers, places)
    found = place(layers, places)
    assert found.costs[0] == pytest.approx(expected)
    assert found.costs[-1] < found.costs[0]
    still = a_chain("ll", [*SHEETS[:2], SHEETS[3]])
    assert place(still, [SHEETS[0], None, SHEETS[3]]).costs == (0.0,)


def test_placed_layers_keep_their_lengths():
    layers = a_chain("pp", [*SHEETS[:2], SHEETS[3]])
    found = place(layers, [*SHEETS[:2], SHEETS[3]])
    assert sum(layer.wiring_cost().item() for layer in layers) == pytest.approx(
        found.costs[-1], rel=1e-5
    )


def test_assignment_is_the_best_of_all():
    costs = torch.randn(6, 6, dtype=torch.float64)
    best = min(
        sum(costs[unit, at].item() for at, unit in enumerate(order))
        for order in itertools.permutations(range(6))
    )
    found = assign(costs)
    assert costs[found, torch.arange(6)].sum().item() == pytest.approx(best)


@pytest.mark.parametrize(
    ("kinds", "places", "says"),
    [
        ("l", SHEETS[:2], "at least two layers"),
        ("lll", SHEETS[:3], "at least two layers"),
        ("lll", [*SHEETS[:3], SHEETS[0]], "needed is 4"),
        ("ppp", [Places((16,)), *SHEETS[1:]], "needed is Places"),
    ],
)
def test_what_does_not_fit_is_refused(kinds: str, places: list[Places], says: str):
    layers = a_chain(kinds, SHEETS[: len(kinds) + 1])
    with pytest.raises(SettingsError, match=says):
        place(layers, places)
