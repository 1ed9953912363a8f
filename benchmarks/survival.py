"""Kill training at random moments and resume it: is the end the same, to the bit?

    python benchmarks/survival.py --kills 200

The whole process group is killed with SIGKILL, workers 0 and 2 in turn. Each run that comes to its
end is compared with one that was never disturbed: loss curve, checkpoint and predictions.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "survival.json"
STEPS, SAVED_EVERY = 40, 5


def command(data: Path, run: Path, workers: int) -> list[str]:
    settings = (
        f"--steps {STEPS} --precision float32 --width 16 --val-interval {SAVED_EVERY} --seed 3"
    )
    verb = [sys.executable, "-m", "placewise", "train", str(data), "--out", str(run), "--resume"]
    return [*verb, *settings.split(), "--num-workers", str(workers)]


def start(data: Path, run: Path, workers: int) -> subprocess.Popen[bytes]:
    with run.with_suffix(".err").open("wb") as told:
        return subprocess.Popen(
            command(data, run, workers),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=told,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


@dataclass
class Tally:
    length: float = 60.0  # seconds that an undisturbed run takes, the least that was seen
    kills: int = 0
    finished: int = 0
    kills_before_first_checkpoint: int = 0
    checkpoints_lost: int = 0
    steps_redone: list[int] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def essence(run: Path, images: Path, scratch: Path) -> dict[str, str]:
    """Digests of what must not depend on interruptions."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    curve = [
        {k: v for k, v in line.items() if k in ("step", "loss", "val_error_px")} for line in lines
    ]
    last = max((run / "checkpoints").glob("step-*.safetensors"))
    out = scratch / f"predictions-{time.monotonic_ns()}"
    predict = ["predict", str(run), str(images), "--out", str(out), "--overlays", "0"]
    subprocess.run([sys.executable, "-m", "placewise", *predict, "--quiet"], check=True)
    return {
        "curve": json.dumps(curve),
        "weights": hashlib.sha256(last.read_bytes()).hexdigest(),
        "best": hashlib.sha256((run / "checkpoints/best.safetensors").read_bytes()).hexdigest(),
        "predictions": (out / "predictions.csv").read_text(),
    }


def last_step(run: Path) -> int:
    found = sorted((run / "checkpoints").glob("step-*.safetensors"))
    return int(found[-1].stem.removeprefix("step-")) if found else 0


def logged_step(run: Path) -> int:
    file = run / "log.jsonl"
    lines = file.read_text().splitlines() if file.is_file() else []
    whole = [json.loads(line)["step"] for line in lines if line.endswith("}")]
    return max(whole, default=0)


def campaign(
    data: Path,
    kills: int,
    scratch: Path,
    seed: int = 0,
    tell: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Kill until there were enough, finishing and comparing every run that was begun."""
    rng = random.Random(seed)
    tally = Tally()
    reference = scratch / "reference"
    begun = time.monotonic()
    start(data, reference, 0).wait()
    tally.length = time.monotonic() - begun
    expected = essence(reference, data / "images", scratch)
    number = 0
    while tally.kills < kills:
        run = scratch / f"run-{number}"
        _disturb(data, run, 2 * (number % 2), kills, rng, tally)
        number += 1
        found = essence(run, data / "images", scratch)
        tally.different += [f"{run.name}: {k}" for k in expected if found[k] != expected[k]]
        tell(tally)
    return tally


def _disturb(
    data: Path, run: Path, workers: int, kills: int, rng: random.Random, tally: Tally
) -> None:
    """Start, kill and resume one run until it ends by itself; then it counts as finished."""
    while True:
        before, begun = last_step(run), time.monotonic()
        process = start(data, run, workers)
        try:
            enough = tally.kills >= kills
            process.wait(timeout=300 if enough else rng.uniform(0.25, 0.9) * tally.length)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            tally.kills += 1
            after = last_step(run)
            tally.kills_before_first_checkpoint += after == 0
            tally.checkpoints_lost += after < before
            tally.steps_redone.append(max(0, logged_step(run) - after))
            continue
        if process.returncode:
            tally.failures.append(run.with_suffix(".err").read_text()[-500:])
        tally.finished += 1
        if not before:
            tally.length = min(tally.length, time.monotonic() - begun)
        return


def record(seed: int, kills: int, tally: Tally) -> None:
    """Write the campaign beside those of other seeds; several may run at once."""
    content = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"campaigns": {}}
    content["command"] = "python benchmarks/survival.py --kills N --seed S"
    content["save_interval"] = SAVED_EVERY
    content["campaigns"][str(seed)] = {
        "asked": kills,
        "kills": tally.kills,
        "kills_before_first_checkpoint": tally.kills_before_first_checkpoint,
        "runs_finished": tally.finished,
        "checkpoints_lost": tally.checkpoints_lost,
        "most_steps_redone": max(tally.steps_redone, default=0),
        "runs_that_differ": tally.different,
        "failures": tally.failures,
    }
    RESULTS.write_text(json.dumps(content, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from conftest import draw_squares

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        data = draw_squares(scratch / "data", 40)
        tell = partial(record, given.seed, given.kills)
        tally = campaign(data, given.kills, scratch, given.seed, tell)
    print(tally)


if __name__ == "__main__":
    main()
