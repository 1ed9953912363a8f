"""One process or several: what a training loop needs to be the same run in both.

`torchrun` starts the processes and tells each its rank by environment variables. Each takes its
share of every batch; gradients are averaged by `DistributedDataParallel`, and batch norms use the
statistics of the whole batch, so that a run on two processes follows the run on one up to rounding.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from placewise.errors import SettingsError

PATIENCE = timedelta(days=30)
"""How long processes that share work wait for each other: `torchrun` ends all where one fails."""


def rank() -> int:
    """Number of this process, 0 where there is only one."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this process is the first of those that `torchrun` started, joined or not."""
    return int(os.environ.get("RANK", "0")) == 0


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def processes(device: torch.device) -> Iterator[None]:
    """Join the processes that `torchrun` started; alone, this does nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def workers() -> Iterator[None]:
    """Join the processes that `torchrun` started, which share work and no gradients.

    Within processes that have joined already, and alone, this does nothing.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if world() > 1:
        dist.barrier()


def any_process(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set in any process."""
    if world() == 1:
        return flag
    count = torch.tensor([float(flag)], device=device)
    dist.all_reduce(count)
    return bool(count.item() > 0)


def from_first(values: Sequence[float], device: torch.device) -> list[float]:
    """What the first process says; as many numbers in all.

    Args:
        values: of this process.
        device: of the training.
    """
    told = torch.tensor(values, dtype=torch.float64, device=device)
    if world() > 1:
        dist.broadcast(told, 0)
    return [float(value) for value in told.tolist()]


def check_batch(batch: int) -> None:
    """Refuse a batch that the processes cannot share evenly."""
    if batch % world():
        raise SettingsError(
            f"the batch of {batch} images cannot be shared evenly by {world()} processes; "
            f"use --batch-size {-(-batch // world()) * world()}"
        )


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm with the mean and variance of the batch over all processes.

    `torch.nn.SyncBatchNorm` does this on GPUs only. Mean and mean square are averaged over the
    processes (whose shares are equal), and the gradient flows through both.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise (batch, channels, height, width)."""
        if not self.training or world() == 1:
            return super().forward(maps)
        values = maps.to(self.weight.dtype)
        moments = torch.cat((values.mean((0, 2, 3)), values.square().mean((0, 2, 3))))
        shared: Tensor = all_reduce(moments)  # type: ignore[no-untyped-call]
        mean, square = (shared / world()).chunk(2)
        variance = square - mean.square()
        self._remember(mean.detach(), variance.detach(), maps)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        normal: Tensor = values * scale[:, None, None] + shift[:, None, None]
        return normal.to(maps.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, maps: Tensor) -> None:
        """Move the running statistics as `torch.nn.BatchNorm2d` does."""
        count = maps.numel() // maps.shape[1] * world()
        momentum = self.momentum or 0.0
        if self.running_mean is None or self.running_var is None:
            return
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * (count / max(1, count - 1)), momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def share_batch_norms(module: nn.Module) -> None:
    """Let every batch norm of a module use the statistics of the whole batch."""
    for part in module.modules():
        if type(part) is nn.BatchNorm2d:
            part.__class__ = SharedBatchNorm
