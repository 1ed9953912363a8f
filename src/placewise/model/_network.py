"""What localiser and classifier share: backbone, head, normalisation, padding and frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import nn

from placewise.backbones import BACKBONES, Backbone
from placewise.data import InputSettings
from placewise.family import Setting, complete_settings
from placewise.geometry import Size
from placewise.heads import HEADS, Head
from placewise.paddings import PADDINGS

Settings = dict[str, Setting]


class ModelSettings(BaseModel):
    """Everything that a model is built from; stands in the run and refuses unknown keys.

    Attributes:
        names: of the points, or of the classes.
        symmetry: pairs of names that change places when an image is mirrored.
        skeleton: pairs of names that are drawn joined.
        input: how images are brought to the network.
        backbone: member of `BACKBONES`.
        backbone_settings: keywords of its constructor.
        head: member of `HEADS`.
        head_settings: keywords of its constructor.
        padding: rule by which an image is padded to a multiple of the backbone's stride.

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

    @property
    def task(self) -> str:
        """What the head answers."""
        return HEADS[self.head].task


class Network(nn.Module, ABC):
    """A backbone and a head: images in, what the head makes of them out.

    Args:
        settings: what to build.
    """

    head: Head

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

    @abstractmethod
    def _head(self) -> Head:
        """The head that the settings name."""

    def _head_settings(self) -> dict[str, Setting]:
        return complete_settings(HEADS[self.settings.head], "head", self.settings.head_settings)

    @property
    def frame(self) -> Size:
        """(height, width) of the training images, padded to a multiple of the backbone's."""
        height, width = self.settings.input.frame
        step = self.backbone.multiple
        return -(-height // step) * step, -(-width // step) * step

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Feature maps that the head reads.

        Args:
            images: (batch, channels, height, width) in 0..1, sides multiples of the backbone's.
        """
        maps: torch.Tensor = self.backbone((images - self.mean) / self.std)
        return maps

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Raw output of the head.

        Args:
            images: (batch, channels, height, width) in 0..1, sides multiples of the backbone's.
        """
        output: torch.Tensor = self.head(self.features(images))
        return output

    def as_batch(self, shown: NDArray[np.float32]) -> torch.Tensor:
        """Images at the network's scale, on its device.

        Args:
            shown: (h, w, channels) or (batch, h, w, channels) in 0..1.

        Returns:
            (batch, channels, h, w).
        """
        planes = torch.from_numpy(shown).movedim(-1, -3)
        batch = (planes if planes.ndim == 4 else planes[None]).to(self.mean.device)
        return batch.contiguous(memory_format=torch.channels_last)
