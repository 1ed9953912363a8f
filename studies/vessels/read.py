"""A trained run on the test images: Dice, clDice, and recall of what is thin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from placewise.errors import SettingsError
from placewise.images import ImageArray
from placewise.labels import MaskDataset, MaskSample
from placewise.run import Run
from placewise.tasks.masks import scoring
from placewise.tasks.masks.model import MaskModel
from studies.vessels import material

WIDTH = 2
"""Pixels up to which a part is thin."""

MEASURES = {"dice": "Dice", "cldice": "clDice", "thin": f"recall of parts up to {WIDTH} px wide"}
"""What is measured, in %."""


def examined(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Scores of a run, over all pixels of the test images together.

    Args:
        settings: `run`, its folder; `data`, that of images and masks.

    Returns:
        `MEASURES` in %.

    Raises:
        SettingsError: scikit-image is missing, which finds the middle lines.
    """
    labels, model = material.labels_of(Path(settings["data"])), model_of(Path(settings["run"]))
    samples = tested(labels)
    found = [model.predict(labels.image(sample.image)) for sample in samples]
    scores = scoring.score(labels.names, [labels.mask(sample) for sample in samples], found)
    if scores["thin_recall"][str(WIDTH)] is None:
        raise SettingsError(
            "clDice and the recall of thin parts need scikit-image, which is not installed; run: "
            'pip install "placewise[masks]"'
        )
    values = {
        "dice": scores["dice"],
        "cldice": scores["cldice"],
        "thin": scores["thin_recall"][str(WIDTH)],
    }
    return {name: 100 * (value or 0.0) for name, value in values.items()}


def model_of(run: Path) -> MaskModel:
    """The trained model of a run."""
    model = Run.open(run).model(lambda words: None)
    if not isinstance(model, MaskModel):
        raise SettingsError(f"{run} does not answer with masks; the study needs such a run")
    return model


def tested(labels: MaskDataset) -> list[MaskSample]:
    """The test images."""
    return [sample for sample in labels.samples if sample.split == "test"]


def example(run: Path, data: Path) -> tuple[ImageArray, NDArray[Any], NDArray[Any]]:
    """(image, truth, found) of the test image with the most labelled pixels."""
    labels = material.labels_of(data)
    masks = {sample.image: labels.mask(sample) for sample in tested(labels)}
    image = max(masks, key=lambda name: int((masks[name] > 0).sum()))
    pixels = labels.image(image)
    return pixels, masks[image], model_of(run).predict(pixels).mask
