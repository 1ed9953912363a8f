"""Sweeps: what is left of one that is killed, and how much a second process gains.

    python benchmarks/sweeps.py kills --engine local --kill parent
    python benchmarks/sweeps.py efficiency --pairs 5

A sweep is killed with SIGKILL 20 times, each time when it is one 21st further: all its processes at
once, or the one alone that began the others. Then it is left to end, and held against a sweep of
one process that nobody disturbed. For the efficiency, the same sweep is run with --n-jobs 1 and 2 in
turn; what sweeps cost whose runs have a single step is told apart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).parent / "results" / "sweeps.json"
GONE = 10.0  # seconds within which the processes of a killed sweep have to end
STUCK = 1800.0  # seconds after which a sweep that does not go on is an error

PLAN = """
data = "{data}"
backbone = "lenet"
seeds = {seeds}
unmatched = true
place = {place}
training = {{ max_steps = {steps}, batch_size = {batch} }}
tuning = {{ trials = {trials} }}

[[arms]]
name = "flat"
head = "flatten"

[[arms]]
name = "near"
head = "proximity"
"""


def write_plan(
    data: Path,
    name: str = "plan",
    *,
    steps: int,
    seeds: int = 2,
    trials: int = 1,
    batch: int = 4,
    place: bool = False,
) -> Path:
    """A plan beside its data."""
    told = {"steps": steps, "seeds": seeds, "trials": trials, "batch": batch}
    path = data.with_name(f"{name}.toml")
    text = PLAN.format(data=data.name, place=str(place).lower(), **told)
    path.write_text(text, encoding="utf-8")
    return path


def begin(plan: Path, out: Path, words: list[str]) -> subprocess.Popen[bytes]:
    """The sweep, told into a file beside its folder."""
    command = [sys.executable, "-m", "placewise", "compare", str(plan), "--out", str(out), *words]
    with out.with_suffix(".log").open("wb") as log:
        return subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def finish(plan: Path, out: Path, words: list[str]) -> float:
    """Seconds of a sweep that is left to end by itself."""
    begun = time.monotonic()
    code = begin(plan, out, words).wait(timeout=4 * STUCK)
    if code:
        raise RuntimeError(f"the sweep ended with {code}: {out.with_suffix('.log').read_text()}")
    return time.monotonic() - begun


# --- kills ---------------------------------------------------------------------------------------


@dataclass
class Kills:
    """What came of a sweep that was killed.

    Attributes:
        kills: how many.
        while_training, while_testing: kills before and after the last run had been trained.
        runs: that came to their end.
        runs_done_twice: of which a file that ends a step was written again after a kill.
        steps: optimiser steps of all runs.
        steps_lost: steps in the logs of runs that a kill broke off: they are begun anew.
        files_compared: files of answers and weights, and results.json.
        files_that_differ: from those of the undisturbed sweep.
        processes_left: alive some seconds after their sweep was killed.
        seconds: by the clock, the undisturbed sweep left out.
    """

    kills: int = 0
    while_training: int = 0
    while_testing: int = 0
    runs: int = 0
    runs_done_twice: int = 0
    steps: int = 0
    steps_lost: int = 0
    files_compared: int = 0
    files_that_differ: list[str] = field(default_factory=list)
    processes_left: int = 0
    seconds: float = 0.0


ENDS = ("calibration.json", "score.json", "tested.json")
"""Files that end the training of a run, a trial, and a test: each is the last that is written."""


def killed_sweep(plan: Path, folder: Path, words: list[str], *, kills: int, group: bool) -> Kills:
    """Kill a sweep, let it end, and hold it against one that nobody disturbed.

    Args:
        plan: of the sweep.
        folder: for both sweeps.
        words: flags of the sweep that is killed.
        kills: how many.
        group: kill all processes of the sweep, or the one alone that began the others.
    """
    peace, out = folder / "peace", folder / "killed"
    finish(plan, peace, ["--n-jobs", "1"])
    tally, begun = Kills(), time.monotonic()
    before: dict[str, int] = {}
    orphans: list[psutil.Process] = []
    twice: set[str] = set()
    for number in range(1, kills + 1):
        orphans += kill_at(plan, out, words, done(peace) * number / (kills + 1), group)
        tally.kills += 1
        ended = ends(out)
        trained = sum(Path(file).name == "calibration.json" for file in ended)
        tally.while_training += trained < len(runs(peace))
        tally.while_testing += trained == len(runs(peace))
        tally.steps_lost += sum(
            last_step(run) for run in runs(out) if not (run / "calibration.json").is_file()
        )
        twice |= {str(Path(file).parent) for file in before if ended.get(file) != before[file]}
        before = ended
    finish(plan, out, words)
    after = ends(out)
    twice |= {str(Path(file).parent) for file in before if after.get(file) != before[file]}
    tally.runs, tally.runs_done_twice = len(runs(out)), len(twice)
    tally.steps = sum(last_step(run) for run in runs(out))
    tally.processes_left = len(psutil.wait_procs(orphans, timeout=GONE)[1])
    tally.seconds = time.monotonic() - begun
    compared, tally.files_that_differ = differences(peace, out)
    tally.files_compared = len(compared)
    return tally


def kill_at(
    plan: Path, out: Path, words: list[str], point: float, group: bool
) -> list[psutil.Process]:
    """Begin the sweep, kill it when it is that far, and name the processes that it had begun."""
    sweep, begun = begin(plan, out, words), time.monotonic()
    try:
        while done(out) < point:
            if sweep.poll() is not None or time.monotonic() - begun > STUCK:
                log = out.with_suffix(".log").read_text()
                raise RuntimeError(f"the sweep did not get to where it is to be killed: {log}")
            time.sleep(0.02)
    finally:
        others = children(sweep.pid)
        sweep.kill()
        for process in others if group else ():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        sweep.wait()
    return others


def children(process: int) -> list[psutil.Process]:
    """All that a process has begun, and what those have; nothing where it has ended."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(process).children(recursive=True)
    return []


