"""Predict many images: is memory flat, and does a killed prediction end in the same bytes?

    python benchmarks/prediction.py --images 5000 --kills 20

A network is trained for a few steps on small made images. Resident memory of the predicting process
is read after 500 images and at the end. Then predictions of 200 images are killed with SIGKILL at
random moments and continued with `--resume`; every file is compared with that of a prediction that
was never disturbed, and images that were predicted again are counted from `progress.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from placewise.formats import read_dataset
from placewise.model import BATCH
from placewise.training import train

RESULTS = Path(__file__).parent / "results" / "prediction.json"
EARLY = 500


def draw(
    folder: Path, count: int, size: tuple[int, int] = (48, 56), half: int = 3, margin: int = 5
) -> Path:
    """Images with a bright square, and `points.csv`.

    Args:
        folder: a new folder.
        count: of images.
        size: (height, width) in pixels.
        half: pixels of the square on each side of its middle.
        margin: pixels between its middle and the border at least.
    """
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    rows = ["image,keypoint,x,y"]
    for number in range(count):
        image = rng.normal(110, 8, size).clip(0, 255)
        x, y = (int(rng.integers(margin, side - margin)) for side in size[::-1])
        image[y - half : y + half + 1, x - half : x + half + 1] = 230
        Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"{number:05d}.png")
        rows.append(f"images/{number:05d}.png,light,{x},{y}")
    (folder / "points.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def start(run: Path, images: Path, out: Path) -> subprocess.Popen[bytes]:
    verb = ["predict", str(run), str(images), "--out", str(out), "--overlays", "20"]
    return subprocess.Popen(
        [sys.executable, "-m", "placewise", *verb, "--resume", "--quiet", "--device", "cpu"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def done(out: Path) -> int:
    """Images that count as finished while a prediction is under way."""
    file = out / "progress.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()[1:] if file.is_file() else []
    parsed = [json.loads(line) for line in lines if line.endswith("}")]
    return sum(len(line["images"]) + len(line["skipped"]) for line in parsed)


def written(out: Path) -> int:
    """Images whose rows are on disk, also those of a batch that does not count yet."""
    file = out / "predictions.csv"
    return file.read_text(encoding="utf-8").count("\n") - 1 if file.is_file() else 0


def memory(run: Path, images: Path, out: Path, count: int) -> dict[str, float]:
    """Resident memory in MB after `EARLY` images and at the end of a prediction."""
    process = start(run, images, out)
    seen = psutil.Process(process.pid)
    early = late = 0.0
    while process.poll() is None:
        try:
            resident, finished = seen.memory_info().rss / 2**20, done(out)
        except (psutil.NoSuchProcess, FileNotFoundError, json.JSONDecodeError):
            break
        early = resident if 0 < finished <= EARLY else early
        late = resident if finished > EARLY else late
        time.sleep(0.05)
    if process.wait():
        raise SystemExit(f"the prediction ended with {process.returncode}")
    return {"images": count, "early_mb": early, "end_mb": late, "ratio": late / early}


def contents(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*.*"))}


def killed(run: Path, images: Path, folder: Path, kills: int) -> dict[str, object]:
    """Kill predictions until there were enough, finishing and comparing each that was begun."""
    rng = random.Random(0)
    began = time.monotonic()
    start(run, images, folder / "reference").wait()
    length, expected = time.monotonic() - began, contents(folder / "reference")
    taken = finished = again = 0
    different: list[str] = []
    while taken < kills:
        out = folder / f"out-{finished}"
        while True:
            process = start(run, images, out)
            try:
                process.wait(rng.uniform(0.3, 1.0) * length)
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                taken += 1
                if not (out / "about.json").is_file():  # else it had come to its end
                    again = max(again, written(out) - done(out))
        finished += 1
        found = contents(out)
        names = expected.keys() | found.keys()
        different += [f"{out.name}/{n}" for n in names if expected.get(n) != found.get(n)]
    lost = {"most_images_twice": again, "batch": BATCH, "finished": finished}
    return {"kills": taken, **lost, "files_compared": len(expected), "different": different}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        many, few = draw(folder / "many", given.images), draw(folder / "few", 200)
        small = {"width": 16}
        run = train(
            read_dataset(few), folder / "run", max_steps=20, backbone_settings=small, quiet=True
        )
        content = {
            "command": f"python benchmarks/prediction.py --images {given.images} "
            f"--kills {given.kills}",
            "memory": memory(run.path, many / "images", folder / "memory", given.images),
            "killed": killed(run.path, few / "images", folder / "kills", given.kills),
        }
    RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
