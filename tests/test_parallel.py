"""Several processes: the same samples, the same statistics, the same run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from placewise.errors import SettingsError
from placewise.parallel import SharedBatchNorm, check_batch, share_batch_norms, world


def test_alone_it_is_the_usual_batch_norm() -> None:
    usual, shared = torch.nn.BatchNorm2d(3), SharedBatchNorm(3)
    maps = torch.randn(4, 3, 5, 6)
    assert torch.equal(usual(maps), shared(maps))
    assert torch.equal(usual.running_var, shared.running_var)


def test_only_batch_norms_are_changed() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    share_batch_norms(net)
    assert type(net[0]) is torch.nn.Conv2d
    assert type(net[1]) is SharedBatchNorm


def test_a_batch_must_be_shareable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert world() == 1
    check_batch(7)
    monkeypatch.setattr("placewise.parallel.world", lambda: 2)
    with pytest.raises(SettingsError, match="--batch-size 8"):
        check_batch(7)


NORM = """
import json, os, sys, torch
from placewise.parallel import SharedBatchNorm, processes, rank
torch.manual_seed(1)
maps = torch.randn(6, 3, 4, 5, dtype=torch.float64)
weights = torch.randn(6, 3, 4, 5, dtype=torch.float64)
with processes(torch.device("cpu")):
    norm = SharedBatchNorm(3).double()
    share = maps[rank()::2].clone().requires_grad_()
    out = norm(share)
    (out * weights[rank()::2]).sum().backward()
    content = {"out": out.tolist(), "grad": share.grad.tolist(),
               "mean": norm.running_mean.tolist(), "var": norm.running_var.tolist()}
    open(f"{sys.argv[1]}/{rank()}.json", "w").write(json.dumps(content))
"""


def test_two_processes_normalise_as_one(tmp_path: Path) -> None:
    """Output, gradient and running statistics of shared norms equal those of one process."""
    script = tmp_path / "norm.py"
    script.write_text(NORM)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*command, str(script), str(tmp_path)],
        check=True,
        capture_output=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    torch.manual_seed(1)
    maps = torch.randn(6, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(6, 3, 4, 5, dtype=torch.float64)
    norm = torch.nn.BatchNorm2d(3).double()
    out = norm(maps)
    (out * weights).sum().backward()
    for number in (0, 1):
        found = json.loads((tmp_path / f"{number}.json").read_text())
        for name, expected in (("out", out), ("grad", maps.grad)):
            part = torch.tensor(found[name], dtype=torch.float64)
            assert torch.allclose(part, expected[number::2], atol=1e-6)
        for name, expected in (("mean", norm.running_mean), ("var", norm.running_var)):
            assert torch.allclose(torch.tensor(found[name], dtype=torch.float64), expected)
