"""Time to decode 64 × 17 maps of 96 × 96: ours in one pass, beside the usual loop over keypoints.

    python benchmarks/decoding.py [--rounds 7]

The loops are written from the description of what MMPose does, image by image and keypoint by keypoint
in numpy: the hottest pixel with a quarter of a pixel towards the hotter neighbour; and DARK, which blurs
each map (11 × 11, as for σ = 2), restores its maximum, takes the log, and one step of Newton's method from
central differences. Each round times all of them one after the other; the ratios are within rounds.
Results: benchmarks/results/decoding.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from placewise.decoders import DECODERS

RESULTS = Path(__file__).parent / "results" / "decoding.json"
IMAGES, KEYPOINTS, SIDE, SIGMA, KERNEL = 64, 17, 96, 2.0, 11


def made(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(maps, places): Gaussians at places inside, with a little noise."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(8, SIDE - 9, (IMAGES, KEYPOINTS, 2))
    along = np.arange(SIDE)
    x, y = (np.exp(-((along - places[..., i, None]) ** 2) / (2 * SIGMA**2)) for i in (0, 1))
    maps = y[..., :, None] * x[..., None, :] + rng.uniform(0, 0.01, (IMAGES, KEYPOINTS, SIDE, SIDE))
    return maps.astype(np.float32), places


def hottest(maps: np.ndarray) -> np.ndarray:
    """(keypoints, 2) of (x, y) of an image."""
    at = maps.reshape(len(maps), -1).argmax(1)
    return np.stack((at % SIDE, at // SIDE), -1).astype(np.float32)


def quarter_loop(batch: np.ndarray) -> np.ndarray:
    found = []
    for maps in batch:
        places = hottest(maps)
        for k, heat in enumerate(maps):
            x, y = (int(value) for value in places[k])
            if 1 < x < SIDE - 1 and 1 < y < SIDE - 1:
                places[k, 0] += 0.25 * np.sign(heat[y, x + 1] - heat[y, x - 1])
                places[k, 1] += 0.25 * np.sign(heat[y + 1, x] - heat[y - 1, x])
        found.append(places)
    return np.stack(found)


def dark_loop(batch: np.ndarray) -> np.ndarray:
    found = []
    reach = (KERNEL - 1) // 2
    for maps in batch:
        places = hottest(maps)
        for k, heat in enumerate(maps):
            spread = ndimage.gaussian_filter(heat, SIGMA, radius=reach, mode="constant")
            logs = np.log(np.maximum(spread * (heat.max() / spread.max()), 1e-3))
            x, y = (int(value) for value in places[k])
            if 1 < x < SIDE - 2 and 1 < y < SIDE - 2:
                dx = 0.5 * (logs[y, x + 1] - logs[y, x - 1])
                dy = 0.5 * (logs[y + 1, x] - logs[y - 1, x])
                dxx = 0.25 * (logs[y, x + 2] - 2 * logs[y, x] + logs[y, x - 2])
                dyy = 0.25 * (logs[y + 2, x] - 2 * logs[y, x] + logs[y - 2, x])
                corners = logs[y + 1, x + 1] - logs[y - 1, x + 1]
                dxy = 0.25 * (corners - logs[y + 1, x - 1] + logs[y - 1, x - 1])
                if dxx * dyy - dxy**2 != 0:
                    hessian = np.array([[dxx, dxy], [dxy, dyy]])
                    places[k] -= np.linalg.inv(hessian) @ np.array([dx, dy])
        found.append(places)
    return np.stack(found)


def ours(name: str) -> Callable[[np.ndarray], np.ndarray]:
    decoder = DECODERS[name]()
    return lambda batch: decoder(torch.from_numpy(batch)).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    ways = {name: ours(name) for name in DECODERS.names()}
    ways |= {"loop: quarter shift": quarter_loop, "loop: DARK": dark_loop}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    errors = {}
    for number in range(given.rounds + 1):
        maps, places = made(number)
        for name, way in ways.items():
            begun = time.perf_counter()
            found = way(maps)
            taken = time.perf_counter() - begun
            if number:  # the first round warms up
                seconds[name].append(taken)
            errors[name] = float(np.linalg.norm(found - places, axis=-1).mean())
    dark = seconds["loop: DARK"]
    rows = [
        {
            "decoder": name,
            "ms": round(1000 * statistics.median(taken), 2),
            "times_faster_than_dark_loop": round(
                statistics.median(d / t for d, t in zip(dark, taken, strict=True)), 2
            ),
            "mean_error_map_px": round(errors[name], 4),
        }
        for name, taken in seconds.items()
    ]
    content = {
        "command": "python benchmarks/decoding.py",
        "shape": [IMAGES, KEYPOINTS, SIDE, SIDE],
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "processor": platform.processor() or platform.machine(),
        "rows": rows,
    }
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
