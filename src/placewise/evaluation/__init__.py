"""Hold a model against labels: scores, and a report that a stranger can read."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from placewise.devices import fast_memory
from placewise.errors import DataError, SettingsError
from placewise.files import claim_folder, make_folder, write_json, write_text
from placewise.labels import SPLITS, Dataset, of_split
from placewise.model import Network, batches_of, unlike
from placewise.run import Run, image_digest, load_model
from placewise.task import Progress, RunInfo, Scored, Task
from placewise.tasks import task_of
from placewise.wording import PIXELS_OF

__all__ = ["Chosen", "choose_samples", "evaluate", "scores_text"]

LOOKED_AT = 16
"""Images that are held against those of the training."""

_LOG = logging.getLogger("placewise")


def evaluate(
    model: str | Path | Run | Network[Any],
    dataset: Dataset[Any],
    *,
    split: str | None = None,
    out: str | Path | None = None,
    pck_pair: tuple[str, str] | None = None,
    tolerance: float | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score a model on labelled images.

    Args:
        model: a run or its folder, a model that `load_model` returned, which knows its run, or one
            that you have built, to which all images are new.
        dataset: the labels that it was trained on, or others with the same names.
        split: "train", "val" or "test"; None: test if there is one, else validation. Images are
            recognised by their content: of labels that the run was trained on, its own split is
            taken, and images that it has never seen count as test images.
        out: folder for metrics.json, predictions.csv and report.html; a former evaluation there is
            replaced, anything else is refused. Nothing is written without it.
        pck_pair: two keypoints whose distance is the unit of PCK; None: the image's diagonal.
        tolerance: pixels within which a found spot is a labelled one; None: that of the training.
        device: where a run's network runs; a model stays where it is.
        progress: called with (done, total).

    Returns:
        What `metrics.json` holds.

    Raises:
        SettingsError: a folder in use, or an option that this task does not have.
        DataError: other names than the model's, or no image in the split.

    Example:
        >>> dataset = read_dataset("my_folder")  # doctest: +SKIP
        >>> evaluate("my_run", dataset, split="test")["mean_error_px"]  # doctest: +SKIP
        1.2
    """
    fast_memory()
    run = model.run if isinstance(model, Network) else _opened(model)
    if out is not None:
        claim_folder(Path(out), "metrics.json")
    task = task_of(dataset)
    given = {"pck_pair": pck_pair, "tolerance": tolerance}
    options = {name: value for name, value in given.items() if value is not None}
    _check(task, dataset, run, model, options)
    network = model if isinstance(model, Network) else load_model(run or model, device)
    dataset = dataset.ordered(network.names)
    chosen = choose_samples(run, dataset, split)
    few = chosen.samples[:: -(-len(chosen.samples) // LOOKED_AT)]
    for note in (*chosen.notes, *unlike((dataset.image(s.image) for s in few), network.input)):
        _LOG.warning(note)
    found = _predicted(network, dataset, chosen.samples, progress)
    held = Scored(network, dataset, chosen.samples, found, options, chosen.training)
    scores = task.score(held) | {"split": chosen.split}
    if (axes := network.input.image_axes) != 2:
        scores |= {"unit": PIXELS_OF[axes]}
    if out is not None:
        _write(task, held, scores, run, Path(out))
    return scores


def _opened(run: str | Path | Run) -> Run:
    return run if isinstance(run, Run) else Run.open(run)


def _check(
    task: Task[Any, Any],
    dataset: Dataset[Any],
    run: Run | None,
    model: Any,
    options: Mapping[str, Any],
) -> None:
    """Refuse labels of another task, and options that this one does not have."""
    answers = run.facts.model.task if run else model.head.task
    if dataset.task != answers:
        raise DataError(
            f"the model predicts {answers}, and {dataset.source or 'the labels'} hold "
            f"{dataset.what}; evaluate it on labels like those that it was trained on"
        )
    unknown = sorted(set(options) - task.options)
    if unknown:
        raise SettingsError(
            f"{', '.join(unknown)}: this is no option for {task.noun}; leave it out"
        )


@dataclass(frozen=True)
class Chosen:
    """The samples that are scored.

    Attributes:
        split: name of the split.
        samples: its samples.
        training: samples of these labels that the run was trained on.
        notes: what the user should know, a line each.
    """

    split: str
    samples: tuple[Any, ...]
    training: tuple[Any, ...] = ()
    notes: tuple[str, ...] = ()


def choose_samples(run: Run | None, dataset: Dataset[Any], split: str | None) -> Chosen:
    """Which samples are scored, as `evaluate` describes.

    Args:
        run: the run; None for a model that belongs to none: it has seen nothing.
        dataset: the labels.
        split: asked for; None: test if there is one, else validation.

    Raises:
        DataError: no sample is in the split.
    """
    seen = _seen(run, dataset) if run else {}
    splits = [seen.get(s.image) or s.split or "test" for s in dataset.samples]
    parts = {name: of_split(dataset, splits, name) for name in SPLITS}
    chosen = split or ("test" if parts["test"] else "val")
    if not parts.get(chosen):
        counts = ", ".join(f"{name} {len(found)}" for name, found in parts.items())
        raise DataError(f"no labelled image is in the split '{chosen}'; there are: {counts}")
    training = tuple(s for s in dataset.samples if seen.get(s.image) == "train")
    notes = _notes(run, dataset, seen) if run else ()
    return Chosen(chosen, parts[chosen], training, notes)


def _seen(run: Run, dataset: Dataset[Any]) -> dict[str, str]:
    """The run's split of each labelled image that it has seen, whatever its name is now.

    Of copies in several splits, the one of the same name counts, else the one it has learnt most
    from.
    """
    of_name = {name: split for split, names in run.facts.split.items() for name in names}
    held = {name: key for name, key in run.images().items() if name in of_name}
    by_use = sorted(held, key=lambda name: -SPLITS.index(of_name[name]))
    of_content = {held[name]: of_name[name] for name in by_use}
    keys = {s.image: image_digest(dataset.images.digest(s.image)) for s in dataset.samples}
    return {
        image: of_name[image] if held.get(image) == key else of_content[key]
        for image, key in keys.items()
        if key in of_content
    }


def _notes(run: Run, dataset: Dataset[Any], seen: Mapping[str, str]) -> tuple[str, ...]:
    """What the user should know of images that the run has not seen."""
    names = {name for names in run.facts.split.values() for name in names}
    new = [sample.image for sample in dataset.samples if sample.image not in seen]
    other = sum(image in names for image in new)
    notes = []
    if new and seen:
        notes.append(
            f"{len(new):,} of {len(dataset.samples):,} labelled images are new to the run: they "
            "belong to the split that the labels name, or to the test images"
        )
    if other:
        notes.append(
            f"{other:,} images have names that the run knows, but other content: they are scored "
            "as new images"
        )
    return tuple(notes)


def _predicted(
    network: Network[Any], dataset: Dataset[Any], samples: Sequence[Any], progress: Progress | None
) -> list[Any]:
    """A prediction for each sample."""
    step = dataset.images.spacing
    images = ((s.image, dataset.image(s.image)) for s in samples)
    items = ((name, image, network.prepared(image, step(name), name)) for name, image in images)
    found: list[Any] = []
    for names, held in batches_of(items, 1):
        shown = np.stack([scaled for _, scaled in held])
        sizes = [image.shape[:-1] for image, _ in held]
        found += network.predict_scaled(shown, sizes, names)
        if progress:
            progress(len(found), len(samples))
    return found


def _write(
    task: Task[Any, Any],
    held: Scored[Any, Any],
    scores: Mapping[str, Any],
    run: Run | None,
    folder: Path,
) -> None:
    """metrics.json, predictions.csv and report.html."""
    make_folder(folder)
    write_json(folder / "metrics.json", dict(scores))
    for one, sample in zip(held.found, held.samples, strict=True):
        task.save(one, folder, held.dataset.root / sample.image)
    task.save_all(held, folder)
    write_text(folder / "predictions.csv", _table(task, held))
    write_text(folder / "report.html", task.report(scores, held, _info(run, held.model)).html())


def _table(task: Task[Any, Any], held: Scored[Any, Any]) -> str:
    """Predictions as CSV, with what the labels say."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    more, _ = task.truth_cells(held.dataset, held.samples[0])
    writer.writerow([*task.header(held.model), *more])
    for sample, one in zip(held.samples, held.found, strict=True):
        _, cells = task.truth_cells(held.dataset, sample)
        writer.writerows([*row, *cells] for row in one.rows())
    return text.getvalue()


def _info(run: Run | None, model: Any) -> RunInfo:
    if run is None:
        return RunInfo(type(model).__name__, (), {}, {}, "")
    facts = run.facts
    settings = {"model": facts.model.model_dump(mode="json"), "training": facts.training}
    title = run.path.resolve().name
    return RunInfo(title, run.log(), settings, facts.versions, facts.fingerprint)


def scores_text(dataset: Dataset[Any], scores: Mapping[str, Any]) -> str:
    """What `evaluate` returned, for the console."""
    return task_of(dataset).report(scores).text()
