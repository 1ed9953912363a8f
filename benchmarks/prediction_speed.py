"""Prediction: images/s from files to CSV and frames/s of a video, against what bounds them.

    python benchmarks/prediction_speed.py --images 400 --frames 1500

All in one run, at 640 × 480, with the network of the default size (weights hardly learnt: speed does
not depend on them; `--run` takes a trained one, whose distances in pixels then mean something):

- *reading*: reading and scaling alone, as many threads as `predict` has;
- *network*: each engine alone, as many batches at once as `predict` has;
- *before*: one thread of the network, torch in float32 with its modules as they are, decoding and
  writing after it: what `predict` was before there were engines;
- *predict*: the whole command's function, for each engine and precision, `auto` last;
- *video*: the same of an H.264 file, with its tables and its report;
- *cold*: seconds of `placewise predict` for one image, as a process of its own;
- *distances*: each engine, and the file of `placewise export`, against torch in float32 on parts of
  images of 20 unseen sizes: pixels between keypoints whose score is 0.5 or more;
- *silent*: whether a prediction works in a network namespace without a route (Linux).

Nothing else should run meanwhile. Results: benchmarks/results/prediction_speed.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image

from placewise import export
from placewise.engines import ENGINES
from placewise.formats import read_dataset
from placewise.images import list_images, read_image
from placewise.labels import Files
from placewise.model import BATCH, MEMORY
from placewise.onnx_files import able
from placewise.prediction import predict
from placewise.prediction.choosing import Choice, Chooser, Lanes, lanes_of
from placewise.prediction.huge import Huge
from placewise.prediction.pipeline import batches, each_padded, predicted
from placewise.prediction.video import predict_video
from placewise.run import Run
from placewise.training import TrainingSettings, train
from video import long_video

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from conftest import draw_squares

RESULTS = Path(__file__).parent / "results" / "prediction_speed.json"
SIZE = (480, 640)
SHAPES = 20
CPU = torch.device("cpu")


def hardly_trained(folder: Path) -> Path:
    dataset = read_dataset(draw_squares(folder / "squares", 20))
    settings = TrainingSettings.of(max_steps=2, device="cpu", input_pixels=SIZE[0] * SIZE[1])
    train(dataset, folder / "run", settings, quiet=True)
    return folder / "run"


def many(folder: Path, count: int, source: Path | None) -> Path:
    """Images of 640 × 480 as PNG: those of a folder, again and again, or noise with a square."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    files = [] if source is None else list_images(source)
    for number in range(count):
        if files:
            shutil.copy(files[number % len(files)], folder / f"{number:05d}.png")
            continue
        image = rng.normal(110, 8, (*SIZE, 3)).clip(0, 255).astype(np.uint8)
        x, y = int(rng.integers(0, 600)), int(rng.integers(0, 440))
        image[y : y + 30, x : x + 30] = 230
        Image.fromarray(image).save(folder / f"{number:05d}.png")
    return folder


def per_second(count: int, began: float) -> float:
    return round(count / (time.perf_counter() - began), 2)


def reading(run: Run, images: Path, names: list[str]) -> float:
    model, began = run.model(), time.perf_counter()
    count = sum(len(batch) for batch in batches(model, Huge(model, Files(images), MEMORY), names))
    return per_second(count, began)


def network(run: Run, choice: Choice, images: Path, names: list[str], lanes: Lanes) -> float:
    """Batches that are in memory already, as many at once as `predict` has."""
    model = run.model()
    shown = np.stack(
        [one.scaled for one in next(batches(model, Huge(model, Files(images), MEMORY), names))]
    )
    padded, before = model.padded(shown), torch.get_num_threads()
    torch.set_num_threads(lanes.threads)
    engine = Chooser(run, model, lanes, lambda: padded.split(1)).held(choice)
    rounds = max(lanes.calls, len(names) // len(padded))
    with ThreadPoolExecutor(lanes.calls) as workers:
        list(workers.map(engine, [padded] * lanes.calls))
        began = time.perf_counter()
        list(workers.map(engine, [padded] * rounds))
    torch.set_num_threads(before)
    return per_second(rounds * len(padded), began)


def before_engines(run: Run, images: Path, names: list[str]) -> float:
    """The modules as they are, a batch after the other, while the next images are read."""
    model, began = run.model(), time.perf_counter()
    count = 0
    for batch in batches(model, Huge(model, Files(images), MEMORY), names):
        shown = np.stack([one.scaled for one in batch])
        sizes = [one.image.shape[:2] for one in batch]
        found = model.predict_scaled(shown, sizes, [one.name for one in batch])
        count += len([one.rows() for one in found])
    return per_second(count, began)


def stages(run: Run, choice: Choice, images: Path, names: list[str], lanes: Lanes) -> float:
    """All but journal and files: what the pipeline itself reaches."""
    model = run.model()
    huge = Huge(model, Files(images), MEMORY)
    model.engine = Chooser(run, model, lanes, partial(each_padded, model, huge, names)).held(choice)
    began = time.perf_counter()
    count = sum(len(found) for _, found in predicted(model, huge, names, lanes))
    return per_second(count, began)


def whole(run: Run, images: Path, out: Path, count: int, **options: str) -> dict:
    process, seen = psutil.Process(), []
    began = time.perf_counter()
    about = predict(
        run, images, out, device="cpu", overlays=0, others=False, **options,
        progress=lambda done, total: seen.append(process.memory_info().rss / 2**20),
    )  # fmt: skip
    speed = per_second(count, began)
    quarter = len(seen) // 4
    grown = round(max(seen[-quarter or -1 :]) - max(seen[: quarter or 1]), 1)
    used = f"{about['engine']} in {about['precision']}"
    return {"images_per_second": speed, "used": used, "grown_mb": grown}


def filmed(run: Path, video: Path, out: Path, frames: int, choice: Choice) -> float:
    """Frames a second of the whole command's function, with tables and the report."""
    began = time.perf_counter()
    predict_video([run], video, out, device="cpu", engine=choice.engine, precision=choice.precision)
    return per_second(frames, began)


def cold(run: Path, image: Path, folder: Path) -> list[float]:
    """Seconds of a process for one image; the first fills the disk's cache."""
    taken = []
    for number in range(4):
        words = ["predict", str(run), str(image), "--out", str(folder / f"cold{number}")]
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "placewise", *words, "--quiet"], check=True)
        taken.append(round(time.perf_counter() - began, 2))
    return taken


