"""Several processes predict together: the files have the bytes of those of one process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.distributed.run import get_args_parser

from conftest import REPOSITORY, draw_squares
from docs_sandbox import blocks
from placewise.errors import SettingsError
from placewise.formats import read_dataset
from placewise.prediction import predict, shards
from placewise.prediction.shards import BLOCK, Share
from placewise.run import Run
from placewise.training import TrainingSettings, train
from test_predict_resume import SMALL, files

OVERLAYS = BLOCK + 3
"""Some of each share."""


@given(st.integers(1, 2000), st.integers(1, 9))
def test_shares_cover_all_images_in_whole_blocks(count: int, world: int) -> None:
    parts = [Share.of(count, rank, world) for rank in range(world)]
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == count
    assert len(parts[0]) > 0
    assert all(part.start % BLOCK == 0 or part.start == count for part in parts)
    blocks = [-(-len(part) // BLOCK) for part in parts]
    assert max(blocks) - min(blocks) <= 1


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    dataset = read_dataset(draw_squares(folder / "data", 12))
    return train(dataset, folder / "run", TrainingSettings.of(**SMALL, max_steps=1), quiet=True)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two sizes, so that batches are of all lengths, and some that are damaged."""
    folder = tmp_path_factory.mktemp("images") / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(2 * BLOCK + 9):
        size = (24, 28) if number // 5 % 3 else (20, 30)
        path = folder / f"{number:03d}.png"
        Image.fromarray(rng.integers(0, 255, size).astype(np.uint8)).save(path)
        if number % 11 == 7:
            path.write_bytes(path.read_bytes()[:200])
    return folder


