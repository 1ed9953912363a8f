"""One process or several: what a training loop needs to be the same run in both.

`torchrun` starts the processes and tells each its rank by environment variables. Each takes its
share of every batch; gradients are averaged by `DistributedDataParallel`, and batch norms use the
statistics of the whole batch, so that a run on two processes follows the run on one up to rounding.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from placewise.errors import SettingsError

PATIENCE = timedelta(days=7)
"""How long processes wait for each other: the first one may predict thousands of images for a
validation, which NCCL's own ten minutes would end. `torchrun` ends all where one fails."""

GLANCE = 0.02
"""Seconds between two looks at who has come."""


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
    with _joined("nccl" if device.type == "cuda" else "gloo"):
        yield


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
    with _joined("gloo"):
        yield


@contextmanager
def _joined(backend: str) -> Iterator[None]:
    """Be one of the processes that the environment tells of."""
    store, number, count = next(rendezvous("env://"))
    store = PrefixStore(meet(store, number, count), store)
    dist.init_process_group(backend, store=store, rank=number, world_size=count, timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def meet(store: Store, number: int, count: int) -> str:
    """A name for those who have come, the same for all, which no earlier meeting had.

    The store of `torchrun` outlives the processes: those it starts anew would find the addresses of
    the dead ones. So each writes a name of its own, and all go on when all have seen the same
    names: a dead process has not seen those of the new ones.

    Args:
        store: that all share.
        number: of this process.
        count: of the processes.

    Example:
        >>> len(meet(dist.HashStore(), 0, 1))
        32
    """
    store.set(f"came/{number}", uuid.uuid4().hex)
    while True:
        names = _read(store, "came", count)
        seen = uuid.uuid5(uuid.NAMESPACE_OID, ",".join(names)).hex
        store.set(f"saw/{number}", seen)
        if set(_read(store, "saw", count)) == {seen}:
            return seen
        time.sleep(GLANCE)


def _read(store: Store, what: str, count: int) -> list[str]:
    """What each process has written; waits for those who never have."""
    return [store.get(f"{what}/{k}").decode() for k in range(count)]


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


class _Normalised(torch.autograd.Function):
    """Maps normalised by the statistics of all processes, in the passes that torch's own takes."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> Tensor:
        """Normalise (batch, channels, …) maps.

        Args:
            ctx: of torch.
            maps: of this process.
            mean: of each channel, over all processes.
            var: variance of each channel, over all processes.
            weight: of each channel.
            bias: of each channel.
            eps: what is added to the variance.
        """
        ctx.save_for_backward(maps, mean, var, weight)
        ctx.eps = eps
        return functional.batch_norm(maps, mean, var, weight, bias, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of maps, weight and bias.

        With x̂ the normalised maps, g the gradient and s = weight / √(var + eps), that of the maps
        is s·(g − mean(g) − x̂·mean(g·x̂)), with means over all processes (Ioffe and Szegedy 2015).
        The first part is that of fixed statistics; the others are x̂ with another weight and bias.
        """
        maps, mean, var, weight = ctx.saved_tensors
        grad, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            given, maps, weight, mean, var, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.cat((by_weight, by_bias))
        dist.all_reduce(sums)
        count = maps.numel() // maps.shape[1] * world()
        scale = weight * torch.rsqrt(var + ctx.eps)
        slope, shift = (-scale * part / count for part in sums.chunk(2))
        grad += functional.batch_norm(maps, mean, var, slope, shift, eps=ctx.eps)
        return grad, None, None, by_weight, by_bias, None


class SharedBatchNorm(_BatchNorm):
    """Batch norm with the mean and variance of the batch over all processes.

    `torch.nn.SyncBatchNorm` does this on GPUs only. The shares of the processes are equal. On their
    own, the members `SHARED` are the batch norms of torch.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise (batch, channels, …)."""
        if not self.training or world() == 1:
            return super().forward(maps)
        mean, var = self._of_all(maps)
        self._remember(mean, var, maps)
        normal: Tensor = _Normalised.apply(maps, mean, var, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        return normal

    @torch.no_grad()
    def _of_all(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of each channel over all processes."""
        weight = self.weight  # sets the precision of what is returned
        _, mean, inverse = torch.native_batch_norm(maps, weight, self.bias, None, None, True, 0, 0)
        own = torch.stack((mean, inverse.pow(-2)))
        every = [torch.empty_like(own) for _ in range(world())]
        dist.all_gather(every, own)
        means, variances = torch.stack(every, 1)
        mean = means.mean(0)
        return mean, (variances + (means - mean).square()).mean(0)

    @torch.no_grad()
    def _remember(self, mean: Tensor, var: Tensor, maps: Tensor) -> None:
        """Move the running statistics as torch's batch norms do."""
        count = maps.numel() // maps.shape[1] * world()
        momentum = self.momentum or 0.0
        if self.running_mean is None or self.running_var is None:
            return
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(var * (count / max(1, count - 1)), momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


class SharedBatchNorm1d(SharedBatchNorm, nn.BatchNorm1d):
    """For signals."""


class SharedBatchNorm2d(SharedBatchNorm, nn.BatchNorm2d):
    """For images."""


class SharedBatchNorm3d(SharedBatchNorm, nn.BatchNorm3d):
    """For volumes."""


SHARED: dict[type[nn.Module], type[SharedBatchNorm]] = {
    nn.BatchNorm1d: SharedBatchNorm1d,
    nn.BatchNorm2d: SharedBatchNorm2d,
    nn.BatchNorm3d: SharedBatchNorm3d,
}


def share_batch_norms(module: nn.Module) -> None:
    """Let every batch norm of a module use the statistics of the whole batch."""
    for part in module.modules():
        if shared := SHARED.get(type(part)):
            part.__class__ = shared
