"""The single runs of a comparison, and the files that each leaves.

```
OUT/tuning/ARM/trial-2/     a run folder; score.json: its measure on the validation images
OUT/runs/ARM/seed-7/        a run folder; tested.json, items.csv: its measure on test images
OUT/permuted/ARM/seed-7/    the same with places permuted between backbone and head
```

What is there is not done again, so a killed sweep continues where it was. A process locks the run
that it works on, so no two processes work on the same one.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from placewise.comparison._place import diagnose
from placewise.comparison._plan import Arm, Plan, Trial, train_settings
from placewise.devices import threads
from placewise.errors import SettingsError, TrainingError
from placewise.family import load_plugin
from placewise.files import read_json, write_json, write_text
from placewise.formats import read_dataset
from placewise.items import Items
from placewise.labels import Dataset, of_split, split_images
from placewise.metrics import Metric
from placewise.model import ModelSettings
from placewise.run import Run
from placewise.task import Task
from placewise.tasks import choose_model, task_named
from placewise.training import train

Kind = Literal["tuning", "runs", "permuted"]

TUNING_SEED = 1_000_000
"""Seed of all tuning runs: none that is compared."""

SPLIT_SEED = 0
"""Seed of the split where the labels have none: one for all runs, or arms would differ by luck."""

_TURN = threading.Lock()
"""One run at a time in a process: torch's random numbers belong to the process, not to a thread,
and a process of a Dask cluster may have several threads."""


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        out: folder of the comparison.
        plan: the plan.
        arm: name of the arm.
        number: of the seed, or of the trial.
        trial: learning rate and weight decay.
        kind: what it is for.
        plugins: modules to import first.
    """

    out: Path
    plan: Plan
    arm: str
    number: int
    trial: Trial
    kind: Kind = "runs"
    plugins: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The run's folder."""
        word = "trial" if self.kind == "tuning" else "seed"
        return self.out / self.kind / self.arm / f"{word}-{self.number}"

    @property
    def seed(self) -> int:
        """Seed of the run: the same for all arms."""
        return TUNING_SEED if self.kind == "tuning" else self.number

    @property
    def result(self) -> Path:
        """The file with the measure of the run, written last."""
        return self.folder / ("score.json" if self.kind == "tuning" else "tested.json")

    def trained(self) -> bool:
        """Whether the run is finished; a failed trial is finished too."""
        return (self.folder / "calibration.json").is_file() or self.result.is_file()

    def progress(self) -> float:
        """Share of the training that is done, 0 to 1."""
        if self.trained():
            return 1.0
        return min(0.999, _last_step(self.folder / "log.jsonl") / self.plan.steps)

    def progress_of_result(self) -> float:
        """The same, but the run is done only when its result is there."""
        if self.result.is_file():
            return 1.0
        return 0.999 * self.progress() if self.kind == "tuning" else 0.0


def train_job(job: Job) -> None:
    """Train a run, or continue it; a trial is also scored on the validation images.

    A trial whose loss is not a number is a bad trial, not an error.
    """
    with _alone(job):
        arm = job.plan.arm(job.arm)
        if job.kind == "permuted":
            arm = permuted(job.plan, arm)
        settings = train_settings(job.plan, arm, job.seed, job.trial)
        dataset = dataset_of(job.plan)
        try:
            if not job.trained():
                train(dataset, job.folder, settings, resume=True, quiet=True)
            if job.kind == "tuning" and not job.result.is_file():
                write_json(job.result, {"value": _value(job, dataset), "why": ""})
        except TrainingError as error:
            if job.kind != "tuning":
                raise
            write_json(job.result, {"value": None, "why": str(error)})


def examine_job(job: Job) -> None:
    """Test a trained run on the test images, and measure its sense of place."""
    with _alone(job):
        if job.result.is_file():
            return
        dataset = dataset_of(job.plan)
        run = Run.open(job.folder)
        model = run.model(lambda words: None)
        metric, items = metric_of(job.plan), _items(model, dataset, "test")
        found = items.score()
        lines = io.StringIO()
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(["item", metric.name])
        table.writerows(zip(items.names, (f"{value:.7g}" for value in found), strict=True))
        write_text(job.folder / "items.csv", lines.getvalue())
        place = diagnose(items, job.seed) if job.plan.place and job.kind == "runs" else None
        speeds = [line["images_per_second"] for line in run.log() if "loss" in line]
        content: dict[str, Any] = {
            "measure": metric.name,
            "value": float(found.mean()),
            "items": len(found),
            "fingerprint": run.facts.fingerprint,
            "input": run.facts.model.input.model_dump(mode="json"),
            "images_per_second": float(np.median(speeds)) if speeds else None,
            "place": place,
        }
        write_json(job.result, content)


