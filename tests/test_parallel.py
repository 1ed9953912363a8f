"""Several processes: the same samples, the same statistics, the same run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import placewise as pw
from conftest import draw_squares, write_signals, write_volumes
from placewise import backbones
from placewise.errors import SettingsError
from placewise.parallel import (
    SHARED,
    SharedBatchNorm,
    check_batch,
    meet,
    share_batch_norms,
    world,
)
from placewise.run import Run


def two_processes(*command: object) -> None:
    """Run a script, or a module with its arguments, in two processes of one thread each."""
    launch = "-m torch.distributed.run --standalone --nproc-per-node=2".split()
    done = subprocess.run(
        [sys.executable, *launch, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]


def draw(folder: Path) -> Path:
    return draw_squares(folder, 40)


NORMS = {1: torch.nn.BatchNorm1d, 2: torch.nn.BatchNorm2d, 3: torch.nn.BatchNorm3d}
SIDES = (4, 5, 2)


@pytest.mark.parametrize("axes", NORMS)
def test_alone_it_is_the_usual_batch_norm(axes: int) -> None:
    usual, shared = NORMS[axes](3), NORMS[axes](3)
    share_batch_norms(shared)
    maps = torch.randn(4, 3, *SIDES[:axes])
    assert isinstance(shared, SharedBatchNorm)
    assert torch.equal(usual(maps), shared(maps))
    assert torch.equal(usual.running_var, shared.running_var)


def test_only_batch_norms_are_changed() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    share_batch_norms(net)
    assert type(net[0]) is torch.nn.Conv2d
    assert isinstance(net[1], SharedBatchNorm)


def test_every_norm_of_a_backbone_can_be_shared() -> None:
    assert set(SHARED) == set(backbones.NORMS)


def test_a_batch_must_be_shareable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert world() == 1
    check_batch(7)
    monkeypatch.setattr("placewise.parallel.world", lambda: 2)
    with pytest.raises(SettingsError, match="--batch-size 8"):
        check_batch(7)


NORM = """
import sys, torch
from torch import nn
from placewise.parallel import processes, rank, share_batch_norms
inputs = torch.load(f"{sys.argv[1]}/inputs.pt", weights_only=True)
found = []
with processes(torch.device("cpu")):
    for maps, weights, scale, shift in inputs:
        norm = getattr(nn, f"BatchNorm{maps.ndim - 2}d")(3).to(scale.dtype)
        norm.load_state_dict({"weight": scale, "bias": shift}, strict=False)
        share_batch_norms(norm)
        share = maps[rank()::2].clone().requires_grad_()
        out = norm(share)
        (out * weights[rank()::2]).sum().backward()
        found.append((out.detach(), share.grad, norm.weight.grad, norm.bias.grad,
                      norm.running_mean, norm.running_var, norm.num_batches_tracked))
    torch.save(found, f"{sys.argv[1]}/{rank()}.pt")
"""

KINDS = [(axes, torch.float64, torch.float64, 1e-12) for axes in NORMS]
KINDS += [(2, torch.float32, torch.float32, 1e-5), (2, torch.bfloat16, torch.float32, 2e-2)]
"""Axes, precision of the maps and of the weights, and how far two processes may be from one."""


def norm_of(maps: Tensor, weights: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, ...]:
    """What torch's own batch norm makes of the whole batch, in float64."""
    norm = NORMS[maps.ndim - 2](3).double()
    norm.load_state_dict({"weight": scale.double(), "bias": shift.double()}, strict=False)
    whole = maps.double().requires_grad_()
    out = norm(whole)
    (out * weights.double()).sum().backward()
    held = (norm.running_mean, norm.running_var, norm.num_batches_tracked)
    return (out.detach(), whole.grad, norm.weight.grad, norm.bias.grad, *held)


