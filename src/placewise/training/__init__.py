"""Train a network: a dataset in, a run folder out.

The loop is an exact function of (dataset, settings, places of the schedule): interrupted and
resumed, with or without worker processes, a run on a CPU ends in the same bits. By steps, the
places follow from the settings; by the clock, the run records them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from placewise.devices import device_of
from placewise.errors import SettingsError
from placewise.files import claim_folder
from placewise.labels import Dataset
from placewise.ownership import Writer, writing
from placewise.parallel import any_process, check_batch, processes, rank, wait_for_all
from placewise.progress import Display
from placewise.run import FREE, Run
from placewise.tasks import check_head, task_of
from placewise.training.begin import begin
from placewise.training.dataset import TrainingSet
from placewise.training.loop import Callback, MetricFunction, Trainer
from placewise.training.schedule import Clock, places_of
from placewise.training.settings import Precision, TrainingSettings, settings_of

__all__ = [
    "Callback",
    "Clock",
    "MetricFunction",
    "Precision",
    "TrainingSet",
    "TrainingSettings",
    "train",
]


def train(
    dataset: Dataset[Any],
    out: str | Path,
    settings: TrainingSettings | None = None,
    *,
    resume: bool = False,
    quiet: bool = False,
    callbacks: Sequence[Callback] = (),
    metrics: Sequence[MetricFunction] = (),
    repeat: str | Path | None = None,
    clock: Clock | None = None,
    **values: Any,
) -> Run:
    """Train on a dataset and write a run folder.

    Args:
        dataset: what `read_dataset` returned.
        out: the run folder; it must be new or empty unless `resume`.
        settings: how to train; None: as `values` say, and defaults.
        resume: continue the run where it was; where there is none yet, begin it.
        quiet: show no progress. Messages are logged to the logger "placewise" anyway.
        callbacks: called with every line of the log, a mapping with `step`, `steps`, and `loss`
            and `images_per_second`, or the scores of a validation.
        metrics: functions of (validation samples, predictions) that return more numbers for the
            log, by name.
        repeat: a finished run that is trained once more on the same labels, with its settings and,
            where it went by the clock, at the places of its schedule: on the same number of cores
            it ends in the same bits.
        clock: when the minutes began; None: now.
        **values: fields of `TrainingSettings`, e.g. `max_minutes=8`.

    Returns:
        The finished run.

    Raises:
        SettingsError: settings that are not allowed, a folder that is in use, or one that was
            removed during the training.
        DataError: labels from which nothing can be learnt, or other labels than the run's.
        TrainingError: the loss is not a number; the message names the images.
        Interrupted: SIGTERM or SIGINT came; a checkpoint has been written.

    Example:
        >>> dataset = read_dataset("my_folder")  # doctest: +SKIP
        >>> run = train(dataset, "my_run", max_minutes=8)  # doctest: +SKIP
    """
    if settings is not None and values:
        raise SettingsError(
            f"got settings and {', '.join(values)}; give either TrainingSettings or single values"
        )
    asked, out = settings or TrainingSettings.of(**values), Path(out)
    for given in (callbacks, metrics):
        if not (isinstance(given, Sequence) and all(map(callable, given))):
            raise SettingsError(f"got {given!r}; callbacks and metrics are lists of functions")
    former, places = None if repeat is None else Run.open(repeat), None
    if former is not None:
        asked, places = _again(asked, former), places_of(former)
    clock, device = clock or Clock(), device_of(asked.device)
    task = task_of(dataset)
    head, batch_size = check_head(dataset, asked.head), asked.batch_size or task.batch_size
    resolved = asked.model_copy(update={"batch_size": batch_size, "head": head})
    with processes(device), _sole_writer(out, batch_size, resume, device) as writer:
        resumed = any_process(writer is not None and (out / "run.json").is_file(), device)
        if resumed:
            _check_asked(asked, Run.open(out))
        elif rank() == 0:
            begin(task, dataset, out, resolved, device, places, writer)
        wait_for_all()
        run = Run.open(out)
        if former is not None:
            _check_same(run, former)
        trainer = Trainer(task, dataset, run, device, callbacks, metrics, clock, writer)
        if resumed:
            trainer.note_changes()
        with Display("steps", quiet or rank() > 0) as display:
            trainer.train(display)
        return run


@contextlib.contextmanager
def _sole_writer(
    out: Path, batch_size: int, resume: bool, device: torch.device
) -> Iterator[Writer | None]:
    """The right to write into the folder of a run; of several processes the first one has it.

    Raises:
        SettingsError: the folder is in use, or another training writes into it.
    """
    check_batch(batch_size)
    claim_folder(out, "run.json", resume=resume)
    wait_for_all()
    with contextlib.ExitStack() as held:
        writer, refused = None, None
        if rank() == 0:
            try:
                writer = held.enter_context(writing(out, "run.json"))
                claim_folder(out, "run.json", resume=resume)  # another may just have finished there
            except SettingsError as error:
                refused = error
        if any_process(refused is not None, device):
            raise refused or SettingsError(f"the first process may not write into {out}")
        yield writer


def _again(asked: TrainingSettings, former: Run) -> TrainingSettings:
    """The settings of a run that is repeated; those that change nothing may be others.

    Raises:
        SettingsError: others were asked for.
    """
    _check_asked(asked, former, "repeated")
    free = {name: getattr(asked, name) for name in FREE & asked.model_fields_set}
    return settings_of(former).model_copy(update=free)


def _check_same(run: Run, former: Run) -> None:
    """Refuse to repeat a run on labels from which another network or split follows.

    Raises:
        SettingsError: names what differs.
    """
    if run.stamp == former.stamp:
        return
    held, found = former.facts.model_dump(mode="json"), run.facts.model_dump(mode="json")
    free = ("versions", "data")
    names = [name for name in held if held[name] != found[name] and name not in free]
    raise SettingsError(
        f"{former.path} cannot be repeated with these labels: {', '.join(names)} would be another; "
        f"give the labels and images that it was trained on, and remove {run.path}"
    )


def _check_asked(asked: TrainingSettings, run: Run, verb: str = "resumed") -> None:
    """Refuse settings that a resumed or repeated run would not take.

    Raises:
        SettingsError: names them.
    """
    given = asked.model_dump(mode="json", include=asked.model_fields_set - FREE)
    held = settings_of(run).model_dump(mode="json")
    other = []
    for name, value in given.items():
        if isinstance(value, dict):
            same = all(held.get(name, {}).get(k) == v for k, v in value.items())
        else:
            same = value in (None, "auto", held.get(name))
        if not same:
            other.append(f"{name}={value} (the run has {held.get(name)})")
    if other:
        raise SettingsError(
            f"{run.path} was begun with other settings: {'; '.join(other)}. A {verb} run keeps "
            "those it was begun with; leave them out, or begin a new run with another --out"
        )
