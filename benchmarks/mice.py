"""Train on the two mouse sets for some minutes and read the test split once.

    python benchmarks/mice.py --data FOLDER --minutes 1 2 4 8

FOLDER holds `openfield_mouse` and `mirror_mouse`, each with a points.csv and its split. Every entry
is a run of its own, from scratch, with the defaults: nothing is chosen by its outcome. Results are
added to benchmarks/results/mice.json, an entry with the same set, minutes, seed and settings taking
the place of the former.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "mice.json"
SETS = ("openfield_mouse", "mirror_mouse")
KEPT = (
    "mean_error_px",
    "median_error_px",
    "p95_error_px",
    "rmse_px",
    "pck",
    "radius",
    "decode_floor_px",
    "mean_position_baseline_px",
    "by_border_distance",
    "images",
)


def verb(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "placewise", *words], check=True)


def bench(data: Path, name: str, minutes: float, seed: int, flags: list[str], out: Path) -> dict:
    run = out / f"{name}-{minutes:g}-{seed}"
    shutil.rmtree(run, ignore_errors=True)
    begun = time.monotonic()
    length = ["--max-minutes", str(minutes), "--seed", str(seed)]
    verb("train", str(data / name), "--out", str(run), *length, *flags)
    wall = time.monotonic() - begun
    verb("evaluate", str(run), str(data / name), "--quiet")
    scores = json.loads((run / "evaluation" / "metrics.json").read_text())
    facts = json.loads((run / "run.json").read_text())
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    speeds = sorted(line["images_per_second"] for line in log if "loss" in line)
    training = facts["training"]
    return {
        "set": name,
        "minutes": minutes,
        "seed": seed,
        "flags": flags,
        "wall_seconds": round(wall, 1),
        "steps": log[-1]["step"],
        "batch": training["batch_size"],
        "precision": training["precision"],
        "images_per_second": round(speeds[len(speeds) // 2], 1),
        "input": facts["model"]["input"]["size"],
        **{key: scores[key] for key in KEPT},
        "processors": os.cpu_count(),
        "versions": facts["versions"],
    }


def add(entry: dict) -> None:
    kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
    same = ("set", "minutes", "seed", "flags")
    kept = [old for old in kept if any(old[key] != entry[key] for key in same)]
    kept.append(entry)
    kept.sort(key=lambda e: (e["set"], e["flags"], e["minutes"], e["seed"]))
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


def table(entries: list[dict]) -> str:
    lines = [
        "| set | minutes | mean px | median | p95 | images/s | r90 holds |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {e['set']} | {e['minutes']:g} | {e['mean_error_px']:.2f} | "
        f"{e['median_error_px']:.2f} | {e['p95_error_px']:.2f} | {e['images_per_second']:.1f} | "
        f"{100 * e['radius']['coverage_90']:.0f} % |"
        for e in entries
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--minutes", nargs="+", type=float, default=[1, 2, 4, 8])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("flags", nargs="*", help="further flags of placewise train, after --")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.sets:
        for minutes in given.minutes:
            for seed in given.seeds:
                add(bench(given.data, name, minutes, seed, given.flags, given.out))
    print(table(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
