"""Unseen pixels and unread activations: figures, and where gradients vanish."""

from __future__ import annotations

import json
import random

import pytest
import torch
from torch import Tensor, nn

from audit_backbones import conv, graph, graph_of
from placewise.auditing.paths import count_paths
from placewise.auditing.unseen import unseen


@pytest.mark.parametrize(
    ("layer", "side", "lost"),
    [
        (conv(11, 4), 224, {223}),
        (conv(11, 4), 227, set()),
        (conv(16, 16), 230, set(range(224, 230))),
        (conv(16, 16), 224, set()),
        (conv(4, 4), 225, {224}),
        (conv(1, 2), 32, set(range(1, 32, 2))),
        (conv(2, 3), 12, {2, 5, 8, 11}),
        (conv(2, 3, dilation=2), 12, {1, 4, 7, 10}),
    ],
)
def test_rows_and_columns_that_one_layer_never_reads(layer: nn.Module, side: int, lost: set[int]):
    found = unseen(graph(layer, 1, side, side))
    assert set(found.rows) == set(found.columns) == lost
    assert found.pixels == side**2 - (side - len(lost)) ** 2
    assert found.mask.shape == (side, side)


def test_alexnet_without_padding():
    assert unseen(graph_of("alexnet_valid", 227, 227)).pixels == 0
    found = unseen(graph_of("alexnet_valid", 224, 224))
    assert 223 in found.rows and 223 in found.columns
    assert found.pixels == (count_paths(graph_of("alexnet_valid", 224, 224)).counts == 0).sum()


def random_chain(rng: random.Random, dims: int = 2) -> list[nn.Module]:
    kind = [nn.Conv1d, nn.Conv2d, nn.Conv3d][dims - 1]
    layers: list[nn.Module] = []
    for _ in range(3):
        size, dilation = rng.randint(1, 3), rng.randint(1, 2)
        layers.append(kind(1, 1, size, rng.randint(1, 4), rng.randint(0, 1), dilation=dilation))
    return layers


@pytest.mark.parametrize("seed", range(21))
def test_what_no_output_reads_has_no_gradient(seed: int):
    dims = 1 + seed % 3
    layers = random_chain(random.Random(seed), dims)
    shape = (1, *[(97,), (40, 47), (26, 23, 25)][dims - 1])
    x = torch.ones(1, *shape, dtype=torch.float64, requires_grad=True)
    tensors = [x]
    for layer in layers:
        for weight in layer.double().parameters():
            nn.init.uniform_(weight, 0.5, 1.0)
        tensors.append(layer(tensors[-1]))
    gradients = torch.autograd.grad(tensors[-1].sum(), tensors)
    found = unseen(graph(nn.Sequential(*layers), *shape))
    if not any(g.any() for g in gradients[:-1]):  # the last layer reads padding alone
        assert [layer.unread for layer in found.idle] == [g.numel() for g in gradients[1:-1]]
        return
    assert (torch.from_numpy(found.mask) == (gradients[0][0, 0] == 0)).all()
    unread = {n: int((g == 0).sum()) for n, g in enumerate(gradients) if n and (g == 0).any()}
    assert {layer.node: layer.unread for layer in found.layers} == unread
    assert [layer.places for layer in found.layers] == [gradients[n].numel() for n in unread]
    assert found.idle == ()


def test_the_random_chains_hold_something_to_find():
    chains = [nn.Sequential(*random_chain(random.Random(seed))) for seed in range(5)]
    found = [unseen(graph(chain, 1, 40, 47)) for chain in chains]
    assert any(one.pixels for one in found)
    assert any(one.layers for one in found)


def test_what_reads_padding_alone_makes_all_before_it_idle():
    found = unseen(graph(nn.Sequential(nn.Conv1d(1, 1, 1), nn.Conv1d(1, 1, 1, 4, 1)), 1, 2))
    assert (found.pixels, found.columns, found.layers) == (2, (0, 1), ())
    assert [layer.unread for layer in found.idle] == [2]


def test_resnet_v1_never_reads_three_quarters_of_what_it_made():
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.main, self.shortcut = conv(3, 1, 1), conv(1, 2), conv(1, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.main(x) + self.shortcut(x)

    found = unseen(graph(Block(), 1, 16, 16))
    assert [(layer.layer, layer.share) for layer in found.layers] == [("stem", 0.75)]
    assert found.pixels == 0


def test_a_branch_that_leads_nowhere_is_idle():
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = conv(3), conv(5)

        def forward(self, x: Tensor) -> Tensor:
            self.idle(x)
            return self.used(x)

    found = unseen(graph(Idle(), 1, 9, 9))
    assert [(layer.layer, layer.unread) for layer in found.idle] == [("idle", 25)]
    assert found.layers == ()


def test_a_pixel_of_which_one_channel_is_read_is_seen():
    class First(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x[:, :1, :4], x[:, 1:, :4]], 1)

    assert unseen(graph(First(), 2, 6, 6)).rows == (4, 5)


@pytest.mark.parametrize("space", [(10,), (10, 9), (7, 10, 9)])
def test_one_to_three_axes(space: tuple[int, ...]):
    kind = [nn.Conv1d, nn.Conv2d, nn.Conv3d][len(space) - 1]
    found = unseen(graph(kind(1, 1, 3, 3), 1, *space))
    assert found.whole == tuple(tuple(range(n // 3 * 3, n)) for n in space)
    assert found.columns == found.whole[-1]
    assert found.rows == (found.whole[-2] if len(space) > 1 else ())


def test_the_finding_is_plain():
    found = unseen(graph(conv(16, 16), 1, 130, 64)).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert (found["pixels"], found["rows"], found["columns"]) == (128, [128, 129], [])
    assert len(found["mask"]) == 44
    assert (found["mask"][0][0], found["mask"][-1][0]) == (0.0, 1.0)
