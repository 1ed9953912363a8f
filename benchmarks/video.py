"""Videos: is frame n frame n, is memory flat, and what is decoding's share of a prediction?

    python benchmarks/video.py --frames 200 --tries 60 --minutes 60

Makes files of 15 kinds whose frames carry their numbers (tests/videos.py), reads random frames of each
and counts wrong ones. Then predicts a made video of the given length, of 320 × 240 px, with a tiny
network, and reads the resident memory on the way: it should not grow after the first minute. Last,
the same video is only decoded; its share of the CPU time of a prediction with the default network
is measured on `--share` frames. Results: benchmarks/results/video.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from placewise.errors import ImageError
from placewise.formats import read_dataset
from placewise.frames.video import Video, index_of
from placewise.prediction.video import VideoOptions, predict_video
from placewise.training import TrainingSettings, train

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from conftest import draw_squares
from videos import kinds, number_of, write

RESULTS = Path(__file__).parent / "results" / "video.json"
SIZE = (480, 640)
RATE = 30


def seeks(folder: Path, frames: int, tries: int) -> dict[str, dict]:
    """Of each kind of file: frames, wrong ones, or why it is refused."""
    reader, found = Video(), {}
    for name, path, first in kinds(folder, frames):
        try:
            count = reader.count(path)
        except ImageError as error:
            found[name] = {"refused": str(error).replace(str(folder), "")}
            continue
        wrong = 0
        for number in np.random.default_rng(0).integers(0, count, tries).tolist():
            pixels = reader.read(path, number)
            upright = np.rot90(pixels) if name == "turned.mp4" else pixels
            wrong += number_of(upright) != number + first
        index = index_of(path)
        found[name] = {"frames": count, "tries": tries, "wrong": int(wrong)}
        found[name] |= {"jumps": bool(len(index.pts)), "fault": index.fault}
    return found


def run_of(folder: Path, width: int | None) -> Path:
    """A run that has hardly learnt, of the default size or tiny."""
    dataset = read_dataset(draw_squares(folder / f"squares{width}", 20))
    more = {} if width is None else {"backbone_settings": {"width": width}}
    settings = TrainingSettings.of(
        max_steps=2, device="cpu", input_pixels=SIZE[0] * SIZE[1], **more
    )
    train(dataset, folder / f"run{width}", settings, quiet=True)
    return folder / f"run{width}"


def elsewhere(work: Callable[..., Path], *given: Any) -> Path:
    """In a process of its own: a training keeps memory for its next steps, a prediction has none."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


def long_video(file: Path, frames: int, size: tuple[int, int] = SIZE) -> Path:
    from placewise.frames import VideoWriter

    rng = np.random.default_rng(0)
    noise = rng.normal(110, 8, (*size, 3)).clip(0, 255).astype(np.uint8)
    with VideoWriter(file) as writer:
        for number in range(frames):
            image = np.roll(noise, number % size[1], 1)
            x = number * 3 % (size[1] - 40)
            image[100:130, x : x + 30] = 230
            writer.write(image, number / RATE)
    return file


def memory(run: Path, video: Path, out: Path) -> dict:
    """Resident MB before, on the way at tenths, and after a prediction."""
    process, seen = psutil.Process(), {}
    before = process.memory_info().rss / 2**20

    def progress(done: int, total: int) -> None:
        seen.setdefault(10 * done // total, round(process.memory_info().rss / 2**20, 1))

    started = time.process_time()
    about = predict_video([run], video, out, VideoOptions(), device="cpu", progress=progress)
    return {
        "frames": about["frames"],
        "before_mb": round(before, 1),
        "by_tenth_mb": list(seen.values()),
        "after_mb": round(process.memory_info().rss / 2**20, 1),
        "peak_grown_mb": round(
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before, 1
        ),
        "cpu_s": round(time.process_time() - started, 1),
    }


def share(run: Path, video: Path, out: Path, frames: int) -> dict:
    """CPU seconds of decoding, the index among it, and of a prediction with all its files."""
    reader = Video()
    started = time.process_time()
    count = min(frames, reader.count(video))
    for number in range(count):
        reader.read(video, number)
    decoding = time.process_time() - started
    started = time.process_time()
    predict_video([run], video, out, VideoOptions(stop=count), device="cpu")
    whole = time.process_time() - started
    return {
        "frames": count,
        "decoding_ms": round(1000 * decoding / count, 2),
        "prediction_ms": round(1000 * whole / count, 2),
        "share": round(decoding / whole, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200, help="of each kind of file")
    parser.add_argument("--tries", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=60, help="length of the long video")
    parser.add_argument("--share", type=int, default=300, help="frames of the measured share")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "kinds").mkdir()
        results: dict = {"seeks": seeks(folder / "kinds", given.frames, given.tries)}
        short = write(folder / "warm.mp4", 5)  # loads the libraries before memory is read
        tiny = elsewhere(run_of, folder, 16)
        predict_video([tiny], short, folder / "warm", device="cpu")
        half = (SIZE[0] // 2, SIZE[1] // 2)
        video = long_video(folder / "long.mp4", int(given.minutes * 60 * RATE), half)
        results["memory"] = memory(tiny, video, folder / "long")
        part = long_video(folder / "part.mp4", given.share)
        results["share"] = share(
            elsewhere(run_of, folder, None), part, folder / "part", given.share
        )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
