"""Coarse to fine against whole images: speed, and what changes, by size of image and depth.

    python benchmarks/coarse_to_fine.py --data DATA

DATA holds `openfield_mouse`: frames of 640 × 480 pixels of a mouse about 130 pixels long. Larger
frames are made of them: the arena without the mouse (the median frame), mirrored at its edges, is a
background, into which each frame is put; a window of the wanted size is cut out about it at random.
For each size and depth of the backbone a run is trained for some steps. The factor is chosen as
`predict --coarse-to-fine` chooses it, on training frames; then held-out frames are predicted as a
whole and from coarse to fine, in turns, batch by batch, on one thread in one process.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from placewise.devices import threads
from placewise.formats import read_dataset
from placewise.prediction.glance import SAMPLE, Glance
from placewise.run import Run
from placewise.training import TrainingSettings, train

RESULTS = Path(__file__).parent / "results" / "coarse_to_fine.json"
WIDE, TALL, BATCH = 640, 480, 8
SAME = 1e-3
"""Pixels within which a keypoint is the same."""


def frames_of(data: Path) -> list[dict[str, Any]]:
    """The frames with their keypoints."""
    folder, found = data / "openfield_mouse", {}
    with (folder / "points.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            one = found.setdefault(row["image"], {"split": row["split"], "points": []})
            one["points"].append((row["point"], row["x"], row["y"]))
    for name, one in found.items():
        one["pixels"] = np.asarray(Image.open(folder / name).convert("L"))
    return [found[name] for name in sorted(found)]


def arenas(frames: list[dict[str, Any]], times: float, copies: int, folder: Path) -> Path:
    """A folder of frames `times` as wide and as tall, with their labels."""
    median = np.median([one["pixels"] for one in frames[::4]], 0).astype(np.uint8)
    background = np.pad(median, ((TALL, TALL), (WIDE, WIDE)), mode="symmetric")
    tall, wide = round(TALL * times), round(WIDE * times)
    rng, rows = np.random.default_rng(0), ["image,split,point,x,y"]
    (folder / "images").mkdir(parents=True)
    for number, one in enumerate(frames):
        for copy in range(copies if one["split"] == "test" else 1):
            whole = background.copy()
            whole[TALL : 2 * TALL, WIDE : 2 * WIDE] = one["pixels"]
            top = int(rng.integers(max(0, 2 * TALL - tall), min(TALL, 3 * TALL - tall) + 1))
            left = int(rng.integers(max(0, 2 * WIDE - wide), min(WIDE, 3 * WIDE - wide) + 1))
            name = f"images/{number:03d}_{copy}.png"
            Image.fromarray(whole[top : top + tall, left : left + wide]).save(folder / name)
            for point, x, y in one["points"]:
                place = [f"{float(x) + WIDE - left:.3f}", f"{float(y) + TALL - top:.3f}"]
                rows.append(",".join([name, one["split"], point, *(place if x else ("", ""))]))
    (folder / "points.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def trained(folder: Path, out: Path, depth: int, width: int, steps: int) -> Run:
    """A run of so many steps."""
    backbone = {"depth": depth, "width": width}
    settings = TrainingSettings.of(max_steps=steps, backbone_settings=backbone)
    return train(read_dataset(folder), out, settings, quiet=True)


def batches(model: Any, dataset: Any, names: list[str]) -> Iterator[tuple[Any, list[Any]]]:
    """Images at the network's scale, and the sizes of the images, in batches."""
    for first in range(0, len(names), BATCH):
        images = [dataset.image(name) for name in names[first : first + BATCH]]
        yield np.stack([model.prepared(one) for one in images]), [one.shape[:2] for one in images]


def measure(run: Run, folder: Path) -> dict[str, Any]:
    """All figures of one run."""
    model, dataset = run.model(), read_dataset(folder)
    split = run.facts.split
    few = [*batches(model, dataset, list(split["train"])[::4][:SAMPLE])]
    with threads(1):
        glance = Glance.of(model, np.concatenate([one for one, _ in few]), few[0][1][0])
        held = [*batches(model, dataset, list(split["test"]))]
        found = compared(model, glance, held) if glance.looker else {}
    shown = few[0][0].shape[1:3]
    return {
        "size": list(shown),
        "depth": int(model.settings.backbone_settings["depth"]),
        "receptive_field": model.backbone.receptive_field,
        "factor": glance.looker.factor if glance.looker else 0,
        "slack": glance.looker.slack if glance.looker else 0,
        "why": glance.why,
        "tried": [asdict(one) for one in glance.tried],
        **found,
    }


def compared(model: Any, glance: Any, held: list[Any]) -> dict[str, Any]:
    """Held-out images predicted in both ways."""
    seconds, looked, apart, less = [0.0, 0.0], 0, [], []
    for shown, sizes in held:
        began = time.perf_counter()
        whole = model.predict_scaled(shown, sizes)
        between = time.perf_counter()
        fine = glance.looker.predict_scaled(shown, sizes)
        seconds[0] += between - began
        seconds[1] += time.perf_counter() - between
        parts = glance.looker.looked(shown, sizes, [""] * len(sizes))
        looked += sum(one is not None for one in parts)
        pairs = list(zip(fine, whole, strict=True))
        apart += [np.linalg.norm(a.keypoints - b.keypoints, axis=1) for a, b in pairs]
        less += [np.abs(a.scores - b.scores) for a, b in pairs]
    away, images = np.concatenate(apart), len(apart)
    return {
        "images": images,
        "whole_images_per_second": images / seconds[0],
        "images_per_second": images / seconds[1],
        "faster": seconds[0] / seconds[1],
        "images_looked_at_in_parts": looked,
        "keypoints": len(away),
        "keypoints_same": int((away <= SAME).sum()),
        "keypoints_changed": int((away > SAME).sum()),
        "furthest_px": float(away.max()),
        "scores_differ_by": float(np.concatenate(less).max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--times", type=float, nargs="+", default=[1.0, 2.0, 3.0])
    parser.add_argument("--depths", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--copies", type=int, default=2, help="of each held-out frame")
    parser.add_argument("--runs", type=Path, help="folder that runs are kept in")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    frames, found = frames_of(args.data), []
    with tempfile.TemporaryDirectory() as temporary:
        home = args.runs or Path(temporary)
        for times in args.times:
            folder = home / f"arena{times:g}"
            if not folder.is_dir():
                arenas(frames, times, args.copies, folder)
            for depth in args.depths:
                out = home / f"run{times:g}_{depth}"
                there = (out / "calibration.json").is_file()
                run = (
                    Run.open(out) if there else trained(folder, out, depth, args.width, args.steps)
                )
                found.append({"times": times, "steps": args.steps, **measure(run, folder)})
                print(json.dumps(found[-1]), flush=True)
                args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
