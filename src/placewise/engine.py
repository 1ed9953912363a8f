"""Run jobs on the processes of this machine or on a Ray or Dask cluster, through joblib."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from placewise.errors import SettingsError, TrainingError
from placewise.progress import Display

LOOK = 0.5
"""Seconds between looks at the runs."""

Task = TypeVar("Task")


def run_all(
    work: Callable[[Task], object],
    jobs: Sequence[Task],
    progress: Callable[[Task], float],
    *,
    what: str,
    engine: str = "local",
    n_jobs: int | None = None,
    quiet: bool = False,
) -> None:
    """Do the unfinished jobs, and show the progress.

    Args:
        work: does one job, and leaves its result where `progress` sees it.
        jobs: all of them.
        progress: share of a job that is done; 1: it is finished.
        what: what is counted, e.g. "runs".
        engine: "local", "ray", "dask", or "ray://…" or "dask://…" with the address of a cluster.
        n_jobs: processes; None: one for each core here, or all places of the cluster.
        quiet: show no progress.

    Raises:
        SettingsError: no such engine, or what it needs is not installed.
        TrainingError: a process was killed from outside.
    """
    left = [job for job in jobs if progress(job) < 1]
    if not left:
        return
    with watched(jobs, progress, Display(what, quiet)):
        if engine == "local" and (n_jobs or cores()) == 1:
            for job in left:
                work(job)
            return
        joblib = _joblib()
        with _backend(engine, n_jobs):
            try:
                joblib.Parallel(batch_size=1)(joblib.delayed(work)(job) for job in left)
            except joblib.externals.loky.process_executor.BrokenProcessPool as error:
                raise TrainingError(
                    "a process was killed from outside, perhaps because memory ran out; finished "
                    "runs are kept: give the same command again to continue, with fewer --n-jobs "
                    "if memory is short"
                ) from error


def check_engine(engine: str, n_jobs: int | None) -> None:
    """Refuse an engine that cannot be used, before any run starts.

    Raises:
        SettingsError: no such engine, or what it needs is not installed.

    Example:
        >>> check_engine("sheep", None)
        Traceback (most recent call last):
        ...
        placewise.errors.SettingsError: there is no engine 'sheep'; use local, ray, ray://HOST:PORT...
    """
    name = engine.partition("://")[0]
    if name not in ("local", "ray", "dask"):
        raise SettingsError(
            f"there is no engine '{engine}'; use local, ray, ray://HOST:PORT, dask or "
            "dask://HOST:PORT"
        )
    if n_jobs is not None and n_jobs < 1:
        raise SettingsError(f"--n-jobs is {n_jobs}; give at least 1")
    if name != "local" or (n_jobs or cores()) > 1:
        _joblib()
    if name == "ray":
        _ray()
    if name == "dask":
        _distributed()


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _backend(engine: str, n_jobs: int | None) -> Iterator[None]:
    """Set joblib to an engine; a cluster that was started here ends here."""
    name, _, address = engine.partition("://")
    config = _joblib().parallel_config
    if name == "local":
        ours = {"initializer": _end_with_parent, "initargs": (os.getpid(),)}
        with config("loky", n_jobs=n_jobs or cores(), inner_max_num_threads=1, **ours):
            yield
    elif name == "ray":
        with _ray_cluster(address, n_jobs) as places, config("ray", n_jobs=n_jobs or places):
            yield
    else:
        with _dask_cluster(address, n_jobs), config("dask", n_jobs=n_jobs or -1):
            yield


def _end_with_parent(parent: int) -> None:
    """End this process soon after its parent, however that ended.

    If a parent dies, its children get another one; a thread watches for that. On Windows a child
    keeps the number of its parent, and joblib's processes end by themselves within minutes.

    Args:
        parent: process that started this one.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _ray_cluster(address: str, n_jobs: int | None) -> Iterator[int]:
    """Ray, at an address or started here; yields how many runs it can do at once."""
    ray = _ray()
    try:
        if address:
            ray.init(address=f"ray://{address}")
        else:
            ray.init(num_cpus=n_jobs or cores(), include_dashboard=False)
    except (ConnectionError, ValueError) as error:
        raise _unreached("Ray", address, error) from error
    try:
        ray.util.joblib.register_ray()
        yield int(ray.cluster_resources()["CPU"])
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _dask_cluster(address: str, n_jobs: int | None) -> Iterator[None]:
    """Dask, at an address or started here."""
    place: dict[str, Any] = {"address": f"tcp://{address}"}
    if not address:
        place = {"n_workers": n_jobs or cores(), "threads_per_worker": 1}
        place["dashboard_address"] = None
    try:
        client = _distributed().Client(**place)
    except OSError as error:
        raise _unreached("Dask", address, error) from error
    with client:
        yield


def _unreached(what: str, address: str, error: Exception) -> SettingsError:
    why = str(error).rstrip(".")
    return SettingsError(
        f"no {what} cluster answers at {address or 'this machine'}: {why}; check that it runs, and "
        "give the address that it shows with --engine"
    )


def _missing(what: str, package: str) -> SettingsError:
    return SettingsError(f"this needs {what}, which is not installed; run: pip install {package}")


def _joblib() -> Any:
    try:
        import joblib
        import joblib.externals.loky.process_executor
    except ImportError:
        raise _missing("joblib (or --n-jobs 1)", '"placewise[sweeps]"') from None
    return joblib


def _ray() -> Any:
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
        import ray
        import ray.util.joblib
    except ImportError:
        raise _missing("Ray", "ray") from None
    return ray


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise _missing("Dask", "distributed") from None
    return distributed


@contextlib.contextmanager
def watched(
    jobs: Sequence[Task], share: Callable[[Task], float], display: Display
) -> Iterator[None]:
    """Show the progress of jobs from the files they leave: the same on any engine.

    Args:
        jobs: all jobs.
        share: of a job that is done.
        display: what shows it.
    """
    if display.quiet:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK):
            display(sum(share(job) for job in jobs), len(jobs))

    thread = threading.Thread(target=watch, daemon=True)
    with display:
        display(sum(share(job) for job in jobs), len(jobs))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
