"""What is decided before the first step: split, input, augmentation, precision, steps."""

from __future__ import annotations

import copy
import hashlib
import logging
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from placewise.augment import Augmentation
from placewise.devices import fast_memory, threads
from placewise.errors import DataError, SettingsError
from placewise.family import validated
from placewise.heads import HEADS
from placewise.labels import SPLITS, Dataset, Sample, of_split, split_images
from placewise.model import ModelSettings, Network, shown_size
from placewise.ownership import Writer
from placewise.run import Run, RunFacts, versions
from placewise.task import Task
from placewise.tasks import build, choose_model, reopened
from placewise.training.dataset import TrainingSet
from placewise.training.order import Order, Stream
from placewise.training.schedule import (
    FIRST_IMAGE,
    LEAST_REST,
    VALIDATING,
    VALIDATIONS,
    Places,
    keep_places,
)
from placewise.training.step import Objective, optimiser
from placewise.training.threads import crowded, short_slices
from placewise.wording import IMAGES_OF, counted, enumerated, sides_of

if TYPE_CHECKING:
    from placewise.training import TrainingSettings

_LOG = logging.getLogger("placewise")

DEFAULT_STEPS = 3000
"""Steps where neither steps nor minutes are asked for: about ten minutes on two cores."""

UNTURNED = {"flip": False, "rotate": 0.0, "shear": 0.0}
"""How spectrograms are changed otherwise than images: their axes are not of one kind."""

WARM_STEPS, TIMED = 2, 10
"""Steps that are taken and thrown away for each precision, and those that are timed after them."""

MEASURING = 0.02
"""Share of the minutes in which a precision is timed, at most."""

LEAST_TIMED = 2
"""Steps that are timed whatever they take."""


def begin(
    task: Task[Any, Any],
    dataset: Dataset[Any],
    out: Path,
    settings: TrainingSettings,
    device: torch.device,
    places: Places | None = None,
    writer: Writer | None = None,
) -> Run:
    """Decide everything that the data and the machine decide, and write it into the run.

    Args:
        task: what is learnt.
        dataset: the labels.
        out: folder of the run.
        settings: what was asked for.
        device: where to train.
        places: of a run that is repeated.
        writer: says whether the folder is still there.
    """
    if settings.max_steps and settings.max_minutes:
        raise SettingsError("max_steps and max_minutes were both given; give one of them")
    dataset, batch_size = _usable(task, dataset), settings.batch_size or task.batch_size
    splits = split_images(dataset, settings.seed)
    parts = {split: of_split(dataset, splits, split) for split in SPLITS}
    task.check_splits(dataset, parts)
    samples = parts["train"]
    model = choose_model(
        dataset,
        samples,
        seed=settings.seed,
        pixels=settings.input_pixels,
        backbone=settings.backbone,
        backbone_settings=settings.backbone_settings,
        head=settings.head,
        head_settings=settings.head_settings,
        spectrogram=settings.spectrogram,
    )
    task = task.for_model(model)
    augmentation = _augmentation(task, dataset, samples, settings)
    model = _mirrored(model, augmentation, settings)
    for note in (_summary(dataset, splits, model), *task.notes(dataset)):
        _LOG.info(note)
    digests = {s.image: dataset.images.digest(s.image) for s in dataset.samples}
    torch.manual_seed(settings.seed)
    network, seed = build(model).to(device), settings.seed
    training = TrainingSet(
        task, dataset, samples, model.input, network.input_size, augmentation, seed
    )
    alone = not (settings.max_minutes and crowded(torch.get_num_threads()))
    with threads(None if alone else 1):
        precision, seconds = _measure(training, network, settings, batch_size, device)
    rest = _rest(model, parts["val"][: task.validated], seconds / batch_size)
    resolved = _resolved(settings, precision, seconds, rest)
    held = {
        "versions": versions(),
        "data": str(dataset.source or dataset.root),
        "pixels": dataset.pixels,
        "fingerprint": fingerprint_of(task, dataset, digests),
        "split": {split: tuple(s.image for s in part) for split, part in parts.items()},
        "model": reopened(model),
        "training": resolved.model_dump(mode="json") | {"augmentation": augmentation.as_dict()},
    }
    _LOG.info(_length(resolved, batch_size, seconds))
    if writer is not None:
        writer.check()
    if places:
        keep_places(places, out)
    return Run.create(out, validated(RunFacts, held), digests)


