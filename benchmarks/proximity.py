"""Layers that connect by nearness: speed, placement, and whether they learn.

    PYTHONPATH=. OMP_NUM_THREADS=1 python benchmarks/proximity.py [--parts speed placement digits images]

All timings are of processor time on one thread, by turns in one process, and a ratio is taken within
a round, so that a slow moment of the machine falls on all alike; medians over the rounds. Digits are
scikit-learn's 8×8 pixels; the split is fixed, a seed sets weights, connections and order. Test digits
are read once by each run. Parts that are not asked for keep their former results.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from placewise.devices import fast_memory
from placewise.layers.proximity import Nearness, Places, Proximity
from proximity_figures import connections_figure, lengths_figure
from studies._wiring.placement import assign, place
from studies._wiring.rewiring import Growth, Rewiring, Schedule, rewire

RESULTS = Path(__file__).parent / "results" / "proximity.json"
FIGURES = Path(__file__).parents[1] / "docs" / "figures"
BATCH, ROUNDS, SEEDS, EPOCHS = 128, 15, 3, 30
Step = Callable[[], object]


def by_turns(steps: dict[str, Step], turn: int, rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Milliseconds of a step in each round after the first; a turn is some steps in a row."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            begun = time.process_time()
            for _ in range(turn):
                step()
            if number:
                times[name].append(1e3 * (time.process_time() - begun) / turn)
    return times


def compared(times: dict[str, list[float]], base: str) -> dict[str, dict[str, float]]:
    return {
        name: {
            "ms": round(statistics.median(each), 3),
            f"times faster than {base}": round(
                statistics.median(b / a for a, b in zip(each, times[base], strict=True)), 2
            ),
            "quickest, ms": round(min(each), 3),
            f"times faster than {base}, both at their quickest": round(
                min(times[base]) / min(each), 2
            ),
        }
        for name, each in times.items()
    }


# --- speed ---------------------------------------------------------------------------------------


def speed(side: int, fan_in: int) -> dict[str, object]:
    """Forward and backward of units that read as many units, gradients of input, weight, bias."""
    sheet = Places((side, side))
    layer = Proximity(sheet, sheet, fan_in, Nearness(side / 8))
    dense = nn.Linear(sheet.units, sheet.units)
    mask = torch.zeros_like(dense.weight).scatter_(1, layer.index, 1.0)
    with torch.no_grad():
        dense.weight.copy_(layer.dense())
        dense.bias.copy_(layer.bias)
    maps = torch.randn(BATCH, 1, side, side, requires_grad=True)
    back = torch.randn(BATCH, sheet.units)
    bag = nn.Parameter(layer.weight.detach().clone())

    def ours() -> tuple[torch.Tensor, ...]:
        out = layer(maps).flatten(1)
        return torch.autograd.grad(out, (maps, layer.weight, layer.bias), back)

    rows = maps.detach().flatten(1).t().contiguous().t().view_as(maps).requires_grad_()
    rows_back = back.t().contiguous().t()

    def between() -> tuple[torch.Tensor, ...]:
        out = layer(rows).flatten(1)
        return torch.autograd.grad(out, (rows, layer.weight, layer.bias), rows_back)

    def full() -> tuple[torch.Tensor, ...]:
        out = dense(maps.flatten(1))
        return torch.autograd.grad(out, (maps, dense.weight, dense.bias), back)

    def masked() -> tuple[torch.Tensor, ...]:
        out = functional.linear(maps.flatten(1), dense.weight * mask, dense.bias)
        return torch.autograd.grad(out, (maps, dense.weight, dense.bias), back)

    def stock() -> tuple[torch.Tensor, ...]:
        last = maps.flatten(1).t().contiguous()
        sums = functional.embedding_bag(layer.index, last, mode="sum", per_sample_weights=bag)
        out = (sums + layer.bias[:, None]).t()
        return torch.autograd.grad(out, (maps, bag, layer.bias), back)

    mine, theirs = ours(), masked()
    pairs = zip(mine, (theirs[0], theirs[1].gather(1, layer.index), theirs[2]), strict=True)
    error = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
    steps = {"nn.Linear": full, "masked dense": masked, "embedding_bag, torch's backward": stock}
    steps |= {"Proximity": ours, "Proximity, between two of its kind": between}
    times = by_turns(steps, turn=8 if side == 32 else 2)
    growth = Growth(Nearness(side / 8), gradient=1.0, noise=1.0)
    gradient = torch.randn(sheet.units, sheet.units)
    seldom = {"nn.Linear": full, "rewire": lambda: rewire(layer, growth, fan_in // 4, gradient)}
    rewiring = by_turns(seldom, turn=1, rounds=3)
    return {
        "forward and backward": compared(times, "nn.Linear"),
        "largest error of a gradient, of its largest value": error,
        "rewiring once, in steps of nn.Linear": round(
            1 / compared(rewiring, "nn.Linear")["rewire"]["times faster than nn.Linear"], 1
        ),
    }


# --- placement -----------------------------------------------------------------------------------


def greedy(costs: torch.Tensor, top: int = 30) -> float:
    """Gain of one pass of swaps: each of the units that cost most with its best partner."""
    costs, gained = costs.clone(), 0.0
    for unit in costs.diagonal().topk(min(top, len(costs))).indices.tolist():
        here = costs.diagonal()
        gains = here[unit] + here - costs[unit] - costs[:, unit]
        partner = int(gains.argmax())
        if gains[partner] > 0:
            gained += float(gains[partner])
            costs[[unit, partner]] = costs[[partner, unit]]
    return gained


def greedy_until_it_ends(costs: torch.Tensor) -> float:
    """Gain of the best swap of all, again and again until none gains."""
    costs, first = costs.clone(), float(costs.trace())
    for _ in range(20 * len(costs)):
        here = costs.diagonal()
        gains = here[:, None] + here - costs - costs.t()
        best = int(gains.argmax())
        unit, partner = best // len(costs), best % len(costs)
        if gains[unit, partner] <= 1e-9:
            break
        costs[[unit, partner]] = costs[[partner, unit]]
    return first - float(costs.trace())


def table_of(first: torch.Tensor, second: torch.Tensor, places: list[Places]) -> torch.Tensor:
    before, here, after = places
    into = first.abs().double() @ here.distances(before).t()
    return into + second.abs().double().t() @ after.distances(here)


def placement(side: int, layers: list[nn.Linear] | None = None) -> dict[str, float]:
    """Seconds of placing one hidden layer, and its gain beside that of swaps."""
    sheet = Places((side, side))
    places = [Places((8, 8), extent=(side, side)), sheet, sheet.resized((2, 5))]
    if layers is None:
        layers = [nn.Linear(64, sheet.units), nn.Linear(sheet.units, 10)]
        for layer in layers:
            nn.init.normal_(layer.weight)
            layer.weight.data.pow_(3)
    costs = table_of(layers[0].weight.detach(), layers[1].weight.detach(), places)
    gain = float(costs.trace() - costs[assign(costs), torch.arange(sheet.units)].sum())
    seconds = []
    for _ in range(5):
        copies = [nn.Linear(layer.in_features, layer.out_features) for layer in layers]
        for one, layer in zip(copies, layers, strict=True):
            one.load_state_dict(layer.state_dict())
        begun = time.process_time()
        found = place(copies, places)
        seconds.append(time.process_time() - begun)
    return {
        "units": sheet.units,
        "seconds": round(statistics.median(seconds), 4),
        "wire before": round(found.costs[0], 1),
        "wire after": round(found.costs[-1], 1),
        "gain of top-30 swaps, share": round(greedy(costs) / gain, 3),
        "gain of best swaps until none gains, share": round(greedy_until_it_ends(costs) / gain, 3),
        "gain in those of top-30 swaps": round(gain / greedy(costs), 2),
    }


# --- digits --------------------------------------------------------------------------------------


def digits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    content = load_digits()
    maps = torch.tensor(content.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(content.target)
    test = torch.arange(len(labels)) // 10 % 3 == 2
    return maps[~test], labels[~test], maps[test], labels[test]


def a_network(nearness: Nearness | None) -> nn.Sequential:
    pixels = Places((8, 8))
    sheet = pixels.resized((16, 16))
    if nearness is None:
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(),
            nn.Linear(256, 10),
        )  # fmt: skip
    return nn.Sequential(
        Proximity(pixels, sheet, 8, nearness), nn.ReLU(), Proximity(sheet, sheet, 8, nearness),
        nn.ReLU(), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip


def trained(network: nn.Module, growth: Growth | None, seed: int) -> tuple[nn.Module, float]:
    """A network after training, and its accuracy on the test digits at the last step."""
    maps, labels, test_maps, test_labels = digits()
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    steps = EPOCHS * (len(maps) // 64)
    schedule = Schedule(until=3 * steps // 4, every=20, share=0.3)
    rewiring = Rewiring(network, optimiser, growth, schedule, seed=seed) if growth else None
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(maps))[: len(maps) // 64 * 64].split(64):
            optimiser.zero_grad()
            functional.cross_entropy(network(maps[chosen]), labels[chosen]).backward()
            if rewiring is None or not rewiring.step():
                optimiser.step()
    with torch.no_grad():
        right = (network(test_maps).argmax(1) == test_labels).float().mean().item()
    return network, 100 * right


ARMS: dict[str, tuple[Nearness | None, Growth | None]] = {
    "fully connected": (None, None),
    "random, fixed": (Nearness(math.inf), None),
    "local (λ = 1), fixed": (Nearness(1.0), None),
    "random, SET": (Nearness(math.inf), Growth.set()),
    "random, RigL": (Nearness(math.inf), Growth.rigl()),
    "local, spatial SET (λ = 1)": (Nearness(1.0), Growth.spatial_set(1.0)),
    "local, small world (λ = 1, β = 0.1)": (Nearness(1.0), Growth.small_world(1.0)),
    "random, by gradient and nearness (λ = 1)": (
        Nearness(math.inf),
        Growth(Nearness(1.0), gradient=1.0, noise=1.0),
    ),
}


def lengths_of(network: nn.Module) -> torch.Tensor:
    found = [m.lengths.flatten() for m in network.modules() if isinstance(m, Proximity)]
    return torch.cat(found) if found else torch.tensor([math.nan])


def learning() -> dict[str, object]:
    rows: dict[str, object] = {}
    for name, (nearness, growth) in ARMS.items():
        runs = []
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            runs.append(trained(a_network(nearness), growth, seed))
        accuracy = [right for _, right in runs]
        mean_length = float(torch.cat([lengths_of(network) for network, _ in runs]).mean())
        rows[name] = {
            "accuracy %": [round(a, 2) for a in accuracy],
            "mean": round(statistics.fmean(accuracy), 2),
            "standard deviation": round(statistics.stdev(accuracy), 2),
            "weights": sum(p.numel() for p in runs[0][0].parameters()),
            "mean length": None if math.isnan(mean_length) else round(mean_length, 2),
        }
        print(name, rows[name], flush=True)
    return rows


# --- images ------------------------------------------------------------------------------------


def images() -> None:
    sheet = Places((16, 16))
    chance = torch.Generator().manual_seed(0)
    wirings = {
        caption: Proximity(sheet, sheet, 24, nearness, generator=chance)
        for caption, nearness in (
            ("λ = 1.5", Nearness(1.5)),
            ("λ = 3, a tenth from anywhere", Nearness(3.0, far=0.1)),
            ("λ = ∞", Nearness(math.inf)),
        )
    }
    file = FIGURES / "proximity_connections.png"
    file.write_bytes(connections_figure(wirings, [16 * 4 + 4, 16 * 11 + 10]))
    torch.manual_seed(0)
    before = a_network(Nearness(math.inf))
    rules = {
        "after training by RigL": Growth.rigl(),
        "after training by gradient and nearness (λ = 1)": Growth(
            Nearness(1.0), gradient=1.0, noise=1.0
        ),
    }
    lengths = {"before training": lengths_of(before)}
    second = {"before training": before[2]}
    for name, growth in rules.items():
        torch.manual_seed(0)
        network = trained(a_network(Nearness(math.inf)), growth, 0)[0]
        lengths[name], second[name.replace("after training ", "")] = lengths_of(network), network[2]
    drawn = connections_figure(second, [16 * 4 + 4, 16 * 11 + 10])
    (FIGURES / "proximity_rewired.png").write_bytes(drawn)
    pairs = torch.cat([before[n].outputs.distances(before[n].inputs).flatten() for n in (0, 2)])
    (FIGURES / "proximity_lengths.png").write_bytes(lengths_figure(lengths, pairs))


def speeds() -> dict[str, object]:
    return {
        "1024 to 1024, K = 32, batch 128": speed(32, 32),
        "4096 to 4096, K = 41, batch 128": speed(64, 41),
        "load of the machine while measuring": [round(load, 1) for load in os.getloadavg()],
    }


def placements() -> dict[str, object]:
    wide = nn.Sequential(nn.Flatten(), nn.Linear(64, 400), nn.ReLU(), nn.Linear(400, 10))
    trained(wide, None, 0)
    return {
        "heavy-tailed weights": [placement(10), placement(20), placement(32)],
        "trained on digits": placement(20, [wide[1], wide[3]]),
    }


PARTS: dict[str, Callable[[], dict[str, object] | None]] = {
    "speed": speeds,
    "placement": placements,
    "digits": learning,
    "images": images,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    torch.set_num_threads(1)
    fast_memory()
    content = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    content["command"] = "PYTHONPATH=. OMP_NUM_THREADS=1 python benchmarks/proximity.py"
    content |= {"torch": torch.__version__, "threads": 1}
    for part in parser.parse_args().parts:
        torch.manual_seed(0)
        if found := PARTS[part]():
            content[part] = found
            print(part, json.dumps(found, indent=1, ensure_ascii=False), flush=True)
            text = json.dumps(content, indent=1, ensure_ascii=False)
            RESULTS.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
