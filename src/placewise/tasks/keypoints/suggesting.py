"""What a model of keypoints suggests as labels."""

from __future__ import annotations

import numpy as np
import torch

from placewise.geometry import Size, ratio_of, rescale
from placewise.labels import KeypointSample, Visibility
from placewise.model import Scaled
from placewise.task import Suggestion
from placewise.tasks.keypoints.model import KeypointModel


@torch.inference_mode()
def suggestion(model: KeypointModel, shown: Scaled, size: Size) -> Suggestion:
    """Each keypoint once, with its radius, and the maxima of its map.

    Args:
        model: the model.
        shown: the image at the network's scale.
        size: of the image, in whose pixels to answer.
    """
    output, sides = model.raw(shown[None]), tuple(shown.shape[:-1])
    (one,) = model.decode(output, sides, [size], [""])
    visibility = np.full((1, len(one.names)), Visibility.VISIBLE, np.int8)
    sample = KeypointSample("", size, one.keypoints[None], visibility, scores=one.scores[None])
    ratio = ratio_of(sides, size)
    hills = model.head.hills(output, sides)
    radius = np.where(np.isfinite(one.radius_90), one.radius_90, one.uncertainty)
    places = {n: rescale(at, ratio) for n, at in zip(one.names, hills, strict=True)}
    return Suggestion(sample, radius[None], places)