def _length(settings: TrainingSettings, batch_size: int, seconds: float) -> str:
    """How long it will take, in words."""
    speed = f"{settings.precision}, about {batch_size / seconds:.0f} images/s"
    if settings.max_steps is None:
        return f"{settings.max_minutes:g} min by the clock, {batch_size} images a step, {speed}"
    minutes = settings.max_steps * seconds / 60
    return f"{settings.max_steps} steps of {batch_size} images, {speed}: {minutes:.1f} min"


def _augmentation(
    task: Task[Any, Any],
    dataset: Dataset[Any],
    samples: Sequence[Sample],
    settings: TrainingSettings,
) -> Augmentation:
    """What the task takes for these samples, with the user's changes."""
    usual = task.augmentation(dataset, samples)
    if settings.spectrogram:
        usual |= UNTURNED
    return Augmentation.of(**{**usual, **settings.augmentation})


def _mirrored(
    model: ModelSettings, augmentation: Augmentation, settings: TrainingSettings
) -> ModelSettings:
    """The model with the mirrored images that it predicts too, where that is asked for.

    Raises:
        SettingsError: the head cannot do it, or training mirrors nothing.
    """
    if not settings.mirrors:
        return model
    if not HEADS[model.head].mirrors:
        able = enumerated([name for name in HEADS.names() if HEADS[name].mirrors])
        raise SettingsError(
            f"mirrors was asked for, and the head '{model.head}' cannot mirror its answers back; "
            f"leave mirrors out, or take a head that can ({able})"
        )
    copies = augmentation.mirrors(model.input.axes)
    if not copies:
        raise SettingsError(
            "mirrors was asked for, and the augmentation mirrors no image of the training; leave "
            "mirrors out, or set flip=true in the augmentation"
        )
    return model.model_copy(update={"mirrors": copies})


def fingerprint_of(
    task: Task[Any, Any], dataset: Dataset[Any], digests: Mapping[str, bytes] | None = None
) -> str:
    """SHA-256 over names, what is labelled, and the content of every image.

    The order of the samples, the format of the file and the split do not matter.

    Args:
        task: what is labelled.
        dataset: the labels, with the names in the order of the run.
        digests: SHA-256 of each image, where it is known already.
    """
    digest = hashlib.sha256("\0".join(dataset.names).encode())
    for sample in sorted(dataset.samples, key=lambda s: s.image):
        known = digests[sample.image] if digests else dataset.images.digest(sample.image)
        digest.update(known)
        digest.update(sample.image.encode())
        digest.update(task.stamp(sample))
    return digest.hexdigest()


def _usable(task: Task[Any, Any], dataset: Dataset[Any]) -> Dataset[Any]:
    """The labels that a run is made with.

    Raises:
        DataError: nothing is left of a split that the labels name: others would be drawn for it.
    """
    kept = task.usable(dataset)
    left = {sample.split for sample in kept.samples}
    for split in ("train", "val"):
        named = sum(sample.split == split for sample in dataset.samples)
        if named and split not in left:
            raise DataError(
                f"none of the {named} images of the split '{split}' has a label of {task.noun}; "
                "label some of them, or change the split"
            )
    return kept


