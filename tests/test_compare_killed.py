"""Sweeps on real processes and clusters: the same answers on each, and after SIGKILL too."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import psutil
import pytest

from sweeps import Kills, differences, finish, killed_sweep, last_step, runs, write_plan
from test_compare import write_bars

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a thing of POSIX")


def holds(tally: Kills, kills: int) -> None:
    """Killed that often, nothing run twice, nobody left, and the same answers."""
    assert tally.kills == kills and tally.while_training > 0
    assert tally.runs_done_twice == 0
    assert tally.processes_left == 0
    assert tally.files_compared > tally.runs
    assert tally.files_that_differ == []


def test_a_killed_sweep_goes_on_and_runs_nothing_twice(tmp_path: Path):
    plan = write_plan(write_bars(tmp_path), steps=20)
    tally = killed_sweep(plan, tmp_path, ["--n-jobs", "1"], kills=1, group=True)
    holds(tally, 1)
    assert (tally.runs, tally.steps) == (4, 4 * 20)
    assert all(last_step(run) == 20 for run in runs(tmp_path / "killed"))


@pytest.mark.slow
@pytest.mark.parametrize("group", [True, False], ids=["all", "parent"])
@pytest.mark.parametrize("engine", ["local", "ray", "dask"])
def test_twenty_kills(tmp_path: Path, engine: str, group: bool):
    """Where the parent alone is killed, a lock keeps the next sweep off what is still at work."""
    package = {"ray": "ray", "dask": "distributed"}.get(engine, "joblib")
    pytest.importorskip(package, reason=f"{package} is not installed")
    plan = write_plan(write_bars(tmp_path), steps=50, seeds=6, trials=2, place=True)
    words = ["--engine", engine, "--n-jobs", "2"]
    tally = killed_sweep(plan, tmp_path, words, kills=20, group=group)
    holds(tally, 20)
    assert tally.runs == 4 + 12 + 12 and tally.while_testing > 0


# --- engines -------------------------------------------------------------------------------------

DASK = """
import sys
from distributed import LocalCluster

places = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
with LocalCluster(scheduler_port=int(sys.argv[1]), **places):
    sys.stdin.read()
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def cluster(command: list[str], port: int) -> Iterator[None]:
    """A cluster of its own that listens at a port, ended with all its processes."""
    begun = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        aim = time.monotonic() + 300
        while time.monotonic() < aim:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield
    finally:
        for process in [*psutil.Process(begun.pid).children(recursive=True), begun]:
            process.kill()
        begun.communicate()


def a_dask_cluster(port: int):
    """One process with two threads: a run must not meet another's random numbers there."""
    return cluster([sys.executable, "-c", DASK, str(port)], port)


def a_ray_cluster(port: int):
    words = (
        f"start --head --block --num-cpus 2 --port {free_port()} --ray-client-server-port {port}"
    )
    command = [sys.executable, "-m", "ray.scripts.scripts", *words.split()]
    return cluster([*command, "--include-dashboard=false", "--disable-usage-stats"], port)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "needs", "begin"),
    [
        ("local", "joblib", None),
        ("ray", "ray", None),
        ("dask", "distributed", None),
        ("dask://127.0.0.1:{port}", "distributed", a_dask_cluster),
        ("ray://127.0.0.1:{port}", "grpc", a_ray_cluster),
    ],
)
def test_every_engine_gives_the_same_bits(
    tmp_path: Path, engine: str, needs: str, begin: Callable | None, monkeypatch
):
    pytest.importorskip(needs, reason=f"{needs} is not installed, which {engine} needs")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # the test's own cluster, on this machine
    plan = write_plan(write_bars(tmp_path), steps=20, place=True)
    finish(plan, tmp_path / "one", ["--n-jobs", "1"])
    port = free_port()
    with begin(port) if begin else nullcontext():
        finish(plan, tmp_path / "many", ["--engine", engine.format(port=port), "--n-jobs", "2"])
    compared, different = differences(tmp_path / "one", tmp_path / "many")
    assert len(compared) == 8 + 8 + 1
    assert different == []


# --- a parent that is killed ---------------------------------------------------------------------

ENDLESS = """
import sys, time
from pathlib import Path
from placewise.engine import run_all

folder = Path(sys.argv[1])

def work(number):
    (folder / str(number)).touch()
    time.sleep(300)

run_all(work, range(2), lambda number: 0.0, what="naps", n_jobs=2, quiet=True)
"""


def test_workers_end_with_the_process_that_began_them(tmp_path: Path):
    sweep = subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)])
    aim = time.monotonic() + 300
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < aim:
        time.sleep(0.05)
    workers = psutil.Process(sweep.pid).children(recursive=True)
    assert len(workers) >= 2
    sweep.kill()
    sweep.wait()
    left = psutil.wait_procs(workers, timeout=20)[1]
    for process in left:
        process.kill()
    assert left == []