def runs(out: Path) -> list[Path]:
    return sorted(path.parent for path in out.glob("*/*/*/log.jsonl"))


def done(out: Path) -> int:
    """How far a sweep is: lines of its logs, and files that end something."""
    lines = sum((run / "log.jsonl").read_bytes().count(b"\n") for run in runs(out))
    return lines + len(ends(out))


def ends(out: Path) -> dict[str, int]:
    """Moment at which each file was written that ends something."""
    found = {}
    for run in runs(out):
        for name in ENDS:
            if (run / name).is_file():
                file = (run / name).relative_to(out).as_posix()
                found[file] = (run / name).stat().st_mtime_ns
    return found


def last_step(run: Path) -> int:
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)


def differences(peace: Path, out: Path) -> tuple[list[str], list[str]]:
    """Files that have to be the same, and those that are not."""
    names = [path for end in ("items.csv", "best.safetensors") for path in peace.rglob(end)]
    files = sorted(path.relative_to(peace).as_posix() for path in names)
    different = [
        file
        for file in files
        if not (out / file).is_file() or (peace / file).read_bytes() != (out / file).read_bytes()
    ]
    if told(peace) != told(out):
        different.append("results.json")
    return [*files, "results.json"], different


def told(out: Path) -> dict[str, Any]:
    """What results.json says, but for how fast the runs were."""
    content = json.loads((out / "results.json").read_text(encoding="utf-8"))
    del content["sha256"]
    for arm in content["arms"]:
        del arm["images_per_second"]
    return content


# --- efficiency ----------------------------------------------------------------------------------


def pair(plan: Path, folder: Path, number: int) -> dict[str, float]:
    """Seconds of the same sweep with 1 and with 2 processes; which is first changes."""
    order = (1, 2) if number % 2 == 0 else (2, 1)
    return {
        str(jobs): finish(plan, folder / f"{plan.stem}-{number}-{jobs}", ["--n-jobs", str(jobs)])
        for jobs in order
    }


def efficiency(data: Path, folder: Path, pairs: int, steps: int, seeds: int) -> dict[str, Any]:
    settings = {"steps": steps, "seeds": seeds, "batch": 32}
    whole = write_plan(data, "whole", **settings)
    start = write_plan(data, "start", **{**settings, "steps": 1})
    found: dict[str, Any] = {**settings, "runs": 2 * seeds, "whole": [], "one_step": []}
    for number in range(pairs):
        found["one_step"].append(pair(start, folder, number))
        found["whole"].append(pair(whole, folder, number))
    return found


# --- the command ---------------------------------------------------------------------------------


def record(part: str, name: str, content: Any) -> None:
    """Write a part of the results beside the others."""
    held = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    held.setdefault(part, {})[name] = content
    RESULTS.write_text(json.dumps(held, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["kills", "efficiency"])
    parser.add_argument("--engine", choices=["local", "ray", "dask"], default="local")
    parser.add_argument("--kill", choices=["all", "parent"], default="all")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=4)
    given = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from test_compare import write_bars

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        data = write_bars(folder)
        if given.part == "kills":
            plan = write_plan(data, steps=50, seeds=6, trials=2, place=True)
            words = ["--engine", given.engine, "--n-jobs", "2"]
            tally = killed_sweep(plan, folder, words, kills=given.kills, group=given.kill == "all")
            record("kills", f"{given.engine}, {given.kill}", asdict(tally))
            print(tally)
        else:
            found = efficiency(data, folder, given.pairs, given.steps, given.seeds)
            record("efficiency", "two processes", found)
            print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