def _summary(dataset: Dataset[Any], splits: Sequence[str], model: ModelSettings) -> str:
    counts = ", ".join(f"{splits.count(s):,} {s}" for s in SPLITS if s in splits)
    axes = len(dataset.samples[0].size)
    return (
        f"{len(dataset.samples):,} {IMAGES_OF[axes]} ({counts}), "
        f"{counted(len(dataset.names), dataset.what)}; "
        f"the network sees {sides_of(model.input.size)} at scale {model.input.scale:.3g}"
    )


def _measure(
    training: TrainingSet,
    network: Network[Any],
    settings: TrainingSettings,
    batch_size: int,
    device: torch.device,
) -> tuple[str, float]:
    """(precision, seconds of a step): the faster one, timed on copies that are thrown away.

    One with which the loss is no number is not taken where there is another.
    """
    order = Order(len(training), batch_size, settings.seed, start=0, stop=WARM_STEPS + TIMED)
    fast_memory()
    short_slices()
    for _ in Stream(training, order, 0):
        pass  # reads the images, which happens but once
    tried = ("float32", "bfloat16") if settings.precision == "auto" else (settings.precision,)
    seconds: dict[str, float] = {}
    faults: dict[str, bool] = {}
    for precision in tried:
        objective = Objective(copy.deepcopy(network), precision).to(device)
        shown = Stream(training, order, 0)
        seconds[precision], loss = _time_steps(objective, shown, settings, device)
        faults[precision] = not math.isfinite(loss)
        speed = batch_size / seconds[precision]
        refused = ": it is not taken" if faults[precision] and len(tried) > 1 else ""
        _LOG.info(f"{precision}: {speed:.1f} images/s, loss {loss:.3g}{refused}")
    best = min(seconds, key=lambda name: (faults[name], seconds[name]))
    return best, seconds[best]


def _time_steps(
    objective: Objective, shown: Stream, settings: TrainingSettings, device: torch.device
) -> tuple[float, float]:
    """(seconds of a step, last loss): the median of the steps after the warm-up.

    The loss is nan where a weight has become no number in the last step. By the clock, the trial is
    as short as the whole.
    """
    most = MEASURING * 60 * settings.max_minutes if settings.max_minutes else math.inf
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
        if len(taken) >= WARM_STEPS + LEAST_TIMED and sum(taken) > most:
            break
        started = time.monotonic()
    shown.close()
    sound = all(bool(torch.isfinite(weight).all()) for weight in objective.parameters())
    return statistics.median(taken[WARM_STEPS:]), value if sound else math.nan


def _rest(model: ModelSettings, samples: Sequence[Sample], seconds: float) -> float:
    """Seconds of training that a validation is worth, so that it takes a small share of them.

    Predicting takes a third of a training step's time for a pixel, and validation images are
    seen whole where training may see crops of them.

    Args:
        model: for scale and size.
        samples: the validation images.
        seconds: of training for an image.
    """
    training = math.prod(model.input.size)
    shown = sum(math.prod(shown_size(sample.size, model.input)) for sample in samples)
    return max(LEAST_REST, shown / training * seconds / 3 / VALIDATING)


def _resolved(
    settings: TrainingSettings, precision: str, seconds: float, rest: float
) -> TrainingSettings:
    """The settings with what was decided: precision, steps, steps between validations.

    By the clock, steps and validations are decided while they are taken.
    """
    decided: dict[str, Any] = {"precision": precision}
    if settings.max_minutes is None:
        steps = settings.max_steps or DEFAULT_STEPS
        every = settings.val_interval or _val_interval(steps, seconds, rest)
        decided |= {"max_steps": steps, "val_interval": every}
    return settings.model_copy(update=decided)


def _val_interval(steps: int, seconds: float, rest: float) -> int:
    """About `VALIDATIONS` in all, but neither so rare nor so frequent that the user minds."""
    least, most = (max(1, math.ceil(time / seconds)) for time in (rest, FIRST_IMAGE))
    return min(steps, max(least, min(most, math.ceil(steps / VALIDATIONS))))
