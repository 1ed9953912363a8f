"""The demo: a task makes images, learns from them, and shows what it has learnt.

What is made and how it is judged stands in the task's own folder; see `placewise.made.Demo`.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from placewise.errors import SettingsError
from placewise.evaluation import evaluate, scores_text
from placewise.formats import read_dataset, write_dataset
from placewise.labelling.project import HOME
from placewise.made import Demo
from placewise.prediction import predict
from placewise.progress import Display
from placewise.report.spoken import said
from placewise.tasks import TASKS, task_named
from placewise.training import train
from placewise.wording import IMAGES_OF, PIXELS_OF, enumerated

BEGUN = 20
"""Images of the demo of labelling that are labelled."""

_log = logging.getLogger(__name__)


def run_demo(
    out: Path,
    *,
    task: str = "keypoints",
    axes: int = 2,
    minutes: float | None = None,
    seed: int = 0,
    images: int | None = None,
) -> dict[str, Any]:
    """Images, training, scores and predictions in one new folder, as `placewise demo` does.

    Args:
        out: new or empty folder; it gets `images/`, `run/`, and a folder of predictions.
        task: whose demo.
        axes: 1 for recordings, 2 for images, 3 for volumes.
        minutes: length of the training; None: as long as the task needs.
        seed: everything that is drawn follows from it.
        images: number of images; None: as many as the task needs.

    Returns:
        The scores on the test images, what `metrics.json` holds.

    Raises:
        SettingsError: the task has no demo, or none of so many axes.
    """
    demo, several = demo_of(task, axes), IMAGES_OF[axes]
    made = demo.made[axes]
    count, length = images or made.count, minutes or made.minutes
    data, run_folder, found = out / several, out / "run", out / demo.results
    _log.info(f"1 of 4: {count} {made.what}: {data}")
    dataset = read_dataset(made.write(data, images=count, seed=seed), task=task)
    _log.info(f"2 of 4: training, about {length:g} min: {run_folder}")
    run = train(dataset, run_folder, max_minutes=length, seed=seed)
    _log.info(f"3 of 4: scores on {several} that were not trained on")
    with Display(several) as progress:
        scores = evaluate(run, dataset, out=run_folder / "evaluation", progress=progress)
    _log.info(scores_text(dataset, scores))
    _log.info(f"4 of 4: {demo.results} on all {several}: {found}")
    with Display(several) as progress:
        predict(run, data / several, found, overlays=24, progress=progress)
    sentence, numbers = demo.said(run_folder / "evaluation" / "predictions.csv", dataset)
    _log.info(said(sentence, PIXELS_OF[axes]))
    _log.info(f"{several} with their {demo.results}: {found / 'overlays'}")
    _log.info(f"report: {run_folder / 'evaluation' / 'report.html'}")
    _log.info(f"next, your own {several}: {data / 'README.txt'} describes a folder of them")
    return {**scores, **numbers}


def write_begun(out: Path, *, task: str = "keypoints", seed: int = 0, images: int = 60) -> Path:
    """Images of which the first 20 are labelled, as somebody has them who has begun to label.

    Args:
        out: new or empty folder, or one in which such images were labelled before.
        task: whose demo.
        seed: everything that is drawn follows from it.
        images: number of images.

    Returns:
        The folder, which holds `points.csv`.

    Raises:
        SettingsError: the task has no demo, or does not label keypoints.
    """
    if (out / HOME).is_dir():  # it was labelled before
        return out
    table = demo_of(task).made[2].write(out, images=images, seed=seed)
    labels: Any = read_dataset(table, task=task)
    if not labels.has_keypoints:
        raise SettingsError(f"the page labels keypoints, and '{task}' learns {labels.what}")
    begun = replace(labels, samples=labels.samples[:BEGUN], source=None)
    write_dataset(begun, table, "long_csv", overwrite=True, lossy=True)
    return out


def demo_of(task: str, axes: int = 2) -> Demo:
    """What a task shows.

    Args:
        task: its name.
        axes: 1 for recordings, 2 for images, 3 for volumes.

    Raises:
        SettingsError: it has no demo, or none of so many axes.

    Example:
        >>> demo_of("keypoints").made[2].count
        600
    """
    demo = task_named(task).demo
    if demo is None:
        able = [name for name in TASKS.names() if TASKS[name].demo is not None]
        raise SettingsError(f"the task '{task}' has no demo; there are: {', '.join(able)}")
    if axes not in demo.made:
        able = [name for name in TASKS.names() if (d := TASKS[name].demo) and axes in d.made]
        raise SettingsError(
            f"the demo of '{task}' makes {enumerated([IMAGES_OF[one] for one in demo.made])}; "
            f"{IMAGES_OF.get(axes, f'with {axes} axes')} are made for: {', '.join(able) or 'none'}"
        )
    return demo
