"""Train on each kind of data for some minutes, from scratch, and read the test split once.

    python benchmarks/answers.py --data FOLDER --only bccd nuclei

FOLDER holds the data sets, each as its README describes it. A trial is one run with the defaults:
its options name what the data cannot say (a task, a split), and nothing is chosen by its outcome.
Results are added to benchmarks/results/answers.json; an entry with the same trial, minutes and seed
takes the place of the former.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

RESULTS = Path(__file__).parent / "results" / "answers.json"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
FOLD = ("100", "104", "106", "114", "119", "123"), ("102", "105", "108", "116", "121", "200")
"""Records of the two halves of mitbih12: each patient is in one."""


@dataclass(frozen=True)
class Trial:
    """One run.

    Attributes:
        data: folder or file below the data.
        minutes: of training.
        kept: scores that are kept, those of a nested table as they are.
        splits: rows image,split[,start,stop]; empty: the split of the labels.
        flags: further options of `placewise train`.
        scored: further options of `placewise evaluate`.
        apart: column of the data's `split.csv` that says what must not be parted: a tenth of
            these (persons) chooses.
    """

    data: str
    minutes: float
    kept: tuple[str, ...]
    splits: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    scored: tuple[str, ...] = ()
    apart: str = ""


def apart(table: Path, column: str) -> tuple[str, ...]:
    """Rows image,split: every tenth of those that learn chooses, with all that belongs to it."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    learnt = sorted({row[column] for row in rows if row["split"] == "train"}, key=int)
    chosen = set(learnt[::10])
    name = next(iter(rows[0]))
    return tuple(f"{row[name]},{'val' if row[column] in chosen else row['split']}" for row in rows)


def fold(train: tuple[str, ...], test: tuple[str, ...]) -> tuple[str, ...]:
    """Records to train on, the last of which chooses, and records to test on."""
    parts = [*((r, "train") for r in train[:-1]), (train[-1], "val"), *((r, "test") for r in test)]
    return tuple(f"{record}.npz,{split}" for record, split in parts)


def without(speaker: str) -> tuple[str, ...]:
    """One speaker is for the test, and the next one chooses."""
    chooser = SPEAKERS[(SPEAKERS.index(speaker) + 1) % len(SPEAKERS)]
    rest = [one for one in SPEAKERS if one not in (speaker, chooser)]
    named = [(speaker, "test"), (chooser, "val"), *((one, "train") for one in rest)]
    return tuple(f"recordings/*_{one}_*.wav,{split}" for one, split in named)


SPOTS = ("by_keypoint", "tolerance_px", "f1", "f1_at_ms", "by_border_distance", "f1_curve")
MASKS = ("dice", "cldice", "iou", "by_class", "thin_recall", "threshold", "by_border_distance")
TRIALS = {
    "bccd": Trial("bccd", 10, SPOTS),
    "nuclei": Trial(
        "nuclei_dsb2018", 12, ("ap_at_iou", "pq", "f1", "counting_mae", "touching", "thresholds")
    ),
    "chase": Trial("chase_db1", 15, MASKS),
    **{
        f"chase {loss}": Trial("chase_db1", 15, MASKS, flags=("--head-set", f"loss={loss}"))
        for loss in ("bce", "focal", "skeleton_recall", "cldice")
    },
    "glue": Trial("glue_tubes", 10, ("pck", "oks_map", "wrong_animal_rate", "nearest_centre")),
    "fly": Trial(
        "fly_pair/coco.json",
        15,
        ("pck", "oks_map", "wrong_animal_rate", "nearest_centre", "tracks"),
    ),
    "beats a": Trial("mitbih12", 2, SPOTS, splits=fold(FOLD[0], FOLD[1])),
    "beats b": Trial("mitbih12", 2, SPOTS, splits=fold(FOLD[1], FOLD[0])),
    "record 100": Trial(
        "ecg_record100/100.hea",
        2,
        (*SPOTS, "mean_error_px", "mean_error_ms"),
        splits=(
            "100.hea,train,0,388800",
            "100.hea,val,388800,432000",
            "100.hea,test,432000,650000",
        ),
    ),
    "digits": Trial("spoken_digits", 3, ("accuracy", "by_class"), flags=("--spectrogram",)),
    **{
        f"digits without {speaker}": Trial(
            "spoken_digits",
            2,
            ("accuracy",),
            splits=without(speaker),
            flags=("--spectrogram",),
        )
        for speaker in SPEAKERS
    },
    "hippocampus": Trial("hippocampus3d", 20, MASKS, flags=("--task", "masks")),
    **{
        f"hippocampus points{name}": Trial(
            "hippocampus3d",
            10,
            ("mean_error_px", "mean_error_mm", "by_keypoint", "mean_position_baseline_px"),
            flags=("--task", "keypoints", *flags),
            apart="subject",
        )
        for name, flags in (("", ()), (", integral", ("--head", "integral")))
    },
}


def verb(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "placewise", *words], check=True)


