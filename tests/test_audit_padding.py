"""Where ways begin: in the image or in padding; against padding that has a gradient."""

from __future__ import annotations

import json
import random
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from audit_backbones import Residual, conv, graph, graph_of
from placewise.auditing.paths import padding_paths
from placewise.geometry import FloatArray


class Chain(nn.Module):
    """Windows of ones; each pads with zeros that can be asked for their gradient."""

    def __init__(self, windows: list[tuple[int, int, int]], dims: int) -> None:
        super().__init__()
        self.windows, self.dims = windows, dims

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        borders = []
        for size, stride, pad in self.windows:
            sides = [side + 2 * pad for side in x.shape[2:]]
            border = torch.zeros(1, 1, *sides, dtype=torch.float64, requires_grad=True)
            inside = (slice(None), slice(None), *[slice(pad, side - pad) for side in sides])
            mask = torch.ones_like(border)
            mask[inside] = 0
            borders.append(border)
            padded = nn.functional.pad(x, [pad] * (2 * self.dims)) + border * mask
            weight = torch.ones(1, 1, *[size] * self.dims, dtype=torch.float64)
            convolve = (nn.functional.conv1d, nn.functional.conv2d, nn.functional.conv3d)[
                self.dims - 1
            ]
            x = convolve(padded, weight, stride=stride)
        return x, borders


@pytest.mark.parametrize("seed", range(10))
def test_shares_are_the_gradients_by_padding_and_by_pixels(seed: int):
    rng = random.Random(seed)
    dims = 1 + seed % 3
    sides = [(13,), (19, 17), (17, 18, 17)][dims - 1]
    windows = [(rng.randint(1, 4), rng.randint(1, 2), rng.randint(0, 2)) for _ in range(3)]
    windows[-1] = (2, 1, 1)
    image = torch.zeros(1, 1, *sides, dtype=torch.float64, requires_grad=True)
    out, borders = Chain(windows, dims)(image)
    kind = [nn.Conv1d, nn.Conv2d, nn.Conv3d][dims - 1]
    found = padding_paths(
        graph(nn.Sequential(*[kind(1, 1, *w) for w in windows]), 1, *sides), "output"
    )
    assert found.padded.shape == out.shape[2:]
    places = list(np.ndindex(*found.padded.shape))
    for place in rng.sample(places, min(len(places), 40)):
        leaves = torch.autograd.grad(
            out[(0, 0, *place)], [image, *borders], retain_graph=True, allow_unused=True
        )
        pictured, *padded = [0 if g is None else int(g.sum()) for g in leaves]
        assert (found.imaged[place], found.padded[place]) == (pictured, sum(padded))
        share = Fraction(sum(padded), sum(padded) + pictured)
        assert found.share[place] == pytest.approx(float(share))


def shares(*layers: nn.Module, sides: tuple[int, ...] = (16,)) -> FloatArray:
    return padding_paths(graph(nn.Sequential(*layers), 1, *sides)).share


def test_two_layers_by_hand():
    found = padding_paths(graph(nn.Sequential(*[nn.Conv1d(1, 1, 3, padding=1)] * 2), 1, 6))
    assert found.padded.tolist() == [2, 1, 0, 0, 1, 2]
    assert found.imaged.tolist() == [5, 8, 9, 9, 8, 5]
    assert found.overall == Fraction(6, 50)


def test_corners_of_padding_count_once():
    found = padding_paths(graph(conv(3, 1, 1), 1, 4, 4))
    assert (found.padded[0, 0], found.padded[0, 1], found.padded[1, 1]) == (5, 3, 0)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_made_of_pixels_is_no_padding(mode: str):
    layer = nn.Conv1d(1, 1, 3, padding=1, padding_mode=mode)
    assert not shares(layer, layer).any()


def test_without_padding_or_with_what_a_maximum_leaves_out_there_is_none():
    assert not shares(nn.Conv1d(1, 1, 3), nn.MaxPool1d(3, 2, 1)).any()
    assert shares(nn.AvgPool1d(3, 2, 1)).any()
    assert not shares(nn.AvgPool1d(3, 2, 1, count_include_pad=False)).any()


def test_padding_is_felt_as_far_as_it_reaches():
    found = shares(*[nn.Conv1d(1, 1, 3, padding=1)] * 3)
    assert (found[:3] > 0).all() and (found[-3:] > 0).all()
    assert not found[3:-3].any()
    assert (np.diff(found[:4]) < 0).all()


def test_a_way_round_the_padding_lowers_the_share():
    body = nn.Conv1d(1, 1, 3, padding=1)
    assert (shares(Residual([body]))[0], shares(body)[0]) == (0.25, pytest.approx(1 / 3))


def test_padding_by_itself_and_by_a_constant():
    assert shares(nn.ConstantPad1d((2, 1), 0.0)).tolist() == [1.0, 1.0] + [0.0] * 16 + [1.0]


def test_a_classifier_has_one_place():
    net = nn.Sequential(conv(3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 5))
    found = padding_paths(graph(net, 1, 4, 4), "output")
    assert found.share.size == 1
    assert found.overall == Fraction(4 * 5 + 8 * 3, 16 * 9)


def test_a_backbone_at_an_even_and_an_uneven_size():
    even, uneven = (padding_paths(graph_of("resnet18", side, side)) for side in (225, 224))
    assert (even.share == even.share[::-1, ::-1]).all()
    assert uneven.share[0, 0] > uneven.share[-1, -1]
    assert 0 < uneven.overall < even.overall < 0.01


def test_the_finding_is_plain():
    found = padding_paths(graph(conv(3, 1, 1), 1, 130, 20)).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert (found["min"], found["max"]) == (0.0, 0.555556)
    assert (len(found["share"]), len(found["share"][0])) == (44, 20)
