"""What suggestions are worth, and whether the queue helps: training on few images.

    python benchmarks/labelling_queue.py --data openfield_mouse mirror_mouse [--seeds 5] [--minutes 2]

For each set and seed: 20 images by k-means, a run, the share of keypoints on all other images of the
training split that are within 5 px of their label, and the error on the test images (--suggestions
ends here). Then 20 more images, by the queue of that run, at random, or by k-means on all that
differ, and the error again, in pairs of one seed. With --steps nothing depends on the speed of the
machine. Seeds that are there are kept. Results: benchmarks/results/labelling_queue.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import placewise as pw
from placewise.labelling.order import clusters, diverse, thumbnail, worst
from placewise.labelling.suggesting import unsureness
from placewise.tasks import task_named

RESULTS = Path(__file__).resolve().parent / "results" / "labelling_queue.json"
FIRST, MORE, NEAR = 20, 20, 5.0


def trained(dataset: Any, chosen: list[int], seed: int, given: Any, out: Path) -> tuple[Any, float]:
    """A run on some of the images, and its mean error on the test images."""
    kept = [dataset.samples[i] for i in chosen]
    val = set(range(0, len(kept), 5))  # one in five chooses the weights
    samples = [replace(s, split="val" if i in val else "train") for i, s in enumerate(kept)]
    test = [s for s in dataset.samples if s.split == "test"]
    part = replace(dataset, samples=(*samples, *test))
    length = {"max_steps": given.steps} if given.steps else {"max_minutes": given.minutes}
    run = pw.train(part, out, seed=seed, quiet=True, **length)
    scores = pw.evaluate(run, part, split="test")
    return run, float(scores["mean_error_px"])


def within(run: Any, dataset: Any, others: list[int]) -> tuple[float, dict[int, float]]:
    """Share of keypoints near their label, and how unsure the run is of each image."""
    model, task = run.model(), task_named(run.facts.model.task)
    near, unsure = [], {}
    for i in others:
        sample = dataset.samples[i]
        pixels = dataset.image(sample.image)
        one = task.suggest(model, model.prepared(pixels), sample.size)
        off = np.linalg.norm(one.sample.points[0] - sample.points[0], axis=-1)
        near += (off[sample.located[0]] <= NEAR).tolist()
        unsure[i] = unsureness(one)
    return float(np.mean(near)), unsure


def trial(dataset: Any, seed: int, given: Any, home: Path) -> dict[str, float]:
    """One seed: twenty images, then twenty more in each of the orders."""
    pool = [i for i, s in enumerate(dataset.samples) if s.split != "test"]
    small = np.stack([thumbnail(dataset.image(dataset.samples[i].image)) for i in pool])
    ranked = [pool[i] for i in diverse(small, seed)]
    first = ranked[:FIRST]
    others = [i for i in pool if i not in first]
    run, before = trained(dataset, first, seed, given, home / "first")
    share, unsure = within(run, dataset, others)
    worth = {"seed": seed, "within_5_px": round(share, 3), "error_20_px": round(before, 3)}
    if given.suggestions:
        return worth
    of = dict(zip(pool, clusters(small, FIRST, seed)[0].tolist(), strict=True))
    every = [of.get(i, 0) for i in range(len(dataset.samples))]
    more = {
        "by_queue": worst(unsure, every, first, seed)[:MORE],
        "at_random": np.random.default_rng(seed).permutation(others)[:MORE].tolist(),
        "by_kmeans": ranked[FIRST : FIRST + MORE],
    }
    errors = {
        f"error_40_{order}_px": round(
            trained(dataset, [*first, *chosen], seed, given, home / order)[1], 3
        )
        for order, chosen in more.items()
    }
    return {**worth, **errors}


def summary(trials: list[dict[str, float]]) -> dict[str, Any]:
    """The trials of a set, and the gain of each order over a random one."""
    found: dict[str, Any] = {
        "trials": trials,
        "mean_within_5_px": round(float(np.mean([t["within_5_px"] for t in trials])), 3),
    }
    pairs = [t for t in trials if "error_40_at_random_px" in t]
    for order in ("queue", "kmeans") if pairs else ():
        gains = [t["error_40_at_random_px"] - t[f"error_40_by_{order}_px"] for t in pairs]
        found[f"gains_of_{order}_px"] = [round(gain, 3) for gain in gains]
        found[f"mean_gain_of_{order}_px"] = round(float(np.mean(gains)), 3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument(
        "--suggestions", action="store_true", help="nothing but what they are worth"
    )
    given = parser.parse_args()
    content: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for data in given.data:
        dataset = pw.read_dataset(data)
        found = content.get(data.name, {}).get("trials", [])
        whole = "within_5_px" if given.suggestions else "error_40_by_kmeans_px"
        trials = [t for t in found if whole in t]  # others compared less
        for seed in set(range(given.seeds)) - {t["seed"] for t in trials}:
            with tempfile.TemporaryDirectory() as folder:
                trials.append(trial(dataset, seed, given, Path(folder)))
            print(data.name, trials[-1], flush=True)
            length = {"steps": given.steps} if given.steps else {"minutes": given.minutes}
            content[data.name] = length | summary(trials)
            RESULTS.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