def test_two_processes_normalise_as_one(tmp_path: Path) -> None:
    """Output, gradients and running statistics of shared norms equal those of one process.

    The middle of the maps is far from 0, where a difference of squares would lose digits.
    """
    inputs = []
    for axes, dtype, held, _ in KINDS:
        maps, weights = torch.randn(2, 6, 3, *SIDES[:axes], dtype=torch.float64)
        maps = maps * torch.tensor([1.0, 3.0, 0.1]).reshape(3, *[1] * axes) + 9
        inputs.append((maps.to(dtype), weights.to(dtype), torch.rand(3, dtype=held) + 0.5))
        inputs[-1] = (*inputs[-1], torch.randn(3, dtype=held))
    torch.save(inputs, tmp_path / "inputs.pt")
    (tmp_path / "norm.py").write_text(NORM)
    two_processes(tmp_path / "norm.py", tmp_path)
    shares = [torch.load(tmp_path / f"{k}.pt", weights_only=True) for k in (0, 1)]
    for number, (_, _, _, near) in enumerate(KINDS):
        expected = norm_of(*inputs[number])
        first, second = shares[0][number], shares[1][number]
        for part, (one, other, whole) in enumerate(zip(first, second, expected, strict=True)):
            if part < 2:  # of each image
                found = torch.stack((one, other), 1).flatten(0, 1)
            else:  # of weights, a sum over all images
                found = one + other if part < 4 else one
            error = (found.double() - whole.double()).abs().max()
            assert error <= near * whole.double().abs().max(), (KINDS[number], part)


SLOW = pytest.mark.slow  # the small form: their norms, above
WRITERS = [draw, *(pytest.param(write, marks=SLOW) for write in (write_signals, write_volumes))]


LATE = """
import time
from placewise import training
from placewise.cli import main
begin = training.begin
def late(*args):
    time.sleep(0.5)
    begin(*args)
training.begin = late
main()
"""


@pytest.mark.parametrize("write", WRITERS)
def test_two_processes_are_the_same_run(write: Callable[[Path], object], tmp_path: Path) -> None:
    """Same samples, same order, same statistics: losses agree to rounding.

    Both are told to go on with a run that is not there yet when the second one looks.
    """
    data = tmp_path / "data"
    data.mkdir()
    write(data)
    settings = {"precision": "float32", "batch_size": 4, "backbone_settings": {"width": 16}}
    settings |= {"max_steps": 10, "val_interval": 5, "device": "cpu"}
    alone = pw.train(pw.read_dataset(data), tmp_path / "alone", quiet=True, **settings)
    flags = "--steps 10 --precision float32 --width 16 --batch-size 4 --val-interval 5 --quiet"
    (tmp_path / "late.py").write_text(LATE)
    verb = ["train", data, "--out", tmp_path / "two", *flags.split(), "--resume"]
    two_processes(tmp_path / "late.py", *verb, "--device", "cpu")
    two = Run.open(tmp_path / "two")
    losses = [[line["loss"] for line in run.log() if "loss" in line] for run in (alone, two)]
    assert losses[0] and losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert (two.path / "validation" / "report.html").is_file()


def meetings(store: dist.Store, delays: Sequence[float]) -> list[str]:
    """What processes that come one after the other are told, each a thread here."""

    def come(number: int) -> str:
        time.sleep(delays[number])
        return meet(store, number, len(delays))

    with ThreadPoolExecutor(len(delays)) as pool:
        return list(pool.map(come, range(len(delays))))


@pytest.mark.parametrize("delays", [(0, 0.1, 0.2), (0.2, 0.1, 0)])
def test_those_who_come_again_never_meet_the_dead(delays: tuple[float, ...]) -> None:
    """The store of `torchrun` keeps what the processes before have written."""
    store = dist.HashStore()
    names = []
    for _ in range(3):
        told = meetings(store, delays)
        assert len(set(told)) == 1
        names += told[:1]
    assert len(set(names)) == 3


def test_one_dead_process_is_waited_for() -> None:
    """Two of three come back: nobody goes on before the third does."""
    store = dist.HashStore()
    before = set(meetings(store, (0, 0, 0)))
    with ThreadPoolExecutor(3) as pool:
        two = [pool.submit(meet, store, number, 3) for number in (0, 2)]
        assert not wait(two, timeout=0.3).done
        third = pool.submit(meet, store, 1, 3)
        told = {one.result() for one in [*two, third]}
    assert len(told) == 1
    assert told.isdisjoint(before)
