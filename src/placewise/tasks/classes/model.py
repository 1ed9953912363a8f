"""Images in, probabilities of classes out, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from placewise.backbones.unet import LINEAR
from placewise.errors import SettingsError
from placewise.geometry import FloatArray, Size
from placewise.heads import ClassHead
from placewise.model import Network, padded_size
from placewise.tasks.classes.prediction import ClassPrediction
from placewise.wording import sides_of


class ClassModel(Network[ClassPrediction]):
    """A backbone and a head: images in, the probability of each class out.

    An image that is smaller than those of the training is laid into the middle of their size, as in
    training; a larger one is padded to a multiple of the backbone's.

    Args:
        backbone: images (batch, channels, *size) to features; any module.
        head: features to logits.
        names: of the classes; None: numbers.
        input: how images are brought to the network; None: as they are, in 0..1.
        padding: rule by which images are padded to a multiple of the backbone's stride.
        settings: what it was built from; None for a model that was put together by hand.

    Example:
        >>> from placewise.heads.convolutional import Convolutional
        >>> backbone = torch.nn.Conv2d(1, 8, 4, stride=4)
        >>> model = ClassModel(backbone, Convolutional(8, 2, (16, 16)), names=("cat", "dog")).eval()
        >>> model.predict(np.zeros((30, 40), np.uint8)).probabilities.shape
        (2,)
    """

    head: ClassHead
    answers: ClassVar[Mapping[str, str]] = {
        "probabilities": "(batch, classes) probability of each class"
    }

    @property
    def temperature(self) -> float:
        """What logits are divided by."""
        return float(self.calibration.get("temperature", 1.0))

    def decode(
        self, output: Tensor, shown: Size, sizes: Sequence[Size], images: Sequence[str]
    ) -> list[ClassPrediction]:
        """Classes from logits; see `Network.decode`."""
        logits = output.double().cpu().numpy()
        found = zip(images, sizes, logits, strict=True)
        return [ClassPrediction(self.names, i, s, one, self.temperature) for i, s, one in found]

    def read(self, output: Tensor, shown: Size) -> dict[str, Tensor]:
        """Probabilities; see `Network.read`."""
        return {"probabilities": torch.softmax(output / self.temperature, 1)}

    def pictured(self, image: NDArray[np.generic]) -> NDArray[np.generic]:
        """What evidence is drawn on: the image, or the spectrogram that the network sees of it."""
        return self.prepared(image)[..., :1] if self.input.spectrogram else image

    def evidence(self, image: NDArray[np.generic], label: int) -> FloatArray:
        """Where on an image the evidence for a class lies.

        e(p) = Σ_c f_c(p) · ∂z/∂f_c(p) at each place p of the features f, for the logit z of the
        class (HiResCAM, Draelos and Carin 2020): the exact share of each place in a logit that is
        linear in the features. Where the head averages the maps and nothing else, it is the class
        activation map of Zhou et al. (2016).

        Args:
            image: (*size, channels), as in `predict`.
            label: number of the class.

        Returns:
            (*size) in pixels of the image, or of its spectrogram; positive speaks for the class.
        """
        shown = self.prepared(image)
        size = shown.shape[:-1]
        margins = self.margins(size)
        with torch.no_grad():
            features = self.features(self.padding.pad(self.as_batch(shown), margins))
        features = features.detach().requires_grad_()
        with torch.enable_grad():
            logit = self.head(features)[0, label]
            (slope,) = torch.autograd.grad(logit, features)
        share = (features * slope).sum(1, keepdim=True).detach().float()
        whole = [before + side + after for side, (before, after) in zip(size, margins, strict=True)]
        cut = self._laid(share, tuple(whole))
        for axis, (side, (before, _)) in enumerate(zip(size, margins, strict=True), 2):
            cut = cut.narrow(axis, before, side)
        whole_size = size if self.input.spectrogram else image.shape[:-1]
        there = functional.interpolate(cut, size=whole_size, mode=LINEAR[len(size) - 1])
        found: FloatArray = there[0, 0].double().cpu().numpy()
        return found

    def _laid(self, maps: Tensor, size: Size) -> Tensor:
        """Maps at the scale of the padded image, in its middle: see `Backbone.aligned`."""
        mode = LINEAR[len(size) - 1]
        finer = functional.interpolate(maps, scale_factor=float(self.stride), mode=mode)
        spare = [side - had for side, had in zip(size, finer.shape[2:], strict=True)][::-1]
        return functional.pad(finer, [part for gap in spare for part in (gap // 2, gap - gap // 2)])

    def margins(self, size: Size) -> list[tuple[int, int]]:
        """Pixels to add on both sides of each axis; see `Network.margins`."""
        limits = self.input_size
        if not self.head.any_size and any(
            side > limit for side, limit in zip(size, limits, strict=True)
        ):
            raise SettingsError(
                f"the head {type(self.head).__name__} has weights for each place, so it takes only "
                f"images of up to {sides_of(limits)} at its scale; got "
                f"{sides_of(size)}. Make the image smaller, or train with the head "
                "'convolutional', which takes any size"
            )
        whole = padded_size(size, self.multiple)
        spare = [
            torch.sym_max(frame, long) - side  # type: ignore[no-untyped-call]  # also of a graph's
            for side, long, frame in zip(size, whole, limits, strict=True)
        ]
        return [(gap // 2, gap - gap // 2) for gap in spare]
