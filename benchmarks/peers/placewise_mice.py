"""placewise with its defaults, by its own commands; the counterpart of the peers' scripts."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import job as jobs
import numpy as np

WAYS = ("auto", "openvino in float32", "openvino in bfloat16", "openvino in int8")


def verb(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "placewise", *map(str, words), "--quiet"], check=True)


def train(job: jobs.Job) -> dict[str, object]:
    out, begun = job.folder / "run", time.monotonic()
    verb(
        "train", job.data / "points.csv", "--root", job.data, "--out", out,
        "--minutes", job.minutes, "--seed", job.seed, "--batch-size", job.batch,
    )  # fmt: skip
    spent = time.monotonic() - begun
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    said = json.loads((out / "run.json").read_text())
    return {
        "training_seconds": round(spent, 1),
        "images_seen": log[-1]["step"] * job.batch,
        "training_images_per_second": round(
            median(line["images_per_second"] for line in log if "loss" in line), 2
        ),
        "network": "default",
        "input": said["model"]["input"]["size"],
        "settings": {"precision": said["training"]["precision"]},
    }


def load(job: jobs.Job, way: str) -> jobs.Predictor:
    """The function behind `placewise predict`: a folder to a CSV, which is read back."""
    from placewise.prediction import predict
    from placewise.run import Run

    trained = Run.open(job.folder / "run")
    engine, _, precision = way.partition(" in ")

    def found(files: Sequence[Path]) -> jobs.Places:
        with tempfile.TemporaryDirectory(dir=job.folder) as name:
            images, out = Path(name) / "images", Path(name) / "found"
            images.mkdir()
            for number, file in enumerate(files):
                os.link(file, images / f"{number:05d}{file.suffix}")
            words = {"engine": engine, "precision": precision or "auto"}
            predict(trained, images, out, **words, device="cpu", overlays=0, others=False)
            with (out / "predictions.csv").open(encoding="utf-8", newline="") as lines:
                rows = {(row["image"], row["keypoint"]): row for row in csv.DictReader(lines)}
        keys = [
            [(f"{i:05d}{file.suffix}", point) for point in job.points]
            for i, file in enumerate(files)
        ]
        return np.array(
            [[[float(rows[key][of]) for of in ("x", "y", "score")] for key in one] for one in keys]
        )

    return found


if __name__ == "__main__":
    jobs.main(train, load, WAYS, ("torch",))