def place(name: str, minutes: float, seed: int, out: Path) -> Path:
    """Folder of a trial's run; beside it lie its splits and the seconds that it took.

    A second word `shared` in the file of seconds says that other work ran on the machine, too:
    the steps were planned for the minutes, and took longer.
    """
    return out / f"{name.replace(' ', '-')}-{minutes:g}-{seed}"


def splits_of(trial: Trial, data: Path, table: Path) -> list[str]:
    """Flags that say the splits where the labels do not."""
    splits = trial.splits
    if trial.apart:
        splits = apart(data / trial.data / "split.csv", trial.apart)
    if not splits:
        return []
    header = "image,split,start,stop" if splits[0].count(",") == 3 else "image,split"
    table.write_text("\n".join([header, *splits]) + "\n")
    return ["--splits", str(table)]


def train(name: str, data: Path, minutes: float, seed: int, out: Path) -> None:
    """Train, and look at the validation images alone."""
    trial, run = TRIALS[name], place(name, minutes, seed, out)
    shutil.rmtree(run, ignore_errors=True)
    said = splits_of(trial, data, run.with_suffix(".csv"))
    begun = time.monotonic()
    length = ["--max-minutes", str(minutes), "--seed", str(seed)]
    verb("train", str(data / trial.data), "--out", str(run), *length, *said, *trial.flags)
    run.with_suffix(".seconds").write_text(f"{time.monotonic() - begun:.1f}\n")


def score(name: str, data: Path, minutes: float, seed: int, out: Path) -> dict[str, Any]:
    """Read the test split."""
    trial, run = TRIALS[name], place(name, minutes, seed, out)
    said = splits_of(trial, data, run.with_suffix(".csv"))
    verb("evaluate", str(run), str(data / trial.data), "--split", "test", *said, *trial.scored)
    scores = json.loads((run / "evaluation" / "metrics.json").read_text())
    facts = json.loads((run / "run.json").read_text())
    training, model = facts["training"], facts["model"]
    return {
        "trial": name,
        "minutes": minutes,
        "seed": seed,
        "flags": list(trial.flags),
        "images": scores["images"],
        "scores": {key: scores[key] for key in trial.kept if key in scores},
        "wall_seconds": float(run.with_suffix(".seconds").read_text().split()[0]),
        "shared": "shared" in run.with_suffix(".seconds").read_text(),
        "steps": steps_of(run),
        "batch": training["batch_size"],
        "precision": training["precision"],
        "input": model["input"]["size"],
        "scale": model["input"]["scale"],
        "head": model["head"],
        "processors": os.cpu_count(),
        "versions": facts["versions"],
    }


def steps_of(run: Path) -> int:
    """Steps that a run has taken."""
    lines = (run / "log.jsonl").read_text().splitlines()
    return int(json.loads(lines[-1])["step"])


def peer(found: Path, data: Path) -> dict[str, Any]:
    """Scores of the label maps that another program's script wrote; see `peers/`."""
    from placewise.formats import read_dataset
    from placewise.labels import of_split
    from placewise.metrics import instance_table

    dataset: Any = read_dataset(data / TRIALS["nuclei"].data, task="instances")
    samples = of_split(dataset, [sample.split or "" for sample in dataset.samples], "test")
    pairs = [
        (
            sample.truth.instances()[0],
            np.asarray(Image.open(found / f"{Path(sample.image).stem}.png"), np.int32),
        )
        for sample in samples
    ]
    about = json.loads((found / "about.json").read_text())
    scores = instance_table(pairs)
    return {
        "trial": "nuclei",
        "peer": about["peer"],
        "minutes": about["minutes"],
        "seed": about["seed"],
        "images": len(samples),
        "scores": {key: scores[key] for key in TRIALS["nuclei"].kept if key in scores},
        "wall_seconds": about["seconds"],
        "steps": about["epochs"] * about["images_per_epoch"] // 8,
    }


def add(entry: dict[str, Any]) -> None:
    kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
    same = ("trial", "peer", "minutes", "seed")
    kept = [old for old in kept if any(old.get(key) != entry.get(key) for key in same)]
    kept.append(entry)
    names = list(TRIALS)
    kept.sort(key=lambda e: (names.index(e["trial"]), e.get("peer", ""), e["minutes"], e["seed"]))
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--only", nargs="+", choices=TRIALS, default=list(TRIALS))
    parser.add_argument("--minutes", type=float, help="in place of each trial's own")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--part", choices=["train", "score"], help="one of both alone")
    parser.add_argument("--peer", type=Path, help="score label maps of another program instead")
    given = parser.parse_args()
    if given.peer:
        told(peer(given.peer, given.data))
        return
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.only:
        for seed in given.seeds:
            one = (name, given.data, given.minutes or TRIALS[name].minutes, seed, given.out)
            if given.part != "score":
                train(*one)
            if given.part != "train":
                told(score(*one))


def told(entry: dict[str, Any]) -> None:
    add(entry)
    print(json.dumps({key: entry[key] for key in ("trial", "minutes", "scores")}))


if __name__ == "__main__":
    main()
