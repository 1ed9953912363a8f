"""Hold a run against labels: scores, and a report that a stranger can read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from placewise.checkpoint import write_json, write_text
from placewise.data import single
from placewise.errors import SettingsError
from placewise.formats import Labels, Sample
from placewise.geometry import FloatArray
from placewise.metrics import errors, mean_position_baseline, score_table
from placewise.model import decode_floor
from placewise.parallel import is_first
from placewise.pictures import read_picture
from placewise.predict import Prediction, prediction, table
from placewise.report.drawing import dots
from placewise.report.folder import check_folder
from placewise.report.html import RunReport, run_page
from placewise.report.text import scores_table
from placewise.run import Run

CARDS = 6
"""Best and worst pictures on the report, of each."""

CARD_SIDE = (360, 480)
"""Least and most pixels along the longer side of such a picture."""


def evaluate(
    run: Run,
    labels: Labels,
    *,
    split: str | None = None,
    out: Path | None = None,
    pck_pair: tuple[str, str] | None = None,
    device: str = "cpu",
    tell: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Score a run on labelled pictures and write metrics, predictions and a report.

    Args:
        run: a trained run.
        labels: the labels that it was trained on, or others with the same points.
        split: "train", "val" or "test"; None: test if there is one, else validation. Labels none
            of whose pictures the run has seen are taken whole, unless they have a split of their
            own.
        out: folder for the results, default `RUN/evaluation`; a former evaluation there is
            replaced, anything else is refused.
        pck_pair: two points whose distance is the unit of PCK; None: the picture's diagonal.
        device: where the network runs.
        tell: told what the user should know.
        progress: told (done, total).

    Returns:
        What `metrics.json` holds.

    Raises:
        SettingsError: other points, no picture in the split, or a folder in use.

    Example:
        >>> labels = read_labels("my_folder")  # doctest: +SKIP
        >>> evaluate(Run.open(Path("my_run")), labels)["mean_error_px"]  # doctest: +SKIP
        1.2
    """
    folder = out or run.path / "evaluation"
    check_folder(folder, "metrics.json")
    order = _order(run.facts.model.names, labels)
    split, samples = choose_samples(run, labels, split)
    truth, states = _truth(samples, labels, order)
    model = run.model(tell).to(torch.device(device))
    factor = run.radius_factor()
    found: list[Prediction] = []
    for number, sample in enumerate(samples):
        located = model.locate(read_picture(labels.root / sample.image))
        found.append(prediction(sample.image, sample.size, located, factor))
        if progress:
            progress(number + 1, len(samples))
    scores = _scores(run, found, truth, states, pck_pair)
    scores["split"] = split
    scores["decode_floor_px"] = decode_floor(model, samples, truth, states)
    scores["mean_position_baseline_px"] = _baseline(run, labels, order, samples, truth)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "metrics.json", {**scores, "pixel_convention": run.facts.pixel_convention})
    write_text(folder / "predictions.csv", table(run.facts.model.names, found))
    page = _page(run, labels, found, truth, scores)
    write_text(folder / "report.html", page)
    return scores


def _order(names: Sequence[str], labels: Labels) -> list[int]:
    """Where each point of the run stands in the labels."""
    missing = [name for name in names if name not in labels.names]
    if missing:
        raise SettingsError(
            f"the labels lack the points {', '.join(missing)} of the run; they have "
            f"{', '.join(labels.names)}: rename them"
        )
    return [labels.names.index(name) for name in names]


def choose_samples(run: Run, labels: Labels, split: str | None) -> tuple[str, tuple[Sample, ...]]:
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
        raise SettingsError(f"no labelled picture is in the split '{chosen}'; there are: {counts}")
    return chosen, by_split[chosen]


