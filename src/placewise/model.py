"""Backbone and head joined: picture in, dots out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import nn

from placewise.backbones import BACKBONES, Backbone
from placewise.backbones.unet import enough_depth
from placewise.data import PIXELS, InputSettings, as_input, choose_input, object_extent, scaled_size
from placewise.errors import SettingsError
from placewise.family import Setting, complete_settings
from placewise.formats import Labels, Sample, State
from placewise.geometry import FloatArray, Size, ratio_of, rescale
from placewise.heads import HEADS, DotHead, Dots
from placewise.metrics import errors
from placewise.paddings import PADDINGS

Settings = dict[str, Setting]


class ModelSettings(BaseModel):
    """Everything that a model is built from; stands in the run and refuses unknown keys.

    Attributes:
        names: the points' names.
        symmetry: pairs of names that change places when a picture is mirrored.
        skeleton: pairs of names that are drawn joined.
        input: how pictures are brought to the network.
        backbone: member of `BACKBONES`.
        backbone_settings: keywords of its constructor.
        head: member of `HEADS`.
        head_settings: keywords of its constructor.
        padding: rule by which a picture is padded to a multiple of the backbone's stride.

    Example:
        >>> view = InputSettings(scale=0.5, frame=(32, 32), channels=1, mean=(0.5,), std=(0.2,))
        >>> ModelSettings(names=("nose",), input=view).head
        'heatmap'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: tuple[str, ...]
    symmetry: tuple[tuple[str, str], ...] = ()
    skeleton: tuple[tuple[str, str], ...] = ()
    input: InputSettings
    backbone: str = "unet"
    backbone_settings: Settings = {}
    head: str = "heatmap"
    head_settings: Settings = {}
    padding: str = "replicate"


SIGMA = 1.5
"""Standard deviation of soft labels in map pixels, for objects that are not small."""

SMALL = 0.025
"""σ in map pixels for a pixel of the object's extent, where that is less than `SIGMA`."""


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


class Localiser(nn.Module):
    """A backbone and a head: a picture of any size in, dots out.

    Args:
        settings: what to build.

    Example:
        >>> from placewise.data import InputSettings
        >>> view = InputSettings(scale=1.0, frame=(32, 32), channels=1, mean=(0.5,), std=(0.2,))
        >>> settings = ModelSettings(names=("nose",), input=view, backbone_settings={"width": 16})
        >>> model = Localiser(settings).eval()
        >>> model.locate(np.zeros((45, 61, 1), np.uint8)).points.shape
        (1, 2)
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        self.padding = PADDINGS[settings.padding]()
        self.backbone = self._backbone()
        self.head = self._head()
        self.register_buffer("mean", torch.tensor(settings.input.mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(settings.input.std).view(-1, 1, 1))
        self.mean: torch.Tensor
        self.std: torch.Tensor

    def _backbone(self) -> Backbone:
        member: Any = BACKBONES[self.settings.backbone]
        settings = complete_settings(member, "backbone", self.settings.backbone_settings)
        built: Backbone = member(self.settings.input.channels, **settings)
        return built

    def _head(self) -> DotHead:
        member: Any = HEADS[self.settings.head]
        settings = complete_settings(member, "head", self.settings.head_settings)
        built: DotHead = member(
            self.backbone.channels,
            len(self.settings.names),
            self.backbone.stride,
            self.frame,
            **settings,
        )
        return built

    @property
    def frame(self) -> Size:
        """(height, width) of the training pictures, padded to a multiple of the backbone's."""
        height, width = self.settings.input.frame
        step = self.backbone.multiple
        return -(-height // step) * step, -(-width // step) * step

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Raw output of the head.

        Args:
            pictures: (batch, channels, height, width) in 0..1, sides multiples of the backbone's.
        """
        output: torch.Tensor = self.head(self.backbone((pictures - self.mean) / self.std))
        return output

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
        batch = torch.from_numpy(shown).permute(2, 0, 1)[None].to(self.mean.device)
        dots = self.answer(batch.contiguous(memory_format=torch.channels_last))
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


def choose_model(
    labels: Labels,
    samples: Sequence[Sample],
    *,
    seed: int = 0,
    pixels: int = PIXELS,
    backbone: str = "unet",
    backbone_settings: Settings | None = None,
    head: str = "heatmap",
    head_settings: Settings | None = None,
) -> ModelSettings:
    """Model settings for these data, complete: scale, frame, depth and σ are chosen.

    The depth of the U-Net is enough to see the whole object. σ is `SIGMA` pixels of the map, or
    less, down to 1, where the object is so small that its points lie within a few σ.

    Args:
        labels: the labels, for names, symmetry and skeleton.
        samples: the training samples.
        seed: which pictures are looked at for mean and contrast.
        pixels: of the median picture after scaling.
        backbone: member of `BACKBONES`.
        backbone_settings: what is set; the rest is chosen or the backbone's default.
        head: member of `HEADS`.
        head_settings: what is set; the rest is chosen or the head's default.
    """
    unscaled = object_extent(samples)
    whole = not getattr(HEADS[head], "windows", True)
    view = choose_input(labels, samples, unscaled, seed, pixels, whole=whole)
    extent = (unscaled or 0.0) * view.scale
    of_backbone = complete_settings(BACKBONES[backbone], "backbone", backbone_settings or {})
    of_head = complete_settings(HEADS[head], "head", head_settings or {})
    if backbone == "unet" and "depth" not in (backbone_settings or {}):
        of_backbone["depth"] = enough_depth(view.frame, extent)
    if "sigma" in of_head and "sigma" not in (head_settings or {}) and extent:
        of_head["sigma"] = float(np.clip(round(SMALL * extent, 2), 1.0, SIGMA))
    return ModelSettings(
        names=labels.names,
        symmetry=labels.symmetry,
        skeleton=labels.skeleton,
        input=view,
        backbone=backbone,
        backbone_settings=of_backbone,
        head=head,
        head_settings=of_head,
    )


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
