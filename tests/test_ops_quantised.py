"""Quantised networks: what the graph says against what changes when a pixel does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.ao import quantization
from torch.ao.nn import quantized
from torch.utils._pytree import tree_leaves

from placewise.graph import Graph, capture
from placewise.ops import COUNTS, EXISTS, Status

pytestmark = [
    pytest.mark.skipif(
        "fbgemm" not in torch.backends.quantized.supported_engines, reason="needs fbgemm"
    ),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(autouse=True)
def _engine() -> Iterator[None]:
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    torch.manual_seed(0)
    yield
    torch.backends.quantized.engine = before


class Net(nn.Module):
    """Convolutions, a sum, a concatenation, a transposed convolution, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = quantization.QuantStub(), quantization.DeQuantStub()
        self.first, self.norm = nn.Conv2d(1, 4, 3, 2, 1), nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2)
        self.joined = quantized.FloatFunctional()
        self.grown = nn.ConvTranspose2d(8, 2, 3, 2, 1, output_padding=1)
        self.line = nn.Linear(8, 3)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.pool(torch.relu(self.norm(self.first(self.quant(x)))))
        x = self.joined.cat([x, self.joined.add(x, self.second(x))], 1)
        rows = self.line(x.permute(0, 2, 3, 1))
        return self.dequant(self.grown(x)), self.dequant(rows)


SHAPE = (1, 16, 12)


def statically() -> nn.Module:
    net = Net().eval()
    net.qconfig = quantization.default_qconfig
    prepared = quantization.prepare(net)
    prepared(2 * torch.rand(8, *SHAPE) - 0.5)
    return quantization.convert(prepared)


def ways(graph: Graph) -> list[np.ndarray]:
    return [graph.to_image({n: graph.ones(n, COUNTS)}, COUNTS)[0, 0] for n in graph.outputs]


def test_a_quantised_network_counts_as_the_one_that_it_was_made_of():
    plain, graph = capture(Net().eval(), SHAPE), capture(statically(), SHAPE)
    assert not graph.unknown and graph.capture == "run"
    assert {node.status for node in graph.nodes} == {Status.EXACT}
    assert {"quantized::conv2d", "quantized::add", "quantized::cat", "quantized::linear"} <= {
        node.op for node in graph.nodes
    }
    assert len(graph.outputs) == 2
    for one, other in zip(ways(plain), ways(graph), strict=True):
        assert (one == other).all() and one.max() > one.min()


def changed(net: nn.Module, shape: tuple[int, ...], pixel: int) -> list[np.ndarray]:
    """Which elements of each output change with one pixel."""
    found: list[np.ndarray] = []
    for seed in range(4):
        image = torch.rand(1, *shape, generator=torch.Generator().manual_seed(seed))
        other = image.clone()
        other.view(-1)[pixel] += 2
        with torch.no_grad():
            pairs = list(zip(tree_leaves(net(image)), tree_leaves(net(other)), strict=True))
        now = [(a != b).reshape(-1).numpy() for a, b in pairs]
        found = [a | b for a, b in zip(found or now, now, strict=True)]
    return found


def reached(graph: Graph, shape: tuple[int, ...], pixel: int) -> list[np.ndarray]:
    start = EXISTS.filled((1, *shape))
    start.flat[pixel] = True
    grids = graph.forward(start, EXISTS)
    return [grids[n].reshape(-1) for n in graph.outputs]


def test_what_a_quantised_network_reads_is_what_changes():
    net = statically()
    graph = capture(net, SHAPE, per_channel=True)
    some = 0
    for pixel in (0, 5, 77, 100, 191):
        for real, said in zip(
            changed(net, SHAPE, pixel), reached(graph, SHAPE, pixel), strict=True
        ):
            assert not (real & ~said).any()
            some += int(real.sum())
    assert some > 100


def test_training_aware_of_quantisation_counts_as_without_and_says_what_its_ranges_read():
    net = Net()
    net.qconfig = quantization.get_default_qat_qconfig("fbgemm")
    net.grown.qconfig = None
    aware = quantization.prepare_qat(net.train())
    aware(torch.rand(2, *SHAPE))
    graph = capture(aware.eval(), SHAPE)
    assert not graph.unknown
    assert graph.caveats == (Status.AT_LEAST,)
    for one, other in zip(ways(capture(Net().eval(), SHAPE)), ways(graph), strict=True):
        assert (one == other).all()
    aware.apply(quantization.disable_observer)
    assert capture(aware, SHAPE).status is Status.EXACT


class Sounds(nn.Module):
    """Two recurrent networks and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LSTM(2, 3, 2, batch_first=True)
        self.second = nn.GRU(3, 3, batch_first=True)
        self.line = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> tuple[Any, ...]:
        found, (state, memory) = self.first(x.transpose(1, 2))
        return self.line(self.second(found)[0]), state, memory


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_moment_reads_what_came_before_it(dynamic: bool):
    net = Sounds().eval()
    if dynamic:
        net = quantization.quantize_dynamic(net, {nn.LSTM, nn.GRU, nn.Linear})
    graph = capture(net, (2, 7))
    assert not graph.unknown and len(graph.outputs) == 3
    assert graph.status is (Status.AT_LEAST if dynamic else Status.EXACT)
    first = graph.to_image({graph.outputs[0]: graph.ones(graph.outputs[0], EXISTS, (3,))}, EXISTS)
    assert first.ravel().tolist() == [True] * 4 + [False] * 3
    for state in graph.outputs[1:]:
        assert graph.to_image({state: graph.ones(state, EXISTS)}, EXISTS).all()
    if not dynamic:
        found = changed(net, (2, 7), 4)
        assert found[0].reshape(7, 2).any(1).tolist() == [False] * 4 + [True] * 3
        assert found[1].all() and found[2].all()


def test_what_sets_its_steps_by_its_range_reads_more():
    class Dynamic(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            found = torch.quantize_per_tensor_dynamic(x, torch.quint8, False)
            return found.int_repr()

    graph = capture(Dynamic(), (1, 6))
    assert not graph.unknown and Status.AT_LEAST in graph.caveats
    assert any(node.global_statistics for node in graph.nodes)
