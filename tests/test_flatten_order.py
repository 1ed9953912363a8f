"""The order in which a map is flattened means nothing to fully connected layers.

Shown exactly: permute the numbers that the head is given and, alike, its first weights, and the
whole training is the same, step by step. So networks that flatten in different orders, drawn from
the same distribution, are the same networks: a place is a name, and who is next to whom is lost.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from placewise.backbones import BACKBONES
from placewise.heads import HEADS

STEPS = 50
OPTIMISERS = {
    "sgd with momentum": lambda weights: torch.optim.SGD(weights, 0.05, 0.9, weight_decay=1e-3),
    "adam": lambda weights: torch.optim.Adam(weights, 3e-3),
}
each_optimiser = pytest.mark.parametrize("optimiser", OPTIMISERS)


class Reordered(nn.Module):
    """The exact net, whose last maps are put into another order before they are flattened."""

    def __init__(self, order: torch.Tensor) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = BACKBONES["lenet"](1)
        self.head = HEADS["flatten"](6, 10, (5, 5))
        self.order = order
        self.double()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.backbone(images)
        return self.head(maps.flatten(1)[:, self.order].view_as(maps))


def trained(order: torch.Tensor, optimiser: str, *, weights_too: bool) -> torch.Tensor:
    """(steps, batch · classes + weights): logits and all weights after each step."""
    net = Reordered(order)
    first = net.head.hidden[0].weight
    if weights_too:
        first.data.copy_(first[:, order])
    seeded = torch.Generator().manual_seed(1)
    images = torch.randn(16, 1, 32, 32, dtype=torch.float64, generator=seeded)
    labels = torch.randint(10, (16,), generator=seeded)
    steps = OPTIMISERS[optimiser](net.parameters())
    back = order.argsort()
    seen = []
    for _ in range(STEPS):
        logits = net(images)
        steps.zero_grad()
        net.head.loss(logits, labels).mean().backward()
        steps.step()
        others = [p.detach().flatten() for p in net.parameters() if p is not first]
        seen.append(
            torch.cat([logits.detach().flatten(), *others, first.detach()[:, back].flatten()])
        )
    return torch.stack(seen)


IN_ORDER = torch.arange(150)


@each_optimiser
@settings(max_examples=3, deadline=None, derandomize=True)
@given(order=st.permutations(range(150)))
def test_any_order_trains_alike(optimiser: str, order: list[int]) -> None:
    """Logits, and weights put back into order, after each of 50 steps of the whole network."""
    usual = trained(IN_ORDER, optimiser, weights_too=True)
    other = trained(torch.tensor(order), optimiser, weights_too=True)
    assert (usual[-1] - usual[0]).abs().max() > 0.1  # it did learn
    assert (usual - other).abs().max() <= 1e-10


@each_optimiser
def test_it_takes_the_same_weights_and_not_only_the_same_order(optimiser: str) -> None:
    """The test above would see a difference: other first weights, another training."""
    order = torch.randperm(150, generator=torch.Generator().manual_seed(2))
    usual = trained(IN_ORDER, optimiser, weights_too=True)
    other = trained(order, optimiser, weights_too=False)
    assert (usual - other)[:, :160].abs().max() > 1e-3


def test_first_weights_are_drawn_alike_for_every_input() -> None:
    """Independent draws of one normal distribution: an order changes nothing about it."""
    torch.manual_seed(5)
    first = HEADS["flatten"](6, 10, (5, 5)).hidden[0]
    torch.manual_seed(5)
    nn.Linear(150, 100)
    drawn = torch.empty(100, 150)
    nn.Linear(100, 10)
    drawn.normal_(std=math.sqrt(2 / 150))
    assert torch.equal(first.weight, drawn)
    assert not first.bias.any()


def test_first_weights_of_each_input_have_one_mean_and_one_variance() -> None:
    torch.manual_seed(6)
    heads = [HEADS["flatten"](6, 10, (5, 5)).hidden[0].weight.detach() for _ in range(60)]
    weights = torch.cat(heads).double() / math.sqrt(2 / 150)
    count = len(weights)
    means = weights.mean(0) * math.sqrt(count)
    variances = (weights.square().mean(0) - 1) * math.sqrt(count / 2)
    assert weights.shape == (6000, 150)
    for score in (means, variances):
        assert score.abs().max() < 4.5
        assert score.square().mean() == pytest.approx(1, abs=0.4)
