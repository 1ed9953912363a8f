"""Rewiring in training: what every rule keeps, and its corners against slow twins."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from placewise.errors import SettingsError
from placewise.layers.proximity import Nearness, Places, Proximity
from studies._wiring.rewiring import Growth, Rewiring, Schedule, reset_state, rewire

SHEET = Places((4, 5))
HIDDEN = SHEET.resized((3, 4), channels=2)
RULES = {
    "set": Growth.set(),
    "rigl": Growth.rigl(),
    "spatial_set": Growth.spatial_set(1.5),
    "small_world": Growth.small_world(1.5, far=0.4),
    "between": Growth(Nearness(2.0, power=1.0, far=0.2), gradient=0.5, noise=0.7),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def a_layer(fan_in: int = 6, seed: int = 0) -> Proximity:
    torch.manual_seed(seed)
    layer = Proximity(SHEET, HIDDEN, fan_in, Nearness(2.0, far=0.3)).double()
    nn.init.normal_(layer.bias)
    return layer


def a_network() -> nn.Sequential:
    torch.manual_seed(0)
    first = Proximity(SHEET, HIDDEN, 6, Nearness(2.0))
    second = Proximity(HIDDEN, SHEET.resized((4, 6)), 12, Nearness(3.0))
    return nn.Sequential(first, nn.Tanh(), second).double()


def a_batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    chance = generator(step)
    maps = torch.randn(8, 1, 4, 5, generator=chance, dtype=torch.float64)
    return maps, torch.randn(8, 1, 4, 6, generator=chance, dtype=torch.float64)


def loss_of(network: nn.Module, step: int) -> torch.Tensor:
    maps, target = a_batch(step)
    return (network(maps) - target).square().sum()


def mask_of(layer: Proximity) -> torch.Tensor:
    mask = torch.zeros(layer.outputs.units, layer.inputs.units, dtype=torch.bool)
    return mask.scatter(1, layer.index, True)


# --- laws of every rule --------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    rule=st.sampled_from(sorted(RULES)),
    fan_in=st.sampled_from([1, 2, 6, 19, 20]),
    data=st.data(),
    seed=st.integers(0, 99),
)
def test_fan_in_stays_and_only_the_weakest_go(rule, fan_in, data, seed):
    """Nothing but the dropped weights changes in the function, and they are the smallest."""
    count = data.draw(st.integers(0, fan_in))
    layer = a_layer(fan_in, seed)
    before, mask = layer.dense().detach(), mask_of(layer)
    renewed = rewire(layer, RULES[rule], count, torch.randn(24, 20), generator(seed))
    after, now = layer.dense().detach(), mask_of(layer)
    assert (now.sum(1) == fan_in).all()
    assert renewed.sum(1).max() <= count
    gone, new = mask & ~now, now & ~mask
    assert torch.equal(gone.sum(1), renewed.sum(1))
    assert (after[new] == 0).all()
    assert torch.equal(after, before.masked_fill(gone, 0.0))
    for unit in range(24):
        ranked = before[unit, mask[unit]].abs().sort().values
        assert (before[unit, gone[unit]].abs() <= ranked[max(0, count - 1)]).all()
    far = layer.outputs.distances(layer.inputs).float().gather(1, layer.index)
    assert torch.allclose(layer.lengths.float(), far, atol=1e-5)


def test_the_network_is_trained_on_after_it_as_a_layer_made_so():
    """Nothing of the old table is left: gradients are those of the matrix."""
    layer = a_layer()
    rewire(layer, Growth.set(), 4, generator=generator())
    maps = a_batch(0)[0].requires_grad_()
    ours = torch.autograd.grad(layer(maps).square().sum(), (maps, layer.weight))
    weight = layer.dense().detach().requires_grad_()
    out = functional.linear(maps.flatten(1), weight, layer.bias)
    theirs = torch.autograd.grad(out.square().sum(), (maps, weight))
    assert torch.allclose(ours[0], theirs[0])
    assert torch.allclose(ours[1], theirs[1].gather(1, layer.index))


@pytest.mark.parametrize("make", ["sgd", "nesterov", "adam", "adamw", "amsgrad", "rmsprop"])
def test_the_optimiser_forgets_the_new_and_remembers_the_rest(make: str):
    network = a_network()
    optimiser = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
        "nesterov": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True),
        "adam": lambda p: torch.optim.Adam(p, lr=0.01),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
        "amsgrad": lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True),
        "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9),
    }[make](network.parameters())
    rewiring = Rewiring(network, optimiser, Growth.set(), Schedule(100, every=4, share=0.8))
    for step in range(3):
        optimiser.zero_grad()
        loss_of(network, step).backward()
        assert not rewiring.step()
        optimiser.step()
    loss_of(network, 3).backward()
    weight = network[0].weight
    before, index = copy.deepcopy(optimiser.state[weight]), network[0].index.clone()
    assert rewiring.step()
    new = index != network[0].index
    assert new.any()
    kept = {name: value for name, value in before.items() if value.shape == weight.shape}
    assert len(kept) >= 1
    for name, value in optimiser.state[weight].items():
        if name in kept:
            assert (value[new] == 0).all()
            assert torch.equal(value[~new], before[name][~new])
            assert (value[~new] != 0).any()
        else:
            assert torch.equal(value, before[name])
    assert (weight.grad[new] == 0).all()
    optimiser.step()
    assert (weight[new] == 0).all()


def test_a_weight_without_state_is_nothing_to_forget():
    weight = nn.Parameter(torch.ones(3))
    reset_state(None, weight, torch.ones(3, dtype=torch.bool))
    optimiser = torch.optim.SGD([weight], lr=1.0)
    reset_state(optimiser, weight, torch.ones(3, dtype=torch.bool))
    assert not optimiser.state.get(weight)
    assert weight.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("rule", sorted(RULES))
def test_what_is_chosen_is_a_function_of_seed_and_step(rule: str, seed: int = 3):
    """Whatever chance was used for in between, and whether or not the run was broken off."""

    def run(break_at: int | None, seed: int) -> torch.Tensor:
        network = a_network()
        optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
        schedule = Schedule(20, every=3, share=0.6)
        rewiring = Rewiring(network, optimiser, RULES[rule], schedule, seed=seed)
        for step in range(14):
            if step == break_at:
                torch.rand(5)
                state = rewiring.state_dict()
                network = copy.deepcopy(network)
                memory = optimiser.state_dict()
                optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
                optimiser.load_state_dict(memory)
                rewiring = Rewiring(network, optimiser, RULES[rule], schedule, seed=seed)
                rewiring.load_state_dict(state)
            optimiser.zero_grad()
            loss_of(network, step).backward()
            if not rewiring.step():
                optimiser.step()
        return torch.cat([network[0].dense().flatten(), network[2].dense().flatten()])

    whole = run(None, seed)
    assert torch.equal(whole, run(7, seed))
    if RULES[rule].noise:
        assert not torch.equal(whole, run(None, seed + 1))


def test_layers_and_steps_have_chances_of_their_own():
    """All start from one table of connections and drop all of it, so only chance differs."""
    found = []
    for step in (1, 2):
        torch.manual_seed(0)
        first = Proximity(SHEET, SHEET, 5, Nearness(2.0))
        layers = nn.ModuleList([first, copy.deepcopy(first)])
        rewiring = Rewiring(layers, None, Growth.set(), Schedule(1000, every=step, share=1.0))
        rewiring.load_state_dict({"steps": step - 1})
        assert rewiring.step()
        found += [mask_of(layer) for layer in layers]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(found, 2))


# --- the corners ---------------------------------------------------------------------------------


def chances(weights: dict[int, float], count: int) -> dict[frozenset[int], float]:
    """Probability of each set when drawing one after the other in proportion to the weights."""
    sets: dict[frozenset[int], float] = {}
    for order in itertools.permutations(weights, count):
        left, chance = sum(weights.values()), 1.0
        for one in order:
            chance *= weights[one] / left
            left -= weights[one]
        sets[frozenset(order)] = sets.get(frozenset(order), 0.0) + chance
    return sets


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    "growth",
    [
        Growth.set(),
        Growth.spatial_set(1.7),
        Growth(Nearness(2.5, power=1.0), gradient=0.5),
        Growth(gradient=2.0),
    ],
    ids=str,
)
def test_growing_draws_in_proportion_to_the_score(growth: Growth, count: int):
    """Many units in one state: how often each set grows, against its exact probability.

    SET is γ = 0 and λ = ∞, where each set is as likely as any other.
    """
    line, many = Places((6,)), 20_000
    layer = Proximity(line, Places((1,), many, extent=(6,)), 3, Nearness(1.0))
    layer.wire(torch.tensor([0, 1, 2]).repeat(many, 1))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.1, -0.5, 0.9]))
    size = torch.tensor([0.5, 2.0, 1.0, 1.0, 3.0, 0.2])
    rewire(layer, growth, count, -size.repeat(many, 1), generator())
    kept = {2} if count == 2 else {1, 2}
    reach, power = growth.nearness.reach, growth.nearness.power
    weights = {
        i: float(size[i]) ** growth.gradient * math.exp(-((abs(i - 2.5) / reach) ** power))
        for i in range(6)
        if i not in kept
    }
    exact = chances(weights, count)
    assert sum(exact.values()) == pytest.approx(1)
    found = [frozenset(row) - kept for row in layer.index.tolist()]
    assert set(found) <= set(exact)
    for chosen, chance in exact.items():
        share = sum(one == chosen for one in found) / many
        assert abs(share - chance) <= 5 * math.sqrt(chance * (1 - chance) / many)


def test_a_small_world_grows_its_share_from_afar():
    line = Places((300,))
    layer = Proximity(line, line, 6, Nearness(1e-3))
    rewire(layer, Growth.small_world(1e-3, far=0.25), 6, generator=generator())
    outside = (layer.lengths > 5.5).double().mean().item()
    assert outside == pytest.approx(0.25, abs=0.04)


class SlowRigl:
    """RigL as its paper tells it, on a full matrix with a mask, one unit at a time."""

    def __init__(self, layer: Proximity, adam: bool) -> None:
        self.mask, self.adam = mask_of(layer), adam
        self.weight = layer.dense().detach().clone()
        self.bias = layer.bias.detach().clone()
        self.memory = [torch.zeros_like(self.weight), torch.zeros_like(self.weight)]
        self.bias_memory = [torch.zeros_like(self.bias), torch.zeros_like(self.bias)]
        self.updates = 0

    def update(self, gradient: torch.Tensor, bias_gradient: torch.Tensor) -> None:
        self.updates += 1
        self._update(self.weight, gradient * self.mask, self.memory)
        self._update(self.bias, bias_gradient, self.bias_memory)

    def _update(self, value: torch.Tensor, gradient: torch.Tensor, memory) -> None:
        if not self.adam:
            memory[0] = 0.9 * memory[0] + gradient
            value -= 0.01 * memory[0]
            return
        memory[0] = 0.9 * memory[0] + 0.1 * gradient
        memory[1] = 0.999 * memory[1] + 0.001 * gradient**2
        mean = memory[0] / (1 - 0.9**self.updates)
        spread = memory[1] / (1 - 0.999**self.updates)
        value *= 1 - 0.01 * 0.1
        value -= 0.01 * mean / (spread.sqrt() + 1e-8)

    def rewire(self, gradient: torch.Tensor, share: float) -> None:
        for unit in range(len(self.weight)):
            active = [i for i in range(self.mask.shape[1]) if self.mask[unit, i]]
            count = int(share * len(active) + 0.5)
            ranked = sorted(active, key=lambda i: abs(self.weight[unit, i].item()))
            kept = ranked[count:]
            others = [i for i in range(self.mask.shape[1]) if i not in kept]
            grown = sorted(others, key=lambda i: -abs(gradient[unit, i].item()))[:count]
            for i in others:
                if i not in grown or i not in active:
                    self.weight[unit, i] = 0.0
                    self.memory[0][unit, i] = self.memory[1][unit, i] = 0.0
                self.mask[unit, i] = i in grown


@pytest.mark.parametrize("adam", [False, True])
def test_rigl_is_its_slow_twin_through_training(adam: bool):
    """Weights, masks and momentum of two layers over 40 steps with 9 rewirings."""
    network = a_network()
    slow = [SlowRigl(network[0], adam), SlowRigl(network[2], adam)]
    optimiser = (
        torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.1)
        if adam
        else torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    )
    rewiring = Rewiring(network, optimiser, Growth.rigl(), Schedule(40, every=4, share=0.5))
    rewired = 0
    for step in range(1, 41):
        maps, target = a_batch(step)
        parts = [part.requires_grad_() for s in slow for part in (s.weight.clone(), s.bias.clone())]
        hidden = torch.tanh(functional.linear(maps.flatten(1), parts[0], parts[1]))
        out = functional.linear(hidden, parts[2], parts[3])
        gradients = torch.autograd.grad((out - target.flatten(1)).square().sum(), parts)
        due = step < 40 and step % 4 == 0
        for number, one in enumerate(slow):
            if due:
                share = 0.5 / 2 * (1 + math.cos(math.pi * step / 40))
                one.rewire(gradients[2 * number], share)
            else:
                one.update(*gradients[2 * number : 2 * number + 2])
        optimiser.zero_grad()
        loss_of(network, step).backward()
        assert rewiring.step() == due
        if not due:
            optimiser.step()
        rewired += due
        for layer, one in zip((network[0], network[2]), slow, strict=True):
            assert torch.equal(mask_of(layer), one.mask)
            assert torch.allclose(layer.dense(), one.weight, atol=1e-10)
            assert torch.allclose(layer.bias, one.bias, atol=1e-10)
    assert rewired == 9


def test_a_dropped_connection_that_wins_again_was_never_gone():
    line = Places((4,))
    layer = Proximity(line, Places((1,), extent=(4,)), 3, Nearness(1.0))
    layer.wire(torch.tensor([[0, 1, 2]]))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.1, 0.2, 0.9]]))
    renewed = rewire(layer, Growth.rigl(), 2, torch.tensor([[9.0, 1.0, 0.0, 5.0]]))
    assert layer.index.tolist() == [[0, 3, 2]]
    assert layer.weight.tolist() == [[pytest.approx(0.1), 0.0, pytest.approx(0.9)]]
    assert renewed.tolist() == [[False, True, False]]


def test_units_without_gradient_grow_by_nearness():
    """|g| = 0 everywhere is no reason to take the first input or to fail."""
    layer = a_layer()
    rewire(layer, Growth(Nearness(1e-3), gradient=1.0), 6, torch.zeros(24, 20), generator())
    far = layer.outputs.distances(layer.inputs)
    assert torch.allclose(
        far.gather(1, layer.index).sort(1).values, far.sort(1).values[:, :6], atol=1e-6
    )


# --- the loop ------------------------------------------------------------------------------------


def test_the_share_falls_as_half_a_cosine():
    schedule = Schedule(until=1000, every=100, share=0.3)
    assert [step for step in range(1, 1200) if schedule.due(step)] == list(range(100, 1000, 100))
    for step in (0, 100, 500, 900):
        expected = 0.15 * (1 + math.cos(math.pi * step / 1000))
        assert schedule.share_at(step) == pytest.approx(expected)
    assert schedule.share_at(5000) == 0


def test_the_gradient_of_candidates_is_that_of_the_full_matrix():
    """Also when it comes in parts, and whatever is looked at in evaluation mode."""
    network = a_network()
    rewiring = Rewiring(network, None, Growth.rigl(), Schedule(9, every=1))
    weight = network[0].dense().detach().requires_grad_()
    maps, target = a_batch(0)
    hidden = torch.tanh(functional.linear(maps.flatten(1), weight, network[0].bias))
    loss = (network[2](hidden.view(8, 2, 3, 4)) - target).square().sum()
    (expected,) = torch.autograd.grad(loss, weight)
    rewiring = Rewiring(network, None, Growth.rigl(), Schedule(9, every=1))
    for part in (slice(0, 3), slice(3, 8)):
        (network(maps[part]) - target[part]).square().sum().backward()
    network.eval()
    network(maps).sum().backward()
    with torch.no_grad():
        network.train()(maps)
    assert torch.allclose(rewiring._gradients[0], expected)
    rewiring.step()


def test_it_listens_only_in_the_steps_that_need_it():
    network = a_network()
    rewiring = Rewiring(network, None, Growth.rigl(), Schedule(7, every=3))
    listening = []
    for step in range(9):
        listening.append(bool(network[0]._forward_hooks))
        loss_of(network, step).backward()
        assert bool(rewiring._gradients) == listening[-1]
        rewiring.step()
        assert not rewiring._gradients
    assert [n + 1 for n, there in enumerate(listening) if there] == [3, 6]
    assert not Rewiring(network, None, Growth.set(), Schedule(7, every=1))._hooks


def test_what_cannot_be_is_refused_with_what_to_do():
    network = a_network()
    for make, says in (
        (lambda: Rewiring(nn.Linear(1, 1), None, Growth(), Schedule(9)), "no Proximity layer"),
        (lambda: Schedule(0), "at least 1 step"),
        (lambda: Schedule(5, every=0), "at least 1 step"),
        (lambda: Schedule(5, share=1.1), "a share from 0 to 1"),
        (lambda: Growth(gradient=-1), "must be 0 or more"),
        (lambda: Growth(noise=math.inf), "must be 0 or more"),
        (lambda: rewire(network[0], Growth.rigl(), 1), "pass `gradient`"),
        (
            lambda: Rewiring(network, None, Growth.rigl(), Schedule(9, every=1)).step(),
            "call `step` after `backward`",
        ),
    ):
        with pytest.raises(SettingsError, match=says):
            make()
