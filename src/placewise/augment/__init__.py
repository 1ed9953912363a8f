"""Augmentation that moves pixels and points alike.

A `Warp` is one matrix, one smooth field or a chain of them. The same function says where the
output's pixels come from and where points go, so they cannot part; and an image is sampled once,
however long the chain.
"""

from placewise.augment.augmentation import Augmentation, generator, middle_of
from placewise.augment.homographies import (
    crop,
    flip,
    frame,
    perspective,
    rotate,
    scale,
    shear,
    translate,
)
from placewise.augment.sampling import Fill, move_points, warp_image, warp_labels
from placewise.augment.warps import Chain, Elastic, Homography, Warp, elastic

__all__ = [
    "Augmentation",
    "Chain",
    "Elastic",
    "Fill",
    "Homography",
    "Warp",
    "crop",
    "elastic",
    "flip",
    "frame",
    "generator",
    "middle_of",
    "move_points",
    "perspective",
    "rotate",
    "scale",
    "shear",
    "translate",
    "warp_image",
    "warp_labels",
]
