"""Picture in, dots out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from placewise.data import as_input, scaled_size
from placewise.errors import SettingsError
from placewise.formats import Sample, State
from placewise.geometry import FloatArray, Size, ratio_of, rescale
from placewise.heads import HEADS, DotHead, Dots
from placewise.metrics import errors
from placewise.model._network import Network


@dataclass(frozen=True)
class Located:
    """The dots on one picture.

    Attributes:
        points: (points, 2) of (x, y) in pixels of the picture.
        scores: (points,) probability that the point is on the picture.
        spreads: (points,) how far in pixels the model itself believes it may be off.
    """

    points: FloatArray
    scores: FloatArray
    spreads: FloatArray


class Localiser(Network):
    """A backbone and a head: a picture of any size in, dots out.

    Args:
        settings: what to build.

    Example:
        >>> from placewise.data import InputSettings
        >>> from placewise.model import ModelSettings
        >>> view = InputSettings(scale=1.0, frame=(32, 32), channels=1, mean=(0.5,), std=(0.2,))
        >>> settings = ModelSettings(names=("nose",), input=view, backbone_settings={"width": 16})
        >>> model = Localiser(settings).eval()
        >>> model.locate(np.zeros((45, 61, 1), np.uint8)).points.shape
        (1, 2)
    """

    head: DotHead

    def _head(self) -> DotHead:
        member: Any = HEADS[self.settings.head]
        built: DotHead = member(
            self.backbone.channels,
            len(self.settings.names),
            self.backbone.stride,
            self.frame,
            **self._head_settings(),
        )
        return built

    def answer(self, pictures: torch.Tensor) -> Dots:
        """Dots on pictures of one size, which may be any: they are padded here.

        Args:
            pictures: (batch, channels, height, width) in 0..1, at the network's scale.

        Raises:
            SettingsError: the head is tied to one size, and this is another.
        """
        size = (pictures.shape[-2], pictures.shape[-1])
        padded = self.padding.pad(pictures, self._margins(size))
        return self.head.dots(self(padded).float(), size)

    def _margins(self, size: Size) -> list[tuple[int, int]]:
        """Rows and columns to add at the bottom and the right."""
        if not self.head.any_size:
            if any(side > limit for side, limit in zip(size, self.frame, strict=True)):
                raise SettingsError(
                    f"the head '{self.settings.head}' flattens its features, so it answers only on "
                    f"pictures of up to {self.frame[1]}×{self.frame[0]} px at its scale; got "
                    f"{size[1]}×{size[0]} px. Make the picture smaller, or train with the head "
                    "'heatmap', which takes any size"
                )
            return [(0, limit - side) for side, limit in zip(size, self.frame, strict=True)]
        return [(0, -side % self.backbone.multiple) for side in size]

    @torch.inference_mode()
    def locate(self, picture: NDArray[np.generic]) -> Located:
        """Dots on one picture.

        Args:
            picture: (height, width, channels) uint8, uint16 or float in 0..1, of any size.
        """
        shown = as_input(picture, self.settings.input)
        return self.locate_scaled(shown, (picture.shape[0], picture.shape[1]))

    @torch.inference_mode()
    def locate_scaled(self, shown: NDArray[np.float32], size: Size) -> Located:
        """Dots on a picture that is at the network's scale already.

        Args:
            shown: (h, w, channels) in 0..1, what `as_input` gave.
            size: (height, width) of the picture that it was made of, in whose pixels to answer.
        """
        ratio = ratio_of((shown.shape[0], shown.shape[1]), size)
        dots = self.answer(self.as_batch(shown))
        return Located(
            rescale(dots.points[0].double().cpu().numpy(), ratio),
            dots.scores[0].double().cpu().numpy(),
            dots.spreads[0].double().cpu().numpy() * float(np.sqrt(ratio[0] * ratio[1])),
        )

    @torch.inference_mode()
    def reread(self, points: FloatArray, states: NDArray[np.int8], size: Size) -> FloatArray:
        """Points after they were written down as the head writes them and read off again.

        Their distance from the truth is the decode floor: no training can go below it.

        Args:
            points: (points, 2) in pixels of the picture.
            states: (points,) of `State`.
            size: (height, width) of the picture.
        """
        shown = scaled_size(size, self.settings.input.scale)
        margins = self._margins(shown)
        padded = (shown[0] + margins[0][1], shown[1] + margins[1][1])
        there = torch.from_numpy(rescale(points, ratio_of(size, shown)))[None].float()
        ideal = self.head.ideal(there, torch.from_numpy(states)[None], padded)
        read = self.head.dots(ideal, shown).points[0].double().numpy()
        return rescale(read, ratio_of(shown, size))


def decode_floor(
    model: Localiser, samples: Sequence[Sample], truth: FloatArray, states: NDArray[np.int8]
) -> float | None:
    """Mean error in px that is left when the truth is written down and read off again.

    Args:
        model: its head writes and reads.
        samples: N pictures, for their sizes.
        truth: (N, points, 2).
        states: (N, points) of `State`.

    Returns:
        The mean over the located points; None where there are none.
    """
    read = np.stack(
        [
            model.reread(points, known, sample.size)
            for sample, points, known in zip(samples, truth, states, strict=True)
        ]
    )
    off = errors(read, np.where((states >= State.HIDDEN)[..., None], truth, np.nan))
    known = off[np.isfinite(off)]
    return float(known.mean()) if len(known) else None
