"""One map for each kind of spots: any number of spots is read off its hills."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from placewise.errors import SettingsError
from placewise.family import Setting
from placewise.geometry import FloatArray, Size, to_image, to_map
from placewise.heads import Head, check_features
from placewise.heads._maps import Maps
from placewise.losses import PEAK_LOSSES, PeakLoss
from placewise.peaks import MOST, find_peaks

SIDE = 64
"""Length of each axis of a map that is assumed where the size of the images is not known."""

LEAST = 0.02
"""Score below which a hill is no candidate."""


@dataclass(frozen=True)
class Spots_:
    """Spots of one kind on one image."""

    points: FloatArray
    scores: FloatArray


class Spots(Head):
    """One map of logits for each kind, hot at every spot of the kind.

    Args:
        in_channels: channels of the features.
        kinds: number of kinds of spots.
        stride: image pixels for one pixel of the features, one number or one for each axis; None:
            the model says it.
        input_size: size of the training images in pixels; None where it is not known.
        spatial_dims: axes of an image; None: as many as the input size has, or else 2.
        loss: member of `PEAK_LOSSES`, or a loss.
        sigma: standard deviation of the Gaussians in pixels of the map.
        radius: pixels of the map within which there is one spot of a kind at most.
        most: spots of a kind that are read off a map at most, the surest ones.
        finer: map pixels for one pixel of the features, per axis.

    Raises:
        SettingsError: a setting that cannot be.

    Example:
        >>> head = Spots(8, kinds=2, stride=4)
        >>> maps = head(torch.rand(1, 8, 4, 4))
        >>> maps.shape, len(head.decode(maps, (16, 16))[0])
        (torch.Size([1, 2, 8, 8]), 2)
    """
