"""Huge images in tiles: memory, speed against whole images, and what differs at the seams.

    python benchmarks/tiling.py --side 20000

Runs for spots are trained for a few steps on made images, one for each depth of the backbone. A
tiled TIFF of `side` × `side` pixels with bright dots is predicted in a process of its own, whose
greatest resident memory is read; so are images of 2,000 × 2,000 pixels, which are predicted as a
whole: their pixels per second are the measure. Each process is timed after a first small image.
About every seam's crossing 1,600 × 1,600 pixels are cut out and predicted as a whole; spots within
160 px of the crossing are compared, and so are the maps of a smaller image, all of them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from placewise.formats import read_dataset
from placewise.model import MEMORY
from placewise.model.inputs import cut_of_input
from placewise.model.parts import SAFE_TILES, Tiled
from placewise.prediction import predict
from placewise.run import Run
from placewise.training import train
from placewise.windows import Whole, windows_of

RESULTS = Path(__file__).parent / "results" / "tiling.json"
TILE, WHOLE, EDGE, NEAR = 512, 2000, 800, 160
SPACING = 97
"""Pixels between the dots of an image, about."""


def dots(top: int, left: int, tall: int, wide: int) -> np.ndarray:
    """A part of an endless image of dots in noise: the same wherever it is cut."""
    rng = np.random.default_rng([top, left])
    image = rng.normal(90, 12, (tall, wide))
    rows, columns = np.arange(tall) + top, np.arange(wide) + left
    for y in range(top // SPACING - 1, (top + tall) // SPACING + 2):
        for x in range(left // SPACING - 1, (left + wide) // SPACING + 2):
            off = np.random.default_rng([y + 10, x + 10]).uniform(10, SPACING - 10, 2)
            down, across = rows - y * SPACING - off[0], columns - x * SPACING - off[1]
            near = np.abs(down) < 16, np.abs(across) < 16
            if near[0].any() and near[1].any():
                heat = np.exp(-(down[near[0], None] ** 2 + across[near[1]] ** 2) / 32)
                image[np.ix_(*near)] += 120 * heat
    return image.clip(0, 255).astype(np.uint8)


def write(path: Path, side: int) -> Path:
    """A tiled TIFF, tile by tile."""
    import tifffile

    def tiles() -> Iterator[np.ndarray]:
        for top in range(0, side, TILE):
            for left in range(0, side, TILE):
                yield dots(top, left, TILE, TILE)

    tifffile.imwrite(
        path,
        tiles(),
        shape=(side, side),
        dtype=np.uint8,
        tile=(TILE, TILE),
        compression="zlib",
        compressionargs={"level": 1},
        photometric="minisblack",
        bigtiff=True,
    )
    return path


def trained(folder: Path, depth: int, steps: int) -> Path:
    """A run that finds the dots."""
    rows = ["image,keypoint,x,y"]
    (folder / "images").mkdir(parents=True)
    for number in range(16):
        top, left = 400 * SPACING + 256 * number, 50 * SPACING
        Image.fromarray(dots(top, left, 256, 256)).save(folder / "images" / f"{number:02d}.png")
        for y in range(top // SPACING - 1, top // SPACING + 5):
            for x in range(left // SPACING - 1, left // SPACING + 5):
                off = np.random.default_rng([y + 10, x + 10]).uniform(10, SPACING - 10, 2)
                place = x * SPACING + off[1] - left, y * SPACING + off[0] - top
                if all(0 <= at < 255 for at in place):
                    rows.append(f"images/{number:02d}.png,dot,{place[0]:.2f},{place[1]:.2f}")
    (folder / "points.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    settings = {"max_steps": steps, "head": "spots", "backbone_settings": {"depth": depth}}
    from placewise.training import TrainingSettings

    dataset = read_dataset(folder, task="spots")
    train(dataset, folder / "run", TrainingSettings.of(**settings), quiet=True)
    return folder / "run"


def worker(run: Path, images: Path, out: Path, memory: int) -> None:
    """Predict in this process, which is a new one; print seconds and resident memory."""
    first = out / "first"
    first.mkdir(parents=True)
    Image.fromarray(dots(0, 0, 256, 256)).save(first / "a.png")
    predict(run, first, out / "warm", overlays=0, others=False, memory=memory)
    began = time.perf_counter()
    predict(run, images, out / "found", overlays=0, others=False, memory=memory)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak_bytes": peak}))


def apart(run: Path, images: Path, out: Path, memory: int) -> dict[str, float]:
    """The same in a process of its own."""
    words = ["--worker", str(run), str(images), str(out), "--memory", str(memory)]
    command = [sys.executable, str(Path(__file__).resolve()), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def spots(table: Path) -> np.ndarray:
    """(n, 2) places of a table of spots."""
    rows = [line.split(",") for line in table.read_text(encoding="utf-8").splitlines()[1:]]
    return np.array([[float(row[2]), float(row[3])] for row in rows]).reshape(-1, 2)


def seams(run: Path, image: Path, side: int, table: Path, memory: int) -> dict[str, object]:
    """Spots near every crossing of seams, of the tiles and of a whole image cut out there."""
    from scipy.spatial import cKDTree

    model = Run.open(run).model()
    shown = tuple(max(1, round(n * model.input.scale)) for n in (side, side))
    gathering = model.gathering(shown, (side, side), "")
    with torch.inference_mode():
        tiled = Tiled.of(model)
        edges = tiled.cuts(shown, tiled.margin(gathering), memory)
    found, compared, missing, far = spots(table), 0, 0, 0.0
    multiple = tiled.looks.period
    with windows_of(image, memory) as pixels:
        for y in edges[0][1:-1]:
            for x in edges[1][1:-1]:
                top, left = (max(0, (at - EDGE) // multiple * multiple) for at in (y, x))
                rows, columns = (
                    slice(top, min(top + 2 * EDGE, side)),
                    slice(left, min(left + 2 * EDGE, side)),
                )
                own = model.predict(pixels.cut(rows, columns)).points + np.array([left, top])
                near = own[(np.abs(own - (x, y)) <= NEAR).all(1)]
                away, _ = cKDTree(found).query(near)
                compared, missing = compared + len(near), missing + int((away > 0.5).sum())
                far = max(far, float(away[away <= 0.5].max(initial=0)))
    return {
        "tiles": [len(one) - 1 for one in edges],
        "margin_px": tiled.margin(gathering),
        "bytes_per_pixel": tiled.bytes_per_pixel,
        "spots_compared": compared,
        "spots_missing": missing,
        "furthest_px": far,
    }


def maps(run: Path, side: int) -> float:
    """The largest difference of a map in tiles from the whole, over its standard deviation."""
    model = Run.open(run).model()
    image = Whole(dots(0, 0, side, side)[..., None])
    shown, cut = cut_of_input(image, model.input)
    gathering = model.gathering(shown, image.size, "")
    with torch.inference_mode():
        whole = model.raw(cut(slice(0, shown[0]), slice(0, shown[1]))[None])[0]
        tiled = Tiled.of(model)
        pixels = whole[0].numel() * tiled.looks.stride**2
        room = int(0.3 * SAFE_TILES * pixels * tiled.bytes_per_pixel)
        far = 0.0
        for tile in tiled.tiles(shown, cut, gathering, room):
            far = max(far, float((tile.own() - whole[(slice(None), *tile.core)]).abs().max()))
        return far / float(whole.std())


def measure(depth: int, args: argparse.Namespace, folder: Path, image: Path) -> dict[str, object]:
    """All figures of one depth."""
    run = trained(folder / f"made{depth}", depth, args.steps)
    whole = folder / "whole"
    if not whole.is_dir():
        whole.mkdir()
        for number in range(args.wholes):
            write(whole / f"{number}.tif", WHOLE)
    small = apart(run, whole, folder / f"small{depth}", MEMORY)
    huge = apart(run, image, folder / f"huge{depth}", args.memory)
    per_pixel = small["seconds"] / (args.wholes * WHOLE**2)
    table = folder / f"huge{depth}" / "found" / "predictions.csv"
    return {
        "depth": depth,
        "side": args.side,
        "memory": args.memory,
        "seconds": huge["seconds"],
        "peak_bytes": huge["peak_bytes"],
        "untiled_seconds_per_megapixel": 1e6 * per_pixel,
        "speed_of_untiled": per_pixel * args.side**2 / huge["seconds"],
        "spots": len(spots(table)),
        "map_difference": maps(run, min(args.side, 2400)),
        **seams(run, image, args.side, table, args.memory),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--depths", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--wholes", type=int, default=4)
    parser.add_argument("--memory", type=int, default=MEMORY)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--worker", type=Path, nargs=3)
    args = parser.parse_args()
    if args.worker:
        worker(*args.worker, args.memory)
        return
    with tempfile.TemporaryDirectory() as folder:
        image = write(Path(folder, "slide.tif"), args.side)
        found = []
        for depth in args.depths:
            found.append(measure(depth, args, Path(folder), image))
            args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            print(json.dumps(found[-1]), flush=True)


if __name__ == "__main__":
    main()
