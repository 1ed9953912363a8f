"""Two mice by placewise and by its peers: the same split, minutes and machine.

    python benchmarks/peers/mice.py --data FOLDER --minutes 8 --seeds 0 1 2
    python benchmarks/peers/mice.py --data FOLDER --parts speed

FOLDER holds `openfield_mouse` and `mirror_mouse`. Each peer is installed from the package index into
an environment of its own (requirements/PEER.txt, constraints.txt), gets the training
images in its own format, written by `placewise convert`, trains from scratch (no weights can be
downloaded; nor has placewise any) until the minutes are over, and predicts the test images with its
own decoder. `PEER_mice.py` does that and undoes its convention of pixels. Scores are computed here,
by one function for all. For `placewise` the minutes are those of its whole command; the others'
begin at their first batch. `speed` predicts 240 files of 640 × 480 by the networks that were
trained on the open field, in turns: once with the pixels that `placewise` takes, 640 × 480 too, for
all, and once with those the peers were trained with.

Run it alone on the machine. Results are added to benchmarks/results/peers.json.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import job as jobs
import numpy as np
from PIL import Image

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "peers.json"
PEERS = (
    "placewise", "deeplabcut", "sleap_nn", "lightning_pose", "ultralytics", "ultralytics-bf16",
)  # fmt: skip
"""Each is a script, and a variant of its settings behind a hyphen."""

SETS = ("openfield_mouse", "mirror_mouse")
FAST = "openfield_mouse"
"""The set whose networks are measured for speed."""

ALONE = {"lightning_pose": "lightning-pose==2.4.3"}
"""Installed without what they require: nvidia-dali, for videos, is not in the package index."""

SHOWN = {"placewise": (640 * 480,)}
"""Pixels of an image that the networks are shown when speed is measured, where it is not all of
`PIXELS`: placewise takes these images as they are."""

PIXELS = (jobs.PIXELS, 640 * 480)
"""Pixels of an image that the peers' networks are shown when speed is measured: those that they
were trained with, and all."""

BATCH = 8
FORMATS = {"yolo": "", "slp": "labels.slp", "deeplabcut": "CollectedData.csv", "coco": "coco.json"}
"""Formats of the peers, and the file that is written in the folder of the data."""

Table = dict[tuple[str, str], tuple[float, float]]


def run(*words: object, folder: Path | None = None) -> None:
    print("+", *words, flush=True)
    subprocess.run([*map(str, words)], check=True, cwd=folder)


def python_of(peer: str, folder: Path) -> Path:
    """The interpreter of the peer's environment, which is made where it is not there yet."""
    if peer == "placewise":
        return Path(sys.executable)
    python = folder / peer / ("Scripts" if os.name == "nt" else "bin") / "python"
    lists, done = HERE / "requirements", folder / peer / "requirements.txt"
    wanted = "".join((lists / f"{name}.txt").read_text("utf-8") for name in (peer, "constraints"))
    if not done.is_file() or done.read_text("utf-8") != wanted:
        venv.create(folder / peer, with_pip=True, clear=True)
        install = (python, "-m", "pip", "install", "--quiet")
        run(*install, "-r", lists / f"{peer}.txt", "-c", lists / "constraints.txt")
        if peer in ALONE:
            run(*install, "--no-deps", ALONE[peer])
        done.write_text(wanted, "utf-8")
    return python


def places_of(file: Path, split: str) -> Table:
    """Labelled places of a split, by image and point."""
    with file.open(encoding="utf-8", newline="") as lines:
        return {
            (row["image"], row["point"]): (float(row["x"]), float(row["y"]))
            for row in csv.DictReader(lines)
            if row["split"] == split and row["x"] and row["y"]
        }


def prepared(source: Path, folder: Path) -> Path:
    """A folder with the images, and labels of the training images alone in every format.

    `points.csv` has them with their split; other tools want none: Lightning Pose cannot read the
    column `set` of DeepLabCut's table.
    """
    if (folder / "done").is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with (source / "points.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    for image in {row["image"] for row in rows}:
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / image, folder / image)
    rows = [row for row in rows if row["split"] == "train"]
    for name, keys in (("points.csv", list(rows[0])), ("labels.csv", ["image", "point", "x", "y"])):
        with (folder / name).open("w", encoding="utf-8", newline="") as lines:
            table = csv.DictWriter(lines, keys, extrasaction="ignore")
            table.writeheader()
            table.writerows(rows)
    for kind, name in FORMATS.items():
        words = ("--to-format", kind, "--root", folder, "--overwrite")
        run(
            sys.executable,
            "-m",
            "placewise",
            "convert",
            folder / "labels.csv",
            folder / name,
            *words,
        )
    (folder / "done").touch()
    return folder


