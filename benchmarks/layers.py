"""Locally connected layers beside what people write for want of them, and paths by padding rule.

    OMP_NUM_THREADS=1 python benchmarks/layers.py

Forward and backward of 32 maps of 8×8 to 32, windows of 3×3, batch 64, in one process on one thread,
by turns. What is counted is the thread's own time on the processor, so that other work on the machine
adds little; ratios are taken within a round and their median is given. Memory is what torch's
allocator holds at most, by its profiler: weights and maps, their gradients, and what lies between.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.profiler import profile

from placewise.devices import fast_memory
from placewise.layers import _products
from placewise.layers import local as local_module
from placewise.layers.convolution import Convolution
from placewise.layers.local import LocallyConnected
from placewise.paddings import PADDINGS

RESULTS = Path(__file__).parent / "results" / "layers.json"
CHANNELS, OUT, SIDE, SIZE, BATCH = 32, 32, 8, 3, 64
ROUNDS = 31


class Written(nn.Module):
    """A locally connected layer as it is usually written; its windows read zeros at the border."""

    def __init__(self, own: LocallyConnected) -> None:
        super().__init__()
        by_channel = own.weight.detach().unflatten(2, (-1, CHANNELS)).transpose(2, 3).flatten(2)
        self.weight = nn.Parameter(by_channel.contiguous())
        self.bias = nn.Parameter(torch.zeros(OUT, SIDE, SIDE))


class UnfoldProduct(Written):
    """unfold, then a product for each place."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        windows = functional.unfold(maps, SIZE, padding=SIZE // 2).permute(2, 1, 0)
        result = torch.bmm(self.weight, windows).permute(2, 1, 0)
        return result.unflatten(2, (SIDE, SIDE)) + self.bias


class UnfoldSum(Written):
    """unfold, then einsum."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        windows = functional.unfold(maps, SIZE, padding=SIZE // 2)
        result = torch.einsum("bkl,lok->bol", windows, self.weight)
        return result.unflatten(2, (SIDE, SIDE)) + self.bias


class BroadcastSum(Written):
    """The class that is most copied: windows times weights, broadcast and summed."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        windows = functional.unfold(maps, SIZE, padding=SIZE // 2)
        weight = self.weight.permute(1, 2, 0)
        result = (windows[:, None] * weight).sum(2)
        return result.unflatten(2, (SIDE, SIDE)) + self.bias