def read_items(folder: Path) -> tuple[list[str], list[float]]:
    """(items, measure of each) of a tested run."""
    with (folder / "items.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [item for item, _ in rows], [float(value) for _, value in rows]


def model_of(plan: Plan, arm: Arm, seed: int) -> ModelSettings:
    """The complete settings of an arm's network."""
    dataset = dataset_of(plan)
    settings = train_settings(plan, arm, seed)
    return choose_model(
        dataset,
        _samples(dataset, "train"),
        seed=seed,
        pixels=settings.input_pixels,
        backbone=settings.backbone,
        backbone_settings=settings.backbone_settings,
        head=settings.head,
        head_settings=settings.head_settings,
    )


def permuted(plan: Plan, arm: Arm) -> Arm:
    """The same arm with the places of its features in a fixed random order."""
    inner = model_of(plan, arm, 0).head_settings
    settings = {"head": arm.head, "settings": json.dumps(inner, sort_keys=True)}
    head = _task(plan).control
    return arm.model_copy(update={"head": head or arm.head, "head_settings": settings})


def no_control(plan: Plan, arm: Arm) -> str:
    """Why places cannot be permuted for an arm; empty if they can.

    The control works at one input size only, so the arm must train and predict on whole images of
    one size; else the two would differ in more than the order of places.
    """
    dataset, task = dataset_of(plan), _task(plan)
    if not task.control:
        return f"{task.noun} have no head that permutes places"
    own, control = (model_of(plan, one, 0) for one in (arm, permuted(plan, arm)))
    return task.why_no_control(dataset, own, control)


def metric_of(plan: Plan) -> Metric:
    """The metric that the arms are compared by."""
    return _task(plan).metric


def _task(plan: Plan) -> Task[Any, Any]:
    return task_named(dataset_of(plan).task)


def dataset_of(plan: Plan) -> Dataset[Any]:
    """The labels of a plan; the split is the same for all seeds."""
    return _read(str(plan.data), plan.format)


@lru_cache(maxsize=2)
def _read(data: str, format: str | None) -> Dataset[Any]:
    dataset: Dataset[Any] = read_dataset(Path(data), format=format)
    splits = split_images(dataset, SPLIT_SEED)
    if "test" not in splits:
        raise SettingsError(
            f"{data} has no test images, which a comparison needs; give some images the split "
            "'test', or remove all splits to have them drawn"
        )
    samples = tuple(replace(s, split=to) for s, to in zip(dataset.samples, splits, strict=True))
    return replace(dataset, samples=samples)  # type: ignore[type-var]


def _samples(dataset: Dataset[Any], split: str) -> tuple[Any, ...]:
    return of_split(dataset, [sample.split for sample in dataset.samples], split)


def _items(model: Any, dataset: Dataset[Any], split: str) -> Items:
    """The items of a split that a model is scored on.

    Raises:
        SettingsError: there is none.
    """
    dataset = dataset.ordered(model.names)
    items = task_named(dataset.task).items(model, dataset, _samples(dataset, split))
    if not items.names:
        raise SettingsError(f"no image of the split '{split}' is labelled; label some to compare")
    return items


def _value(job: Job, dataset: Dataset[Any]) -> float:
    model = Run.open(job.folder).model(lambda words: None)
    return float(_items(model, dataset, "val").score().mean())


@contextlib.contextmanager
def _alone(job: Job) -> Iterator[None]:
    """Import the user's modules, use one thread, and lock the run and this process."""
    for name in job.plugins:
        load_plugin(name)
    with _TURN, _locked(job.folder.with_name(f".{job.folder.name}.lock")), threads(1):
        yield


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for a lock; the system releases it however the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        if os.name == "posix":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _last_step(log: Path) -> int:
    """Last step in a log; 0 if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 400))
            lines = file.read().splitlines()
    except OSError:
        return 0
    for line in reversed(lines):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return int(json.loads(line)["step"])
    return 0


def score_of(job: Job) -> float | None:
    """Measure of a finished trial on the validation images; None if it failed."""
    value = read_json(job.result)["value"]
    return None if value is None else float(value)