def many(data: Path, images: list[str], count: int, folder: Path) -> list[str]:
    """Files to measure speed with: the images, again and again."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for number in range(count):
        source = data / images[number % len(images)]
        file = folder / f"{number:05d}{source.suffix}"
        if not file.is_file():
            shutil.copy(source, file)
        names.append(str(file))
    return names


def folder_of(peer: str, name: str, given: argparse.Namespace, seed: int) -> Path:
    return given.out.absolute() / f"{name}-{peer}-{given.minutes:g}-{seed}"


def job_of(
    peer: str, name: str, given: argparse.Namespace, seed: int, pixels: int = PIXELS[0]
) -> Path:
    """The folder of a job, described for the peer's script."""
    out, source = given.out.absolute(), (given.data / name).absolute()
    data = prepared(source, out / "data" / name)
    with (source / "points.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    images = {
        split: list(dict.fromkeys(row["image"] for row in rows if row["split"] == split))
        for split in ("train", "test")
    }
    with Image.open(data / images["train"][0]) as image:
        width, height = image.size
    folder = folder_of(peer, name, given, seed)
    folder.mkdir(parents=True, exist_ok=True)
    job = {
        "data": str(data),
        "points": list(dict.fromkeys(row["point"] for row in rows)),
        **images,
        "height": height,
        "width": width,
        "minutes": given.minutes,
        "seed": seed,
        "variant": peer.partition("-")[2],
        "batch": BATCH,
        "pixels": pixels,
        "many": many(data, images["train"], given.files, out / "data" / "many")
        if name == FAST
        else [],
    }
    (folder / "job.json").write_text(json.dumps(job, indent=1) + "\n", encoding="utf-8")
    return folder


def score(truth: Table, found: Table, mean: dict[str, np.ndarray]) -> dict[str, float]:
    """Distances in pixels; a missing prediction is as far off as the mean place of training."""
    distances, missing = [], 0
    for key, place in truth.items():
        missing += key not in found
        distances.append(np.linalg.norm(np.subtract(found.get(key, mean[key[1]]), place)))
    return {
        "mean_px": round(float(np.mean(distances)), 3),
        "median_px": round(float(np.median(distances)), 3),
        "p95_px": round(float(np.percentile(distances, 95)), 3),
        "points": len(distances),
        "missing": missing,
    }


def scored(folder: Path, source: Path) -> dict[str, float]:
    truth, train = (places_of(source / "points.csv", split) for split in ("test", "train"))
    mean = {
        point: np.mean([place for (_, one), place in train.items() if one == point], axis=0)
        for point in {point for _, point in train}
    }
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    found = {(row["image"], row["point"]): (float(row["x"]), float(row["y"])) for row in rows}
    return {**score(truth, found, mean), "mean_place_px": score(truth, {}, mean)["mean_px"]}


def add(part: str, entry: dict[str, object], same: tuple[str, ...]) -> None:
    """Add an entry to the results in place of a former one of the same kind."""
    content = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    kept = [old for old in content.get(part, []) if any(old[key] != entry[key] for key in same)]
    kept.append(entry)
    kept.sort(
        key=lambda one: [PEERS.index(one[key]) if key == "peer" else one[key] for key in same]
    )
    content.update({part: kept, "processors": os.cpu_count()})
    RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def step(peer: str, what: str, folder: Path, given: argparse.Namespace) -> None:
    """In the folder of the job, as some peers write into the one they are started in."""
    script = peer.partition("-")[0]
    python = python_of(script, given.environments.absolute())
    run(python, HERE.absolute() / f"{script}_mice.py", what, folder, folder=folder)


def train(given: argparse.Namespace) -> None:
    """Train, predict and score; the peers in turns, so that a change of the machine meets all."""
    for seed, name, peer in itertools.product(given.seeds, given.sets, given.peers):
        shutil.rmtree(folder_of(peer, name, given, seed), ignore_errors=True)
        which = {"set": name, "minutes": given.minutes, "peer": peer, "seed": seed}
        folder = job_of(peer, name, given, seed)
        try:
            step(peer, "train", folder, given)
            step(peer, "predict", folder, given)
        except subprocess.CalledProcessError as error:  # one that fails is told, the others go on
            add("failed", {**which, "command": Path(str(error.cmd[1])).name}, tuple(which))
            continue
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        about.pop("prediction_images_per_second", None)
        found = scored(folder, given.data / name)
        add("accuracy", {**which, **found, **about}, tuple(which))
        print(json.dumps({**which, **found}), flush=True)


def speed(given: argparse.Namespace) -> None:
    """Images a second from files to places, by networks that `train` left; in turns."""
    for number, peer in itertools.product(range(given.rounds), given.peers):
        for pixels in SHOWN.get(peer, PIXELS):
            folder = job_of(peer, FAST, given, given.seeds[0], pixels)
            step(peer, "speed", folder, given)
            about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
            which = {"peer": peer, "pixels": pixels, "round": number}
            speeds = about["prediction_images_per_second"]
            add("speed", {**which, "images_per_second": speeds}, tuple(which))
            print(json.dumps({**which, **speeds}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/peers"))
    parser.add_argument("--environments", type=Path, default=Path("runs/environments"))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--files", type=int, default=240, help="of the measurement of speed")
    parser.add_argument("--rounds", type=int, default=3, help="of the measurement of speed")
    parser.add_argument(
        "--parts", nargs="+", choices=("train", "speed"), default=["train", "speed"]
    )
    given = parser.parse_args()
    if "train" in given.parts:
        train(given)
    if "speed" in given.parts:
        speed(given)


if __name__ == "__main__":
    main()
