"""Diagnostics of place: shifted images, other sizes, smooth deformations, paths to the edge."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from placewise.auditing import audit
from placewise.augment import generator
from placewise.comparison._answers import Answers, Change, ClassAnswers, ImageArray, KeypointAnswers
from placewise.errors import SettingsError
from placewise.geometry import FloatArray
from placewise.images import resize

SHIFTS = (1, 2, 4)
"""Pixels of the network by which images are shifted, each to four sides."""

SIZES = (0.5, 0.8125, 1.25)
"""Factors of the image's sides; 0.8125 is the proposed 416 after training at 512."""

CUT, PUSH = 3, 1.0
"""Highest wave number of a deformation, and its root mean square in pixels."""

DEFORMED = 256
"""Images that are deformed, at most."""

REPEATED = 40
"""Steps by which a deformation is followed; each divides what is left by two or more."""

PLACE_WORDS = {
    "accuracy": (
        (
            "place-use index",
            "Accuracy minus the accuracy of the same arm trained behind a fixed permutation of the "
            "positions of its feature map: 0 for a head that does not use which positions are "
            "neighbours.",
        ),
        (
            "R_f, deformation sensitivity",
            "How much a smooth deformation by about a pixel changes the prediction, compared with "
            "noise of the same size; small is stable.",
        ),
    ),
    "mean_error_px": (
        (
            "place-use index",
            "Error of the same arm trained behind a fixed permutation of the positions of its "
            "feature map, minus its error without: 0 for a head that learns every position "
            "separately, as flattening does, and large for a head that reads keypoints off a map.",
        ),
        (
            "R_τ, deformation left behind",
            "How far keypoints fall short of a smooth deformation by about a pixel, as a share of "
            "how far they should have moved: 0 follows it exactly, 1 is no closer than not moving.",
        ),
    ),
}
"""The words of the sense of place, by the metric that arms are compared by."""

Number = TypeVar("Number", np.float32, np.float64)

RATIOS = ("max_over_corner", "max_over_edge", "corner_ratio", "gini", "unseen_pixels")
"""What is told of the audit, beside the receptive field."""


def diagnose(answers: Answers, seed: int) -> dict[str, Any]:
    """What changes of the images do to the measure.

    Args:
        answers: a model with its test images.
        seed: of what is drawn.

    Returns:
        shifted: pixels -> mean measure over four directions; sizes: factor -> mean measure, None
        where the head is tied to its size; deformation: R_f of classes, R_τ of keypoints.
    """
    shifted = {str(step): _shifted(answers, step) for step in SHIFTS}
    sizes = {f"{factor:g}": _resized(answers, factor) for factor in SIZES}
    deformed = None
    if isinstance(answers, ClassAnswers):
        deformed = deformation_sensitivity(answers, seed)
    elif isinstance(answers, KeypointAnswers):
        deformed = deformation_left_behind(answers, seed)
    return {"shifted": shifted, "sizes": sizes, "deformation": deformed}


def audit_ratios(network: nn.Module, image: Sequence[int]) -> dict[str, float | bool | None]:
    """How evenly the network's paths serve the image; it does not depend on the weights.

    Args:
        network: raw output of images.
        image: (channels, height, width).
    """
    found = audit(network, tuple(image), measure=False).scalars()
    kept = {name: found[name] for name in (*RATIOS, "receptive_field", "even")}
    most = found["max_over_corner"]
    return {"edge_coverage": 1 / float(most) if most else None, **kept}


def shift(image: ImageArray, right: int, down: int) -> ImageArray:
    """An image moved by whole pixels; what comes in repeats its border.

    Example:
        >>> shift(np.arange(4, dtype=np.float32).reshape(1, 4, 1), 1, 0)[0, :, 0].tolist()
        [0.0, 0.0, 1.0, 2.0]
    """
    high, wide = image.shape[:2]
    rows = np.clip(np.arange(high) - down, 0, high - 1)
    columns = np.clip(np.arange(wide) - right, 0, wide - 1)
    return image[rows][:, columns]


def _shifted(answers: Answers, step: int) -> float:
    """Mean over four directions; what a shift takes off the image does not count."""
    sides = ((step, 0), (-step, 0), (0, step), (0, -step))
    changes = [Change(partial(shift, right=x, down=y), (float(x), float(y))) for x, y in sides]
    return float(np.mean([np.nanmean(answers.score(change)) for change in changes]))


def _resized(answers: Answers, factor: float) -> float | None:
    def resized(image: ImageArray) -> ImageArray:
        high, wide = (max(1, round(side * factor)) for side in image.shape[:2])
        return np.asarray(resize(image, (high, wide)), np.float32)

    try:
        return float(np.nanmean(answers.score(Change(resized))))
    except SettingsError:
        return None