def _truth(
    samples: Sequence[Sample], labels: Labels, order: list[int]
) -> tuple[FloatArray, NDArray[np.int8]]:
    """(N, K, 2) points and (N, K) states in the order of the run's points."""
    pairs = [single(sample, labels.source) for sample in samples]
    points = np.stack([points for points, _ in pairs])[:, order]
    return points, np.stack([states for _, states in pairs])[:, order]


def _scores(
    run: Run,
    found: Sequence[Prediction],
    truth: FloatArray,
    states: NDArray[np.int8],
    pck_pair: tuple[str, str] | None,
) -> dict[str, Any]:
    return score_table(
        names=run.facts.model.names,
        sizes=np.array([one.size for one in found]),
        truth=truth,
        states=states,
        predicted=np.stack([one.points for one in found]),
        scores=np.stack([one.scores for one in found]),
        radii=np.stack([one.radii for one in found]),
        pck_pair=pck_pair,
    )


def _baseline(
    run: Run,
    labels: Labels,
    order: list[int],
    samples: Sequence[Sample],
    truth: FloatArray,
) -> float | None:
    """Error of always answering the training mean; None where the labels lack the training set."""
    images = set(run.facts.split["train"])
    trained = [sample for sample in labels.samples if sample.image in images]
    if not trained:
        return None
    points, _ = _truth(trained, labels, order)
    return mean_position_baseline(
        points,
        np.array([sample.size for sample in trained]),
        truth,
        np.array([sample.size for sample in samples]),
    )


def _page(
    run: Run,
    labels: Labels,
    found: Sequence[Prediction],
    truth: FloatArray,
    scores: dict[str, Any],
) -> str:
    off = errors(np.stack([one.points for one in found]), truth)
    mean = np.array([np.nanmean(row) if np.isfinite(row).any() else np.nan for row in off])
    ranked = [int(i) for i in np.argsort(mean) if np.isfinite(mean[i])]
    best = ranked[:CARDS]
    worst = [i for i in ranked[::-1][:CARDS] if i not in best]

    def card(index: int) -> tuple[str, NDArray[np.uint8]]:
        one = found[index]
        drawn = dots(
            read_picture(labels.root / one.image),
            one.points,
            run.facts.model.names,
            truth=truth[index],
            radii=one.radii,
            scores=one.scores,
            skeleton=run.facts.model.skeleton,
            crop=True,
            side=CARD_SIDE,
        )
        return f"{one.image}: mean error {mean[index]:.2f} px", drawn

    report = RunReport(
        title=run.path.resolve().name,
        verdict=verdict(scores),
        scores=scores,
        errors=off,
        log=run.log(),
        best=[card(i) for i in best],
        worst=[card(i) for i in worst],
        settings={"model": run.facts.model.model_dump(mode="json"), "training": run.facts.training},
        versions=run.facts.versions,
        fingerprint=run.facts.fingerprint,
        notes=[],
    )
    return run_page(report)


def report_training(run: Run, labels: Labels, *, quiet: bool = False) -> None:
    """Score a run that has just been trained on its validation pictures: `RUN/validation`.

    Under `torchrun` only the first process does so.
    """
    if not is_first():
        return
    folder = run.path / "validation"
    scores = evaluate(run, labels, split="val", out=folder)
    if not quiet:
        print(scores_table(scores))
        print(f"report: {folder / 'report.html'}")


def verdict(scores: dict[str, Any]) -> str:
    """The first sentence of a report: how far off the dots are, in words."""
    if scores["mean_error_px"] is None:
        return f"No located point on the {scores['pictures']} {scores['split']} pictures."
    baseline = scores["mean_position_baseline_px"]
    beside = f" (always answering the mean place: {baseline:.1f} px)" if baseline else ""
    mean, median = scores["mean_error_px"], scores["median_error_px"]
    kind = {"val": "validation", "train": "training"}.get(scores["split"], scores["split"])
    return (
        f"On {scores['pictures']} {kind} pictures the dots are {mean:.2f} px off on "
        f"average, half of them less than {median:.2f} px{beside}."
    )
