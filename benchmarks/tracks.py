"""Who is who over a whole video: a run of poses follows the animals, held against known identities.

    python benchmarks/tracks.py RUN --data FOLDER/fly_pair --name NAME

Predicts every frame of `clip.mp4` with identities and scores them against `tracks.csv` (frame,
track, point, x, y): MOTA, IDF1 and identity switches as in `placewise evaluate`, over all frames and
over those behind the last training frame. `--every 5` predicts each fifth frame only, as a camera of a
fifth of the rate would see them. Results: benchmarks/results/tracks.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np

from placewise.metrics import TrackedFrame, object_areas, oks_matrix, track_scores
from placewise.prediction import predict
from placewise.progress import Display

RESULTS = Path(__file__).parent / "results" / "tracks.json"
SAME = 0.1
"""OKS from which a prediction can be a labelled animal, as in `placewise evaluate`."""

UNSEEN = 770
"""First test frame of the set; the frames 715 to 769 are neither learnt from nor tested."""

Objects = dict[int, np.ndarray]
"""(K, 2) keypoints in px by identity; NaN where a keypoint is missing."""


def known(file: Path) -> tuple[list[str], dict[int, Objects]]:
    """Names of the keypoints, and who is where on each frame."""
    frames: dict[int, Objects] = {}
    with file.open(newline="") as text:
        rows = list(csv.DictReader(text))
    names = list(dict.fromkeys(row["point"] for row in rows))
    for row in rows:
        at = frames.setdefault(int(row["frame"]), {})
        places = at.setdefault(int(row["track"]), np.full((len(names), 2), np.nan))
        places[names.index(row["point"])] = [float(row[axis] or "nan") for axis in "xy"]
    return names, frames


def found(file: Path, names: list[str]) -> Iterator[tuple[int, Objects]]:
    """Who was found where on each frame that has anybody."""
    with file.open(newline="") as text:
        for image, rows in groupby(csv.DictReader(text), key=lambda row: row["image"]):
            objects: Objects = {}
            for row in rows:
                places = objects.setdefault(int(row["track"]), np.full((len(names), 2), np.nan))
                if row["keypoint"] in names:
                    places[names.index(row["keypoint"])] = [
                        float(row[axis] or "nan") for axis in "xy"
                    ]
            yield int(re.fullmatch(r".*\[(\d+)\]", image)[1]), objects


def compared(truth: Objects, there: Objects, names: list[str]) -> TrackedFrame:
    """One frame; two that are less alike than `SAME` cannot be the same."""
    right = np.stack([*truth.values()]) if truth else np.empty((0, len(names), 2))
    seen = np.stack([*there.values()]) if there else np.empty((0, len(names), 2))
    alike = oks_matrix(seen, right, object_areas(right), 2 * SAME)
    identities = (np.array([*one], np.int64) for one in (truth, there))
    return TrackedFrame(*identities, np.where(alike >= SAME, 1 - alike, np.nan).T)


def measure(run: Path, data: Path, every: int, device: str) -> dict:
    names, truth = known(data / "tracks.csv")
    with tempfile.TemporaryDirectory() as folder, Display("frames") as progress:
        predict(
            run,
            data / "clip.mp4",
            Path(folder, "out"),
            device=device,
            overlays=0,
            track=True,
            frames=slice(None, None, every),
            others=False,
            progress=progress,
        )
        there = dict(found(Path(folder, "out", "predictions.csv"), names))
    frames = [
        (number, compared(truth.get(number, {}), there.get(number, {}), names))
        for number in range(0, max(truth) + 1, every)
    ]
    identities = {identity for one in there.values() for identity in one}
    return {
        "all": track_scores([frame for _, frame in frames]) | {"identities": len(identities)},
        "behind_training": track_scores([frame for n, frame in frames if n >= UNSEEN]),
        "every": every,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--name", required=True, help="of the entry in the results")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    scores = measure(given.run, given.data, given.every, given.device)
    kept[given.name] = scores
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    for part in ("all", "behind_training"):
        print(part, json.dumps(scores[part]))


if __name__ == "__main__":
    main()
