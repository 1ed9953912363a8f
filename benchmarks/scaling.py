"""How cost grows with pixels, keypoints, images, and processes.

    python benchmarks/scaling.py --images 480 --steps 60

Everything is measured beside what it is compared with, in turns, so that a slow minute of the
machine falls on both. Pixels and keypoints: one network with default settings and random weights,
one thread, the median of repeated predictions in memory. Images: `placewise predict` of folders of
640×480 PNG files. Processes: the same folder with one process of one thread, one of two threads,
and two processes of one thread each (`torchrun`); and training steps with the same batch. A rate is
that of the images (steps) by which a long command differs from a short one, so that starting, which
is reported too, does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

import placewise as pw
from placewise.labels import KeypointDataset, KeypointSample
from placewise.tasks import build, choose_model
from prediction import draw

RESULTS = Path(__file__).parent / "results" / "scaling.json"
SIDES, POINTS = (160, 320, 640, 1280), (2, 16, 64)
SIZE = (480, 640)
SQUARE: dict[str, Any] = {"size": SIZE, "half": 20, "margin": 30}
"""Images with a bright square; see `prediction.draw`."""
ROUNDS = 3


def network(folder: Path, points: int) -> Any:
    """The default network for so many keypoints, with random weights, at the images' own scale."""
    places = np.random.default_rng(0).uniform(40, 400, (points, 2))
    image = pw.read_dataset(folder).samples[0].image
    seen = np.full((1, points), 3, np.int8)
    sample = KeypointSample(image, SIZE, places[None], seen)
    labels = KeypointDataset(folder, tuple(f"p{k}" for k in range(points)), (sample,))
    torch.manual_seed(0)
    return build(choose_model(labels, labels.samples, pixels=SIZE[0] * SIZE[1])).eval()


def in_memory(folder: Path) -> dict[str, list[dict[str, float]]]:
    """Seconds for an image of each side, and for each number of keypoints, in turns."""
    torch.set_num_threads(1)
    cases = [("pixels", side, 4) for side in SIDES] + [("points", 320, k) for k in POINTS]
    models = {points: network(folder, points) for _, _, points in cases}
    seconds: dict[tuple[str, int, int], list[float]] = {case: [] for case in cases}
    for turn in range(ROUNDS + 1):
        for case in cases:
            image = np.random.default_rng(0).integers(0, 256, (case[1], case[1], 3), np.uint8)
            start = time.perf_counter()
            models[case[2]].predict(image)
            if turn:  # the first one warms up
                seconds[case].append(time.perf_counter() - start)
    rows: dict[str, list[dict[str, float]]] = {"pixels": [], "points": []}
    for (kind, side, points), taken in seconds.items():
        row = {"side": side, "points": points, "seconds": statistics.median(taken)}
        rows[kind].append(row)
    return rows


def timed(command: list[str], threads: int) -> tuple[float, float]:
    """(seconds, largest resident memory of all its processes in MiB) of a command."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": str(threads)})
    peak = [0.0]

    def watch() -> None:
        while process.poll() is None:
            resident = 0
            try:
                root = psutil.Process(process.pid)
                for one in [root, *root.children(recursive=True)]:
                    resident += one.memory_info().rss
            except psutil.Error:
                pass
            peak[0] = max(peak[0], resident / 2**20)
            time.sleep(0.2)

    watching = threading.Thread(target=watch)
    watching.start()
    assert process.wait() == 0, command
    seconds = time.perf_counter() - start
    watching.join()
    return seconds, peak[0]


ALONE = [sys.executable, "-m"]
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
KINDS = {
    "1 process, 1 thread": (ALONE, 1),
    "1 process, 2 threads": (ALONE, 2),
    "2 processes, 1 thread each": (TWO, 1),
}


def predicting(run: Path, images: Path, work: Path, kind: str) -> tuple[float, float]:
    launch, threads = KINDS[kind]
    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    verb = ["placewise", "predict", str(run), str(images), "--out", str(out)]
    flags = "--overlays 0 --quiet --device cpu --engine torch --precision float32".split()
    found = timed([*launch, *verb, *flags], threads)
    found_table = (out / "predictions.csv").read_bytes()
    table = work / f"{images.parent.name}.csv"
    assert table.read_bytes() == found_table if table.exists() else table.write_bytes(found_table)
    return found


def training(data: Path, steps: int, work: Path, kind: str) -> tuple[float, float]:
    launch, threads = KINDS[kind]
    out = work / "trained"
    shutil.rmtree(out, ignore_errors=True)
    flags = f"--steps {steps} --val-interval {steps} --precision float32 --batch-size 8"
    verb = ["placewise", "train", str(data), "--out", str(out), *flags.split()]
    return timed([*launch, *verb, "--quiet", "--device", "cpu"], threads)


def rates(measure, few: int, many: int) -> dict[str, dict[str, float]]:
    """Units a second of each kind, and the seconds that a command takes beside them."""
    taken: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in KINDS}
    for _ in range(ROUNDS):
        for kind in KINDS:
            (short, _), (long, memory) = measure(few, kind), measure(many, kind)
            rate = (many - few) / max(long - short, 1e-9)
            taken[kind].append((rate, short - few / rate, memory))
    first = next(iter(KINDS))
    rows = {}
    for kind, found in taken.items():
        pairs = [one[0] / alone[0] for one, alone in zip(found, taken[first], strict=True)]
        rows[kind] = {
            "per_second": statistics.median(one[0] for one in found),
            "ratio": statistics.median(pairs),
            "start_seconds": statistics.median(one[1] for one in found),
            "mib": max(one[2] for one in found),
        }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=480)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    counts = (given.images // 4, given.images // 2, given.images)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        labels = pw.read_dataset(draw(work / "data", 20, **SQUARE))
        run = pw.train(labels, work / "run", max_steps=2, quiet=True)
        folders = {
            count: draw(work / f"images{count}", count, **SQUARE) / "images" for count in counts
        }
        first = next(iter(KINDS))
        images = []
        for count, folder in folders.items():
            seconds, mib = predicting(run.path, folder, work, first)
            images.append({"images": count, "seconds": seconds, "mib": mib})
        content = {
            "command": f"python benchmarks/scaling.py --images {given.images} "
            f"--steps {given.steps}",
            "cores": len(os.sched_getaffinity(0)),
            **in_memory(work / "data"),
            "images": images,
            "prediction": rates(
                lambda count, kind: predicting(run.path, folders[count], work, kind),
                counts[0],
                counts[2],
            ),
            "training": rates(
                lambda steps, kind: training(work / "data", steps, work, kind),
                max(2, given.steps // 6),
                given.steps,
            ),
        }
    given.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
