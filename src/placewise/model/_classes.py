"""Image in, probabilities of classes out, and where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from placewise.data import as_input
from placewise.errors import SettingsError
from placewise.geometry import FloatArray, Size
from placewise.heads import HEADS, ClassHead
from placewise.model._network import Network


@dataclass(frozen=True)
class Classified:
    """What one image seems to show.

    Attributes:
        probabilities: (classes,) that sum to 1.
    """

    probabilities: FloatArray

    @property
    def answer(self) -> int:
        """Number of the likeliest class."""
        return int(self.probabilities.argmax())

    def ranked(self, most: int) -> list[int]:
        """Numbers of the likeliest classes, the likeliest first."""
        return [int(k) for k in np.argsort(-self.probabilities, kind="stable")[:most]]


class ClassModel(Network):
    """A backbone and a head: an image in, the probability of each class out.

    An image that is smaller than the frame of the training is laid into its middle, as in
    training; a larger one is padded to a multiple of the backbone's.

    Args:
        settings: what to build.

    Attributes:
        temperature: logits are divided by it; fitted on validation images (Guo et al. 2017).

    Example:
        >>> from placewise.data import InputSettings
        >>> from placewise.model import ModelSettings
        >>> view = InputSettings(scale=1.0, frame=(28, 28), channels=1, mean=(0.5,), std=(0.2,))
        >>> settings = ModelSettings(names=("cat", "dog"), input=view, head="convolutional",
        ...                          backbone_settings={"width": 16, "depth": 2})
        >>> model = ClassModel(settings).eval()
        >>> model.classify(np.zeros((30, 40, 1), np.uint8)).probabilities.shape
        (2,)
    """

    head: ClassHead
    temperature: float = 1.0

    def _head(self) -> ClassHead:
        member: Any = HEADS[self.settings.head]
        built: ClassHead = member(
            self.backbone.out_channels,
            len(self.settings.names),
            self.backbone.size(self.frame),
            **self._head_settings(),
        )
        return built

    def classify(self, image: NDArray[np.generic]) -> Classified:
        """What one image shows.

        Args:
            image: (height, width, channels) uint8, uint16 or float in 0..1, of any size.
        """
        return Classified(self.probabilities(as_input(image, self.settings.input))[0])

    def probabilities(self, shown: NDArray[np.float32]) -> FloatArray:
        """(batch, classes) of images at the network's scale, all of one size.

        Args:
            shown: (h, w, channels) or (batch, h, w, channels) in 0..1, what `as_input` gave.
        """
        logits = self.logits(shown) / self.temperature
        probabilities: FloatArray = torch.softmax(logits, -1).cpu().numpy()
        return probabilities

    @torch.inference_mode()
    def logits(self, shown: NDArray[np.float32]) -> torch.Tensor:
        """(batch, classes) float64, before the temperature; see `probabilities`."""
        batch = self.as_batch(shown)
        output: torch.Tensor = self(self.padding.pad(batch, self._margins(shown.shape[-3:-1])))
        return output.double()

    def evidence(self, image: NDArray[np.generic], label: int) -> FloatArray:
        """Where on an image the evidence for a class lies.

        e(p) = Σ_c f_c(p) · ∂z/∂f_c(p) at each place p of the features f, for the logit z of the
        class (HiResCAM, Draelos and Carin 2020): the exact share of each place in a logit that is
        linear in the features. Where the head averages the maps and nothing else, it is the class
        activation map of Zhou et al. (2016).

        Args:
            image: (height, width, channels), as in `classify`.
            label: number of the class.

        Returns:
            (height, width) in pixels of the image; positive speaks for the class.
        """
        shown = as_input(image, self.settings.input)
        size, margins = (shown.shape[0], shown.shape[1]), self._margins(shown.shape[-3:-1])
        with torch.no_grad():
            features = self.features(self.padding.pad(self.as_batch(shown), margins))
        features = features.detach().requires_grad_()
        with torch.enable_grad():
            logit = self.head(features)[0, label]
            (slope,) = torch.autograd.grad(logit, features)
        share = (features * slope).sum(1, keepdim=True).detach().float()
        (top, bottom), (left, right) = margins
        laid = self._laid(share, (top + size[0] + bottom, left + size[1] + right))
        cut = laid[..., top : top + size[0], left : left + size[1]]
        there = functional.interpolate(cut, size=image.shape[:2], mode="bilinear")
        found: FloatArray = there[0, 0].double().cpu().numpy()
        return found

    def _laid(self, maps: torch.Tensor, size: Size) -> torch.Tensor:
        """Maps at the scale of the padded image, in its middle: see `Backbone.aligned`."""
        finer = functional.interpolate(
            maps, scale_factor=float(self.backbone.stride), mode="bilinear"
        )
        spare = [size[axis] - finer.shape[2 + axis] for axis in (0, 1)]
        before = [gap // 2 for gap in spare]
        edges = (before[1], spare[1] - before[1], before[0], spare[0] - before[0])
        return functional.pad(finer, edges)

    def _margins(self, size: Sequence[int]) -> list[tuple[int, int]]:
        """Rows and columns to add on both sides."""
        if not self.head.any_size and any(
            side > limit for side, limit in zip(size, self.frame, strict=True)
        ):
            raise SettingsError(
                f"the head '{self.settings.head}' has weights for each place, so it answers only "
                f"on images of up to {self.frame[1]}×{self.frame[0]} px at its scale; got "
                f"{size[1]}×{size[0]} px. Make the image smaller, or train with the head "
                "'convolutional', which takes any size"
            )
        step = self.backbone.multiple
        spare = [
            max(frame, -(-side // step) * step) - side
            for side, frame in zip(size, self.frame, strict=True)
        ]
        return [(gap // 2, gap - gap // 2) for gap in spare]
