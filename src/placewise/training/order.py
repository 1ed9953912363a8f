"""Which samples make which batch."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count

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
        stop: step before which to end; None: endless.
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
        stop: int | None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.count, self.batch, self.seed = count, batch, seed
        self.start, self.stop, self.rank, self.world = start, stop, rank, world

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, order = -1, np.empty(0, int)
        endless = self.stop is None
        for step in count(self.start) if endless else range(self.start, self.stop or 0):
            keys: list[Key] = []
            for place in range(step * self.batch, (step + 1) * self.batch):
                if place // self.count != epoch:
                    epoch = place // self.count
                    order = generator(self.seed, epoch, "order").permutation(self.count)
                keys.append((epoch, int(order[place % self.count])))
            yield keys[self.rank :: self.world]


class Stream(Iterator[Batch]):
    """Batches in order, each prepared while the network computes with the one before it.

    What a batch holds is a pure function of its place in the order, so who prepares it, and when,
    changes nothing. Without workers a thread does: most of its work is done without Python's lock.

    Args:
        images: what to show.
        order: when to show it.
        workers: processes that prepare batches; 0: a thread of this process.
    """

    def __init__(self, images: TrainingSet, order: Order, workers: int) -> None:
        loader = DataLoader(
            images,
            batch_sampler=order,
            num_workers=workers,
            collate_fn=images.collate,
            prefetch_factor=4 if workers else None,
            worker_init_fn=_leave_signals_to_the_loop,
            generator=torch.Generator().manual_seed(0),
        )
        self._source: Iterator[Batch] = iter(loader)
        self._thread = None if workers else ThreadPoolExecutor(1, "batches", _use_one_core)
        self._next: Future[Batch | None] | None = None

    def __next__(self) -> Batch:
        """The next batch; the one after it is begun."""
        thread = self._thread
        if thread is None:
            return next(self._source)
        found = (self._next or thread.submit(next, self._source, None)).result()
        if found is None:
            self.close()
            raise StopIteration
        self._next = thread.submit(next, self._source, None)
        return found

    def settle(self) -> None:
        """Wait until nothing is being prepared: now the caller may read images."""
        if self._next is not None:
            self._next.exception()

    def close(self) -> None:
        """End the thread or the processes."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
        self._source = iter(())


def _use_one_core() -> None:
    """Leave the other cores to the network; this holds for the calling thread."""
    torch.set_num_threads(1)


def _leave_signals_to_the_loop(worker: int) -> None:
    """A signal to the whole group must not end workers before the loop has saved; it ends them."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
