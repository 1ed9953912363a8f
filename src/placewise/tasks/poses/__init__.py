"""Several objects on an image, each with its keypoints: animals, people, tubes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.utils.data import default_collate

from placewise.augment import Warp, middle_of
from placewise.errors import DataError
from placewise.findings import Findings
from placewise.geometry import PIXEL_CONVENTION, FloatArray, Size, inside, rescale
from placewise.images import ImageArray
from placewise.items import Items
from placewise.labels import (
    Dataset,
    KeypointSample,
    PoseDataset,
    Visibility,
    mirror_order,
    unpaired,
)
from placewise.metrics import (
    KEYPOINTS_RIGHT,
    Metric,
    keypoints_right,
    oks_map,
    right_keypoints,
    turns,
)
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
from placewise.tasks.poses import check, scoring
from placewise.tasks.poses.demo import DEMO
from placewise.tasks.poses.following import PoseFollower
from placewise.tasks.poses.items import PoseItems
from placewise.tasks.poses.model import PoseModel
from placewise.tasks.poses.prediction import (
    COLUMNS,
    PosePrediction,
    export,
    read_rows,
    sample_of,
)
from placewise.tasks.poses.report import POSE_WORDS, pose_sections, pose_tiles
from placewise.tracking import Follower
from placewise.wording import share

LEAST_TURN, MOST_TURN = 15.0, 180.0
"""Degrees by which images are turned at random, either way."""

FREE = 60.0
"""Standard deviation in degrees of the objects' own angles from which on they turn freely."""

SMALL = 0.012
"""σ in map pixels for a pixel of the object's extent, where that is less than `SIGMA`."""

SIGMA = 1.5
"""Standard deviation about a keypoint in map pixels, for objects that are not small."""

CARD_SIDE = (360, 640)
"""Least and most pixels along the longer side of an image on a report."""

Data = Dataset[KeypointSample]
Samples = Sequence[KeypointSample]
Found = Sequence[PosePrediction]
Held = Scored[KeypointSample, PosePrediction]

OTHER_LIGHT = {"brightness": 0.5, "contrast": 0.5, "gamma": 0.8, "colour": 0.5, "noise": 0.08}
"""How images in colour are changed: photographs come from other rooms and under other lamps."""


@dataclass(frozen=True)
class PoseTarget(Target):
    """Objects with keypoints, which move with the image.

    Attributes:
        points: (instances, keypoints, axes) of (x, y, …) in pixels, NaN where not located.
        visibility: (instances, keypoints) of `Visibility`.
        swap: (keypoints,) which keypoint each one becomes in a mirror.
        crowds: (lowest corner, highest corner) of boxes in which objects are not labelled one by
            one.
        boxes: whether any image of the labels has such boxes, so that masks are needed.
    """

    points: FloatArray
    visibility: NDArray[np.int8]
    swap: NDArray[np.intp]
    crowds: tuple[tuple[FloatArray, FloatArray], ...] = ()
    boxes: bool = False

    def scaled(self, ratio: tuple[float, ...]) -> PoseTarget:
        """The same on the scaled image."""
        crowds = tuple((rescale(low, ratio), rescale(high, ratio)) for low, high in self.crowds)
        return replace(self, points=rescale(self.points, ratio), crowds=crowds)

    @property
    def focus(self) -> tuple[float, ...] | None:
        """The middle of the located keypoints."""
        return middle_of(self.points)

    def encode(self, warp: Warp) -> tuple[Tensor, Tensor, Tensor]:
        """(instances, keypoints, axes) float32, also beyond the image, their visibility, crowds.

        A keypoint that leaves the image is absent, and keeps its place for the offsets. Of crowds
        there is (1, *size), or (1, 1, …), where all objects are labelled; see `Poses.loss`.
        """
        located = self.visibility >= Visibility.HIDDEN
        moved = np.full(self.points.shape, np.nan)
        moved[located] = warp.forward(self.points[located])
        left = located & ~inside(moved, warp.size)
        known = np.where(left, np.int8(Visibility.ABSENT), self.visibility)
        if warp.mirrors:
            moved, known = moved[:, self.swap], known[:, self.swap]
        labelled = np.ones(warp.size if self.boxes else (1,) * len(warp.size), bool)
        for low, high in self.crowds:
            labelled &= ~warp.shows(low, high)
        places = torch.from_numpy(moved.astype(np.float32))
        return places, torch.from_numpy(known), torch.from_numpy(labelled[None])


