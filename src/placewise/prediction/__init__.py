"""Answer new images: a run and images in, tables and overlays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from placewise.devices import device_of
from placewise.errors import ImageError, SettingsError
from placewise.files import claim_folder, write_json
from placewise.formats import holds_arrays, read_dataset
from placewise.images import ImageArray, list_images
from placewise.labels import Files, Source
from placewise.model import ClassModel, KeypointModel
from placewise.prediction._answers import Answers
from placewise.prediction._classes import ClassAnswers, ClassPrediction, class_table, drawn
from placewise.prediction._keypoints import (
    KeypointAnswers,
    Prediction,
    as_labels,
    prediction,
    table,
)
from placewise.report.drawing import save_image
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
    images: Path,
    out: Path,
    *,
    device: str = "auto",
    overlays: int = 200,
    threshold: float = 0.5,
    tell: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
) -> list[Any]:
    """Answer images and write what was found.

    Writes `predictions.csv`, of keypoints also `predictions.coco.json` and
    `predictions.deeplabcut.csv`, `about.json`, and an overlay for each of the first images. A
    file that is not a readable image, or too large for a head that is tied to its size, is
    passed over and listed in `about.json`.

    Args:
        run: a trained run.
        images: an image, a folder that is searched with its subfolders, or arrays of
            images (.npz, idx).
        out: a new or empty folder.
        device: where the network runs.
        overlays: how many overlays are drawn at most.
        threshold: keypoints with a lower score are drawn hollow.
        tell: told what the user should know.
        progress: told (done, total).

    Returns:
        A `Prediction` or a `ClassPrediction` for each image.

    Raises:
        SettingsError: the folder for the results is in use.
        ImageError: there is no image, or none that can be answered.

    Example:
        >>> found = predict(Run.open(Path("my_run")), Path("new"), Path("out"))  # doctest: +SKIP
        >>> found[0].points.shape  # doctest: +SKIP
        (4, 2)
    """
    claim_folder(out, "")
    root, source, names = _listed(images)
    answers = answers_of(run, run.model(tell).to(device_of(device)), threshold)
    found: list[Any] = []
    skipped: list[dict[str, str]] = []
    out.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        try:
            image = source.read(name)
            found.append(answers.answer(name, image))
        except (ImageError, SettingsError) as error:
            skipped.append({"image": name, "reason": str(error)})
            continue
        if number < overlays:
            _draw(answers, image, found[-1], out / "overlays")
        if progress:
            progress(number + 1, len(names))
    if not found:
        raise ImageError(f"no image could be answered; {_first(skipped)}")
    answers.write(root, found, out)
    about: dict[str, Any] = {
        **answers.about(),
        "run": str(run.path),
        "versions": run.facts.versions,
        "images": len(found),
        "skipped": skipped,
    }
    write_json(out / "about.json", about)
    if skipped:
        many = f"{len(skipped):,} of {len(names):,} images"
        tell(f"{many} passed over; about.json names them; {_first(skipped)}")
    return found


def _first(skipped: Sequence[Mapping[str, str]]) -> str:
    """The first image that was passed over, and why."""
    return f"the first, {skipped[0]['image']}: {skipped[0]['reason']}"


def answers_of(
    run: Run, model: KeypointModel | ClassModel, threshold: float = 0.5
) -> Answers[Any, Any]:
    """What a run answers with its model."""
    if isinstance(model, KeypointModel):
        return KeypointAnswers(run, model, threshold)
    return ClassAnswers(run, model, threshold)


def _listed(images: Path) -> tuple[Path, Source, list[str]]:
    """Folder, source and names of the images that a path means."""
    if holds_arrays(images):
        labels = read_dataset(images)
        return labels.root, labels.images, [sample.image for sample in labels.samples]
    files = list_images(images)
    root = images if images.is_dir() else images.parent
    return root, Files(root), [file.relative_to(root).as_posix() for file in files]


def _draw(answers: Answers[Any, Any], image: ImageArray, one: Any, folder: Path) -> None:
    """An overlay beside the others; subfolders of the images become part of its name."""
    folder.mkdir(exist_ok=True)
    name = one.image.replace("/", "__") + ".png"
    save_image(folder / name, answers.overlay(image, one))