class MaskedDense(nn.Module):
    """A fully connected layer times a mask."""

    mask: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        units = torch.arange(SIDE)
        near = ((units[:, None] - units).abs() <= SIZE // 2).float()
        mask = torch.kron(torch.ones(OUT, CHANNELS), torch.kron(near, near))
        self.weight = nn.Parameter(torch.randn(mask.shape) * mask)
        self.bias = nn.Parameter(torch.zeros(len(mask)))
        self.register_buffer("mask", mask)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        result = functional.linear(maps.flatten(1), self.weight * self.mask, self.bias)
        return result.view(-1, OUT, SIDE, SIDE)


def ways() -> dict[str, nn.Module]:
    own = LocallyConnected(CHANNELS, OUT, (SIDE, SIDE), SIZE)
    zeros = LocallyConnected(CHANNELS, OUT, (SIDE, SIDE), SIZE, padding_mode="zeros")
    return {
        "LocallyConnected": own,
        "LocallyConnected, zeros": zeros,
        "convolution (shared)": nn.Conv2d(CHANNELS, OUT, SIZE, padding=SIZE // 2),
        "unfold + bmm": UnfoldProduct(zeros),
        "unfold + einsum": UnfoldSum(zeros),
        "masked dense": MaskedDense(),
        "broadcast + sum": BroadcastSum(zeros),
    }


def step(layer: nn.Module, maps: torch.Tensor, seed: torch.Tensor) -> None:
    for value in (maps, *layer.parameters()):
        value.grad = None
    layer(maps).backward(seed)


def spent(layer: nn.Module, maps: torch.Tensor, seed: torch.Tensor, steps: int = 1) -> float:
    """Milliseconds of a step."""
    begun = time.thread_time()
    for _ in range(steps):
        step(layer, maps, seed)
    return 1e3 * (time.thread_time() - begun) / steps


def by_turns(
    layers: dict[str, nn.Module], maps: torch.Tensor, rounds: int, steps: int = 1
) -> dict[str, list[float]]:
    maps = maps.requires_grad_()
    seed = torch.randn_like(next(iter(layers.values()))(maps)).contiguous()
    times: dict[str, list[float]] = {name: [] for name in layers}
    for number in range(1 + rounds):
        for name, layer in layers.items():
            taken = spent(layer, maps, seed, steps)
            if number:  # the first round warms up
                times[name].append(taken)
    return times


def ratio(times: dict[str, list[float]], one: str, other: str) -> float:
    """Median over rounds of one's time over the other's."""
    pairs = zip(times[one], times[other], strict=True)
    return round(statistics.median(a / b for a, b in pairs), 2)


def timings() -> dict:
    layers, maps = ways(), torch.randn(BATCH, CHANNELS, SIDE, SIDE)
    slow = layers.pop("broadcast + sum")
    times = by_turns(layers, maps, ROUNDS)
    few = by_turns({"LocallyConnected": layers["LocallyConnected"], "slow": slow}, maps, 3)
    return {
        "median_ms": {name: round(statistics.median(each), 2) for name, each in times.items()},
        "least_ms": {name: round(min(each), 2) for name, each in times.items()},
        "ratio_to_locally_connected": {
            **{name: ratio(times, name, "LocallyConnected") for name in times},
            "broadcast + sum": ratio(few, "slow", "LocallyConnected"),
        },
        "locally_connected_to_convolution": ratio(
            times, "LocallyConnected", "convolution (shared)"
        ),
    }


def size_of(*values: torch.Tensor) -> int:
    return sum(value.numel() * value.element_size() for value in values)


def peak(layer: nn.Module, maps: torch.Tensor, seed: torch.Tensor) -> int:
    """Most bytes held during a step beside the weights, the maps and the seed."""
    step(layer, maps, seed)
    for value in (maps, *layer.parameters()):
        value.grad = None
    with profile(profile_memory=True) as found:
        result = layer(maps)
        result.backward(seed)
    held = most = 0
    for event in found.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def memory() -> dict:
    maps = torch.randn(BATCH, CHANNELS, SIDE, SIDE, requires_grad=True)
    seed = torch.randn(BATCH, OUT, SIDE, SIDE)
    found = {}
    for name, layer in ways().items():
        weights, activations = size_of(*layer.parameters()), size_of(maps, seed)
        least = 2 * (weights + activations)
        most = peak(layer, maps, seed) + weights + activations
        found[name] = {
            "weights_mb": round(weights / 2**20, 2),
            "maps_read_and_given_mb": round(activations / 2**20, 2),
            "peak_mb": round(most / 2**20, 2),
            "peak_to_values_and_gradients": round(most / least, 2),
            "between_to_weights_and_maps": round((most - least) / (weights + activations), 2),
        }
    return found


CROSSOVER = (
    (1, 4, 4), (4, 4, 3), (10, 1, 5), (6, 6, 5), (6, 10, 5), (16, 16, 4), (8, 8, 6), (16, 16, 5),
    (8, 8, 8), (16, 16, 6),
)  # fmt: skip
"""(channels, out_channels, side) of small layers with windows of 3×3."""


def crossover() -> list[dict]:
    """One dense matrix against gathered rows."""
    rows, limit = [], local_module.DENSE
    for channels, out, side in CROSSOVER:
        layers = {}
        for name, largest in (("dense", 2**40), ("gathered", 0)):
            local_module.DENSE = largest
            layers[name] = LocallyConnected(channels, out, (side, side), 3)
        ratios = {}
        for batch in (1, 16, 128):
            times = by_turns(layers, torch.randn(batch, channels, side, side), 9, steps=5)
            ratios[f"batch {batch}"] = ratio(times, "gathered", "dense")
        entries = channels * out * side**4
        name = f"{channels}@{side}×{side} → {out}"
        rows.append({"layer": name, "entries": entries, "gathered_to_dense": ratios})
    local_module.DENSE = limit
    return rows


def chunks() -> dict[str, float]:
    """The step of the first table with rows gathered in larger and smaller parts."""
    usual, times = _products.CHUNK, {}
    layer = LocallyConnected(CHANNELS, OUT, (SIDE, SIDE), SIZE)
    maps = torch.randn(BATCH, CHANNELS, SIDE, SIDE, requires_grad=True)
    seed = torch.randn(BATCH, OUT, SIDE, SIDE)
    for _ in range(ROUNDS):
        for kilobytes in (128, 256, 512, 1024, 2048, 8192):
            _products.CHUNK = kilobytes * 2**10
            times.setdefault(f"{kilobytes} KB", []).append(spent(layer, maps, seed))
    _products.CHUNK = usual
    return {name: round(statistics.median(each), 2) for name, each in times.items()}


def paths() -> dict[str, dict[str, float]]:
    """Ways from an outermost place to all results over those from the middle, by the gradient."""
    found: dict[str, dict[str, float]] = {}
    for name in PADDINGS.names():
        for size in (3, 5):
            layer = Convolution(1, 1, size, spatial_dims=1, padding_mode=name, bias=False).double()
            nn.init.ones_(layer.weight)
            maps = torch.zeros(1, 1, 64, dtype=torch.float64, requires_grad=True)
            result = maps
            for _ in range(10):
                result = layer(result)
            result.sum().backward()
            counts = maps.grad[0, 0]
            found.setdefault(name, {})[f"window {size}"] = float(f"{counts[0] / counts[32]:.3g}")
    return found


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    fast_memory()
    content = {
        "command": "OMP_NUM_THREADS=1 python benchmarks/layers.py",
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, one thread",
        "torch": torch.__version__,
        "step": f"{CHANNELS}@{SIDE}×{SIDE} → {OUT}, window {SIZE}, batch {BATCH}, both ways",
        "timings": timings(),
        "memory": memory(),
        "chunks_ms": chunks(),
        "crossover": crossover(),
        "paths_edge_to_centre_after_10_layers": paths(),
    }
    RESULTS.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(content, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
