"""Kill training at random moments and resume it: is the end the same, to the bit?

    python benchmarks/survival.py --kills 200
    python benchmarks/survival.py --kills 0 --pairs 20 --removals 50

The whole process group is killed with SIGKILL, workers 0 and 2 in turn. Each run that comes to its
end is compared with one that was never disturbed: loss curve, checkpoint and predictions.

Of a pair of trainings into one folder, begun a random time apart, one must come to the same end and
the other must be refused in one line. Where the folder is removed at a random moment, the training
must end with one line, and without a traceback.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "survival.json"
STEPS, SAVED_EVERY = 40, 5


def command(data: Path, run: Path, workers: int, *, resume: bool = True) -> list[str]:
    settings = (
        f"--steps {STEPS} --precision float32 --width 16 --val-interval {SAVED_EVERY} --seed 3"
    )
    verb = [sys.executable, "-m", "placewise", "train", str(data), "--out", str(run)]
    verb += ["--resume"] * resume
    return [*verb, *settings.split(), "--num-workers", str(workers)]


def start(
    data: Path, run: Path, workers: int, *, resume: bool = True, number: int = 0
) -> subprocess.Popen[bytes]:
    with said(run, number).open("wb") as told:
        return subprocess.Popen(
            command(data, run, workers, resume=resume),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=told,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def said(run: Path, number: int = 0) -> Path:
    """Where a training's standard error goes."""
    return run.with_suffix(f".{number}.err" if number else ".err")


@dataclass
class Misuse:
    """What pairs and removals came to."""

    done: int = 0
    one_line: int = 0  # ended with exit code 2 and one line that says why
    finished: int = 0
    tracebacks: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)

    def end(self, code: int, text: str, expected: str) -> None:
        """How one training ended, and what it said."""
        last = text.strip().splitlines()[-1:] or [""]
        if "Traceback" in text or code not in (0, 2) or (code == 2 and expected not in last[0]):
            self.tracebacks.append(text[-800:])
        self.finished += code == 0
        self.one_line += code == 2


def pairs(data: Path, count: int, scratch: Path, rng: random.Random, length: float) -> Misuse:
    """Two trainings into one folder, begun up to a training's length apart."""
    found, reference = Misuse(), scratch / "alone"
    start(data, reference, 0, resume=False).wait()
    expected = essence(reference, data / "images", scratch)
    for number in range(count):
        run = scratch / f"pair-{number}"
        first = start(data, run, 0, resume=False, number=1)
        time.sleep(rng.choice((0.0, rng.uniform(0, length))))
        second = start(data, run, 0, resume=False, number=2)
        codes = [first.wait(), second.wait()]
        for index, code in enumerate(codes):
            found.end(code, said(run, 1 + index).read_text(), "folder")
        same = sorted(codes) == [0, 2] and essence(run, data / "images", scratch) == expected
        found.different += [] if same else [f"{run.name}: exit codes {codes}"]
        found.done += 1
    return found


def removals(data: Path, count: int, scratch: Path, rng: random.Random, length: float) -> Misuse:
    """A training whose folder is removed at a random moment."""
    found = Misuse()
    for number in range(count):
        run = scratch / f"removed-{number}"
        process = start(data, run, 0, resume=False)
        until = time.monotonic() + rng.uniform(0.2, 1.0) * length
        while (time.monotonic() < until or not run.exists()) and process.poll() is None:
            time.sleep(0.005)
        while run.exists() and process.poll() is None:
            shutil.rmtree(run, ignore_errors=True)
        found.end(process.wait(), said(run).read_text(), "")
        if process.returncode and any(run.rglob("*")):
            found.different.append(f"{run.name}: something was written after it was removed")
        found.done += 1
    return found


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


def keep(name: str, found: Misuse) -> None:
    """Write what pairs or removals came to beside the campaigns."""
    content = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"campaigns": {}}
    content[name] = {"command": f"python benchmarks/survival.py --kills 0 --{name} {found.done}"}
    content[name] |= asdict(found)
    RESULTS.write_text(json.dumps(content, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--removals", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from conftest import draw_squares

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        data = draw_squares(scratch / "data", 40)
        if given.kills:
            tell = partial(record, given.seed, given.kills)
            print(campaign(data, given.kills, scratch, given.seed, tell))
        begun = time.monotonic()
        start(data, scratch / "timed", 0).wait()
        length, rng = time.monotonic() - begun, random.Random(given.seed)
        for name, misuse, count in (
            ("pairs", pairs, given.pairs),
            ("removals", removals, given.removals),
        ):
            if count:
                found = misuse(data, count, scratch, rng, length)
                keep(name, found)
                print(name, found)


if __name__ == "__main__":
    main()