def deformation_sensitivity(answers: ClassAnswers, seed: int) -> float | None:
    """R_f: how much a smooth deformation changes the logits, beside noise of the same size.

    R_f = E‖f(τx) − f(x)‖² / E‖f(x + η) − f(x)‖², where τ is drawn with the most entropy at a given
    size and η is white on a sphere whose radius is the mean of ‖τx − x‖ (Petrini et al. 2021,
    *Relative stability toward diffeomorphisms indicates performance in deep nets*). Small is
    stable: the better of two nets mostly has the smaller R_f.

    Args:
        answers: of a classifier; the first 256 of its images that are of one size are taken.
        seed: of τ and η.

    Returns:
        R_f; None where noise changes nothing.
    """
    first = answers.shown[0].shape
    images = np.stack([p for p in answers.shown if p.shape == first][:DEFORMED])
    rng = generator(seed, 0, "deformation")
    moved = np.stack([deform(image, smooth_field(rng, first[:2])) for image in images])
    radius = float(np.mean([np.linalg.norm(m - p) for m, p in zip(moved, images, strict=True)]))
    noise = rng.normal(size=images.shape)
    noise *= radius / np.linalg.norm(noise.reshape(len(noise), -1), axis=1).reshape(-1, 1, 1, 1)
    noisy = (images + noise).astype(np.float32)
    plain, by_tau, by_noise = (_logits(answers, batch) for batch in (images, moved, noisy))
    change = ((by_tau - plain) ** 2).sum(1).mean()
    beside = ((by_noise - plain) ** 2).sum(1).mean()
    return float(change / beside) if beside else None


def _logits(answers: ClassAnswers, images: ImageArray) -> FloatArray:
    ends = [*range(0, len(images), 64), len(images)]
    parts = [answers.model.logits(images[start:stop]) for start, stop in pairwise(ends)]
    logits: FloatArray = torch.cat(parts).cpu().numpy()
    return logits


def deformation_left_behind(answers: KeypointAnswers, seed: int) -> float | None:
    """R_τ: how far keypoints stay behind a smooth deformation, against keypoints that stand still.

    R_τ = E‖p(τx) − τ(p(x))‖ / E‖p(x) − τ(p(x))‖ over the located points, with τ as in
    `deformation_sensitivity` and τ(p) where the deformation brings what was at p. 0: the keypoints
    move exactly with the image; 1: no nearer than keypoints that stay. It asks for no truth, so a
    network that is wrong in the same way before and after has 0 too.

    Args:
        answers: of a localiser; the first 256 of its images are taken.
        seed: of τ.

    Returns:
        R_τ; None where the deformation moves no keypoint.
    """
    rng = generator(seed, 0, "deformation")
    behind, moved = 0.0, 0.0
    for image, known in list(zip(answers.shown, answers.known, strict=True))[:DEFORMED]:
        size = (image.shape[0], image.shape[1])
        field = smooth_field(rng, size)
        plain = answers.model.locate_scaled(image, size).points[known]
        found = answers.model.locate_scaled(deform(image, field), size).points[known]
        expected = follow(plain, field)
        behind += np.linalg.norm(found - expected, axis=-1).sum()
        moved += np.linalg.norm(plain - expected, axis=-1).sum()
    return float(behind / moved) if moved else None


def smooth_field(
    rng: np.random.Generator, size: Sequence[int], *, cut: int = CUT, push: float = PUSH
) -> FloatArray:
    """A random smooth field of displacements that is 0 at the border.

    Each component is Σ C_ij · sin(iπu) · sin(jπv) over i² + j² ≤ cut², with normal C_ij of variance
    T / (i² + j²); T gives the displacements a root mean square of `push`.

    Args:
        rng: random numbers.
        size: (height, width).
        cut: highest wave number.
        push: root mean square of the displacements, in pixels.

    Returns:
        (height, width, 2) of (x, y) in pixels.

    Example:
        >>> smooth_field(np.random.default_rng(0), (28, 28)).shape
        (28, 28, 2)
    """
    numbers = np.arange(1, cut + 1)
    squares = (numbers[:, None] ** 2 + numbers**2).astype(np.float64)
    variance = np.where(squares <= cut**2, 1 / squares, 0.0)
    variance *= push**2 / (2 * variance.sum() / 4)
    waves = [np.sin(np.pi * numbers[:, None] * (np.arange(side) + 0.5) / side) for side in size]
    drawn = rng.normal(size=(2, cut, cut)) * np.sqrt(variance)
    field: FloatArray = np.einsum("cij,ih,jw->hwc", drawn, *waves)
    return field


def deform(image: ImageArray, field: FloatArray) -> ImageArray:
    """An image whose pixel p shows what was at p − field(p), read bilinearly.

    Args:
        image: (h, w, channels).
        field: (h, w, 2) of (x, y) in pixels.
    """
    rows, columns = np.indices(image.shape[:2])
    return _read(image.astype(np.float32), np.stack((columns, rows), -1) - field)


def follow(points: FloatArray, field: FloatArray) -> FloatArray:
    """Where `deform` brings what was at points: the q with q − field(q) = p, by repetition.

    Args:
        points: (points, 2) of (x, y) in pixels.
        field: (h, w, 2) of (x, y) in pixels, steep nowhere by 1 or more.

    Example:
        >>> follow(np.array([[2.0, 1.0]]), np.full((4, 6, 2), (0.5, -0.25)))
        array([[2.5 , 0.75]])
    """
    found = points
    for _ in range(REPEATED):
        found = points + _read(field, found[None])[0]
    return found


def _read(values: NDArray[Number], places: FloatArray) -> NDArray[Number]:
    """Values (h, w, n) at places (rows, columns, 2) of (x, y) in pixels, bilinearly."""
    grid = (places + 0.5) * 2 / (values.shape[1], values.shape[0]) - 1
    there = torch.from_numpy(values).permute(2, 0, 1)[None]
    read = functional.grid_sample(
        there,
        torch.from_numpy(grid)[None].to(there.dtype),
        padding_mode="border",
        align_corners=False,
    )
    found: NDArray[Number] = read[0].permute(1, 2, 0).numpy()
    return found
