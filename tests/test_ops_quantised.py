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
from placewise.ops import COUNTS, EXISTS, Packed, Status

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
    return [graph.to_image({n: graph.ones(n, COUNTS)}, COUNTS).whole()[0, 0] for n in graph.outputs]


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
    grids = graph.forward(Packed.of(start), EXISTS)
    return [grids[n].whole().reshape(-1) for n in graph.outputs]


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
    assert first.whole().ravel().tolist() == [True] * 4 + [False] * 3
    for state in graph.outputs[1:]:
        assert graph.to_image({state: graph.ones(state, EXISTS)}, EXISTS).core.all()
    if not dynamic:
        found = changed(net, (2, 7), 4)
        assert found[0].reshape(7, 2).any(1).tolist() == [False] * 4 + [True] * 3
        assert found[1].all() and found[2].all()


OPS = torch.ops.quantized
FIXED = {"output_scale": 0.05, "output_zero_point": 100}
SINGLE: dict[str, Any] = {
    "matmul": lambda q: OPS.matmul(q[:, :, :3, :3], q[:, :, :3, 1:], 0.1, 0),
    "cat_relu": lambda q: OPS.cat_relu([q, q[:, :, :1]], 2, 0.05, 0),
    "mul": lambda q: OPS.mul(q, q[:, :1], 0.05, 0),
    "add_scalar": lambda q: OPS.add_scalar(q, 0.5),
    "batch_norm2d": lambda q: OPS.batch_norm2d(
        q, *(torch.ones(2), torch.zeros(2), torch.zeros(2), torch.ones(2)), 1e-5, 0.05, 0
    ),
    "layer_norm": lambda q: OPS.layer_norm(q, [4], None, None, 1e-5, **FIXED),
    "group_norm": lambda q: OPS.group_norm(q, 1, None, None, 1e-5, **FIXED),
    "instance_norm": lambda q: OPS.instance_norm(q, None, None, 1e-5, **FIXED),
    "softmax": lambda q: OPS.softmax(q, 3, 1 / 256, 0),
    "max_pool2d": lambda q: torch.max_pool2d(q, 2, 2),
}


class One(nn.Module):
    """One operation on quantised numbers."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(torch.quantize_per_tensor(x, 0.02, 10, torch.quint8)).dequantize()


@pytest.mark.parametrize("name", SINGLE)
def test_a_single_operation_reads_what_it_says(name: str):
    shape = (2, 4, 4)
    net = One(SINGLE[name])
    graph = capture(net, shape, per_channel=True)
    assert not graph.unknown and not any(node.note for node in graph.nodes)
    assert any(name in node.op for node in graph.nodes)
    everywhere = any(node.global_statistics for node in graph.nodes)
    changes = [changed(net, shape, pixel)[0] for pixel in range(32)]
    assert np.any(changes)
    for pixel, real in enumerate(changes):
        said = reached(graph, shape, pixel)[0]
        assert everywhere or "norm" in name or not (real & ~said).any()
        assert name != "batch_norm2d" or not (real & ~said).any()
    assert everywhere == (name in ("layer_norm", "group_norm", "instance_norm"))


def test_what_sets_its_steps_by_its_range_reads_more():
    class Dynamic(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            found = torch.quantize_per_tensor_dynamic(x, torch.quint8, False)
            return found.int_repr()

    graph = capture(Dynamic(), (1, 6))
    assert not graph.unknown and Status.AT_LEAST in graph.caveats
    assert any(node.global_statistics for node in graph.nodes)
