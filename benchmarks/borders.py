"""Which padding rule serves the main job? Error near the border and elsewhere, on validation folds.

    python benchmarks/borders.py --data FOLDER --seeds 5 --steps 600

FOLDER holds `openfield_mouse`; the other set is the demo's digits. No test image is read. Of the
others, those numbered seed, seed + 5, seed + 10 … by name validate the run of that seed, so that five
seeds answer each image once, by a network that has not seen it; rules are compared within a seed: the
same images, first weights and order. Near is within `--band` of the shorter side from the border.
What is in benchmarks/results/borders.json already is not done again.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from placewise import TrainingSettings, evaluate, read_dataset, train
from placewise.geometry import border_distance
from placewise.labels import KeypointDataset
from placewise.paddings import PADDINGS
from placewise.tasks.keypoints.demo import write_images

RESULTS = Path(__file__).parent / "results" / "borders.json"
SETS, FOLDS = ("openfield_mouse", "digits"), 5
RULES = tuple(name for name in PADDINGS.names() if PADDINGS[name].keeps_size)
SAME = ("set", "rule", "seed", "steps", "band")


def folded(labels: KeypointDataset, fold: int) -> KeypointDataset:
    """Without the test images; every fifth of the others validates."""
    samples = sorted((s for s in labels.samples if s.split != "test"), key=lambda s: s.image)
    split = ["val" if number % FOLDS == fold else "train" for number in range(len(samples))]
    kept = tuple(replace(s, split=name) for s, name in zip(samples, split, strict=True))
    return replace(labels, samples=kept)


def shares_and_errors(labels: KeypointDataset, predictions: Path) -> tuple[np.ndarray, np.ndarray]:
    """Of each located point that was to be found: share of the side from the border, and error."""
    with predictions.open(newline="", encoding="utf-8") as file:
        found = {
            (row["image"], row["keypoint"]): (float(row["x"]), float(row["y"]))
            for row in csv.DictReader(file)
        }
    shares, errors = [], []
    for sample in (s for s in labels.samples if s.split == "val"):
        points = sample.points.reshape(-1, 2)
        near = border_distance(points, sample.size) / min(sample.size)
        for name, point, share in zip(labels.names, points, near, strict=True):
            if np.isfinite(share):
                shares.append(max(share, 0.0))
                errors.append(np.hypot(*(point - found[sample.image, name])))
    return np.array(shares), np.array(errors)


def part(errors: np.ndarray) -> dict[str, Any]:
    if not len(errors):
        return {"points": 0, "mean_px": None, "median_px": None}
    return {
        "points": len(errors),
        "mean_px": round(float(errors.mean()), 4),
        "median_px": round(float(np.median(errors)), 4),
    }


def measure(
    labels: KeypointDataset, rule: str, seed: int, steps: int, band: float, out: Path
) -> dict:
    labels = folded(labels, seed % FOLDS)
    settings = TrainingSettings.of(
        max_steps=steps,
        seed=seed,
        backbone_settings={"padding_mode": rule},
        precision="bfloat16",
        val_interval=steps,
    )
    shutil.rmtree(out, ignore_errors=True)
    run = train(labels, out, settings, quiet=True)
    out = run.path / "evaluation"
    evaluate(run, labels, split="val", out=out)
    shares, errors = shares_and_errors(labels, out / "predictions.csv")
    return {
        "border": part(errors[shares < band]),
        "elsewhere": part(errors[shares >= band]),
        "all": part(errors),
    }


def table(entries: list[dict], steps: int, band: float) -> str:
    """Means over seeds with their standard deviation, and what each seed says beside zeros."""
    rows = ["| set | rule | seeds | border px | elsewhere px | ratio | border, beside zeros |"]
    rows.append("|---" * 7 + "|")
    entries = [e for e in entries if (e["steps"], e["band"]) == (steps, band)]
    zeros = {(e["set"], e["seed"]): e for e in entries if e["rule"] == "zeros"}
    for key in dict.fromkeys((e["set"], e["rule"]) for e in entries):
        same = [e for e in entries if (e["set"], e["rule"]) == key]
        near = [e["border"]["mean_px"] for e in same if e["border"]["points"]]
        far = [e["elsewhere"]["mean_px"] for e in same if e["elsewhere"]["points"]]
        pairs = [(e, zeros[key[0], e["seed"]]) for e in same if (key[0], e["seed"]) in zeros]
        beside = [
            mine["border"]["mean_px"] / theirs["border"]["mean_px"]
            for mine, theirs in pairs
            if theirs["border"]["points"]
        ]
        cells = [*key, len(same), spread(near), spread(far)]
        ratio = f"{statistics.fmean(near) / statistics.fmean(far):.2f}" if near and far else "–"
        rows.append("| " + " | ".join(map(str, [*cells, ratio, spread(beside)])) + " |")
    return "\n".join(rows)


def spread(values: list[float]) -> str:
    if not values:
        return "–"
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{deviation}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--rules", nargs="+", choices=RULES, default=RULES)
    parser.add_argument("--seeds", type=int, default=FOLDS)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--band", type=float, default=0.1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    content = json.loads(given.results.read_text()) if given.results.is_file() else {"runs": []}
    content["command"] = "python benchmarks/borders.py --data FOLDER"
    done = {tuple(entry[key] for key in SAME) for entry in content["runs"]}
    with tempfile.TemporaryDirectory() as folder:
        for name in given.sets:
            path = given.data / name
            if name == "digits":
                path = write_images(Path(folder, name), images=300)
            labels = read_dataset(path)
            for seed in range(given.seeds):
                for rule in given.rules:
                    key = (name, rule, seed, given.steps, given.band)
                    if key in done:
                        continue
                    found = measure(
                        labels, rule, seed, given.steps, given.band, Path(folder, "run")
                    )
                    content["runs"].append(dict(zip(SAME, key, strict=True)) | found)
                    print(*key[:4], json.dumps(found), flush=True)
                    given.results.write_text(json.dumps(content, indent=1) + "\n")
    print(table(content["runs"], given.steps, given.band))


if __name__ == "__main__":
    main()