@pytest.fixture(scope="module")
def whole(run: Run, images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("whole") / "out"
    predict(run, images, out, overlays=OVERLAYS)
    return files(out)


def in_threads(
    monkeypatch: pytest.MonkeyPatch, world: int, work: Callable[[int], Any]
) -> list[Any]:
    """Work as that many processes would, each a thread here; what each returns or raises."""
    local, meeting = threading.local(), threading.Barrier(world)
    found: list[Any] = [None] * world
    monkeypatch.setattr(shards, "rank", lambda: local.rank)
    monkeypatch.setattr(shards, "world", lambda: world)
    monkeypatch.setattr(shards, "wait_for_all", meeting.wait)

    def one(rank: int) -> None:
        local.rank = rank
        try:
            found[rank] = work(rank)
        except Exception as error:
            found[rank] = error
            meeting.abort()  # as torchrun ends the others

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("world", [2, 5])
def test_many_processes_write_what_one_does(
    run: Run,
    images: Path,
    whole: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    world: int,
) -> None:
    """Five processes are more than there are blocks."""
    out = tmp_path / "out"
    told = in_threads(monkeypatch, world, lambda _: predict(run, images, out, overlays=OVERLAYS))
    assert all(about == told[0] for about in told), told
    assert files(out) == whole


class Killed(Exception):
    """What stands for a process that was killed."""


def test_one_is_killed_and_the_same_command_goes_on(
    run: Run,
    images: Path,
    whole: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    seen: list[int] = []

    def killed(rank: int) -> Any:
        def progress(done: int, total: int) -> None:
            if rank == 1:
                raise Killed

        return predict(run, images, out, overlays=OVERLAYS, progress=progress)

    def again(rank: int) -> Any:
        def progress(done: int, total: int) -> None:
            seen.append(total - done)

        return predict(run, images, out, overlays=OVERLAYS, resume=True, progress=progress)

    assert isinstance(in_threads(monkeypatch, 2, killed)[1], Killed)
    assert (out / "shares" / "2" / "1" / "progress.jsonl").is_file()
    told = in_threads(monkeypatch, 2, again)
    assert isinstance(told[0], dict), told
    assert 0 < len(seen) < sum(name.startswith("overlays") for name in whole) // 2
    assert files(out) == whole
    done = in_threads(monkeypatch, 2, again)
    assert done[0] == done[1] == told[0]


def test_what_cannot_be_shared_is_refused(
    run: Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, total: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        predict(run, images, tmp_path / "out", progress=stop)
    told = in_threads(monkeypatch, 2, lambda _: predict(run, images, tmp_path / "out", resume=True))
    assert "one process has begun" in str(told[0])
    told = in_threads(monkeypatch, 2, lambda _: predict(run, images, tmp_path / "new", track=True))
    assert all(isinstance(one, SettingsError) and "without torchrun" in str(one) for one in told)


def test_the_scripts_of_the_page_can_be_read(tmp_path: Path) -> None:
    """bash and YAML take them, and torchrun takes what they start."""
    yaml = pytest.importorskip("yaml")
    (slurm,) = blocks(REPOSITORY / "docs" / "cluster.md", "bash")
    (tmp_path / "job.sh").write_text(slurm)
    subprocess.run(["bash", "-n", str(tmp_path / "job.sh")], check=True)
    (manifest,) = blocks(REPOSITORY / "docs" / "cluster.md", "yaml")
    service, job = yaml.safe_load_all(manifest)
    pod = job["spec"]["template"]["spec"]
    assert service["spec"]["clusterIP"] == "None"
    assert pod["subdomain"] == service["metadata"]["name"] == job["metadata"]["name"]
    (container,) = pod["containers"]
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    srun = slurm[slurm.index("srun ") :].replace("\\\n", " ")
    srun = srun.replace("$SLURM_JOB_NUM_NODES", "2").replace('"', "")
    for nodes, words in (
        (job["spec"]["completions"], container["command"]),
        (2, srun.split()[1:]),
    ):
        taken = get_args_parser().parse_args(words[1:])
        assert (words[0], taken.module, taken.training_script) == ("torchrun", True, "placewise")
        assert (taken.nnodes, taken.rdzv_backend) == (str(nodes), "c10d")
        assert taken.training_script_args[0] == "train"
        assert "--resume" in taken.training_script_args


# --- processes of torchrun ------------------------------------------------------------------------

LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--max-restarts", "3"]
QUIET = {**os.environ, "OMP_NUM_THREADS": "1"}


def kill_a_worker(agent: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    """SIGKILL a process that an agent has started, once something is done."""
    until = time.monotonic() + 240
    while not ready():
        assert agent.poll() is None, "the agent ended before the kill"
        assert time.monotonic() < until, "nothing was done"
        time.sleep(0.02)
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(agent.pid)], capture_output=True, text=True, check=True
    )
    os.kill(int(listed.stdout.split()[-1]), signal.SIGKILL)


@pytest.mark.slow
def test_torchrun_predicts_as_one_process_though_one_is_killed(
    run: Run, images: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """The small form of it runs in threads, above."""
    out = tmp_path / "out"
    verb = ["predict", str(run.path), str(images), "--out", str(out), "--resume", "--quiet"]
    options = ["--overlays", str(OVERLAYS), "--device", "cpu"]
    two = ["--standalone", "--nproc-per-node=2"]
    agent = subprocess.Popen([*LAUNCH, *two, "-m", "placewise", *verb, *options], env=QUIET)
    kill_a_worker(agent, lambda: any(out.glob("shares/2/*/predictions.csv")))
    assert agent.wait(300) == 0
    assert files(out) == whole


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("localhost", 0))
        return int(held.getsockname()[1])


def two_nodes(data: Path, out: Path, kill: bool) -> Run:
    """A training on two nodes, which are two agents here that meet by c10d."""
    verb = f"train {data} --out {out} --resume --steps 24 --val-interval 4 --precision float32"
    small = "--width 16 --batch-size 4 --quiet --device cpu"
    meeting = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=test"]
    meeting.append(f"--rdzv-endpoint=localhost:{free_port()}")
    agents = [
        subprocess.Popen(
            [*LAUNCH, *meeting, "-m", "placewise", *verb.split(), *small.split()], env=QUIET
        )
        for _ in range(2)
    ]
    if kill:
        kill_a_worker(agents[1], lambda: any(out.glob("checkpoints/step-*8.safetensors")))
    assert [agent.wait(400) for agent in agents] == [0, 0]
    return Run.open(out)


@pytest.mark.slow
def test_a_worker_on_one_of_two_nodes_is_killed_and_the_run_is_the_same(tmp_path: Path) -> None:
    """Bit for bit; tests/test_train.py has the small forms: two processes, and kills of one."""
    data = draw_squares(tmp_path / "data", 40)
    usual, killed = (two_nodes(data, tmp_path / f"run{kill:d}", kill) for kill in (False, True))
    losses = [[line["loss"] for line in one.log() if "loss" in line] for one in (usual, killed)]
    assert losses[0] == losses[1]
    names = ["best.safetensors", "step-00000024.safetensors"]
    held = [[(one.path / "checkpoints" / n).read_bytes() for n in names] for one in (usual, killed)]
    assert held[0] == held[1]