def parts(images: Path) -> list[np.ndarray]:
    """Parts of 20 sizes of real or drawn images."""
    rng, files = np.random.default_rng(1), list_images(images)
    found = []
    for number in range(SHAPES):
        image = read_image(files[number * 7 % len(files)])
        height, width = int(rng.integers(200, 481)), int(rng.integers(240, 641))
        found.append(np.ascontiguousarray(image[:height, :width]))
    return found


def away(found: list, expected: list) -> dict:
    """Pixels between keypoints that are there."""
    off = [np.linalg.norm(a[0] - b[0], axis=1)[b[1] >= 0.5] for a, b in zip(found, expected, strict=True)]  # fmt: skip
    off = np.concatenate(off)
    return {
        "keypoints": len(off),
        "mean_px": float(f"{off.mean():.3g}"),
        "median_px": float(f"{np.median(off):.3g}"),
        "largest_px": float(f"{off.max():.3g}"),
    }


def distances(run: Run, images: Path, choices: list[Choice], folder: Path) -> dict:
    model, cut = run.model(), parts(images)
    expected = [(one.keypoints, one.scores) for one in map(model.predict, cut)]
    found: dict[str, dict] = {}
    shown = [model.padded(model.prepared(one)) for one in cut[:8]]
    for choice in choices:
        other = run.model()
        other.engine = Chooser(run, other, Lanes(1, 1), lambda: shown).held(choice)
        said = [(one.keypoints, one.scores) for one in map(other.predict, cut)]
        found[choice.shown] = away(said, expected)
    if able() and ENGINES["onnxruntime"].there():
        import onnxruntime

        export(run, folder / "model.onnx")
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
        said = []
        for image in cut:
            scaled = model.prepared(image)
            given = np.ascontiguousarray(np.moveaxis(scaled, -1, 0))[None]
            places, scores, _ = session.run(None, {"images": given})
            ratio = np.array(image.shape[1::-1]) / np.array(scaled.shape[1::-1])
            said.append(((places[0] + 0.5) * ratio - 0.5, scores[0]))
        found["exported file"] = away(said, expected)
    return found


def silent(run: Path, image: Path, folder: Path, choices: list[Choice]) -> dict[str, bool | str]:
    """A prediction by each engine without any network."""
    if shutil.which("unshare") is None:
        return {"not tried": "unshare is not there"}
    found: dict[str, bool | str] = {}
    for choice in choices:
        out = folder / f"silent-{choice.engine}-{choice.precision}"
        words = ["predict", str(run), str(image), "--out", str(out), "--engine", choice.engine]
        command = ["unshare", "-rn", sys.executable, "-m", "placewise", *words, "--quiet"]
        done = subprocess.run([*command, "--precision", choice.precision], check=False)
        found[choice.shown] = done.returncode == 0
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--frames", type=int, default=1500)
    parser.add_argument("--run", type=Path, default=None, help="a trained run")
    parser.add_argument("--source", type=Path, default=None, help="images of 640 × 480 of its kind")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "mine"
        shutil.copytree(given.run or hardly_trained(folder), path)
        shutil.rmtree(path / "engines", ignore_errors=True)
        run, images = Run.open(path), many(folder / "images", given.images, given.source)
        names = [file.name for file in list_images(images)]
        lanes = lanes_of(CPU, len(names))
        choices = [
            Choice(name, precision)
            for name in ENGINES.names() if ENGINES[name].there()
            for precision in ENGINES[name].precisions
        ]  # fmt: skip
        result: dict = {
            "command": "python benchmarks/prediction_speed.py --run RUN --source openfield_mouse "
            f"--images {given.images} --frames {given.frames}",
            "lanes": [lanes.calls, lanes.threads],
            "batch": BATCH,
            "reading": reading(run, images, names),
            "before": before_engines(run, images, names),
        }
        result["network"] = {c.shown: network(run, c, images, names, lanes) for c in choices}
        result["stages"] = {c.shown: stages(run, c, images, names, lanes) for c in choices}
        result["predict"] = {
            c.shown: whole(
                run, images, folder / f"{c.engine}-{c.precision}", len(names),
                engine=c.engine, precision=c.precision,
            )
            for c in choices
        }  # fmt: skip
        result["predict"]["auto"] = whole(run, images, folder / "auto", len(names))
        best = max(choices, key=lambda one: result["predict"][one.shown]["images_per_second"])
        speed = result["predict"][best.shown]["images_per_second"]
        result["ratios"] = {
            "best": best.shown,
            "to_before": round(speed / result["before"], 2),
            "to_slower_of_reading_and_network": round(
                speed / min(result["reading"], result["network"][best.shown]), 2
            ),
        }
        video = long_video(folder / "clip.mp4", given.frames)
        result["video_frames_per_second"] = {
            c.shown: filmed(path, video, folder / f"clip-{c.precision}", given.frames, c)
            for c in choices
            if c.engine == best.engine
        }
        result["cold_seconds"] = cold(path, images / names[0], folder)
        result["distances"] = distances(run, images, choices, folder)
        result["silent"] = silent(path, images / names[0], folder, choices)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
