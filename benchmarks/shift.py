"""Are activations after the last pooling alike when the object stands on the left and on the right?

    OMP_NUM_THREADS=1 python benchmarks/shift.py

So it is often said of convolutional networks. Small ones learn scikit-learn's digits, put anywhere on a
dark image of 32×48; what differs is the pooling: maximum, average, or maximum with blur (Zhang, ICML
2019). Each test digit then stands on the left, and d pixels further right. Compared are the maps after
the last pooling, as they stand and moved back with the object, and their average over all places.
Distances are shares of the distance between two different digits at one place: 0 is the same, 1 as far
apart as another digit is.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from layer_figures import ONE_SIGN
from placewise.layers.blur import BlurPool
from placewise.layers.convolution import Convolution
from placewise.layers.pooling import Pooling
from placewise.report.style import LIGHT

RESULTS = Path(__file__).parent / "results" / "shift.json"
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "shift.png"
HIGH, WIDE, DIGIT, STRIDE = 32, 48, 16, 8
LEFT, ROW, FURTHEST = 4, 8, 24
"""First column and row of the digit; the most that it moves."""
COLOURS = (LIGHT.first, LIGHT.second, LIGHT.third)
SEEDS, STEPS, BATCH = 3, 400, 64
KINDS = ("maximum", "average", "maximum, blurred")


def pooling(kind: str, channels: int) -> nn.Module:
    if kind == "average":
        return Pooling(channels, 2, kind="average")
    if kind == "maximum, blurred":
        return BlurPool(channels, 4, maximum=2)
    return Pooling(channels, 2)


class Network(nn.Module):
    """Three convolutions of 3×3, each with a pooling by 2; global average; a linear layer."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for before, after in ((1, 8), (8, 16), (16, 32)):
            convolution = Convolution(before, after, 3)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            parts += [convolution, nn.ReLU(), pooling(kind, after)]
        self.features, self.answer = nn.Sequential(*parts), nn.Linear(32, 10)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.answer(self.features(maps).mean((2, 3)))


def digits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    content = load_digits()
    maps = torch.tensor(content.images, dtype=torch.float32)[:, None] / 16
    maps = functional.interpolate(maps, scale_factor=DIGIT / 8)
    labels = torch.tensor(content.target)
    test = torch.arange(len(labels)) // 10 % 3 == 2
    return maps[~test], labels[~test], maps[test], labels[test]


def put(maps: torch.Tensor, row: int, column: int) -> torch.Tensor:
    """Digits on a dark image."""
    right, below = WIDE - DIGIT - column, HIGH - DIGIT - row
    return functional.pad(maps, (column, right, row, below))


