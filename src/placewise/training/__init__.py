"""Train a network: a dataset in, a run folder out.

The loop is an exact function of (dataset, settings): interrupted and resumed, with or without
worker processes, a run on a CPU ends in the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from placewise.devices import device_of
from placewise.errors import SettingsError
from placewise.files import claim_folder
from placewise.labels import Dataset
from placewise.parallel import check_batch, processes, rank, wait_for_all
from placewise.progress import Display
from placewise.run import FREE, Run
from placewise.tasks import check_head, task_of
from placewise.training.begin import begin
from placewise.training.dataset import TrainingSet
from placewise.training.loop import Callback, MetricFunction, Trainer
from placewise.training.settings import Precision, TrainingSettings, settings_of

__all__ = ["Callback", "MetricFunction", "Precision", "TrainingSet", "TrainingSettings", "train"]


def train(
    dataset: Dataset[Any],
    out: str | Path,
    settings: TrainingSettings | None = None,
    *,
    resume: bool = False,
    quiet: bool = False,
    callbacks: Sequence[Callback] = (),
    metrics: Sequence[MetricFunction] = (),
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
        **values: fields of `TrainingSettings`, e.g. `max_minutes=8`.

    Returns:
        The finished run.

    Raises:
        SettingsError: settings that are not allowed, or a folder that is in use.
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
    task, device = task_of(dataset), device_of(asked.device)
    head, batch_size = check_head(dataset, asked.head), asked.batch_size or task.batch_size
    with processes(device):
        check_batch(batch_size)
        claim_folder(out, "run.json", resume=resume)
        resumed = (out / "run.json").is_file()
        if resumed:
            _check_asked(asked, Run.open(out))
        elif rank() == 0:
            resolved = asked.model_copy(update={"batch_size": batch_size, "head": head})
            begin(task, dataset, out, resolved, device)
        wait_for_all()
        run = Run.open(out)
        trainer = Trainer(task, dataset, run, device, callbacks, metrics)
        if resumed:
            trainer.note_changes()
        with Display("steps", quiet or rank() > 0) as display:
            trainer.train(display)
        return run


def _check_asked(asked: TrainingSettings, run: Run) -> None:
    """Refuse settings that a resumed run would not take.

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
            f"{run.path} was begun with other settings: {'; '.join(other)}. A resumed run keeps "
            "those it was begun with; leave them out, or begin a new run with another --out"
        )
