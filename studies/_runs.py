"""Runs of a study: on several processes, and kept, so that a study that was ended goes on."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from placewise import __version__
from placewise.comparison import Plan, compare
from placewise.engine import run_all
from placewise.errors import SettingsError
from placewise.files import read_json, write_json
from studies import Options

Work = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class Run:
    """One run of a study.

    Attributes:
        name: of the run; with slashes, of the folders that it is kept in.
        settings: all that the run depends on, as plain JSON.
    """

    name: str
    settings: dict[str, Any]


def compared(
    plan: Plan, out: Path, options: Options, *, plugins: Sequence[str] = ()
) -> dict[str, Any]:
    """A comparison on the processes that the options say, or what is kept of it.

    Args:
        plan: of the comparison.
        out: its folder.
        options: how the study is run.
        plugins: modules of the study that hold members.
    """
    return compare(
        plan,
        out,
        n_jobs=options.n_jobs,
        plugins=plugins,
        quiet=options.quiet,
        tell=lambda words: None,
    )


def run_each(
    work: Work, runs: Sequence[Run], options: Options, *, what: str = "runs"
) -> list[dict[str, Any]]:
    """What each run finds; what is kept from before is not run again.

    Args:
        work: a run's settings to what it finds, as plain JSON; a function of a module, so that
            other processes know it. It has one thread.
        runs: all of them, each with a name of its own.
        options: says where runs are kept, on how many processes they are done, and whether to tell.
        what: what is counted.

    Raises:
        SettingsError: what is kept is of other settings or another version.
    """
    with ExitStack() as stack:
        folder = options.runs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kept = [_Kept(work, folder / f"{run.name}.json", run.settings) for run in runs]
        for one in kept:
            one.check()
        run_all(_Kept.do, kept, _Kept.share, what=what, n_jobs=options.n_jobs, quiet=options.quiet)
        return [read_json(one.path)["found"] for one in kept]


@dataclass(frozen=True)
class _Kept:
    """A run and the file that holds what it found."""

    work: Work
    path: Path
    settings: dict[str, Any]

    def share(self) -> float:
        """1 when it is done, else 0."""
        return float(self.path.is_file())

    def check(self) -> None:
        """Refuse a file of another run."""
        if self.path.is_file() and read_json(self.path)["of"] != self._stated():
            raise SettingsError(
                f"{self.path} is of other settings, or of another version; name another folder "
                "with --runs, or delete this one"
            )

    def do(self) -> None:
        """Run, and keep what was found."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            found = dict(self.work(self.settings))
        finally:
            torch.set_num_threads(threads)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, {"of": self._stated(), "found": found})

    def _stated(self) -> dict[str, Any]:
        return {"placewise": __version__, "settings": self.settings}
