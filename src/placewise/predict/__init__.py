"""Answer new pictures: a run and pictures in, tables and overlays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from placewise.checkpoint import write_json
from placewise.errors import PictureError, SettingsError
from placewise.formats import Files, Source, holds_arrays, read_labels
from placewise.model import Classifier, Localiser, device_of
from placewise.pictures import Picture, list_pictures
from placewise.predict._answers import Answers
from placewise.predict._classes import ClassAnswers, ClassPrediction, class_table, drawn
from placewise.predict._dots import DotAnswers, Prediction, as_labels, prediction, table
from placewise.report.drawing import save_picture
from placewise.run import Run

__all__ = [
    "Answers",
    "ClassPrediction",
    "Prediction",
    "answers_of",
    "as_labels",
    "class_table",
    "drawn",
    "predict",
    "prediction",
    "table",
]


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
) -> list[Any]:
    """Answer pictures and write what was found.

    Writes `predictions.csv`, of dots also `predictions.coco.json` and
    `predictions.deeplabcut.csv`, `about.json`, and an overlay for each of the first pictures. A
    file that is not a readable picture, or too large for a head that is tied to its size, is
    passed over and listed in `about.json`.

    Args:
        run: a trained run.
        pictures: a picture, a folder that is searched with its subfolders, or arrays of
            pictures (.npz, idx).
        out: a new or empty folder.
        device: where the network runs.
        overlays: how many overlays are drawn at most.
        threshold: dots with a lower score are drawn hollow.
        tell: told what the user should know.
        progress: told (done, total).

    Returns:
        A `Prediction` or a `ClassPrediction` for each picture.

    Raises:
        SettingsError: the folder for the results is in use.
        PictureError: there is no picture, or none that can be answered.

    Example:
        >>> found = predict(Run.open(Path("my_run")), Path("new"), Path("dots"))  # doctest: +SKIP
        >>> found[0].points.shape  # doctest: +SKIP
        (4, 2)
    """
    _check_folder(out)
    root, source, names = _listed(pictures)
    answers = answers_of(run, run.model(tell).to(device_of(device)), threshold)
    found: list[Any] = []
    skipped: list[dict[str, str]] = []
    out.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        try:
            picture = source.read(name)
            found.append(answers.answer(name, picture))
        except (PictureError, SettingsError) as error:
            skipped.append({"image": name, "reason": str(error)})
            continue
        if number < overlays:
            _draw(answers, picture, found[-1], out / "overlays")
        if progress:
            progress(number + 1, len(names))
    if not found:
        raise PictureError(f"no picture could be answered; {_first(skipped)}")
    answers.write(root, found, out)
    about: dict[str, Any] = {
        **answers.about(),
        "run": str(run.path),
        "versions": run.facts.versions,
        "pictures": len(found),
        "skipped": skipped,
    }
    write_json(out / "about.json", about)
    if skipped:
        many = f"{len(skipped):,} of {len(names):,} pictures"
        tell(f"{many} passed over; about.json names them; {_first(skipped)}")
    return found


def _first(skipped: Sequence[Mapping[str, str]]) -> str:
    """The first picture that was passed over, and why."""
    return f"the first, {skipped[0]['image']}: {skipped[0]['reason']}"


def answers_of(
    run: Run, model: Localiser | Classifier, threshold: float = 0.5
) -> Answers[Any, Any]:
    """What a run answers with its model."""
    if isinstance(model, Localiser):
        return DotAnswers(run, model, threshold)
    return ClassAnswers(run, model, threshold)


def _listed(pictures: Path) -> tuple[Path, Source, list[str]]:
    """Folder, source and names of the pictures that a path means."""
    if holds_arrays(pictures):
        labels = read_labels(pictures)
        return labels.root, labels.pictures, [sample.image for sample in labels.samples]
    files = list_pictures(pictures)
    root = pictures if pictures.is_dir() else pictures.parent
    return root, Files(root), [file.relative_to(root).as_posix() for file in files]


def _draw(answers: Answers[Any, Any], picture: Picture, one: Any, folder: Path) -> None:
    """An overlay beside the others; subfolders of the pictures become part of its name."""
    folder.mkdir(exist_ok=True)
    name = one.image.replace("/", "__") + ".png"
    save_picture(folder / name, answers.overlay(picture, one))


def _check_folder(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"{out} is in use already; --out must name a new or empty folder")
