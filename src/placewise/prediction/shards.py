"""A prediction that several processes share: each takes some of the images, one table comes out.

`torchrun` starts the processes, on one machine or on many that see the same files. Each predicts
neighbouring images into a folder of its own, with a journal of its own:

```
OUT/shares/2/0/    what the first of 2 processes has done; gone at the end
OUT/shares/2/1/
```

Then the first process puts the tables together. No batch crosses a multiple of `BLOCK` images,
with one process or with many, and shares begin at such multiples: the network sees the same
batches, so the files have the same bytes however many processes there were.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from placewise.errors import SettingsError
from placewise.files import read_json
from placewise.model import BATCH
from placewise.ownership import writing
from placewise.parallel import rank, wait_for_all, workers, world
from placewise.prediction.journal import RESULT, Journal

BLOCK = 4 * BATCH
"""Images whose batches do not depend on the images before and behind them."""

SHARES = "shares"

P = ParamSpec("P")
R = TypeVar("R")


def together(function: Callable[P, R]) -> Callable[P, R]:
    """Join the processes that `torchrun` started as long as a function runs."""

    @wraps(function)
    def joined(*args: P.args, **kwargs: P.kwargs) -> R:
        with workers():
            return function(*args, **kwargs)

    return joined


@dataclass(frozen=True)
class Share:
    """The images that this process predicts.

    Attributes:
        start: number of the first one among all.
        stop: number of the first one that is another's.
        rank: number of this process.
        world: number of processes.

    Example:
        >>> [Share.of(100, rank, 2) for rank in (0, 1)]
        [Share(start=0, stop=64, rank=0, world=2), Share(start=64, stop=100, rank=1, world=2)]
    """

    start: int
    stop: int
    rank: int
    world: int

    @classmethod
    def of(cls, count: int, number: int | None = None, processes: int | None = None) -> Share:
        """The share of a process; by default of this one."""
        number, processes = number if number is not None else rank(), processes or world()
        blocks = -(-count // BLOCK)
        first, last = (-(-blocks * k // processes) for k in (number, number + 1))
        return cls(min(count, first * BLOCK), min(count, last * BLOCK), number, processes)

    def __len__(self) -> int:
        return self.stop - self.start

    @contextlib.contextmanager
    def open(self, out: Path, order: str, *, resume: bool) -> Iterator[Journal]:
        """The journal of this share; `finished` where the whole prediction is.

        As long as it is open, no other prediction writes into the folder: the first process holds
        it, and the others begin when it does.

        Raises:
            SettingsError: see `Journal.open`; another prediction writes there; or one process alone
                has begun the prediction.
        """
        first = self.rank == 0
        with writing(out, RESULT, "a prediction") if first else contextlib.nullcontext():
            yield self._journal(out, order, resume)

    def _journal(self, out: Path, order: str, resume: bool) -> Journal:
        if self.world == 1:
            return Journal.open(out, order, resume=resume)
        if self.rank == 0:
            whole = Journal.open(out, order, resume=resume)
            if whole.done and whole.finished is None and not (out / SHARES).is_dir():
                raise SettingsError(
                    f"{out} holds a prediction that one process has begun; go on with it without "
                    "torchrun, or name a new folder with --out"
                )
        wait_for_all()
        if (out / RESULT).is_file():
            done = Journal(out, order)
            done.finished = read_json(out / RESULT)
            return done
        return Journal.open(self._folder(out, self.rank), order, resume=True)

    def end(
        self, journal: Journal, out: Path, finish: Callable[[Journal], dict[str, Any]]
    ) -> dict[str, Any]:
        """Put all shares together once every process is done.

        Args:
            journal: of this share.
            out: folder of the results.
            finish: ends the whole prediction, and returns what `about.json` holds.
        """
        wait_for_all()
        if self.rank == 0:
            if self.world > 1:
                journal = self._gathered(out, journal.order)
            about = finish(journal)
            shutil.rmtree(out / SHARES, ignore_errors=True)
        wait_for_all()
        return about if self.rank == 0 else read_json(out / RESULT)

    def _gathered(self, out: Path, order: str) -> Journal:
        parts = [Journal.open(self._folder(out, k), order, resume=True) for k in range(self.world)]
        whole = Journal.open(out, order, resume=True)
        whole.gather(parts)
        return whole

    def _folder(self, out: Path, number: int) -> Path:
        return out / SHARES / str(self.world) / str(number)


def refuse_tracks(track: bool) -> None:
    """Refuse to follow objects with several processes: identities need one order.

    Raises:
        SettingsError: it is asked for.
    """
    if track and world() > 1:
        raise SettingsError(
            f"got --track and {world()} processes; objects are followed from image to image, which "
            "one process does: start it without torchrun"
        )
