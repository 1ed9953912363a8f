"""Training by the clock on the wall: against an earlier commit, beside others, and `--minutes`.

    python benchmarks/training_speed.py speed --data FOLDER/openfield_mouse --against COMMIT
    python benchmarks/training_speed.py load --data FOLDER/openfield_mouse
    python benchmarks/training_speed.py minutes --data FOLDER/openfield_mouse

`speed`: the same command with the code of now and of the commit, in turns; a ratio is taken within a
round. `load`: in turns alone and beside two busy processes of equal weight, by steps and by the
clock. `minutes`: wall time of the whole command, alone, and with two busy processes from the middle
on. Run it alone on the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "training_speed.json"
STEPS, SKIPPED = 120, 40
BUSY = 2


def train(source: Path, data: Path, out: Path, *flags: str) -> float:
    """Seconds of the whole command `placewise train` of the code in a folder."""
    verb = [sys.executable, "-m", "placewise", "train", str(data), "--out", str(out), "--quiet"]
    begun = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(source)}
    subprocess.run([*verb, *flags], check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


def lines_of(run: Path) -> list[dict[str, float]]:
    """Lines of the log that say how fast it was, once every image was read."""
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return [line for line in lines if "loss" in line and line["step"] > SKIPPED]


def speed_of(run: Path) -> float:
    """Images a second, in the middle of the lines of the log."""
    return median(line["images_per_second"] for line in lines_of(run))


@contextlib.contextmanager
def busy(count: int, after: float = 0.0) -> Iterator[None]:
    """Processes of equal weight that each want a core, from some seconds on."""
    held: list[subprocess.Popen[bytes]] = []

    def begin() -> None:
        held.extend(
            subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)
        )

    timer = threading.Timer(after, begin)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        for process in held:
            process.kill()
            process.wait()


def source_of(commit: str, scratch: Path) -> Path:
    """The package as it was at a commit."""
    packed = subprocess.run(
        ["git", "archive", commit, "src"], cwd=HERE.parent, check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(scratch / "against", filter="data")
    return scratch / "against" / "src"


def speed(given: argparse.Namespace, scratch: Path) -> dict[str, object]:
    sources = {"now": HERE.parent / "src", "then": source_of(given.against, scratch)}
    speeds: dict[str, list[float]] = {name: [] for name in sources}
    flags = ["--steps", str(STEPS), "--val-interval", str(STEPS), *given.flags.split()]
    for number in range(given.rounds):
        for name, source in sources.items():
            out = scratch / f"speed-{name}-{number}"
            train(source, given.data, out, *flags)
            speeds[name].append(round(speed_of(out), 2))
    ratios = [now / then for now, then in zip(speeds["now"], speeds["then"], strict=True)]
    return {
        "against": given.against,
        "flags": flags,
        "images_per_second": speeds,
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio": round(median(ratios), 3),
    }


def load(given: argparse.Namespace, scratch: Path) -> dict[str, object]:
    found: dict[str, object] = {"busy": BUSY}
    lengths = {
        "steps": ["--steps", str(STEPS), "--val-interval", str(STEPS)],
        "clock": ["--minutes", str(given.minutes)],
    }
    for name, length in lengths.items():
        speeds: dict[str, list[float]] = {"alone": [], "beside": []}
        for number in range(given.rounds):
            for kind, count in (("alone", 0), ("beside", BUSY)):
                out = scratch / f"load-{name}-{kind}-{number}"
                with busy(count):
                    train(HERE.parent / "src", given.data, out, *length, *given.flags.split())
                speeds[kind].append(round(speed_of(out), 2))
        shares = [b / a for a, b in zip(speeds["alone"], speeds["beside"], strict=True)]
        found[name] = {**speeds, "share": round(median(shares), 3)}
    return found


def minutes(given: argparse.Namespace, scratch: Path) -> dict[str, object]:
    rows = []
    for length in given.lengths:
        for count in (0, BUSY):
            out = scratch / f"minutes-{length:g}-{count}"
            with busy(count, after=30 * length):
                wall = train(HERE.parent / "src", given.data, out, "--minutes", f"{length:g}")
            row = {"minutes": length, "busy_from_the_middle": count, "wall_seconds": round(wall, 1)}
            row["deviation"] = round(wall / (60 * length) - 1, 4)
            row["steps"] = int(lines_of(out)[-1]["step"]) if lines_of(out) else 0
            rows.append(row)
            print(row, flush=True)
    return {"rows": rows}


PARTS = {"speed": speed, "load": load, "minutes": minutes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--against", default="main", help="commit whose code is the other one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=1.5, help="of a training in `load`")
    parser.add_argument("--lengths", type=float, nargs="+", default=[1.0, 4.0, 8.0])
    parser.add_argument("--flags", default="", help="more flags of both trainings")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = PARTS[given.part](given, Path(folder))
    content = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    content["command"] = "python benchmarks/training_speed.py PART --data openfield_mouse"
    content["processors"] = os.cpu_count()
    content[given.part] = found
    RESULTS.write_text(json.dumps(content, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
