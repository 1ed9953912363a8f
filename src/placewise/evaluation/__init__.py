"""Hold a run against labels: scores, and a report that a stranger can read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from placewise.devices import device_of
from placewise.errors import SettingsError
from placewise.evaluation import _classes, _keypoints
from placewise.evaluation._classes import ClassScoring
from placewise.evaluation._keypoints import KeypointScoring
from placewise.evaluation._scoring import Scoring
from placewise.files import claim_folder, write_json, write_text
from placewise.labels import ClassDataset, Dataset, KeypointDataset, S
from placewise.parallel import is_first
from placewise.report.classes import class_sections
from placewise.report.keypoints import keypoint_sections
from placewise.report.parts import Report
from placewise.run import Run

__all__ = ["choose_samples", "evaluate", "report_training", "scores_text"]


def evaluate(
    run: Run,
    labels: Dataset[Any],
    *,
    split: str | None = None,
    out: Path | None = None,
    pck_pair: tuple[str, str] | None = None,
    device: str = "auto",
    tell: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Score a run on labelled images and write metrics, predictions and a report.

    Args:
        run: a trained run.
        labels: the labels that it was trained on, or others with the same points or classes.
        split: "train", "val" or "test"; None: test if there is one, else validation. Labels none
            of whose images the run has seen are taken whole, unless they have a split of their
            own.
        out: folder for the results, default `RUN/evaluation`; a former evaluation there is
            replaced, anything else is refused.
        pck_pair: two points whose distance is the unit of PCK; None: the image's diagonal.
        device: where the network runs.
        tell: told what the user should know.
        progress: told (done, total).

    Returns:
        What `metrics.json` holds.

    Raises:
        SettingsError: other points or classes, no image in the split, or a folder in use.

    Example:
        >>> labels = read_dataset("my_folder")  # doctest: +SKIP
        >>> evaluate(Run.open(Path("my_run")), labels)["mean_error_px"]  # doctest: +SKIP
        1.2
    """
    folder = out or run.path / "evaluation"
    claim_folder(folder, "metrics.json")
    if labels.task != run.facts.model.task:
        raise SettingsError(
            f"the run answers with {run.facts.model.task}, and {labels.source or 'the labels'} "
            f"hold {labels.what}; evaluate it on labels like those that it was trained on"
        )
    split, samples = choose_samples(run, labels, split)
    scoring = _scoring(run, labels, samples, pck_pair)
    model: Any = run.model(tell).to(device_of(device))
    scores = scoring.score(model, progress) | {"split": split}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "metrics.json", scores)
    write_text(folder / "predictions.csv", scoring.table())
    write_text(folder / "report.html", scoring.page(scores))
    return scores


def _scoring(
    run: Run,
    labels: Dataset[Any],
    samples: tuple[Any, ...],
    pck_pair: tuple[str, str] | None,
) -> Scoring[Any, Any]:
    if isinstance(labels, KeypointDataset):
        return KeypointScoring(run, labels, samples, pck_pair)
    if pck_pair is not None:
        raise SettingsError(
            "PCK is a score of keypoints, and this run answers with classes; leave --pck-pair out"
        )
    if isinstance(labels, ClassDataset):
        return ClassScoring(run, labels, samples)
    raise SettingsError(f"no scores are known for labels of {labels.what}")


def scores_text(scores: dict[str, Any]) -> str:
    """What `evaluate` returned, for the console."""
    classes = "confusion" in scores
    verdict = _classes.verdict(scores) if classes else _keypoints.verdict(scores)
    sections = class_sections(scores) if classes else keypoint_sections(scores)
    return Report("", verdict, sections).text()


def choose_samples(run: Run, labels: Dataset[S], split: str | None) -> tuple[str, tuple[S, ...]]:
    """(name of the split, its samples), as `evaluate` describes."""
    seen = {image: name for name, images in run.facts.split.items() for image in images}
    if not any(sample.image in seen for sample in labels.samples):
        seen = {s.image: s.split or "test" for s in labels.samples}
    by_split = {
        name: tuple(s for s in labels.samples if seen.get(s.image) == name)
        for name in ("train", "val", "test")
    }
    chosen = split or ("test" if by_split["test"] else "val")
    if not by_split.get(chosen):
        counts = ", ".join(f"{name} {len(found)}" for name, found in by_split.items())
        raise SettingsError(f"no labelled image is in the split '{chosen}'; there are: {counts}")
    return chosen, by_split[chosen]


def report_training(run: Run, labels: Dataset[Any], *, quiet: bool = False) -> None:
    """Score a run that has just been trained on its validation images: `RUN/validation`.

    Under `torchrun` only the first process does so.
    """
    if not is_first():
        return
    folder = run.path / "validation"
    scores = evaluate(run, labels, split="val", out=folder)
    if not quiet:
        print(scores_text(scores))
        print(f"report: {folder / 'report.html'}")
