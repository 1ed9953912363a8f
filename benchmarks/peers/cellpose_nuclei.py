"""Cellpose, trained from scratch for some minutes on a folder of images and instances.

    python -m venv peers && peers/bin/pip install torch==2.13.0 "cellpose==3.1.1.3" pillow
    peers/bin/python benchmarks/peers/cellpose_nuclei.py FOLDER --minutes 12 --out found

FOLDER holds images/, instances/ and split.csv (image, instances, split, group). The label maps of the
scored images are written as 16-bit PNG into `found`; `benchmarks/answers.py --peer found` holds
them against the truth by the same code that scores placewise. Network and training are Cellpose's own;
the number of its "epochs" is what fits into the minutes, measured first. Learning rates are compared
on validation images: every tenth group of the training images (--split val).
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import time
from pathlib import Path

import numpy as np
import torch
from cellpose import dynamics, models, train
from PIL import Image

EPOCH = 40
"""Images in one of Cellpose's epochs: few, because the learning rate rises for ten of them."""


def rows_of(folder: Path, split: str) -> list[dict[str, str]]:
    """Rows of the split; validation is every tenth group of the training images."""
    with (folder / "split.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    held = [row for row in rows if row["split"] == "train" and _lot(row["group"]) == 0]
    if split == "val":
        return held
    if split == "fit":
        return [row for row in rows if row["split"] == "train" and row not in held]
    return [row for row in rows if row["split"] == split]


def _lot(group: str) -> int:
    return hashlib.sha256(group.encode()).digest()[0] % 10


def read(folder: Path, rows: list[dict[str, str]]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    images = [np.asarray(Image.open(folder / row["image"]).convert("L")) for row in rows]
    labels = [np.asarray(Image.open(folder / row["instances"])).astype(np.int32) for row in rows]
    return images, labels


def fit(
    model: models.CellposeModel, data: tuple[list, list], epochs: int, rate: float, out: Path
) -> float:
    """Seconds that so many epochs take."""
    out.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    train.train_seg(
        model.net,
        train_data=data[0],
        train_labels=data[1],
        channels=[0, 0],
        learning_rate=rate,
        n_epochs=epochs,
        nimg_per_epoch=EPOCH,
        min_train_masks=1,
        save_path=out,
        model_name="net",
    )
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--rate", type=float, default=0.005)
    parser.add_argument("--split", choices=["val", "test"], default="test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True)
    torch.manual_seed(given.seed)
    np.random.seed(given.seed)  # noqa: NPY002  # Cellpose draws from it
    images, labels = read(
        given.folder, rows_of(given.folder, "fit" if given.split == "val" else "train")
    )
    device = torch.device("cpu")
    data = (images, dynamics.labels_to_flows(labels, device=device))  # not counted in the minutes
    begun = time.monotonic()
    first = models.CellposeModel(gpu=False, pretrained_model=False, nchan=2)
    few, more = (fit(first, data, n, given.rate, given.out / "timing") for n in (1, 3))
    each = (more - few) / 2
    left = 60 * given.minutes - (time.monotonic() - begun) - few
    epochs = max(1, int(left / each))
    torch.manual_seed(given.seed)
    model = models.CellposeModel(gpu=False, pretrained_model=False, nchan=2)
    spent = fit(model, data, epochs, given.rate, given.out / "model")
    rows = rows_of(given.folder, given.split)
    images, _ = read(given.folder, rows)
    found, *_ = model.eval(images, channels=[0, 0], diameter=None)
    for row, labels in zip(rows, found, strict=True):
        Image.fromarray(labels.astype(np.uint16)).save(given.out / Path(row["instances"]).name)
    about = {
        "peer": "cellpose 3.1.1.3",
        "minutes": given.minutes,
        "rate": given.rate,
        "seed": given.seed,
        "split": given.split,
        "epochs": epochs,
        "images_per_epoch": EPOCH,
        "training_seconds": round(spent, 1),
        "seconds": round(time.monotonic() - begun, 1),
    }
    (given.out / "about.json").write_text(json.dumps(about, indent=1) + "\n")
    print(about)


if __name__ == "__main__":
    main()
