"""The task contract: all that differs between keypoints, classes and any other kind of answer.

The steps (training, prediction, evaluation, checking, comparison) know this contract and no task.
A task is one folder of `tasks/`, or a class outside of the package that `--plugin` reaches. It
always says

- what is labelled on an image and how that moves with a warp: `target`,
- which network answers: `network`, and what it answers: a prediction with `image`, `size`, `rows`,
- how well: `metric`, and the numbers it is the mean of: `measures`,
- how an answer is drawn: `draw`.

Everything else has a default that a task replaces where it knows better.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Self

import numpy as np
from pydantic import BaseModel, ConfigDict
from torch.utils.data import default_collate

from placewise.augment import Warp
from placewise.errors import DataError, SettingsError
from placewise.findings import Advice, Findings, look_at_set
from placewise.geometry import FloatArray, Size
from placewise.images import ImageArray
from placewise.items import Items, MeasuredItems
from placewise.labels import Dataset, KeypointSample, S
from placewise.made import Demo
from placewise.metrics import Metric, in_unit
from placewise.model import ModelSettings, Network, P, Scaled, Settings
from placewise.report.marks import Overlay
from placewise.report.parts import Card, Photographs, Report, Section
from placewise.report.run import (
    kind_of,
    making_section,
    metric_table,
    metric_tiles,
    training_section,
)
from placewise.report.spoken import spoken
from placewise.tracking import Follower

CARDS = 6
"""Best and worst images on a report, of each."""

Progress = Callable[[int, int], None]


class Target(ABC):
    """What is labelled on an image, and how it moves with a warp."""

    def scaled(self, ratio: tuple[float, ...]) -> Target:
        """The same on the image at the network's scale.

        Args:
            ratio: (x, y, …) pixels of the scaled image for one pixel of the labelled one.
        """
        return self

    @property
    def focus(self) -> tuple[float, ...] | None:
        """(x, y, …) in pixels about which crops are taken; None: the middle of the image."""
        return None

    @abstractmethod
    def encode(self, warp: Warp) -> tuple[Any, ...]:
        """What the head's loss wants to know, after the image was warped.

        Args:
            warp: from the scaled image to what the network sees.
        """


@dataclass(frozen=True)
class Needs:
    """How images have to be brought to the network for a task.

    Attributes:
        extent: median size in pixels of the objects, where that is known.
        apart: pixels that nearly all neighbours keep between them, where that can be relied on.
        whole: training must show whole images, not crops of them.
        fit: images that are larger than the training size are shrunk until they fit.
        full: images are not scaled down: thin things would be lost.
        stem: pixels of a cell that the U-Net begins with, where they are not the usual ones; its
            width is changed in the same measure, so that a step costs about the same.
    """

    extent: float | None = None
    apart: float | None = None
    whole: bool = False
    fit: bool = False
    full: bool = False
    stem: int | None = None

    def scaled(self, scale: float) -> Needs:
        """The same with lengths in pixels of images that are scaled by a factor."""
        extent, apart = (None if at is None else at * scale for at in (self.extent, self.apart))
        return replace(self, extent=extent, apart=apart)


@dataclass(frozen=True)
class Validation:
    """What validation images say of a model.

    Attributes:
        log: numbers for the log, by name.
        score: what the best weights are chosen by, lower is better; None where nothing is known.
        summary: the same in words, for the user.
    """

    log: Mapping[str, float | None]
    score: float | None
    summary: str


@dataclass(frozen=True)
class Scored(Generic[S, P]):
    """Predictions held against labels, and what a report says of them.

    Attributes:
        model: the model.
        dataset: the labels.
        samples: those that were scored.
        found: a prediction for each.
        options: what the user asked for, e.g. `pck_pair`.
        training: samples of these labels that the model was trained on.
    """

    model: Any
    dataset: Dataset[S]
    samples: Sequence[S]
    found: Sequence[P]
    options: Mapping[str, Any] = field(default_factory=dict)
    training: Sequence[S] = ()


@dataclass(frozen=True)
class RunInfo:
    """What a report says of the run itself.

    Attributes:
        title: name of the run.
        log: lines of `log.jsonl`.
        settings: of model and training, nested.
        versions: versions of what decides numbers.
        fingerprint: fingerprint of the data.
    """

    title: str
    log: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    fingerprint: str


@dataclass(frozen=True)
class Suggestion:
    """What a model suggests as labels of an image, on the labelling page.

    Attributes:
        sample: the objects that it finds, with scores.
        radius: (instances, keypoints) px within which 90 % of truths lie, or how far the model
            believes it may be off; NaN where nothing is known.
        hills: (n, axes) px of the places at which the map of a keypoint has a maximum, by name.
    """

    sample: KeypointSample
    radius: FloatArray
    hills: Mapping[str, FloatArray] = field(default_factory=dict)


class Calibration(BaseModel):
    """What `calibration.json` may hold: a task says its fields and their bounds."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class Task(ABC, Generic[S, P]):
    """One kind of answer.

    Attributes:
        noun: what the names of a dataset are names of, in the plural.
        head: member of `HEADS` that is taken where none is named.
        network: the model that gives the predictions.
        metric: what models are compared by.
        places: whether answers are places of the image, in whose pixels they are given.
        batch_size: images in a step where nobody says otherwise.
        validated: validation images that a validation during training looks at, at most.
        options: what `evaluate` may be asked for, beside the split.
        chosen_by: the number in the log that a validation is about; None: `val_` and the name of
            `metric`.
        chooses: whether validation images choose the best weights by it; otherwise the last
            weights are taken, so that what these images calibrate is not flattered by the choice.
        words: what the words on a report mean.
        place_words: what a comparison says of the sense of place.
        calibration: what `calibrate` may give, field by field.
        control: name of the head that permutes places in front of another, for the place-use
            index of a comparison; None where there is none.
        demo: made data by which the task shows itself; None where there are none.
        moves: whether its table has keypoint, x, y and score, which over a video is a movement.
        follows: whether an image may have several objects, which need identities over a video.
    """

    noun: ClassVar[str]
    head: ClassVar[str]
    network: ClassVar[type[Network[Any]]]
    metric: ClassVar[Metric]
    places: ClassVar[bool] = True
    batch_size: ClassVar[int] = 8
    validated: ClassVar[int] = 64
    options: ClassVar[frozenset[str]] = frozenset()
    chosen_by: ClassVar[Metric | None] = None
    chooses: ClassVar[bool] = True
    words: ClassVar[Sequence[tuple[str, str]]] = ()
    place_words: ClassVar[Sequence[tuple[str, str]]] = ()
    calibration: ClassVar[type[BaseModel]] = Calibration
    control: ClassVar[str | None] = None
    demo: ClassVar[Demo | None] = None
    moves: ClassVar[bool] = False
    follows: ClassVar[bool] = False

    # --- from labels to a training set ---------------------------------------------------------

    @abstractmethod
    def target(self, dataset: Dataset[S], sample: S) -> Target:
        """What is labelled on an image."""

    def for_model(self, settings: ModelSettings) -> Self:
        """The task as a model needs it: a loss may want to know more of the labels.

        Args:
            settings: of the model that is trained.
        """
        return self

    def usable(self, dataset: Dataset[S]) -> Dataset[S]:
        """The labels that a run is made with.

        Raises:
            DataError: nothing can be learnt from them.
        """
        if not dataset.samples:
            raise DataError("the labels hold no image; label some")
        return dataset

    def check_splits(self, dataset: Dataset[S], splits: Mapping[str, Sequence[S]]) -> None:
        """Refuse splits of which one has nothing to learn from, or to choose by.

        Raises:
            DataError: names the split and what is missing.
        """

    def notes(self, dataset: Dataset[S]) -> list[str]:
        """What the user should know before the training, a line each."""
        return []

    def needs(self, dataset: Dataset[S], samples: Sequence[S], head: str) -> Needs:
        """How images have to be brought to the network."""
        return Needs()

    def head_defaults(self, defaults: Settings, needs: Needs) -> Settings:
        """Settings of the head that follow from the data.

        Args:
            defaults: the head's settings with their defaults.
            needs: with lengths in pixels of the network.
        """
        return {}

    def augmentation(self, dataset: Dataset[S], samples: Sequence[S]) -> dict[str, Any]:
        """Ranges of the augmentation for these training samples, where they are not the usual."""
        return {"flip": False}

    def stamp(self, sample: S) -> bytes:
        """What the labels say of a sample, for the fingerprint of the data."""
        return repr(sample).encode()

    def collate(self, items: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        """Items of a training set as one batch."""
        batch: tuple[Any, ...] = tuple(default_collate(items))
        return batch

    # --- how well it answers -------------------------------------------------------------------

    @abstractmethod
    def measures(self, dataset: Dataset[S], sample: S, one: P) -> FloatArray:
        """(items,) values of `metric` on an image; NaN where nothing is labelled."""

    def validate(self, dataset: Dataset[S], samples: Sequence[S], found: Sequence[P]) -> Validation:
        """What validation images say: by default the mean of `metric`."""
        value = _mean(self._measured(dataset, samples, found))
        summary = "" if value is None else f"{self.metric.label} {self.metric.shown(value)}"
        sign = 1 if self.metric.better == "lower" else -1
        score = None if value is None else sign * value
        return Validation({f"val_{self.metric.name}": value}, score, summary)

    def calibrate(
        self, dataset: Dataset[S], samples: Sequence[S], found: Sequence[P]
    ) -> dict[str, Any]:
        """What makes the model's own confidence honest; empty where nothing does.

        Args:
            dataset: the labels.
            samples: all validation samples.
            found: what the best weights predict, before calibration.
        """
        return {}

    def score(self, held: Scored[S, P]) -> dict[str, Any]:
        """Scores as plain numbers that JSON can hold: by default the mean of `metric`."""
        values = self._measured(held.dataset, held.samples, held.found)
        return {"images": len(held.samples), self.metric.name: _mean(values)}

    def _measured(
        self, dataset: Dataset[S], samples: Sequence[S], found: Sequence[P]
    ) -> FloatArray:
        """All values of `metric`."""
        parts = [self.measures(dataset, s, one) for s, one in zip(samples, found, strict=True)]
        return np.concatenate(parts) if parts else np.empty(0)

    def items(self, model: Any, dataset: Dataset[S], samples: Sequence[S]) -> Items:
        """Test items for a comparison."""
        return MeasuredItems(self, model, dataset, samples)

    def why_no_control(
        self, dataset: Dataset[S], own: ModelSettings, control: ModelSettings
    ) -> str:
        """Why places cannot be permuted in front of a head; empty where they can."""
        return "" if self.control else f"{self.noun} have no head that permutes places"

    # --- how it is shown and written -----------------------------------------------------------

    @abstractmethod
    def draw(
        self,
        model: Any,
        pixels: ImageArray,
        one: P,
        *,
        dataset: Dataset[S] | None = None,
        sample: S | None = None,
        threshold: float = 0.5,
        card: bool = False,
        spacing: Sequence[float] | None = None,
    ) -> Overlay:
        """An image with its prediction drawn on it.

        Args:
            model: for names and skeleton.
            pixels: the image.
            one: the prediction.
            dataset: labels to draw too.
            sample: the labels of this image.
            threshold: what has a lower score is drawn as not sure.
            card: for a report: with the surroundings cut off, and at a readable size.
            spacing: distance of the pixels along the axes: seconds of signals, mm of volumes; None:
                not known.
        """

    def caption(self, dataset: Dataset[S], sample: S, one: P) -> str:
        """What stands under a drawn image."""
        values = self.measures(dataset, sample, one)
        value = _mean(values)
        return one.image if value is None else f"{one.image}: {self.metric.shown(value)}"  # type: ignore[attr-defined]

    def preview(
        self, dataset: Dataset[S], sample: S, pixels: ImageArray, one: P
    ) -> tuple[str, Overlay]:
        """(caption, image) of a validation image during training."""
        spacing = dataset.images.spacing(sample.image)
        drawn = self.draw(None, pixels, one, dataset=dataset, sample=sample, spacing=spacing)
        return self.caption(dataset, sample, one), drawn

    def legend(self, names: Sequence[str]) -> tuple[str, ...]:
        """Names whose marks a contact sheet explains."""
        return ()

    @abstractmethod
    def columns(self, names: Sequence[str]) -> list[str]:
        """Names of the columns of `predictions.csv`."""

    def header(self, model: Any) -> list[str]:
        """The same for the predictions of a model: by default what `columns` says of its names."""
        return self.columns(model.names)

    def truth_cells(self, dataset: Dataset[S], sample: S) -> tuple[list[str], list[Any]]:
        """(more columns, their cells) that an evaluation adds to each row."""
        return [], []

    def about(self) -> dict[str, str]:
        """What the columns mean, for `about.json`."""
        return {}

    def save(self, one: P, folder: Path, source: Path | None = None) -> None:
        """Write what a prediction holds beyond the rows of a table, e.g. a mask.

        It is called for each image before its rows count, and again for those of an interrupted
        batch.

        Args:
            one: the prediction.
            folder: of the results; subfolders are made.
            source: the file of its image, which says e.g. where a volume lies; None where the
                image is in no file.
        """

    def suggest(self, model: Any, shown: Scaled, size: Size) -> Suggestion:
        """What a model suggests as labels of an image; refused where keypoints are not answered.

        Args:
            model: the model.
            shown: the image at the network's scale.
            size: of the image, in whose pixels to answer.
        """
        raise SettingsError(
            f"the run predicts {self.noun}, and the page labels keypoints; name a run of keypoints"
        )

    def follower(self, settings: ModelSettings) -> Follower[P]:
        """What follows objects over images, for `predict --track`; refused where there are none."""
        raise SettingsError(
            f"--track follows objects over images, and {self.noun} have none; leave it out"
        )

    def save_all(self, held: Scored[S, P], folder: Path) -> None:
        """Write what an evaluation holds beyond the table of its predictions, e.g. counts.

        Args:
            held: what was scored.
            folder: of the results.
        """

    def export(
        self,
        root: Path,
        settings: ModelSettings,
        rows: Iterable[tuple[str, Size, list[list[str]]]],
        out: Path,
        threshold: float,
    ) -> None:
        """Write predictions for other programs too.

        Args:
            root: folder of the images.
            settings: of the model.
            rows: (image, size, cells of its rows) as `predictions.csv` holds them.
            out: the folder.
            threshold: what has a lower score is written as not there.
        """

    def verdict(self, scores: Mapping[str, Any]) -> str:
        """The first sentence of a report."""
        value = self.metric.of(scores)
        if value is None:
            return f"Nothing is labelled on the {scores['images']} images."
        label, shown = self.metric.label.capitalize(), self.metric.shown(value)
        return f"{label} on {scores['images']} {kind_of(scores['split'])} images: {shown}."

    def tiles(self, scores: Mapping[str, Any]) -> list[tuple[str, str]]:
        """(label, value) of the numbers on top of a report."""
        return metric_tiles([self.metric], [self.metric.name], scores)

    def sections(
        self,
        scores: Mapping[str, Any],
        held: Scored[S, P] | None = None,
        best: Sequence[Card] = (),
        worst: Sequence[Card] = (),
    ) -> list[Section]:
        """What a report shows of this task.

        Args:
            scores: what `score` returned.
            held: what was scored; None for the console.
            best: (caption, drawn image) of the best samples, the best first.
            worst: the same of the worst ones.
        """
        shown = [
            Section(title, [Photographs(cards, "Image with its prediction")], console=False)
            for title, cards in (("Worst images", worst), ("Best images", best))
            if cards
        ]
        return [Section("Scores", [metric_table([self.metric], scores)]), *shown]

    def report(
        self,
        scores: Mapping[str, Any],
        held: Scored[S, P] | None = None,
        info: RunInfo | None = None,
    ) -> Report:
        """Scores as a report: one page and one text.

        Args:
            scores: what `score` returned, and `split`.
            held: what was scored; None for the console.
            info: what is known of the run.
        """
        best, worst = self.cards(held) if held else ([], [])
        sections = self.sections(scores, held, best, worst)
        if info and info.log:
            logged = replace(self.metric, name=f"val_{self.metric.name}")
            (metric,) = in_unit([self.chosen_by or logged], scores)
            sections.append(training_section(info.log, metric, chooses=self.chooses))
        if info:
            sections.append(making_section(info.settings, info.versions, info.fingerprint))
        report = Report(
            info.title if info else "",
            self.verdict(scores),
            sections,
            tiles=self.tiles(scores),
            words=self.words,
        )
        tables = [table for key, table in scores.items() if key.startswith("by_")]
        names = {name for table in tables if isinstance(table, Mapping) for name in table}
        rows = [row for table in tables if isinstance(table, list) for row in table]
        names |= {str(row["point"]) for row in rows if "point" in row}
        return spoken(report, str(scores.get("unit", "px")), names)

    def ranking(self, held: Scored[S, P]) -> tuple[list[int], list[int]]:
        """Numbers of the best and the worst samples, the best and the worst first."""
        pairs = zip(held.samples, held.found, strict=True)
        values = [_mean(self.measures(held.dataset, s, one)) for s, one in pairs]
        sign = 1 if self.metric.better == "lower" else -1
        known = [i for i, value in enumerate(values) if value is not None]
        ranked = sorted(known, key=lambda i: sign * (values[i] or 0.0))
        worst = ranked[::-1][:CARDS]
        return [i for i in ranked[:CARDS] if i not in worst], worst

    def cards(self, held: Scored[S, P]) -> tuple[list[Card], list[Card]]:
        """(caption, drawn image) of the best and of the worst samples."""
        best, worst = self.ranking(held)
        return [self._card(held, i) for i in best], [self._card(held, i) for i in worst]

    def _card(self, held: Scored[S, P], index: int) -> Card:
        sample, one = held.samples[index], held.found[index]
        pixels, spacing = held.dataset.reading(sample.image)
        drawn = self.draw(
            held.model,
            pixels,
            one,
            dataset=held.dataset,
            sample=sample,
            card=True,
            spacing=spacing,
        )
        return self.caption(held.dataset, sample, one), drawn

    # --- what can be wrong with labels ---------------------------------------------------------

    def check(
        self, dataset: Dataset[S], *, seed: int = 0, progress: Progress | None = None
    ) -> Findings:
        """Look at labels and their images."""
        return look_at_set(dataset, self.advice(dataset), seed, progress)

    def advice(self, dataset: Dataset[S]) -> list[Advice]:
        """What is wrong with these labels beyond what every dataset can have."""
        return []


def _mean(values: FloatArray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
