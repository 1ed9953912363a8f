"""What is decided before the first step: split, input, augmentation, precision, steps."""

from __future__ import annotations

import copy
import hashlib
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from placewise.augment import Augmentation
from placewise.data import Batch, Order, batches, of_split, shown_size, split_images
from placewise.errors import SettingsError
from placewise.labels import SPLITS, Dataset, Sample
from placewise.model import ModelSettings, build, choose_model, reopened
from placewise.run import Run, RunFacts, versions
from placewise.training._classes import Classes
from placewise.training._keypoints import Decoded
from placewise.training._step import Objective, fast_memory, optimiser
from placewise.training._task import Task

if TYPE_CHECKING:
    from placewise.training import TrainingSettings
    from placewise.training._progress import Console

DEFAULT_STEPS = 3000
"""Steps where neither steps nor minutes are asked for: about ten minutes on two cores."""

WARM_STEPS, TIMED = 2, 10
"""Steps that are taken and thrown away for each precision, and those that are timed after them."""

FIRST_IMAGE = 25.0
"""Seconds of training before the first validation, which draws the first image."""

LEAST_REST = 8.0
"""Seconds of training between validations at least."""

VALIDATING = 0.04
"""Share of the time that validations may take."""

VALIDATIONS = 24
"""Validations in a run that is long enough."""


def task_of(labels: Dataset[Any]) -> Task[Any, Any]:
    """What a run on these labels learns."""
    tasks: dict[str, type[Task[Any, Any]]] = {"keypoints": Decoded, "classes": Classes}
    return tasks[labels.task](labels)


def begin(
    task: Task[Any, Any],
    out: Path,
    settings: TrainingSettings,
    device: torch.device,
    console: Console,
) -> Run:
    """Decide everything that the data and the machine decide, and write it into the run."""
    started = time.monotonic()
    if settings.max_steps and settings.max_minutes:
        raise SettingsError("max_steps and max_minutes were both given; give one of them")
    labels, batch = task.usable(), settings.batch_size or task.batch
    splits = split_images(labels, settings.seed)
    samples = of_split(labels, splits, "train")
    model = choose_model(
        labels,
        samples,
        seed=settings.seed,
        pixels=settings.pixels,
        backbone=settings.backbone,
        backbone_settings=settings.backbone_settings,
        head=settings.head,
        head_settings=settings.head_settings,
    )
    ranges = {**task.augmentation(samples), **settings.augmentation}
    augmentation = Augmentation.of(**ranges)
    console.say(_summary(labels, splits, model))
    fingerprint = fingerprint_of(task)
    precision, seconds = _measure(task, samples, model, augmentation, settings, device, console)
    spent = time.monotonic() - started
    steps = settings.max_steps or _steps(settings, seconds, spent)
    looked_at = of_split(labels, splits, "val")[: task.validated]
    rest = _rest(model, looked_at, seconds / batch)
    every = settings.val_interval or _validate_every(steps, seconds, rest)
    resolved = settings.model_copy(
        update={"max_steps": steps, "precision": precision, "val_interval": every}
    )
    facts = RunFacts(
        versions=versions(),
        data=str(labels.source or labels.root),
        fingerprint=fingerprint,
        split={s: tuple(x.image for x in of_split(labels, splits, s)) for s in SPLITS},
        model=reopened(model),
        training=resolved.model_dump(mode="json") | {"augmentation": augmentation.as_dict()},
    )
    console.say(
        f"{steps} steps of {batch} images, {precision}, about "
        f"{batch / seconds:.0f} images/s: {steps * seconds / 60:.1f} minutes"
    )
    return Run.create(out, facts)


def fingerprint_of(task: Task[Any, Any]) -> str:
    """SHA-256 over names, what is labelled, and the content of every image.

    The order of the samples, the format of the file and the split do not matter.
    """
    labels = task.labels
    digest = hashlib.sha256("\0".join(labels.names).encode())
    for sample in sorted(labels.samples, key=lambda s: s.image):
        digest.update(labels.images.digest(sample.image))
        digest.update(sample.image.encode())
        digest.update(task.stamp(sample))
    return digest.hexdigest()


