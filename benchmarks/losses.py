"""Which loss should be the default? Four losses on three data sets, on validation images alone.

    python benchmarks/losses.py --data FOLDER

FOLDER holds `openfield_mouse` and `mirror_mouse`; the third set is the demo's digits. A fifth of the
training images is set aside (by the files' names, not by chance of the run); no test image is
read. Each loss gets the same number of steps, and of its learning rates the best by the same
images, so that each is tuned as well as the others. Results: benchmarks/results/losses.json; what is there
already is not done again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from placewise import TrainingSettings, evaluate, read_dataset, train
from placewise.labels import KeypointDataset
from placewise.tasks.keypoints.demo import write_images

RESULTS = Path(__file__).parent / "results" / "losses.json"
LOSSES = ("joint", "softmax", "cross_entropy", "mse")
RATES = (1e-3, 4e-3)


def without_test(labels: KeypointDataset) -> KeypointDataset:
    """Training and validation images; every fifth of what is not for testing validates."""
    samples = sorted((s for s in labels.samples if s.split != "test"), key=lambda s: s.image)
    split = ["val" if number % 5 == 2 else "train" for number in range(len(samples))]
    kept = tuple(replace(s, split=name) for s, name in zip(samples, split, strict=True))
    return replace(labels, samples=kept)


def measure(labels: KeypointDataset, loss: str, rate: float, steps: int, out: Path) -> dict:
    settings = TrainingSettings.of(
        max_steps=steps,
        head_settings={"loss": loss},
        learning_rate=rate,
        precision="bfloat16",
        val_interval=steps,
    )
    shutil.rmtree(out, ignore_errors=True)
    run = train(labels, out, settings, quiet=True)
    scores = evaluate(run, labels, split="val")
    presence = scores["presence"]
    return {
        "loss": loss,
        "learning_rate": rate,
        "steps": steps,
        "mean_error_px": scores["mean_error_px"],
        "median_error_px": scores["median_error_px"],
        "p95_error_px": scores["p95_error_px"],
        "presence_precision": presence["precision"],
        "presence_recall": presence["recall"],
        "presence_calibration_error": presence["calibration_error"],
        "coverage_90": scores["radius"]["coverage_90"],
        "points": int(np.sum([row["count"] for row in scores["by_point"]])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=("digits", "openfield_mouse", "mirror_mouse"))
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    given = parser.parse_args()
    content = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"sets": {}}
    content["command"] = "python benchmarks/losses.py --data FOLDER"
    with tempfile.TemporaryDirectory() as folder:
        for name in given.sets:
            path = given.data / name
            if name == "digits":
                path = write_images(Path(folder, name), images=300)
            labels = without_test(read_dataset(path))
            found = content["sets"].setdefault(name, [])
            done = {(e["loss"], e["learning_rate"], e["steps"]) for e in found}
            for loss in LOSSES:
                for rate in given.rates:
                    if (loss, rate, given.steps) in done:
                        continue
                    found.append(measure(labels, loss, rate, given.steps, Path(folder, "run")))
                    print(name, json.dumps(found[-1]), flush=True)
                    RESULTS.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
