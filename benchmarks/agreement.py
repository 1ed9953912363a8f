"""Is the error that is left the networks' or the labels'? Runs on one set, held against each other.

    python benchmarks/agreement.py --data FOLDER/mirror_mouse RUN RUN RUN

Each run predicts the test images. Where runs that were trained apart (other seeds, other images)
agree with each other more closely than with the labels, the labels' own jitter holds the error up.
Diagnosis only: nothing is chosen by it. Results: benchmarks/results/agreement.json.
"""

from __future__ import annotations

import argparse
import json
from itertools import combinations
from pathlib import Path

import numpy as np

from placewise import read_dataset
from placewise.images import read_image
from placewise.run import Run

RESULTS = Path(__file__).parent / "results" / "agreement.json"


def summary(distances: np.ndarray) -> dict[str, float]:
    return {
        "mean_px": round(float(np.nanmean(distances)), 2),
        "median_px": round(float(np.nanmedian(distances)), 2),
    }


def measure(data: Path, runs: list[Path]) -> dict:
    labels = read_dataset(data)
    samples = [sample for sample in labels.samples if sample.split == "test"]
    truth = np.stack([sample.points[0] for sample in samples])
    found = []
    for path in runs:
        model = Run.open(path).model(print).eval()
        shown = (read_image(labels.root / sample.image) for sample in samples)
        found.append(np.stack([model.predict(image).keypoints for image in shown]))
    found = np.where(np.isfinite(truth), np.stack(found), np.nan)
    apart = [np.linalg.norm(a - b, axis=-1) for a, b in combinations(found, 2)]
    middle = np.median(found, axis=0)
    return {
        "images": len(samples),
        "from_the_labels": [summary(np.linalg.norm(one - truth, axis=-1)) for one in found],
        "from_each_other": [summary(one) for one in apart],
        "median_of_the_runs_from_the_labels": summary(np.linalg.norm(middle - truth, axis=-1)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("runs", type=Path, nargs="+")
    given = parser.parse_args()
    kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    kept[given.data.name] = measure(given.data, given.runs)
    RESULTS.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    print(json.dumps(kept[given.data.name], indent=1))


if __name__ == "__main__":
    main()
