"""A sweep that is killed goes on where it was: real processes, real SIGKILL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from test_compare import write_bars

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a thing of POSIX")

PLAN = """
data = "bars.npz"
backbone = "lenet"
seeds = 2
unmatched = true
place = {place}
training = {{ steps = {steps}, batch = 4 }}
tuning = {{ trials = {trials} }}

[[arms]]
name = "flat"
head = "flatten"

[[arms]]
name = "near"
head = "proximity"
"""


def write_plan(folder: Path, *, steps: int, trials: int = 1, place: bool = False) -> Path:
    write_bars(folder)
    path = folder / "plan.toml"
    text = PLAN.format(steps=steps, trials=trials, place=str(place).lower())
    path.write_text(text, encoding="utf-8")
    return path


def begin(plan: Path, out: Path, *words: str) -> subprocess.Popen[bytes]:
    """The sweep, in a process group of its own."""
    command = [sys.executable, "-m", "placewise", "compare", str(plan), "--out", str(out), *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )


def finish(plan: Path, out: Path, *words: str) -> None:
    done = begin(plan, out, *words)
    said, _ = done.communicate(timeout=600)
    assert done.returncode == 0, said.decode()


def finished(out: Path) -> dict[Path, int]:
    """Runs that have come to their end, with the moment when they did."""
    return {path.parent: path.stat().st_mtime_ns for path in out.glob("*/*/*/calibration.json")}


def steps_logged(run: Path) -> list[int]:
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [line["step"] for line in map(json.loads, lines) if "loss" in line]


def same_answers(first: Path, second: Path) -> None:
    """The same result files but for how fast it went."""

    def told(out: Path) -> dict:
        content = json.loads((out / "results.json").read_text(encoding="utf-8"))
        del content["sha256"], content["plan"]
        for arm in content["arms"]:
            del arm["pictures_per_second"]
        return content

    assert told(first) == told(second)
    files = sorted(path.relative_to(first) for path in first.glob("*/*/*/items.csv"))
    assert len(files) >= 4
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes()


def moved(out: Path) -> int:
    """Grows with every line that a run logs and every file that one leaves."""
    return sum(path.stat().st_size for path in out.glob("*/*/*/log.jsonl"))


def kill_soon(path: Path, out: Path, *words: str, group: bool, late: bool) -> bool:
    """Begin the sweep and kill it: at a moment within a run, or (`late`) at the end of one."""
    before, at_first = len(finished(out)), moved(out)
    sweep = begin(path, out, *words)
    aim = time.monotonic() + 300
    while sweep.poll() is None and time.monotonic() < aim:
        if len(finished(out)) > before if late else moved(out) > at_first:
            break
        time.sleep(0.02)
    killed = sweep.poll() is None
    if killed:
        (os.killpg if group else os.kill)(sweep.pid, signal.SIGKILL)
        sweep.wait()
    elif sweep.stdout:
        assert sweep.returncode == 0, sweep.stdout.read().decode()
    if sweep.stdout:
        sweep.stdout.close()
    return killed


def kill_and_finish(folder: Path, kills: int, *words: str, group: bool, **plan: int) -> None:
    """Kill a sweep again and again, let it end, and compare with one that was left in peace."""
    path, out = write_plan(folder, **plan), folder / "killed"
    kept: dict[Path, int] = {}
    killed = 0
    for number in range(kills):
        late = number == 1 or number % 5 == 4
        killed += kill_soon(path, out, *words, group=group, late=late)
        now = finished(out)
        assert all(now[run] == moment for run, moment in kept.items()), "a run was run twice"
        kept = now
    assert killed >= kills / 2, "most of the sweeps had ended before they could be killed"
    finish(path, out, *words)
    last = finished(out)
    assert all(last[run] == moment for run, moment in kept.items()), "a run was run twice"
    for run in last:
        steps = steps_logged(run)
        assert steps == sorted(set(steps)) and steps[-1] == plan["steps"]
    finish(path, folder / "peace", "--jobs", "1")
    same_answers(out, folder / "peace")


def test_a_killed_sweep_goes_on_and_runs_nothing_twice(tmp_path: Path):
    kill_and_finish(tmp_path, 2, "--jobs", "1", group=True, steps=30)


@pytest.mark.slow
@pytest.mark.parametrize("group", [True, False], ids=["all", "parent"])
def test_twenty_kills_of_two_processes(tmp_path: Path, group: bool):
    """Where the parent alone is killed, workers may go on: a lock keeps others off their run."""
    kill_and_finish(tmp_path, 20, "--jobs", "2", group=group, steps=400, trials=2, place=True)


@pytest.mark.slow
def test_kills_of_a_sweep_on_a_local_ray(tmp_path: Path):
    pytest.importorskip("ray", reason="Ray is not installed")
    kill_and_finish(tmp_path, 4, "--engine", "ray", "--jobs", "2", group=True, steps=60)
