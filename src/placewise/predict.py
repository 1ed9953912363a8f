"""Put dots on new pictures: a run and pictures in, tables and overlays out."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from placewise.checkpoint import write_json, write_text
from placewise.errors import PictureError, SettingsError
from placewise.formats import Labels, Sample, State
from placewise.formats.coco import write_predictions as write_coco
from placewise.formats.deeplabcut import write_predictions as write_deeplabcut
from placewise.geometry import FloatArray, Size
from placewise.model import Located, ModelSettings
from placewise.pictures import list_pictures, read_picture
from placewise.report.drawing import dots, save_picture
from placewise.run import Run

DECIMALS = 3
"""Decimals of the coordinates in files: a thousandth of a pixel."""


@dataclass(frozen=True)
class Prediction:
    """The dots on one picture file.

    Attributes:
        image: path relative to the folder of the pictures, with forward slashes.
        size: (height, width) of the picture.
        points: (points, 2) of (x, y) in pixels.
        scores: (points,) probability that the point is on the picture.
        radii: (points,) pixels within which 90 % of truths lie; NaN before calibration.
    """

    image: str
    size: Size
    points: FloatArray
    scores: FloatArray
    radii: FloatArray


def predict(
    run: Run,
    pictures: Path,
    out: Path,
    *,
    device: str = "cpu",
    overlays: int = 200,
    threshold: float = 0.5,
    tell: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
) -> list[Prediction]:
    """Put dots on a picture or a folder of pictures and write what was found.

    Writes `predictions.csv`, `predictions.coco.json`, `predictions.deeplabcut.csv`, `about.json`,
    and an overlay for each of the first pictures. A file that is not a readable picture is passed
    over and listed in `about.json`.

    Args:
        run: a trained run.
        pictures: a picture, or a folder that is searched with its subfolders.
        out: a new or empty folder.
        device: where the network runs.
        overlays: how many overlays are drawn at most.
        threshold: dots with a lower score are drawn hollow.
        tell: told what the user should know.
        progress: told (done, total).

    Raises:
        SettingsError: the folder for the results is in use.
        PictureError: there is no picture.

    Example:
        >>> found = predict(Run.open(Path("my_run")), Path("new"), Path("dots"))  # doctest: +SKIP
        >>> found[0].points.shape  # doctest: +SKIP
        (4, 2)
    """
    _check_folder(out)
    files = list_pictures(pictures)
    root = pictures if pictures.is_dir() else pictures.parent
    model = run.model(tell).to(torch.device(device))
    factor = run.radius_factor()
    found, skipped = [], []
    out.mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(files):
        name = file.relative_to(root).as_posix()
        try:
            picture = read_picture(file)
        except PictureError as error:
            skipped.append({"image": name, "reason": str(error)})
            continue
        located = model.locate(picture)
        size = (picture.shape[0], picture.shape[1])
        found.append(prediction(name, size, located, factor))
        if number < overlays:
            _overlay(picture, found[-1], run.facts.model, threshold, out / "overlays")
        if progress:
            progress(number + 1, len(files))
    _write(run, root, found, skipped, out)
    if skipped:
        tell(f"{len(skipped)} files were passed over; about.json says why")
    return found


def prediction(image: str, size: Size, located: Located, factor: float | None) -> Prediction:
    """Dots with their radii: the model's spread times the factor that calibration found."""
    radii = located.spreads * (np.nan if factor is None else factor)
    return Prediction(image, size, located.points, located.scores, radii)


def _check_folder(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"{out} is in use already; --out must name a new or empty folder")


def _overlay(
    picture: np.ndarray, one: Prediction, model: ModelSettings, threshold: float, folder: Path
) -> None:
    """An overlay beside the others; subfolders of the pictures become part of its name."""
    folder.mkdir(exist_ok=True)
    drawn = dots(
        picture,
        one.points,
        model.names,
        radii=one.radii,
        scores=one.scores,
        threshold=threshold,
        skeleton=model.skeleton,
        legend=True,
    )
    save_picture(folder / (one.image.replace("/", "__") + ".png"), drawn)


def table(names: Sequence[str], found: Sequence[Prediction]) -> str:
    """Predictions as long CSV: `image,point,x,y,score,r90`.

    Example:
        >>> one = Prediction("a.png", (4, 4), np.array([[1.0, 2.5]]), np.array([0.9]),
        ...                  np.array([np.nan]))
        >>> print(table(["nose"], [one]))
        image,point,x,y,score,r90
        a.png,nose,1.0,2.5,0.9,
        <BLANKLINE>
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "point", "x", "y", "score", "r90"])
    for one in found:
        rows = zip(names, one.points, one.scores, one.radii, strict=True)
        for name, (x, y), score, radius in rows:
            shown = [round(float(value), DECIMALS) for value in (x, y, score)]
            writer.writerow([one.image, name, *shown, _number(radius)])
    return text.getvalue()


def _number(value: float) -> str:
    return str(round(float(value), DECIMALS)) if np.isfinite(value) else ""


def as_labels(root: Path, model: ModelSettings, found: Sequence[Prediction]) -> Labels:
    """Predictions as labels: every dot visible."""
    samples = tuple(
        Sample(
            one.image,
            one.size,
            one.points[None].round(DECIMALS),
            np.full((1, len(one.points)), State.VISIBLE, np.int8),
        )
        for one in found
    )
    return Labels(root, model.names, samples, model.symmetry, model.skeleton)


def _write(
    run: Run, root: Path, found: list[Prediction], skipped: list[dict[str, str]], out: Path
) -> None:
    model = run.facts.model
    labels = as_labels(root, model, found)
    scores = [one.scores for one in found]
    write_text(out / "predictions.csv", table(model.names, found))
    write_coco(labels, scores, out / "predictions.coco.json")
    write_deeplabcut(labels, scores, out / "predictions.deeplabcut.csv")
    content: dict[str, Any] = {
        "pixel_convention": run.facts.pixel_convention,
        "run": str(run.path),
        "versions": run.facts.versions,
        "pictures": len(found),
        "r90": "pixels within which 90 % of truths lie, calibrated on validation pictures",
        "score": "probability that the point is on the picture",
        "skipped": skipped,
    }
    write_json(out / "about.json", content)
