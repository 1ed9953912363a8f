"""The demo: a task makes images, learns from them, and shows what it has learnt.

What is made and how it is judged stands in the task's own folder; see `placewise.task.Demo`.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from placewise.errors import SettingsError
from placewise.evaluation import evaluate, scores_text
from placewise.formats import read_dataset, write_dataset
from placewise.labels import KeypointDataset
from placewise.prediction import predict
from placewise.progress import Display
from placewise.task import Demo
from placewise.tasks import TASKS, task_named
from placewise.training import train

BEGUN = 20
"""Images of the demo of labelling that are labelled."""

_log = logging.getLogger(__name__)


def run_demo(
    out: Path,
    *,
    task: str = "keypoints",
    minutes: float | None = None,
    seed: int = 0,
    images: int | None = None,
) -> dict[str, Any]:
    """Images, training, scores and predictions in one new folder, as `placewise demo` does.

    Args:
        out: new or empty folder; it gets `images/`, `run/`, and a folder of predictions.
        task: whose demo.
        minutes: length of the training; None: as long as the task needs.
        seed: everything that is drawn follows from it.
        images: number of images; None: as many as the task needs.

    Returns:
        The scores on the test images, what `metrics.json` holds.

    Raises:
        SettingsError: the task has no demo.
    """
    demo = demo_of(task)
    count, length = images or demo.images, minutes or demo.minutes
    data, run_folder, found = out / "images", out / "run", out / demo.results
    _log.info(f"1 of 4: {count} {demo.what}: {data}")
    dataset = read_dataset(demo.write(data, images=count, seed=seed), task=task)
    _log.info(f"2 of 4: training, about {length:g} min: {run_folder}")
    run = train(dataset, run_folder, max_minutes=length, seed=seed)
    _log.info("3 of 4: scores on images that were not trained on")
    with Display("images") as progress:
        scores = evaluate(run, dataset, out=run_folder / "evaluation", progress=progress)
    _log.info(scores_text(dataset, scores))
    _log.info(f"4 of 4: {demo.results} on all images: {found}")
    with Display("images") as progress:
        predict(run, data / "images", found, overlays=24, progress=progress)
    sentence, numbers = demo.said(run_folder / "evaluation" / "predictions.csv", dataset)
    _log.info(sentence)
    _log.info(f"images with their {demo.results}: {found / 'overlays'}")
    _log.info(f"report: {run_folder / 'evaluation' / 'report.html'}")
    _log.info(f"next, your own images: {data / 'README.txt'} describes a folder of them")
    return {**scores, **numbers}


def write_begun(out: Path, *, task: str = "keypoints", seed: int = 0, images: int = 60) -> Path:
    """Images of which the first 20 are labelled, as somebody has them who has begun to label.

    Args:
        out: new or empty folder.
        task: whose demo.
        seed: everything that is drawn follows from it.
        images: number of images.

    Returns:
        The folder, which holds `points.csv`.

    Raises:
        SettingsError: the task has no demo, or does not label keypoints.
    """
    table = demo_of(task).write(out, images=images, seed=seed)
    labels = read_dataset(table, task=task)
    if not isinstance(labels, KeypointDataset):
        raise SettingsError(f"the page labels keypoints, and '{task}' learns {labels.what}")
    begun = replace(labels, samples=labels.samples[:BEGUN], source=None)
    write_dataset(begun, table, "long_csv", overwrite=True, lossy=True)
    return out


def demo_of(task: str) -> Demo:
    """What a task shows.

    Raises:
        SettingsError: it has no demo.

    Example:
        >>> demo_of("keypoints").images
        600
    """
    demo = task_named(task).demo
    if demo is None:
        able = [name for name in TASKS.names() if TASKS[name].demo is not None]
        raise SettingsError(f"the task '{task}' has no demo; there are: {', '.join(able)}")
    return demo
