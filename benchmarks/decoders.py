"""How far off is a decoder that is given the right map? Ours beside the usual ways.

    python benchmarks/decoders.py

Keypoints are spread evenly over whole pixels of a map: inside, on the outermost pixel of an edge, and on
the pixel of a corner (−½ … ½ on both axes). Each is drawn as a Gaussian and read off again: from
the perfect map in float32, rounded to bfloat16, with noise of 0.02 of the peak on every pixel, and
with noise of 5 % on every pixel's factor (as of logits). All figures are pixels of the map.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional

from placewise.decoders import DECODERS

RESULTS = Path(__file__).parent / "results" / "decoders.json"
HEIGHT, WIDTH, COUNT = 24, 32, 4000
SIGMAS = (1.0, 1.5, 2.0, 2.5)
LOST = 2.0
"""Pixels from the truth beyond which a keypoint counts as lost."""

Decode = Callable[[torch.Tensor], torch.Tensor]
Spoil = Callable[[torch.Tensor, torch.Generator], torch.Tensor]

SPOILS: dict[str, Spoil] = {
    "perfect": lambda maps, _: maps,
    "bfloat16": lambda maps, _: maps.bfloat16(),
    "noise_0.02": lambda maps, g: (maps + 0.02 * torch.randn(maps.shape, generator=g)).clamp_min(0),
    "factor_5_percent": lambda maps, g: maps * (0.05 * torch.randn(maps.shape, generator=g)).exp(),
}


def places(generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Keypoints by where they lie, each (COUNT, 2) float64."""

    def spread(low: tuple[float, float], high: tuple[float, float]) -> torch.Tensor:
        start, end = torch.tensor(low).double(), torch.tensor(high).double()
        share = torch.rand(COUNT, 2, generator=generator, dtype=torch.float64)
        return start + share * (end - start)

    right, bottom = WIDTH - 0.5, HEIGHT - 0.5
    edges = torch.cat(
        [
            spread((-0.5, 0.5), (0.5, bottom - 1))[::4],
            spread((right - 1, 0.5), (right, bottom - 1))[::4],
            spread((0.5, -0.5), (right - 1, 0.5))[::4],
            spread((0.5, bottom - 1), (right - 1, bottom))[::4],
        ]
    )
    corners = spread((-0.5, -0.5), (0.5, 0.5))
    corners[1::2, 0] = WIDTH - 1 - corners[1::2, 0]
    corners[2::4, 1] = HEIGHT - 1 - corners[2::4, 1]
    inside = spread((0.5, 0.5), (right - 1, bottom - 1))
    return {"inside": inside, "outermost_pixel": edges, "corner_pixel": corners}


def drawn(points: torch.Tensor, sigma: float, size: tuple[int, int]) -> torch.Tensor:
    rows, columns = (torch.arange(side, dtype=torch.float64) for side in size)
    down = torch.exp(-((rows - points[:, 1:]) ** 2) / (2 * sigma**2))
    across = torch.exp(-((columns - points[:, :1]) ** 2) / (2 * sigma**2))
    return (down[:, :, None] * across[:, None, :]).float()