def trained(kind: str, seed: int) -> Network:
    torch.manual_seed(seed)
    net, (maps, labels, _, _) = Network(kind), digits()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=STEPS)
    for _ in range(STEPS):
        chosen = torch.randint(len(maps), (BATCH,))
        at = zip(
            *(torch.randint(n - DIGIT + 1, (BATCH,)).tolist() for n in (HIGH, WIDE)), strict=True
        )
        images = torch.cat(
            [put(maps[n : n + 1], *place) for n, place in zip(chosen, at, strict=True)]
        )
        optimiser.zero_grad()
        functional.cross_entropy(net(images), labels[chosen]).backward()
        optimiser.step()
        schedule.step()
    return net.eval()


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Mean distance of two batches of activations."""
    return float((one - other).flatten(1).norm(dim=1).mean())


def another_digit(labels: torch.Tensor) -> torch.Tensor:
    """For each digit the number of one of another class."""
    order = torch.arange(len(labels)).roll(1)
    while (same := labels[order] == labels).any():
        order[same] = torch.randint(len(labels), (int(same.sum()),))
    return order


@torch.no_grad()
def measure(net: Network) -> dict[str, object]:
    _, _, maps, labels = digits()
    other, shifts = another_digit(labels), range(FURTHEST + 1)
    here = net.features(put(maps, ROW, LEFT))
    moved = [net.features(put(maps, ROW, LEFT + shift)) for shift in shifts]
    mean, means = here.mean((2, 3)), [one.mean((2, 3)) for one in moved]
    places = FURTHEST // STRIDE
    another, another_mean = apart(here, here[other]), apart(mean, mean[other])
    right = [float((net.answer(one).argmax(1) == labels).float().mean()) for one in means]
    return {
        "by shift": [round(apart(here, one) / another, 4) for one in moved],
        "global average, by shift": [round(apart(mean, one) / another_mean, 4) for one in means],
        "moved back": round(apart(here[..., :-places], moved[-1][..., places:]) / another, 4),
        "accuracy %, by shift": [round(100 * share, 2) for share in right],
    }


def summary(runs: list[dict]) -> dict[str, object]:
    maps, means = (
        np.array([run[key] for run in runs]) for key in ("by shift", "global average, by shift")
    )
    return {
        "maps, one pixel": round(float(maps[:, 1].mean()), 3),
        "maps, left and right": round(float(maps[:, -1].mean()), 3),
        "maps moved back, left and right": round(
            statistics.fmean(r["moved back"] for r in runs), 3
        ),
        "global average, one pixel": round(float(means[:, 1].mean()), 3),
        "global average, left and right": round(float(means[:, -1].mean()), 3),
        "global average, most of all shifts": round(float(means.max(1).mean()), 3),
        "accuracy %": round(
            statistics.fmean(a for r in runs for a in r["accuracy %, by shift"]), 1
        ),
        "by shift": [round(float(one), 4) for one in maps.mean(0)],
        "global average, by shift": [round(float(one), 4) for one in means.mean(0)],
        "runs": runs,
    }


def plain(axes: Axes) -> None:
    axes.set_facecolor(LIGHT.paper)
    axes.tick_params(colors=LIGHT.muted, labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(LIGHT.line)


def draw(table: dict[str, dict], nets: dict[str, Network]) -> None:
    """One digit on the left and on the right, its activations, and the distances by shift."""
    figure = Figure(figsize=(9.0, 5.4), dpi=110, layout="constrained", facecolor=LIGHT.paper)
    above, below = figure.subfigures(2, 1, height_ratios=[1.15, 1])
    digit = digits()[2][3:4]
    for row, column in enumerate((LEFT, LEFT + FURTHEST)):
        shown = put(digit, ROW, column)
        with torch.no_grad():
            maps = {kind: net.features(shown)[0].sum(0) for kind, net in nets.items()}
        for number, (name, one) in enumerate({"image": shown[0, 0], **maps}.items()):
            axes = above.add_subplot(2, 4, 4 * row + number + 1)
            plain(axes)
            axes.imshow(one, cmap=ONE_SIGN, vmin=0)
            axes.set_xticks([])
            axes.set_yticks([])
            if row == 0:
                axes.set_title(name, fontsize=9, color=LIGHT.ink)
    for number, (key, title) in enumerate(
        (
            ("by shift", "maps after the last pooling"),
            ("global average, by shift", "global average"),
        )
    ):
        axes = below.add_subplot(1, 2, number + 1)
        plain(axes)
        for colour, (kind, row) in zip(COLOURS, table.items(), strict=True):
            axes.plot(range(FURTHEST + 1), row[key], color=colour, linewidth=1.8, label=kind)
        axes.axhline(1, color=LIGHT.muted, linewidth=0.8, linestyle=":")
        axes.text(FURTHEST, 1.02, "another digit", fontsize=8, color=LIGHT.muted, ha="right")
        axes.set_xlim(0, FURTHEST)
        axes.set_ylim(0, 1.1 * max(1, *(max(row["by shift"]) for row in table.values())))
        axes.set_xticks(range(0, FURTHEST + 1, STRIDE))
        axes.set_title(title, fontsize=9, color=LIGHT.ink)
        axes.set_xlabel("shift of the object, px", color=LIGHT.muted, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        if number == 0:
            axes.set_ylabel("distance", color=LIGHT.muted, fontsize=8)
        else:
            axes.legend(frameon=False, fontsize=8, labelcolor=LIGHT.ink, loc="upper left",
                        bbox_to_anchor=(0, 0.85))  # fmt: skip
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    table, shown = {}, {}
    for kind in KINDS:
        nets = [trained(kind, seed) for seed in range(SEEDS)]
        shown[kind], table[kind] = nets[0], summary([measure(net) for net in nets])
        print(
            kind,
            {k: v for k, v in table[kind].items() if k != "runs" and "by shift" not in k},
            flush=True,
        )
    content = {
        "command": "OMP_NUM_THREADS=1 python benchmarks/shift.py",
        "steps": STEPS,
        "seeds": SEEDS,
        "pooling": table,
        "torch": torch.__version__,
    }
    RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    draw(table, shown)


if __name__ == "__main__":
    main()
