"""Where keypoints are on images that show each of them at most once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from placewise.augment import Warp, middle_of, move_points
from placewise.errors import DataError
from placewise.findings import Findings
from placewise.geometry import PIXEL_CONVENTION, FloatArray, Size, rescale
from placewise.heads import HEADS
from placewise.images import ImageArray
from placewise.items import Items
from placewise.labels import (
    Dataset,
    KeypointDataset,
    KeypointSample,
    mirror_order,
    single,
    unpaired,
)
from placewise.metrics import MEAN_ERROR, conformal_factor, errors, mean_error, turns
from placewise.model import ModelSettings, Scaled, Settings, object_extent
from placewise.report.drawing import keypoints as draw_keypoints
from placewise.report.marks import Overlay
from placewise.report.parts import Card, Section
from placewise.task import (
    Calibration,
    Needs,
    Progress,
    Scored,
    Suggestion,
    Target,
    Task,
    Validation,
)
from placewise.tasks.keypoints import check, permuted, scoring
from placewise.tasks.keypoints.demo import DEMO
from placewise.tasks.keypoints.items import KeypointItems
from placewise.tasks.keypoints.model import KeypointModel
from placewise.tasks.keypoints.prediction import (
    KeypointPrediction,
    columns_of,
    export,
    read_rows,
)
from placewise.tasks.keypoints.report import (
    KEYPOINT_WORDS,
    VALIDATION,
    keypoint_sections,
    keypoint_tiles,
)
from placewise.tasks.keypoints.suggesting import suggestion
from placewise.wording import PIXELS_OF, counted

_LOG = logging.getLogger("placewise")

LEAST_TURN, MOST_TURN = 5.0, 15.0
"""Degrees by which images are turned at random, either way."""

LEVEL = 0.9
"""Share of truths that calibrated radii hold."""

FEW = (
    "the {} of the validation split are too few for a radius that holds 90 % of the truths, so "
    "predictions have no radius_90. It takes 9 keypoints, and more where those of one image are "
    "off together: label more images"
)
"""Warning where radii cannot be calibrated."""

SIGMA = 1.5
"""Standard deviation of soft labels in map pixels, for objects that are not small."""

SMALL = 0.025
"""σ in map pixels for a pixel of the object's extent, where that is less than `SIGMA`."""

CARD_SIDE = (360, 480)
"""Least and most pixels along the longer side of an image on a report."""


PLACE_WORDS = (
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
)
"""What a comparison says of the sense of place."""

Data = Dataset[KeypointSample]
Samples = Sequence[KeypointSample]
Found = Sequence[KeypointPrediction]
Held = Scored[KeypointSample, KeypointPrediction]


@dataclass(frozen=True)
class KeypointTarget(Target):
    """Keypoints, which move with the image.

    Attributes:
        points: (keypoints, axes) of (x, y, …) in pixels, NaN where not located.
        visibility: (keypoints,) of `Visibility`.
        swap: (keypoints,) which keypoint each one becomes in a mirror.
    """

    points: FloatArray
    visibility: NDArray[np.int8]
    swap: NDArray[np.intp]

    def scaled(self, ratio: tuple[float, ...]) -> KeypointTarget:
        """The same on the scaled image."""
        return KeypointTarget(rescale(self.points, ratio), self.visibility, self.swap)

    @property
    def focus(self) -> tuple[float, ...] | None:
        """The middle of the located keypoints."""
        return middle_of(self.points)

    def encode(self, warp: Warp) -> tuple[Tensor, Tensor]:
        """(keypoints, axes) float32 and (keypoints,) of `Visibility`."""
        moved, known = move_points(self.points, self.visibility, warp, self.swap)
        return torch.from_numpy(moved.astype(np.float32)), torch.from_numpy(known)


class Radii(Calibration, extra="forbid"):
    """What turns the model's own uncertainty into radii.

    Attributes:
        level: share of truths that the radii hold.
        keypoints: how many they were found with.
        images: how many images these are on; None in runs that were trained before this was kept.
        factor: radius for an uncertainty of one pixel; None: too few keypoints for any.
    """

    level: float = Field(gt=0, lt=1)
    keypoints: int = Field(ge=1, le=10**9)
    images: int | None = Field(default=None, ge=1, le=10**9)
    factor: float | None = Field(ge=0, le=1e9)


