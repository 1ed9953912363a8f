"""Do pixels and keypoints move alike, and how fast?

    python benchmarks/augmentation.py

A Gaussian blob (σ = 2 px) is drawn at a random place of a 480 × 640 image, the image is warped,
and the centroid of what comes out is compared with

- `keypoint`: the moved centre of the blob. A bent image of a blob is not symmetric about its moved
  centre, so for perspective and elastic warps this holds the blob's own extent as well;
- `expected`: where the centroid of the whole blob must come to lie by the points alone,
  ∫ F g |det F'| / ∫ g |det F'| with F = `warp.forward`. This is what sampling adds.

Draws that carry the blob to the frame's edge are drawn again. Times are for one image of
240 × 320 on one thread: the median processor time of 300 calls.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from placewise.augment import (
    Augmentation,
    Chain,
    Warp,
    crop,
    elastic,
    flip,
    frame,
    generator,
    move_points,
    perspective,
    rotate,
    scale,
    shear,
    translate,
    warp_image,
)

RESULTS = Path(__file__).parent / "results" / "augmentation.json"
SIZE, SMALL, SIGMA = (480, 640), (240, 320), 2.0
AFFINE = Augmentation(flip=True, rotate=45, scale=(0.7, 1.4), shear=15, translate=0.1)
TILTED = Augmentation.of(**{**AFFINE.as_dict(), "perspective": 0.2})
BENT = Augmentation.of(**{**TILTED.as_dict(), "elastic": 0.02})

Draw = Callable[[np.random.Generator], Warp]


def within(rng: np.random.Generator, *limits: float) -> list[float]:
    return [float(rng.uniform(-limit, limit)) for limit in limits]


DRAWS: dict[str, Draw] = {
    "flip": lambda rng: flip(SIZE),
    "rotate ±180°": lambda rng: rotate(SIZE, *within(rng, 180)),
    "scale 0.67 to 1.5": lambda rng: scale(SIZE, tuple(np.exp(within(rng, 0.4, 0.4)).tolist())),
    "shear ±30°, ±20°": lambda rng: shear(SIZE, *within(rng, 30, 20)),
    "translate ±100 px": lambda rng: translate(SIZE, *within(rng, 100, 100)),
    "perspective ±0.25": lambda rng: perspective(SIZE, *within(rng, 0.25, 0.25)),
    "crop 400 × 500": lambda rng: crop(SIZE, *within(rng, 80, 100), (400, 500)),
    "frame": lambda rng: frame(SIZE, tuple(rng.integers(400, 700, 2).tolist())),
    "elastic 12.8 px": lambda rng: elastic(SIZE, rng, 12.8),
    "affine, composed": lambda rng: AFFINE.draw(rng, SIZE, SIZE),
    "affine and perspective, composed": lambda rng: TILTED.draw(rng, SIZE, SIZE),
    "all composed": lambda rng: BENT.draw(rng, SIZE, SIZE),
}


def render(centre: np.ndarray) -> np.ndarray:
    down, across = (
        np.exp(-((np.arange(length) - at) ** 2) / 2 / SIGMA**2)
        for length, at in zip(SIZE, centre[::-1], strict=True)
    )
    return np.outer(down, across).astype(np.float32)[..., None]


def centroid(heat: np.ndarray) -> np.ndarray:
    down, across = heat[..., 0].sum(1, dtype=float), heat[..., 0].sum(0, dtype=float)
    x, y = across @ np.arange(len(across)), down @ np.arange(len(down))
    return np.array([x, y]) / down.sum()


def expected_centroid(warp: Warp, centre: np.ndarray) -> np.ndarray:
    step = np.arange(-4 * SIGMA, 4 * SIGMA + 0.5)
    offsets = np.stack(np.meshgrid(step, step), -1)
    moved = warp.forward(centre + offsets)
    down, across = np.gradient(moved, axis=(0, 1))
    area = np.abs(np.linalg.det(np.stack([across, down], -1)))
    mass = np.exp(-(offsets**2).sum(-1) / 2 / SIGMA**2) * area
    return (moved * mass[..., None]).sum((0, 1)) / mass.sum()


def blob_errors(draw: Draw, draws: int) -> dict[str, float]:
    rng, to_keypoint, to_expected = np.random.default_rng(0), [], []
    while len(to_keypoint) < draws:
        warp, keypoint = draw(rng), rng.uniform(12, np.array(SIZE[::-1]) - 13)
        moved = warp.forward(keypoint)
        if (moved < 16).any() or (moved > np.array(warp.size[::-1]) - 17).any():
            continue
        found = centroid(warp_image(render(keypoint), warp, "zeros"))
        to_keypoint.append(np.linalg.norm(found - moved))
        to_expected.append(np.linalg.norm(found - expected_centroid(warp, keypoint)))
    return {
        "draws": draws,
        "keypoint_mean_px": round(float(np.mean(to_keypoint)), 5),
        "keypoint_max_px": round(float(np.max(to_keypoint)), 5),
        "expected_mean_px": round(float(np.mean(to_expected)), 5),
        "expected_max_px": round(float(np.max(to_expected)), 5),
    }


def milliseconds(act: Callable[[], object], calls: int = 300) -> float:
    taken = []
    for _ in range(calls):
        start = time.process_time()
        act()
        taken.append(time.process_time() - start)
    return round(1e3 * float(np.median(taken)), 3)


def speeds(channels: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*SMALL, channels)).astype(np.uint8)
    points, visibility = rng.uniform(20, 200, (1, 17, 2)), np.full((1, 17), 3, np.int8)
    affine = Chain(rotate(SMALL, 20), scale(SMALL, 1.2))
    tilted, bent = Chain(affine, perspective(SMALL, 0.1, 0.1)), elastic(SMALL, rng, 6.4)
    default, full = Augmentation(), Augmentation(perspective=0.1, elastic=0.02, blur=1.0)
    acts: dict[str, Callable[[], object]] = {
        "warp_image, affine": lambda: warp_image(image, affine),
        "warp_image, perspective": lambda: warp_image(image, tilted),
        "warp_image, elastic": lambda: warp_image(image, bent),
        "warp_image, perspective then elastic": lambda: warp_image(image, Chain(tilted, bent)),
        "warp_image, elastic then perspective": lambda: warp_image(image, Chain(bent, tilted)),
        "move_points, 17 points, perspective then elastic": lambda: move_points(
            points, visibility, Chain(tilted, bent)
        ),
        "Augmentation.apply, default": lambda: default.apply(
            image, points, visibility, generator(0, 0, "a"), SMALL
        ),
        "Augmentation.apply, with perspective, elastic, blur": lambda: full.apply(
            image, points, visibility, generator(0, 0, "a"), SMALL
        ),
    }
    return {name: milliseconds(act) for name, act in acts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    blobs = {}
    for name, draw in DRAWS.items():
        blobs[name] = blob_errors(draw, chosen.draws)
        print(f"{name:34}", *(f"{key} {value:<9}" for key, value in blobs[name].items()))
    times = {f"{channels} channels": speeds(channels) for channels in (1, 3)}
    for channels, acts in times.items():
        for name, value in acts.items():
            print(f"{channels}  {name:54} {value:7.3f} ms")
    result = {
        "command": "python benchmarks/augmentation.py",
        "what": "blob test (px) and time for one image of 240 x 320 (ms of processor)",
        "versions": {
            "python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__
        },
        "blob": {"size": SIZE, "sigma_px": SIGMA, "warps": blobs},
        "milliseconds": times,
    }  # fmt: skip
    chosen.out.parent.mkdir(exist_ok=True)
    chosen.out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
