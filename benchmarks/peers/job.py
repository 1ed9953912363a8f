"""What the scripts of all peers share: the job they are given, its clock, and what they leave.

A job is a folder with `job.json`, written by `mice.py`. The script of a peer defines three things and
calls `main`: `train(job)` trains from scratch, stops by the clock and leaves the network in the
folder; `load(job, way)` returns a function from files of images to places; WAYS names the ways to
predict that are compared for speed, the first one used for accuracy. Only the standard library,
numpy and torch are needed here: each peer has an environment of its own, without placewise.

Places are arrays (images, points, 3) of x, y and score, in pixels of the file, 0-based, an integer
is the centre of a pixel; NaN where the peer finds nothing.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import json
import math
import random
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Places = np.ndarray
Predictor = Callable[[Sequence[Path]], Places]
PIXELS = 320 * 240
"""Of the images that are shown to the networks in training; placewise takes windows of as many."""

WARM = 32
"""Images that are predicted before the clock is started."""


@dataclass(frozen=True)
class Job:
    """What is to be done: `data` holds the training labels in every format, and the images."""

    folder: Path
    data: Path
    points: tuple[str, ...]
    train: tuple[str, ...]
    test: tuple[str, ...]
    height: int
    width: int
    minutes: float
    seed: int
    variant: str
    batch: int
    many: tuple[str, ...]
    pixels: int = PIXELS

    @staticmethod
    def read(folder: Path) -> Job:
        said = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        lists = {key: tuple(value) for key, value in said.items() if isinstance(value, list)}
        return Job(**{**said, **lists, "folder": folder, "data": Path(said["data"])})

    @property
    def seconds(self) -> float:
        return 60 * self.minutes

    def scaled(self, multiple: int = 1) -> list[int]:
        """Height and width that the networks are shown: `pixels` in the image's shape."""
        ratio = math.sqrt(self.pixels / (self.height * self.width))
        return [multiple * round(side * ratio / multiple) for side in (self.height, self.width)]


class Clock:
    """Seconds since the first batch, and how many images were seen until now."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.images = seconds, 0
        self.begun: float | None = None
        self.ended = 0.0

    def start(self) -> None:
        """At the first batch, before its forward pass."""
        self.begun = self.begun or time.monotonic()

    def saw(self, images: int) -> bool:
        """After a step: count its images; whether time is up."""
        assert self.begun is not None
        self.images += images
        self.ended = time.monotonic()
        return self.ended - self.begun >= self.seconds

    @property
    def share(self) -> float:
        """Of the time, that has passed: 0 to 1."""
        return 0.0 if self.begun is None else min(1, (time.monotonic() - self.begun) / self.seconds)

    def facts(self) -> dict[str, float]:
        assert self.begun is not None
        spent = self.ended - self.begun
        return {
            "training_seconds": round(spent, 1),
            "images_seen": self.images,
            "training_images_per_second": round(self.images / spent, 2),
        }


def seeded(seed: int) -> None:
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # the peers draw from it
    torch.manual_seed(seed)


def with_torchvision() -> bool:
    """Import torchvision even where its compiled part does not fit torch's build; whether it does.

    The package index has one build, for CUDA. Beside a torch for the CPU its operators are missing
    and the import ends in an error, though no network here uses them: they need only be declared.
    """
    import torch

    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _held.append(library)
        importlib.import_module("torchvision")
    return not _held


_held: list[object] = []
"""Operators are there as long as the library that declares them."""


def write(job: Job, places: Places) -> None:
    """predictions.csv of the test images; what is missing has no row."""
    with (job.folder / "predictions.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "point", "x", "y", "score"])
        for image, rows in zip(job.test, places, strict=True):
            for point, row in zip(job.points, rows, strict=True):
                if np.isfinite(row[:2]).all():
                    table.writerow([image, point, *(f"{value:.4f}" for value in row)])


def timed(predict: Predictor, files: Sequence[Path]) -> float:
    """Images a second from files to places, warm."""
    predict(files[:WARM])
    begun = time.perf_counter()
    places = predict(files)
    assert len(places) == len(files)
    return round(len(files) / (time.perf_counter() - begun), 2)


def add(file: Path, facts: dict[str, object]) -> None:
    held = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.write_text(json.dumps({**held, **facts}, indent=1) + "\n", encoding="utf-8")


def main(
    train: Callable[[Job], dict[str, object]],
    load: Callable[[Job, str], Predictor],
    ways: Sequence[str],
    packages: Sequence[str],
) -> None:
    """Command line of a peer's script: STEP FOLDER."""
    parser = argparse.ArgumentParser()
    parser.add_argument("step", choices=("train", "predict", "speed"))
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    job = Job.read(given.folder.absolute())
    about = job.folder / "about.json"
    if given.step == "train":
        begun = time.monotonic()
        seeded(job.seed)
        facts = train(job)
        whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        memory = max(resource.getrusage(one).ru_maxrss for one in whose) / 1024
        versions = {name: importlib.metadata.version(name) for name in packages}
        wall = round(time.monotonic() - begun, 1)
        add(about, {**facts, "wall_seconds": wall, "peak_mib": round(memory), "versions": versions})
    elif given.step == "predict":
        write(job, load(job, ways[0])([job.data / name for name in job.test]))
    else:
        files = [Path(name) for name in job.many]
        speeds = {way: timed(load(job, way), files) for way in ways}
        add(about, {"prediction_images_per_second": speeds})