class Keypoints(Task[KeypointSample, KeypointPrediction]):
    """Where keypoints are, and how far off they may be: by split conformal prediction."""

    noun = "keypoints"
    head = "heatmap"
    network = KeypointModel
    metric = MEAN_ERROR
    options = frozenset({"pck_pair"})
    words = KEYPOINT_WORDS
    place_words = PLACE_WORDS
    chosen_by = VALIDATION
    chooses = False
    calibration = Radii
    demo = DEMO
    moves = True
    control = f"{permuted.__name__}:{permuted.PermutedKeypoints.__name__}"

    def target(self, dataset: Data, sample: KeypointSample) -> KeypointTarget:
        """Keypoints, and which of them change places in a mirror."""
        labels = _keypoints(dataset)
        swap = mirror_order(labels.names, labels.symmetry)
        return KeypointTarget(*single(sample, labels.source), swap)

    def check_splits(self, dataset: Data, splits: Mapping[str, Samples]) -> None:
        """Refuse training or validation images on which no keypoint is located."""
        for split, use in (("train", "learn from"), ("val", "calibrate radii with")):
            if not any(sample.located.any() for sample in splits.get(split, ())):
                raise DataError(
                    f"no keypoint is located on any image of the split '{split}', so there is "
                    f"nothing to {use}; label some of its images, or change the split"
                )

    def notes(self, dataset: Data) -> list[str]:
        """Why images are not mirrored though some names are paired."""
        labels = _keypoints(dataset)
        alone = unpaired(labels.names, labels.symmetry) if labels.symmetry else ()
        if not alone:
            return []
        return [f"images are not mirrored: {', '.join(alone)} without a partner on the other side"]

    def needs(self, dataset: Data, samples: Samples, head: str) -> Needs:
        """The extent of the object; heads that flatten must see whole images."""
        return Needs(object_extent(samples), whole=not HEADS[head].crops)  # type: ignore[attr-defined]

    def head_defaults(self, defaults: Settings, needs: Needs) -> Settings:
        """σ of soft labels: less, down to 1, where keypoints lie within a few σ of each other."""
        if "sigma" not in defaults or not needs.extent:
            return {}
        return {"sigma": float(np.clip(round(SMALL * needs.extent, 2), 1.0, SIGMA))}

    def augmentation(self, dataset: Data, samples: Samples) -> dict[str, Any]:
        """Mirroring and turning for these data.

        Images are mirrored only where names say which keypoints change places, and say it of every
        keypoint that has a side. They are turned by as much as the labels themselves are turned,
        twice the standard deviation of their angles, but by 5° at least and 15° at most: a fixed
        camera and a held animal make "left of" and "below" a hint, and turning every image by 15°
        would take it away. Signals are not turned, and volumes are by 15°.
        """
        labels = _keypoints(dataset)
        points = np.stack([single(sample, labels.source)[0] for sample in samples])
        angles = turns(points)
        spread = float(np.nanstd(angles)) if np.isfinite(angles).sum() > 1 else np.inf
        rotate = round(float(np.clip(2 * spread, LEAST_TURN, MOST_TURN)), 1)
        flip = bool(labels.symmetry) and not unpaired(labels.names, labels.symmetry)
        return {"flip": flip, "rotate": rotate, "shear": round(rotate / 3, 1)}

    def stamp(self, sample: KeypointSample) -> bytes:
        """Coordinates and visibility."""
        return sample.points.round(6).tobytes() + sample.visibility.tobytes()

    def measures(
        self, dataset: Data, sample: KeypointSample, one: KeypointPrediction
    ) -> FloatArray:
        """(keypoints,) errors in px."""
        truth, _ = single(sample, dataset.source)
        order = [dataset.names.index(name) for name in one.names]
        off: FloatArray = errors(one.keypoints[None], truth[order][None])[0]
        return off

    def validate(self, dataset: Data, samples: Samples, found: Found) -> Validation:
        """Mean Euclidean error in px over the located keypoints."""
        off, _ = self._errors_and_uncertainty(dataset, samples, found)
        error = mean_error(off)
        summary = "" if error is None else f"{error:.2f} {PIXELS_OF[len(samples[0].size)]}"
        return Validation({"val_error_px": error}, error, summary)

    def calibrate(self, dataset: Data, samples: Samples, found: Found) -> dict[str, Any]:
        """Split conformal prediction: the factor from the model's uncertainty to radii."""
        off, uncertainty = self._errors_and_uncertainty(dataset, samples, found)
        known = np.isfinite(off)
        keypoints, images = int(known.sum()), int(known.any(1).sum())
        if not keypoints:
            return {}
        factor = conformal_factor(off, uncertainty, LEVEL)
        if factor is None:
            on = f"{counted(keypoints, 'keypoints')} on {counted(images, 'images')}"
            _LOG.warning(FEW.format(on))
        return {"level": LEVEL, "keypoints": keypoints, "images": images, "factor": factor}

    def _errors_and_uncertainty(
        self, dataset: Data, samples: Samples, found: Found
    ) -> tuple[FloatArray, FloatArray]:
        """(images, keypoints) errors in px, NaN where not located, and the uncertainty of each."""
        truth = np.stack([single(sample, dataset.source)[0] for sample in samples])
        off = errors(np.stack([one.keypoints for one in found]), truth)
        return off, np.stack([one.uncertainty for one in found])

    def score(self, held: Held) -> dict[str, Any]:
        """Errors, PCK, OKS, presence and radii, with what no training could do better."""
        return scoring.score(held)

    def items(self, model: Any, dataset: Any, samples: Samples) -> Items:
        """The error of each located keypoint."""
        return KeypointItems(model, dataset, samples)

    def why_no_control(self, dataset: Data, own: ModelSettings, control: ModelSettings) -> str:
        """The control is tied to one size, so the arm itself must see whole images of one size."""
        if len({sample.size for sample in dataset.samples}) > 1:
            return "the images are of several sizes"
        return "" if own.input == control.input else "it learns from crops of larger images"

    def draw(
        self,
        model: Any,
        pixels: ImageArray,
        one: KeypointPrediction,
        *,
        dataset: Data | None = None,
        sample: KeypointSample | None = None,
        threshold: float = 0.5,
        card: bool = False,
        spacing: Sequence[float] | None = None,
    ) -> Overlay:
        """The image with its keypoints, and the labels where there are some."""
        truth = None
        if dataset is not None and sample is not None:
            order = [dataset.names.index(name) for name in one.names]
            truth = single(sample, dataset.source)[0][order]
        settings = getattr(model, "settings", None)
        shape: dict[str, Any] = {"crop": True, "side": CARD_SIDE} if card else {"legend": True}
        return draw_keypoints(
            pixels,
            one.keypoints,
            one.names,
            truth=truth,
            radii=one.radius_90,
            scores=one.scores,
            threshold=threshold,
            skeleton=settings.skeleton if settings else (),
            spacing=spacing,
            **shape,
        )

    def caption(self, dataset: Data, sample: KeypointSample, one: KeypointPrediction) -> str:
        """The image and its mean error."""
        off = self.measures(dataset, sample, one)
        known = off[np.isfinite(off)]
        unit = PIXELS_OF[len(one.size)]
        return f"{one.image}: mean error {known.mean():.2f} {unit}" if len(known) else one.image

    def preview(
        self, dataset: Data, sample: KeypointSample, pixels: ImageArray, one: KeypointPrediction
    ) -> Card:
        """The image with predicted and labelled keypoints."""
        labels = _keypoints(dataset)
        drawn = draw_keypoints(
            pixels,
            one.keypoints,
            labels.names,
            truth=single(sample, None)[0],
            scores=one.scores,
            skeleton=labels.skeleton,
            spacing=labels.images.spacing(sample.image),
        )
        return sample.image, drawn

    def legend(self, names: Sequence[str]) -> tuple[str, ...]:
        """The keypoints."""
        return tuple(names)

    def columns(self, names: Sequence[str]) -> list[str]:
        """A row for each keypoint."""
        return columns_of(2)

    def suggest(self, model: KeypointModel, shown: Scaled, size: Size) -> Suggestion:
        """Each keypoint once, with its radius; see `Task.suggest`."""
        return suggestion(model, shown, size)

    def header(self, model: Any) -> list[str]:
        """With as many coordinates as the images of the model have axes."""
        return columns_of(model.input.axes)

    def about(self) -> dict[str, str]:
        """The columns, and the convention of the coordinates."""
        return {
            "pixel_convention": PIXEL_CONVENTION,
            "radius_90": "pixels within which 90 % of truths lie, calibrated on validation images",
            "score": "probability that the keypoint is on the image",
        }

    def export(
        self,
        root: Path,
        settings: ModelSettings,
        rows: Iterable[tuple[str, Size, list[list[str]]]],
        out: Path,
        threshold: float,
    ) -> None:
        """COCO and DeepLabCut, which hold keypoints of images; of signals and volumes nothing."""
        if settings.input.axes != 2:
            return
        found = (read_rows(settings.names, image, size, cells) for image, size, cells in rows)
        export(root, settings, found, out, threshold)

    def verdict(self, scores: Mapping[str, Any]) -> str:
        """How far off the keypoints are, in words."""
        return scoring.verdict(scores)

    def tiles(self, scores: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The errors, and what always answering the mean place gives."""
        return keypoint_tiles(scores)

    def sections(
        self,
        scores: Mapping[str, Any],
        held: Held | None = None,
        best: Sequence[Card] = (),
        worst: Sequence[Card] = (),
    ) -> list[Section]:
        """Where the errors are, images, scores, each keypoint, and bands from the border."""
        off = None
        if held:
            truth, _ = scoring.truth_of(held.dataset, held.samples)
            off = errors(np.stack([one.keypoints for one in held.found]), truth)
        return keypoint_sections(scores, errors=off, worst=worst, best=best)

    def check(self, dataset: Data, *, seed: int = 0, progress: Progress | None = None) -> Findings:
        """Look at keypoint labels and their images."""
        return check.look(_keypoints(dataset), seed, progress)


def _keypoints(dataset: Data) -> KeypointDataset:
    if not isinstance(dataset, KeypointDataset):
        raise DataError(f"got labels of {dataset.what}; needed are labels of keypoints")
    return dataset
