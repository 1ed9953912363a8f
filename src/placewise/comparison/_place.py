"""Sense of place: shifted images, other sizes, smooth deformations, path counts at the edge."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from placewise.auditing import audit
from placewise.errors import SettingsError, ShapeError
from placewise.images import ImageArray, resize
from placewise.items import Change, Items

SHIFTS = (1, 2, 4)
"""Pixels of the network by which images are shifted, both ways along each axis."""

SIZES = (0.5, 0.8125, 1.25)
"""Factors of the image's sides; 0.8125 is the proposed 416 after training at 512."""

RATIOS = ("max_over_corner", "max_over_edge", "corner_ratio", "gini", "unseen_pixels")
"""Numbers of the audit that are reported, besides the receptive field."""


def diagnose(items: Items, seed: int) -> dict[str, Any]:
    """Measure the effect of changed images.

    Args:
        items: test items of a model.
        seed: of everything random.

    Returns:
        shifted: pixels -> mean measure over all directions; sizes: factor -> mean measure, None
        if the head works at its training size only; deformation: R_f of classes, R_τ of keypoints.
    """
    shifted = {str(step): _shifted(items, step) for step in SHIFTS}
    sizes = {f"{factor:g}": _resized(items, factor) for factor in SIZES}
    return {"shifted": shifted, "sizes": sizes, "deformation": items.deformation(seed)}


def audit_ratios(network: nn.Module, image: Sequence[int]) -> dict[str, float | bool | None]:
    """How evenly the path counts cover the image; independent of the weights.

    Args:
        network: raw output of images.
        image: (channels, *size).
    """
    found = audit(network, tuple(image), measure=False).scalars()
    kept = {name: found[name] for name in (*RATIOS, "receptive_field", "even")}
    most = found["max_over_corner"]
    return {"edge_coverage": 1 / float(most) if most else None, **kept}


def shift(image: ImageArray, by: Sequence[int]) -> ImageArray:
    """An image moved by whole pixels; its border pixels fill the gap.

    Args:
        image: (*size, channels).
        by: pixels along x, y, …

    Example:
        >>> shift(np.arange(4, dtype=np.float32).reshape(1, 4, 1), (1, 0))[0, :, 0].tolist()
        [0.0, 0.0, 1.0, 2.0]
    """
    for axis, step in enumerate(reversed(by)):
        places = np.arange(image.shape[axis]) - step
        image = image.take(places.clip(0, image.shape[axis] - 1), axis)
    return image


def _shifted(items: Items, step: int) -> float:
    """Mean over all directions; items that a shift moves off the image do not count."""
    sides = [tuple(sign * one) for one in step * np.eye(items.axes, dtype=int) for sign in (1, -1)]
    changes = [Change(partial(shift, by=side), tuple(map(float, side))) for side in sides]
    return float(np.mean([np.nanmean(items.score(change)) for change in changes]))


def _resized(items: Items, factor: float) -> float | None:
    def resized(image: ImageArray) -> ImageArray:
        size = [max(1, round(side * factor)) for side in image.shape[:-1]]
        return np.asarray(resize(image, size), np.float32)

    try:
        return float(np.nanmean(items.score(Change(resized))))
    except (SettingsError, ShapeError):
        return None
