"""To learn classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from placewise.data import ClassTrainingSet, ScaledImages, in_groups
from placewise.errors import SettingsError
from placewise.geometry import FloatArray
from placewise.labels import ClassDataset, ClassSample
from placewise.metrics import log_loss, temperature
from placewise.model import ClassModel
from placewise.report.drawing import sheet, to_png
from placewise.report.evidence import answered
from placewise.training._task import SHOWN, Task, Validation
from placewise.wording import percent


class Classes(Task[ClassSample, ClassModel]):
    """What images show: chosen by the log loss, calibrated by a temperature."""

    batch = 32
    validated = 512
    learning = ClassTrainingSet
    labels: ClassDataset

    def usable(self) -> ClassDataset:
        """Images whose class is known.

        Raises:
            SettingsError: there is none.
        """
        found = self.labels.labelled()
        if not found.samples:
            raise SettingsError("no image has a class; label some")
        return found

    def augmentation(self, samples: Sequence[ClassSample]) -> dict[str, Any]:
        """Mild changes, and no mirroring: a mirrored letter is another one, or none."""
        return {"flip": False, "rotate": 10.0, "scale": [0.85, 1.15], "shear": 5.0}

    def stamp(self, sample: ClassSample) -> bytes:
        """The class."""
        return f"{sample.label}\0".encode()

    def validate(
        self, model: ClassModel, images: ScaledImages, samples: Sequence[ClassSample]
    ) -> Validation:
        """Log loss and share of right answers."""
        truth = _truth(samples)
        shown = (images[index] for index in range(len(samples)))
        found = np.concatenate([model.probabilities(group) for group in in_groups(shown)])
        loss, right = log_loss(found, truth), float((found.argmax(1) == truth).mean())
        said = f"validation {100 * right:.1f} % right"
        log = {"val_log_loss": loss, "val_accuracy": right}
        return Validation(log, loss, said, self._preview(samples, found))

    def _preview(self, samples: Sequence[ClassSample], found: FloatArray) -> bytes:
        drawn, captions = [], []
        for sample, probabilities in zip(samples[:SHOWN], found[:SHOWN], strict=True):
            drawn.append(answered(self.labels.image(sample.image)))
            captions.append(_caption(self.labels.names, sample, probabilities))
        return to_png(sheet(drawn, captions))

    def calibrate(self, model: ClassModel, samples: Sequence[ClassSample]) -> dict[str, Any]:
        """The temperature that makes the probabilities of validation images honest."""
        images = ScaledImages(self.labels, samples, model.settings.input)
        shown = (images[index] for index in range(len(samples)))
        logits = torch.cat([model.logits(group) for group in in_groups(shown)]).cpu().numpy()
        return {"images": len(samples), "temperature": temperature(logits, _truth(samples))}


def _truth(samples: Sequence[ClassSample]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([sample.label for sample in samples], dtype=np.int64)


def _caption(names: Sequence[str], sample: ClassSample, probabilities: FloatArray) -> str:
    """The answer with its probability, and the truth where it is another."""
    answer = int(probabilities.argmax())
    said = f"{names[answer]} · {percent(float(probabilities[answer]))}"
    wrong = sample.label is not None and sample.label != answer
    return f"{said} (is {names[sample.label or 0]})" if wrong else said
