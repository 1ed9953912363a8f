"""Remedies on networks of others: what the audit says before and after, and maps of classes.

    OMP_NUM_THREADS=1 python benchmarks/remedies.py

The environment needs torchvision, which is not among placewise's own libraries. Paths do not depend on
weights, so that none are fetched; `convolutionalize` is compared on weights as torchvision draws them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import nn
from torch.nn import functional

from placewise.errors import SettingsError
from placewise.remedies import convolutionalize, mend

RESULTS = Path(__file__).parent / "results" / "remedies.json"
TOLD = "max_over_corner max_over_edge corner_ratio gini even receptive_field unknown".split()

PLANS: dict[str, dict[str, Any]] = {
    "--padding full --blur": {"padding": "full", "blur": True},
    "--padding full": {"padding": "full"},
    "--padding symmetric --blur": {"padding": "symmetric", "blur": True},
    "--padding circular --blur": {"padding": "circular", "blur": True},
    "--padding symmetric": {"padding": "symmetric"},
    "--blur": {"blur": True},
    "--align": {"align": True},
}
NETWORKS = {
    "resnet18": list(PLANS),
    "vgg16": ["--padding full --blur", "--padding symmetric --blur"],
    "mobilenet_v2": ["--padding full --blur", "--padding symmetric --blur"],
}


def mirrored(counts: np.ndarray, axis: int) -> float:
    """Most that a pixel has of the ways of its mirror image, or the other way round."""
    ratio = counts.astype(float) / np.flip(counts, axis).astype(float)
    return float(max(ratio.max(), 1 / ratio.min()))


def facts(found: Any) -> dict[str, Any]:
    scalars = {name: found.scalars()[name] for name in TOLD}
    counts = found.counted.paths.counts
    asymmetry = {
        "left_over_right_at_most": round(mirrored(counts, -1), 4),
        "top_over_bottom_at_most": round(mirrored(counts, -2), 4),
    }
    return {
        **{k: round(v, 4) if isinstance(v, float) else v for k, v in scalars.items()},
        **asymmetry,
    }


def mended(name: str) -> dict[str, Any]:
    model = torchvision.models.get_model(name, weights=None).eval()
    rows: dict[str, Any] = {}
    for plan in NETWORKS[name]:
        begun = time.process_time()
        try:
            found = mend(model, (3, 224, 224), name=name, **PLANS[plan])
        except SettingsError as error:
            rows[plan] = {"refused": str(error)}
        else:
            rows.setdefault("as it is", facts(found.before))
            rows[plan] = {
                **facts(found.after),
                "size": list(found.after.shape[1:]),
                "layers changed": len(found.changes),
                "layers not changed": [one.name for one in found.unchanged],
                "seconds of processor": round(time.process_time() - begun, 1),
            }
        print(name, plan, rows[plan], flush=True)
    return rows


class LeNet(nn.Module):
    """The net of the thread: 32×32 → 3@28 → 3@14 → 6@10 → 6@5 → 150 → 100 → 10."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 5), nn.Conv2d(3, 6, 5)
        self.hidden, self.last = nn.Linear(150, 100), nn.Linear(100, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(functional.relu(self.first(x)), 2)
        x = functional.max_pool2d(functional.relu(self.second(x)), 2)
        return self.last(functional.relu(self.hidden(x.flatten(1))))


CLASSIFIERS: dict[str, tuple[Callable[[], nn.Module], int, int, list[tuple[int, int]]]] = {
    "lenet": (LeNet, 1, 32, [(36, 36), (64, 48), (101, 77)]),
    "alexnet": (
        lambda: torchvision.models.alexnet(weights=None), 3, 224, [(256, 256), (300, 224), (417, 333)],
    ),
    "vgg16": (
        lambda: torchvision.models.vgg16(weights=None), 3, 224, [(256, 256), (320, 224), (383, 301)],
    ),
}  # fmt: skip


@torch.no_grad()
def turned(name: str) -> dict[str, Any]:
    build, channels, size, others = CLASSIFIERS[name]
    model = build().eval()
    mapped = convolutionalize(model, size)
    images = torch.randn(2, channels, size, size)
    theirs, ours = model(images), mapped(images)
    row = {
        "size": size,
        "shape at that size": list(ours.shape),
        "largest difference": float((ours.flatten(1) - theirs).abs().max()),
        "largest answer": float(theirs.abs().max()),
        "shapes at others": {},
        "corner of a larger image, largest difference": {},
    }
    for sides in others:
        wide = functional.pad(images, (0, sides[1] - size, 0, sides[0] - size))
        found = mapped(torch.randn(1, channels, *sides))
        assert found.isfinite().all()
        row["shapes at others"]["×".join(map(str, sides))] = list(found.shape)
        # without padding a place of the map is the network on a window of the image
        if name == "lenet":
            corner = mapped(wide)[:, :, 0, 0] - theirs
            row["corner of a larger image, largest difference"]["×".join(map(str, sides))] = float(
                corner.abs().max()
            )
    print(name, row, flush=True)
    return row


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    content: dict[str, Any] = {
        "command": "OMP_NUM_THREADS=1 python benchmarks/remedies.py",
        "image": [3, 224, 224],
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "convolutionalize": {name: turned(name) for name in CLASSIFIERS},
        "mended": {name: mended(name) for name in NETWORKS},
    }
    RESULTS.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
