"""Does `radius_90` hold 90 % of the truths? Short trainings, each test split read once at the end.

    python benchmarks/radius.py --data FOLDER

FOLDER holds `openfield_mouse`, `mirror_mouse` and `hippocampus3d`; the digits of the demo are made.
Radii are calibrated whatever the network has learnt, so the trainings are short and the images
small. Each entry is one training: the seed draws its validation images, where the labels do not say
them. Results are added to benchmarks/results/radius.json, an entry with the same set, seed, steps
and pixels taking the place of the former.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom

import placewise as pw
from answers import TRIALS, apart
from placewise.labels import Dataset, KeypointSample, single
from placewise.metrics import conformal_factor, coverage, design_effect, errors
from placewise.run import Run
from placewise.tasks.keypoints.demo import write_images

RESULTS = Path(__file__).parent / "results" / "radius.json"
LEVEL = 0.9
SETS = {
    "openfield_mouse": (300, 10_000),
    "mirror_mouse": (300, 16_000),
    "mirror_mouse, 46 images": (300, 16_000),
    "digits": (300, 10_000),
    "hippocampus points": (60, 8192),
}
"""Sets, each with its steps and the pixels (voxels) of an image that the network sees."""

FEW = 46
"""Images that are left of the training images of a set with that in its name."""


def labels(name: str, data: Path, out: Path) -> Dataset[Any]:
    """A set with the splits that it is measured with."""
    if name == "digits":
        folder = out / "digits"
        if not folder.exists():
            write_images(folder, images=200)
        return pw.read_dataset(folder)
    if name == "hippocampus points":
        trial, table = TRIALS[name], out / "hippocampus.csv"
        rows = apart(data / trial.data / "split.csv", trial.apart)
        table.write_text("\n".join(["image,split", *rows]) + "\n")
        return pw.read_dataset(data / trial.data, task="keypoints", splits=table)
    found: Any = pw.read_dataset(data / name.split(",")[0])
    if "," in name:
        learnt = [s.image for s in found.samples if s.split == "train"][:FEW]
        kept = (s for s in found.samples if s.split == "test" or s.image in learnt)
        found = dataclasses.replace(found, samples=tuple(kept))
    return found


def measured(run: Run, dataset: Dataset[Any], split: str) -> tuple[np.ndarray, np.ndarray, Any]:
    """(images, keypoints) errors and uncertainties of a split, and the radii."""
    by_image: dict[str, KeypointSample] = {s.image: s for s in dataset.samples}
    samples = [by_image[image] for image in run.facts.split[split]]
    model = pw.load_model(run, "cpu")
    found = []
    for sample in samples:
        shown = model.prepared(*dataset.reading(sample.image))
        found += model.predict_scaled(shown[None], [sample.size], [sample.image])
    truth = np.stack([single(sample, dataset.source)[0] for sample in samples])
    off = errors(np.stack([one.keypoints for one in found]), truth)
    parts = ([getattr(one, key) for one in found] for key in ("uncertainty", "radius_90"))
    unsure, radii = map(np.stack, parts)
    return off, unsure, radii


def bench(name: str, data: Path, seed: int, out: Path) -> dict[str, Any]:
    """One training, and what its radii hold of the test split."""
    steps, pixels = SETS[name]
    dataset, begun = labels(name, data, out), time.monotonic()
    folder = out / f"{name.replace(' ', '-')}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    run = pw.train(
        dataset,
        folder,
        max_steps=steps,
        seed=seed,
        input_pixels=pixels,
        precision="bfloat16",
        val_interval=steps,
        quiet=True,
    )
    return {
        "set": name,
        "seed": seed,
        "steps": steps,
        "pixels": pixels,
        **held(run, dataset),
        "seconds": round(time.monotonic() - begun),
    }


def held(run: Run, dataset: Dataset[Any]) -> dict[str, Any]:
    """What the radii of a run hold of the test split."""
    known_off, known_unsure, _ = measured(run, dataset, "val")
    off, unsure, radii = measured(run, dataset, "test")
    factor = conformal_factor(known_off.ravel(), known_unsure.ravel(), LEVEL)
    count = int(np.isfinite(off).sum())
    low, high = (float(x) / count for x in binom.interval(0.95, count, LEVEL))
    share = coverage(off, radii) if run.calibration()["factor"] is not None else None
    return {
        "validation": {key: run.calibration()[key] for key in ("images", "keypoints", "factor")},
        "test": {"images": len(off), "keypoints": count},
        "design_effect": design_effect(off / unsure),
        "coverage_90": share,
        "interval": [low, high],
        "inside": share is not None and low <= share <= high,
        "as_if_independent": None if factor is None else coverage(off, factor * unsure),
        "mean_radius_90_px": None if share is None else float(np.mean(radii[np.isfinite(off)])),
        "mean_error_px": float(np.nanmean(off)),
    }


def add(entry: dict[str, Any]) -> None:
    """Keep an entry in the place of the one that it repeats."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
    same = ("set", "seed", "steps", "pixels")
    kept = [old for old in kept if any(old[key] != entry[key] for key in same)]
    names = list(SETS)
    kept = sorted([*kept, entry], key=lambda e: (names.index(e["set"]), e["steps"], e["seed"]))
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


def run_all(names: Sequence[str], data: Path, seeds: Sequence[int], out: Path) -> None:
    """Seed by seed, so that all sets are there early."""
    for seed in seeds:
        for name in names:
            entry = bench(name, data, seed, out)
            add(entry)
            print(name, seed, entry["coverage_90"], entry["interval"], entry["seconds"], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    run_all(given.sets, given.data, given.seeds, given.out)


if __name__ == "__main__":
    main()
