"""What a padding rule tells of the place: laws of the toy, and a small training."""

from __future__ import annotations

import pytest
import torch

from location_toy import BLOCK, HALF, SIDE, accuracies, images, network, trained


def drawn(exchanged: bool, count: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    return images(count, torch.Generator().manual_seed(3), exchanged=exchanged)


def test_the_class_is_the_colour_on_the_left_and_in_training_the_half():
    for exchanged in (False, True):
        maps, labels = drawn(exchanged)
        across, down = maps.amax(2), maps.amax(3)
        for image, label in enumerate(labels.tolist()):
            columns = [int(across[image, colour].nonzero()[0]) for colour in (0, 1)]
            rows = [int(down[image, colour].nonzero()[-1]) for colour in (0, 1)]
            assert columns[label] + BLOCK < columns[1 - label]
            assert all((row >= SIDE // 2) == bool(label ^ exchanged) for row in rows)
        assert maps.sum((2, 3)).unique().tolist() == [0.0, BLOCK**2]


def test_exchanging_the_halves_moves_every_image_and_nothing_else():
    here, there = drawn(False)[0], drawn(True)[0]
    assert torch.equal(here.roll(HALF, 2), there)  # 16 of 32 rows, so up and down are one


@pytest.mark.parametrize("rule", ["circular", "full"])
def test_these_rules_answer_alike_wherever_a_thing_lies(rule: str):
    """Whatever the weights are: before any training."""
    net = network(rule, width=4).double()
    with torch.no_grad():
        here, there = (net(drawn(exchanged)[0].double()) for exchanged in (False, True))
    assert here.std(0).min() > 1e-3
    assert torch.allclose(here, there, atol=1e-12)


@pytest.mark.parametrize("rule", ["valid", "zeros", "symmetric", "partial"])
def test_these_rules_do_not(rule: str):
    net = network(rule, width=4).double()
    with torch.no_grad():
        here, there = (net(drawn(exchanged)[0].double()) for exchanged in (False, True))
    assert (here - there).abs().max() > 1e-3


@pytest.mark.parametrize("rule, falls", [("valid", True), ("zeros", True), ("full", False)])
def test_what_can_be_read_is_learnt(rule: str, falls: bool):
    """The shape of the published table, from a training of seconds."""
    same, other = accuracies(trained(rule, seed=0, steps=80, width=8), count=300)
    if falls:
        assert same > 85 and other < 40
    else:
        assert same == other > 60