def hottest(maps: torch.Tensor) -> torch.Tensor:
    index = maps.flatten(1).argmax(1)
    return torch.stack((index % maps.shape[2], index // maps.shape[2]), -1)


def around(maps: torch.Tensor, reach: int) -> torch.Tensor:
    """(M, n, n) windows about the hottest pixels, 0 beyond the border."""
    padded = functional.pad(maps.double(), [reach] * 4)
    x, y = hottest(maps).unbind(-1)
    steps = torch.arange(2 * reach + 1)
    each = torch.arange(len(maps))[:, None, None]
    return padded[each, (y[:, None] + steps)[:, :, None], (x[:, None] + steps)[:, None, :]]


def quarter_shift(maps: torch.Tensor) -> torch.Tensor:
    """The hottest pixel, moved a quarter towards its hotter neighbour; none at the border."""
    window, place = around(maps, 1), hottest(maps)
    slope = torch.stack((window[:, 1, 2] - window[:, 1, 0], window[:, 2, 1] - window[:, 0, 1]), -1)
    last = torch.tensor([maps.shape[2] - 1, maps.shape[1] - 1])
    return place + 0.25 * slope.sign() * ((place > 0) & (place < last))


def central_taylor(maps: torch.Tensor) -> torch.Tensor:
    """Newton's step on ln h by central differences, as in DARK; none near the border."""
    log, place = around(maps, 2).clamp_min(1e-10).log(), hottest(maps)
    gx, gy = (log[:, 2, 3] - log[:, 2, 1]) / 2, (log[:, 3, 2] - log[:, 1, 2]) / 2
    xx = (log[:, 2, 4] - 2 * log[:, 2, 2] + log[:, 2, 0]) / 4
    yy = (log[:, 4, 2] - 2 * log[:, 2, 2] + log[:, 0, 2]) / 4
    xy = (log[:, 3, 3] - log[:, 1, 3] - log[:, 3, 1] + log[:, 1, 1]) / 4
    determinant = xx * yy - xy**2
    step = torch.stack((xy * gy - yy * gx, xy * gx - xx * gy), -1) / determinant[:, None]
    last = torch.tensor([maps.shape[2] - 2, maps.shape[1] - 2])
    usable = ((place > 1) & (place < last)).all(-1) & (determinant != 0)
    return place + torch.where(usable[:, None], step, 0.0)


def plain_integral(maps: torch.Tensor) -> torch.Tensor:
    """Mean place of the 5 × 5 pixels about the hottest one, zeros beyond the border."""
    window, steps = around(maps, 2), torch.arange(-2.0, 3.0).double()
    mean = torch.stack(((window.sum(1) * steps).sum(-1), (window.sum(2) * steps).sum(-1)), -1)
    return hottest(maps) + mean / window.sum((1, 2))[:, None]


def figures(decode: Decode, seed: int) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Mean, largest and lost by σ, kind of map and place."""
    table: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for sigma in SIGMAS:
        for kind, spoil in SPOILS.items():
            generator = torch.Generator().manual_seed(seed)
            for where, points in places(generator).items():
                maps = spoil(drawn(points, sigma, (HEIGHT, WIDTH)), generator)
                error = (decode(maps) - points).norm(dim=-1)
                table.setdefault(f"sigma_{sigma}", {}).setdefault(kind, {})[where] = {
                    "mean_px": round(float(error.mean()), 5),
                    "max_px": round(float(error.max()), 4),
                    "lost": int((~(error <= LOST)).sum()),
                }
    return table


def microseconds(decode: Decode) -> dict[str, float]:
    """Best of five passes over 256 maps, for one map."""
    found = {}
    for height, width in ((64, 64), (120, 160)):
        points = torch.rand(256, 2).double() * torch.tensor([width, height]) - 0.5
        maps = drawn(points, 1.5, (height, width))
        spent = []
        for _ in range(5):
            begun = time.perf_counter()
            decode(maps)
            spent.append(time.perf_counter() - begun)
        found[f"{height}x{width}"] = round(min(spent) / 256 * 1e6, 1)
    return found


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ours: dict[str, Decode] = {name: DECODERS[name]() for name in DECODERS.names()}
    usual: dict[str, Decode] = {
        "usual: quarter shift": quarter_shift,
        "usual: central log-Taylor": central_taylor,
        "usual: plain 5x5 integral": plain_integral,
    }
    content = {
        "command": "python benchmarks/decoders.py",
        "torch": torch.__version__,
        "processor": f"{platform.machine()}, 1 thread",
        "keypoints_each": COUNT,
        "map": [HEIGHT, WIDTH],
        "lost_means_px_above": LOST,
        "microseconds_per_map": {name: microseconds(decode) for name, decode in ours.items()},
        "decoders": {name: figures(decode, 0) for name, decode in {**ours, **usual}.items()},
    }
    RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for name, table in content["decoders"].items():
        print(name, content["microseconds_per_map"].get(name, ""))
        for sigma in SIGMAS:
            for kind, by_place in table[f"sigma_{sigma}"].items():
                row = [f"{f['mean_px']:.4f} (max {f['max_px']:.2f})" for f in by_place.values()]
                print(f"  σ {sigma} {kind:17}", *row)


if __name__ == "__main__":
    main()