def _summary(labels: Dataset[Any], splits: list[str], model: ModelSettings) -> str:
    counts = ", ".join(f"{splits.count(s):,} {s}" for s in SPLITS if s in splits)
    height, width = model.input.frame
    return (
        f"{len(labels.samples):,} images ({counts}), {len(labels.names)} {labels.what}; "
        f"the network sees {width}×{height} px at scale {model.input.scale:.3g}"
    )


def _measure(
    task: Task[Any, Any],
    samples: tuple[Sample, ...],
    model: ModelSettings,
    augmentation: Augmentation,
    settings: TrainingSettings,
    device: torch.device,
    console: Console,
) -> tuple[str, float]:
    """(precision, seconds of a step): the faster one, timed on copies that are thrown away."""
    torch.manual_seed(settings.seed)
    network, batch = build(model).to(device), settings.batch_size or task.batch
    shown = task.learning(
        task.labels, samples, model.input, network.frame, augmentation, settings.seed
    )
    order = Order(len(samples), batch, settings.seed, start=0, stop=WARM_STEPS + TIMED)
    fast_memory()
    for _ in batches(shown, order, 0):
        pass  # reads the images, which happens but once
    tried = ("float32", "bfloat16") if settings.precision == "auto" else (settings.precision,)
    seconds: dict[str, float] = {}
    for precision in tried:
        objective = Objective(copy.deepcopy(network), precision).to(device)
        seconds[precision], loss = _time_steps(
            objective, batches(shown, order, 0), settings, device
        )
        console.say(f"{precision}: {batch / seconds[precision]:.1f} images/s, loss {loss:.3g}")
    fastest = min(seconds, key=lambda name: seconds[name])
    return fastest, seconds[fastest]


def _time_steps(
    objective: Objective, shown: Iterator[Batch], settings: TrainingSettings, device: torch.device
) -> tuple[float, float]:
    """(seconds of a step, last loss): the median of the steps after the warm-up."""
    optimizer = optimiser(objective, settings)
    taken: list[float] = []
    value = math.nan
    started = time.monotonic()
    for batch in shown:
        loss = objective(*(part.to(device) for part in batch[:-1]))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        value = loss.item()
        taken.append(time.monotonic() - started)
        started = time.monotonic()
    return statistics.median(taken[WARM_STEPS:]), value


def _steps(settings: TrainingSettings, seconds: float, spent: float) -> int:
    """Steps that fit: what is spent already and a share for validations are taken off."""
    if settings.max_minutes is None:
        return DEFAULT_STEPS
    left = max(settings.max_minutes * 60 - spent, 0.2 * settings.max_minutes * 60)
    return max(1, math.floor(left * (1 - VALIDATING) / seconds))


def _rest(model: ModelSettings, samples: Sequence[Sample], seconds: float) -> float:
    """Seconds of training that a validation is worth, so that it takes a small share of them.

    Predicting takes a third of a training step's time for a pixel, and validation images are
    seen whole where training may see them through windows.

    Args:
        model: for scale and frame.
        samples: the validation images.
        seconds: of training for an image.
    """
    frame = math.prod(model.input.frame)
    shown = sum(math.prod(shown_size(sample.size, model.input)) for sample in samples)
    return max(LEAST_REST, shown / frame * seconds / 3 / VALIDATING)


def _validate_every(steps: int, seconds: float, rest: float) -> int:
    """About `VALIDATIONS` in all, but neither so rare nor so frequent that the user minds."""
    least, most = (max(1, math.ceil(time / seconds)) for time in (rest, FIRST_IMAGE))
    return min(steps, max(least, min(most, math.ceil(steps / VALIDATIONS))))