class PoseThresholds(Calibration, extra="forbid"):
    """What validation images chose.

    Attributes:
        keypoint: score from which on a keypoint is there.
        instance: score from which on an object is there.
        images: how many they were chosen with.
    """

    keypoint: float = Field(ge=0, le=1)
    instance: float = Field(ge=0, le=1)
    images: int = Field(ge=1, le=10**9)


class Poses(Task[KeypointSample, PosePrediction]):
    """Objects with keypoints: chosen by OKS-mAP, thresholds from the validation images."""

    noun = "poses"
    head = "poses"
    network = PoseModel
    metric = KEYPOINTS_RIGHT
    options = frozenset({"pck_pair"})
    words = POSE_WORDS
    chosen_by = Metric("val_oks_map", "OKS-mAP", "", "OKS-mAP on the validation images", "higher")
    calibration = PoseThresholds
    demo = DEMO
    moves = True
    follows = True

    def target(self, dataset: Data, sample: KeypointSample) -> PoseTarget:
        """Objects, and which of their keypoints change places in a mirror."""
        labels = _poses(dataset)
        swap = mirror_order(labels.names, labels.symmetry)
        crowds = tuple((np.array(box.low), np.array(box.high)) for box in sample.ignored)
        return PoseTarget(sample.points, sample.visibility, swap, crowds, labels.has_ignored)

    def check_splits(self, dataset: Data, splits: Mapping[str, Samples]) -> None:
        """Refuse training or validation images on which no keypoint is located."""
        for split, use in (("train", "learn from"), ("val", "choose the weights by")):
            if not any(sample.located.any() for sample in splits.get(split, ())):
                raise DataError(
                    f"no keypoint is located on any image of the split '{split}', so there is "
                    f"nothing to {use}; label some of its images, or change the split"
                )

    def notes(self, dataset: Data) -> list[str]:
        """Why images are not mirrored though some names are paired."""
        labels = _poses(dataset)
        alone = unpaired(labels.names, labels.symmetry) if labels.symmetry else ()
        if not alone:
            return []
        return [f"images are not mirrored: {', '.join(alone)} without a partner on the other side"]

    def needs(self, dataset: Data, samples: Samples, head: str) -> Needs:
        """The extent of the objects."""
        return Needs(object_extent(samples))

    def head_defaults(self, defaults: Settings, needs: Needs) -> Settings:
        """The objects' extent, and σ: less, down to 1, where objects are small."""
        chosen: Settings = {}
        if needs.extent and "extent" in defaults:
            chosen["extent"] = round(needs.extent, 1)
        if needs.extent and "sigma" in defaults:
            chosen["sigma"] = float(np.clip(round(SMALL * needs.extent, 2), 1.0, SIGMA))
        return chosen

    def augmentation(self, dataset: Data, samples: Samples) -> dict[str, Any]:
        """Mirroring and turning for these data.

        Images are mirrored as for keypoints. They are turned by twice the standard deviation of the
        objects' own angles, by 15° at least, and all the way round where objects lie in any
        direction: then no direction is a hint. Images in colour are changed as `OTHER_LIGHT` says.
        """
        labels = _poses(dataset)
        objects = np.concatenate([one.points[one.located.any(1)] for one in samples])
        rotate = turning(objects)
        flip = not unpaired(labels.names, labels.symmetry)
        seen = OTHER_LIGHT if samples and dataset.image(samples[0].image).shape[-1] > 1 else {}
        return {"flip": flip, "rotate": rotate, "shear": 5.0, **seen}

    def stamp(self, sample: KeypointSample) -> bytes:
        """Coordinates, visibility and crowds."""
        boxes = repr(sample.ignored).encode() if sample.ignored else b""
        return sample.points.round(6).tobytes() + sample.visibility.tobytes() + boxes

    def collate(self, items: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        """Images with as many instances each: those that are missing are absent."""
        most = max(item[2].shape[0] for item in items)
        filled = []
        for image, points, visibility, labelled, index in items:
            more = most - len(points)
            nowhere = points.new_full((more, *points.shape[1:]), torch.nan)
            absent = visibility.new_full((more, *visibility.shape[1:]), int(Visibility.ABSENT))
            points, visibility = torch.cat([points, nowhere]), torch.cat([visibility, absent])
            filled.append((image, points, visibility, labelled, index))
        batch: tuple[Any, ...] = tuple(default_collate(filled))
        return batch

    def measures(self, dataset: Data, sample: KeypointSample, one: PosePrediction) -> FloatArray:
        """(labelled objects · keypoints,) 1 where the object's own prediction is near, else 0."""
        order = [dataset.names.index(name) for name in one.names]
        held = scoring.judged([sample], [one])
        if not held.samples:
            return np.empty(0)
        (image,) = held.kept
        reach = scoring.TOLERANCE * image.lengths
        truth = image.truth[:, order]
        return right_keypoints(image.found, truth, image.own(), reach).ravel()

    def validate(self, dataset: Data, samples: Samples, found: Found) -> Validation:
        """OKS-mAP, and the share of right keypoints with the thresholds before calibration."""
        held = scoring.judged(samples, found)
        value = oks_map(held.candidates)["oks_map"]
        right = keypoints_right(held.kept, scoring.TOLERANCE)
        summary = "" if value is None else f"OKS-mAP {value:.3f}, right keypoints {share(right)}"
        log = {"val_oks_map": value, "val_pck": right}
        return Validation(log, None if value is None else -value, summary)

    def calibrate(self, dataset: Data, samples: Samples, found: Found) -> dict[str, Any]:
        """Scores from which on keypoints and objects are there: those with the highest F₁."""
        held = scoring.judged(samples, found)
        chosen = scoring.thresholds(held)
        if chosen is None:
            return {}
        return {"keypoint": chosen[0], "instance": chosen[1], "images": len(held.samples)}

    def score(self, held: Held) -> dict[str, Any]:
        """OKS-mAP, right keypoints, keypoints in the wrong object, identities."""
        return scoring.score(held)

    def items(self, model: Any, dataset: Any, samples: Samples) -> Items:
        """Whether each labelled keypoint is right."""
        return PoseItems(self.measures, model, _poses(dataset), samples)

    def draw(
        self,
        model: Any,
        pixels: ImageArray,
        one: PosePrediction,
        *,
        dataset: Data | None = None,
        sample: KeypointSample | None = None,
        threshold: float = 0.5,
        card: bool = False,
        spacing: Sequence[float] | None = None,
    ) -> Overlay:
        """Each object in its colour; a keypoint without a peak is hollow; crosses are labels."""
        truth, kept = None, one.kept
        if dataset is not None and sample is not None:
            order = [dataset.names.index(name) for name in one.names]
            truth = sample.points[:, order]
        settings = getattr(model, "settings", None) or dataset
        skeleton = getattr(settings, "skeleton", ())
        if not skeleton and len(one.names) == 2:
            skeleton = (one.names,)
        keypoints = kept.keypoints
        numbers = kept.tracks if kept.tracks is not None else np.arange(len(keypoints))
        return draw_keypoints(
            pixels,
            keypoints,
            one.names,
            truth=truth,
            scores=np.where(kept.peaks, 1.0, 0.0),
            skeleton=skeleton,
            identities=numbers.tolist(),
            crop=card and bool(len(keypoints)),
            legend=not card,
            side=CARD_SIDE if card else (480, 1280),
            spacing=spacing,
        )

    def caption(self, dataset: Data, sample: KeypointSample, one: PosePrediction) -> str:
        """The image and how many of its keypoints are right."""
        values = self.measures(dataset, sample, one)
        known = values[np.isfinite(values)]
        right = f": {int(known.sum())} of {len(known)} keypoints right" if len(known) else ""
        return f"{one.image}{right}"

    def columns(self, names: Sequence[str]) -> list[str]:
        """A row for each keypoint of each object."""
        return list(COLUMNS)

    def suggest(self, model: PoseModel, shown: Scaled, size: Size) -> Suggestion:
        """The objects that are there; see `Task.suggest`."""
        (one,) = model.predict_scaled(shown[None], [size])
        kept = one.kept
        sample = sample_of(kept)
        hills = {n: kept.places[:, k][kept.peaks[:, k]] for k, n in enumerate(one.names)}
        return Suggestion(sample, np.full(sample.visibility.shape, np.nan), hills)

    def about(self) -> dict[str, str]:
        """The columns, and the convention of the coordinates."""
        return {
            "pixel_convention": PIXEL_CONVENTION,
            "instance": "number of the animal on its image, the surest first",
            "score": "how sure the network is that the keypoint is there, 0 to 1",
            "found": "peak: the map of the keypoint has a peak there; inferred: its place follows "
            "from the animal's centre; missing: it is not on the image, or hidden",
            "instance_score": "how sure the network is of the animal, 0 to 1",
        }

    def follower(self, settings: ModelSettings) -> Follower[PosePrediction]:
        """By their keypoints; see `placewise.tracking`."""
        return PoseFollower(settings.names)

    def export(
        self,
        root: Path,
        settings: ModelSettings,
        rows: Iterable[tuple[str, Size, list[list[str]]]],
        out: Path,
        threshold: float,
    ) -> None:
        """COCO and DeepLabCut."""
        found = (read_rows(settings.names, image, size, cells) for image, size, cells in rows)
        export(root, settings, found, out)

    def verdict(self, scores: Mapping[str, Any]) -> str:
        """How many keypoints are right, in words."""
        return scoring.verdict(scores)

    def tiles(self, scores: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The numbers that matter most."""
        return pose_tiles(scores)

    def sections(
        self,
        scores: Mapping[str, Any],
        held: Held | None = None,
        best: Sequence[Card] = (),
        worst: Sequence[Card] = (),
    ) -> list[Section]:
        """Where keypoints are right and wrong, images, scores."""
        images = scoring.judged(held.samples, held.found).candidates if held else None
        return pose_sections(scores, images=images, worst=worst, best=best)

    def check(self, dataset: Data, *, seed: int = 0, progress: Progress | None = None) -> Findings:
        """Look at labels of objects and their images."""
        return check.look(_poses(dataset), seed, progress)


def turning(objects: FloatArray) -> float:
    """Degrees by which images are turned at random, either way.

    Args:
        objects: (n, K, 2) of the training images.

    Example:
        >>> right = np.array([[0.0, 0.0], [9.0, 0.0]])
        >>> turning(np.stack([right, right, right])), turning(np.stack([right, -right, right]))
        (15.0, 180.0)
    """
    angles = np.radians(turns(objects))
    angles = angles[np.isfinite(angles)]
    if len(angles) < 2:
        return MOST_TURN
    # spread of directions: σ = √(−2 ln |mean of exp(iφ)|), also about ±180°
    length = float(np.abs(np.exp(1j * angles).mean()))
    spread = float(np.degrees(np.sqrt(-2 * np.log(max(length, 1e-12)))))
    return MOST_TURN if spread >= FREE else round(max(LEAST_TURN, 2 * spread), 1)


def _poses(dataset: Data) -> PoseDataset:
    if not isinstance(dataset, PoseDataset):
        raise DataError(f"got labels of {dataset.what}; needed are labels of several objects")
    return dataset
