"""How accurate are trained networks once they are mended: at once, and after a short fine-tuning?

    OMP_NUM_THREADS=1 python benchmarks/mended.py

Two small classifiers learn scikit-learn's digits, put anywhere on a dark image of 32×32: a plain one,
and a residual one whose strides are convolutions. Each is then mended, and tested as it is and after
some more steps at a tenth of the learning rate, which falls to 0 in both (cosine). The unchanged
network gets the same steps, to compare.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from placewise.remedies import mend

RESULTS = Path(__file__).parent / "results" / "mended.json"
SIDE, DIGIT = 32, 16
SEEDS, STEPS, MORE, BATCH, RATE = 3, 300, 60, 32, 3e-3
TESTED, PLACES, SHOWN = 597, 2, 64
"""Digits that no network learns from, each put at two places; those on which outputs are compared."""

REMEDIES: dict[str, dict[str, Any]] = {
    "unchanged": {},
    "--padding replicate": {"padding": "replicate"},
    "--padding symmetric": {"padding": "symmetric"},
    "--padding partial": {"padding": "partial"},
    "--blur": {"blur": True},
    "--padding symmetric --blur": {"padding": "symmetric", "blur": True},
    "--padding full": {"padding": "full"},
    "--padding full --blur": {"padding": "full", "blur": True},
}


def block(before: int, after: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(before, after, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU())


class Residual(nn.Module):
    """Adds two convolutions to a skip, with a stride in the first of both."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = block(before, after, stride)
        self.second = nn.Sequential(
            nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        )
        self.skip = nn.Conv2d(before, after, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.second(self.first(x)) + self.skip(x))


def plain() -> nn.Module:
    return nn.Sequential(
        block(1, 12), nn.MaxPool2d(2), block(12, 24), nn.MaxPool2d(2), block(24, 32),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


def residual() -> nn.Module:
    return nn.Sequential(
        block(1, 12), Residual(12, 12, 1), Residual(12, 24, 2), Residual(24, 32, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


NETWORKS = {"residual": residual, "plain": plain}


def placed(digits: Tensor, generator: torch.Generator) -> Tensor:
    """Digits (N, 1, 16, 16) at places drawn at random on images (N, 1, 32, 32)."""
    images = torch.zeros(len(digits), 1, SIDE, SIDE)
    corners = torch.randint(0, SIDE - DIGIT + 1, (len(digits), 2), generator=generator)
    for image, digit, (row, column) in zip(images, digits, corners.tolist(), strict=True):
        image[:, row : row + DIGIT, column : column + DIGIT] = digit
    return images


def learn(
    net: nn.Module, digits: Tensor, classes: Tensor, steps: int, rate: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(net.parameters(), rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    net.train()
    for _ in range(steps):
        drawn = torch.randint(0, len(digits), (BATCH,), generator=generator)
        loss = functional.cross_entropy(net(placed(digits[drawn], generator)), classes[drawn])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        falling.step()


@torch.no_grad()
def accuracy(net: nn.Module, digits: Tensor, classes: Tensor) -> float:
    net.eval()
    generator = torch.Generator().manual_seed(1000)
    found = [
        (net(placed(digits, generator)).argmax(1) == classes).double().mean() for _ in range(PLACES)
    ]
    return 100 * float(torch.stack(found).mean())


def one_seed(name: str, seed: int, data: tuple[Tensor, Tensor]) -> dict[str, dict[str, float]]:
    digits, classes = data
    torch.manual_seed(seed)
    net = NETWORKS[name]()
    learnt, tested = slice(TESTED, None), slice(0, TESTED)
    learn(net, digits[learnt], classes[learnt], STEPS, RATE, seed)
    rows: dict[str, dict[str, float]] = {}
    for remedy, settings in REMEDIES.items():
        made = copy.deepcopy(net)
        changes = {"on noise": 0.0, "on images": 0.0}
        if settings:
            mended = mend(net.eval(), (1, SIDE, SIDE), **settings)
            made = mended.model
            seen = placed(digits[:SHOWN], torch.Generator().manual_seed(2000))
            given = mend(net, (1, SIDE, SIDE), images=seen, **settings).effect
            changes = {"on noise": mended.effect.change, "on images": given.change}
        at_once = accuracy(made, digits[tested], classes[tested])
        learn(made, digits[learnt], classes[learnt], MORE, RATE / 10, 100 + seed)
        after = accuracy(made, digits[tested], classes[tested])
        rows[remedy] = {
            **{f"change {where}": change for where, change in changes.items()},
            "at once": at_once,
            "fine-tuned": after,
        }
        print(name, seed, remedy, rows[remedy], flush=True)
    return rows


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    begun = time.process_time()
    found = load_digits()
    small = torch.tensor(found.images / 16, dtype=torch.float32)[:, None]
    digits = functional.interpolate(small, size=DIGIT, mode="bilinear", align_corners=False)
    order = np.random.default_rng(0).permutation(len(digits))
    data = digits[order], torch.tensor(found.target[order])
    networks: dict[str, list[dict[str, dict[str, float]]]] = {name: [] for name in NETWORKS}
    for seed in range(SEEDS):
        for name, seeds in networks.items():
            seeds.append(one_seed(name, seed, data))
            write(networks, time.process_time() - begun)


def write(networks: dict[str, list[dict[str, dict[str, float]]]], seconds: float) -> None:
    content = {
        "command": "OMP_NUM_THREADS=1 python benchmarks/mended.py",
        "image": [1, SIDE, SIDE],
        "steps": STEPS,
        "fine-tuning steps": MORE,
        "test images": PLACES * TESTED,
        "torch": torch.__version__,
        "seconds of processor": round(seconds),
        "networks": {
            name: {remedy: summary([one[remedy] for one in seeds]) for remedy in REMEDIES}
            for name, seeds in networks.items()
            if seeds
        },
    }
    RESULTS.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    return {
        key: {
            "mean": round(statistics.fmean(row[key] for row in rows), 3),
            "seeds": [round(row[key], 3) for row in rows],
        }
        for key in rows[0]
    }


if __name__ == "__main__":
    main()
