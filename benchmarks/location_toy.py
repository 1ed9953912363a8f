"""Can a convolutional network tell where on an image a thing lies? Two blocks, every padding rule.

    OMP_NUM_THREADS=1 python benchmarks/location_toy.py [--rules valid zeros circular full]

After the second experiment of "On Translation Invariance in CNNs" (Kayhan and van Gemert, CVPR 2020).
A red and a green block lie beside each other; the class is which of them is on the left. But in
training the one class lies in the upper half only, and the other in the lower. Tested are images of
the same places, and the same images with the halves exchanged. A network that cannot know where
a thing lies answers both alike; one that has read the border falls to 0 on the second.

Four convolutions of 3×3, the last three of stride 2, without a bias; a global maximum; a linear layer.
The halves are 16 apart, a multiple of all strides, so that no shift is lost between places. Rules that the results hold already, for as many steps, are not done again.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from placewise.layers.convolution import Convolution
from placewise.paddings import PADDINGS

RESULTS = Path(__file__).parent / "results" / "location_toy.json"
SIDE, BLOCK, HALF, REACH = 32, 4, 16, 8
"""Sides of the image and of a block; how far the halves lie apart; rows that a block moves in."""
BATCH, TESTED = 100, 1000


def images(
    count: int, generator: torch.Generator, *, exchanged: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """(count, 3, SIDE, SIDE) images and their classes: 0 where red is on the left, else 1.

    Args:
        count: every second one is of class 1.
        generator: where the places come from; the same for both values of `exchanged`.
        exchanged: class 0 in the lower half and class 1 in the upper, not the other way round.
    """
    labels = torch.arange(count) % 2
    rows = torch.randint(3, 3 + REACH, (count, 2), generator=generator)
    rows += HALF * (labels[:, None] ^ exchanged)
    left = torch.randint(SIDE // 2 - BLOCK - 2, (count,), generator=generator)
    room = SIDE - 2 * BLOCK - 1 - left
    right = left + BLOCK + 1 + (torch.rand(count, generator=generator) * room).long()
    columns, places = torch.stack([left, right], 1), torch.arange(SIDE)
    apart = [places - at[..., None] for at in (rows, columns)]
    inside = [(one >= 0) & (one < BLOCK) for one in apart]
    blocks = (inside[0][..., :, None] & inside[1][..., None, :]).float()
    maps = torch.zeros(count, 3, SIDE, SIDE)
    maps[torch.arange(count), labels] = blocks[:, 0]
    maps[torch.arange(count), 1 - labels] = blocks[:, 1]
    return maps, labels


def network(padding: str, width: int = 16) -> nn.Sequential:
    """A classifier with one padding rule throughout."""
    widths, strides = (3, width, width, 2 * width, 2 * width), (1, 2, 2, 2)
    parts: list[nn.Module] = []
    for before, after, stride in zip(widths, widths[1:], strides, strict=False):
        layer = Convolution(before, after, 3, stride=stride, bias=False, padding_mode=padding)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        parts += [layer, nn.ReLU()]
    return nn.Sequential(*parts, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 2))


def trained(padding: str, seed: int, steps: int, width: int = 16) -> nn.Sequential:
    """A network after so many steps; each sees images of its own."""
    torch.manual_seed(seed)
    net, generator = network(padding, width), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for _ in range(steps):
        maps, labels = images(BATCH, generator)
        optimiser.zero_grad()
        functional.cross_entropy(net(maps), labels).backward()
        optimiser.step()
        schedule.step()
    return net


@torch.no_grad()
def accuracies(net: nn.Module, count: int = TESTED) -> tuple[float, float]:
    """Per cent right at the places of training, and with the halves exchanged."""
    found = []
    for exchanged in (False, True):
        maps, labels = images(count, torch.Generator().manual_seed(1 << 20), exchanged=exchanged)
        found.append(100 * (net(maps).argmax(1) == labels).double().mean().item())
    return found[0], found[1]


def summary(runs: dict[str, list[float]]) -> dict[str, object]:
    """Mean and standard deviation beside the runs themselves."""
    same, other = [run[0] for run in runs.values()], [run[1] for run in runs.values()]
    spread = statistics.stdev if len(runs) > 1 else lambda _: math.nan
    return {
        "same place %": round(statistics.fmean(same), 1),
        "other place %": round(statistics.fmean(other), 1),
        "standard deviations": [round(spread(same), 1), round(spread(other), 1)],
        "seeds": {seed: [round(a, 1) for a in run] for seed, run in runs.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", nargs="+", default=PADDINGS.names())
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    given = parser.parse_args()
    torch.set_num_threads(1)
    former = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    table: dict[str, object] = former["rules"] if former.get("steps") == given.steps else {}
    content = {
        "command": "OMP_NUM_THREADS=1 python benchmarks/location_toy.py",
        "source": "Kayhan and van Gemert, CVPR 2020: valid 100 / 0.2, zeros 99.8 / 8.4, "
        "circular 73.7 / 73.7, full 89.7 / 89.7",
        "steps": given.steps,
        "batch": BATCH,
        "tested": TESTED,
        "rules": table,
        "torch": torch.__version__,
    }
    for rule in (name for name in given.rules if name not in table):
        runs = {}
        for seed in range(given.seeds):
            runs[str(seed)] = list(accuracies(trained(rule, seed, given.steps)))
            print(rule, seed, *(f"{right:.1f}" for right in runs[str(seed)]), flush=True)
        table[rule] = summary(runs)
        RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
