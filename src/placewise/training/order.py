"""Which samples make which batch."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from placewise.augment import generator
from placewise.training.dataset import Key, TrainingSet

Batch = tuple[Tensor, ...]
"""Images (B, C, h, w), what is to be learnt of them, indices (B,)."""


class Order(Sampler[list[Key]]):
    """Which samples make which batch: a pure function of (seed, step), for any number of ranks.

    Sample number p = step · batch + i of the endless stream is place p mod n of the permutation
    that (seed, p div n) draws. Rank r of w takes every w-th of a batch, beginning with its r-th.

    Args:
        count: n, number of samples.
        batch: samples in a batch over all ranks.
        seed: the run's seed.
        start: first step.
        stop: step before which to end.
        rank: this process.
        world: number of processes.

    Example:
        >>> one = list(Order(3, 2, 0, start=0, stop=3))
        >>> two = [list(Order(3, 2, 0, start=0, stop=3, rank=r, world=2)) for r in (0, 1)]
        >>> one == [a + b for a, b in zip(*two)]
        True
    """

    def __init__(
        self,
        count: int,
        batch: int,
        seed: int,
        *,
        start: int,
        stop: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.count, self.batch, self.seed = count, batch, seed
        self.start, self.stop, self.rank, self.world = start, stop, rank, world

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, order = -1, np.empty(0, int)
        for step in range(self.start, self.stop):
            keys: list[Key] = []
            for place in range(step * self.batch, (step + 1) * self.batch):
                if place // self.count != epoch:
                    epoch = place // self.count
                    order = generator(self.seed, epoch, "order").permutation(self.count)
                keys.append((epoch, int(order[place % self.count])))
            yield keys[self.rank :: self.world]


def batches(images: TrainingSet, order: Order, workers: int) -> Iterator[Batch]:
    """Batches in order.

    Args:
        images: what to show.
        order: when to show it.
        workers: processes that prepare batches; 0 prepares them between the steps.
    """
    loader = DataLoader(
        images,
        batch_sampler=order,
        num_workers=workers,
        collate_fn=images.collate,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_leave_signals_to_the_loop,
        generator=torch.Generator().manual_seed(0),
    )
    yield from loader


def _leave_signals_to_the_loop(worker: int) -> None:
    """A signal to the whole group must not end workers before the loop has saved; it ends them."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
