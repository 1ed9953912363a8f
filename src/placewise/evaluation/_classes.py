"""How often the class is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from placewise.data import ScaledImages, in_groups
from placewise.errors import SettingsError
from placewise.evaluation._scoring import CARDS, Scoring, kind_of
from placewise.labels import ClassDataset, ClassSample
from placewise.metrics import class_table as score_classes
from placewise.model import Classified, ClassModel
from placewise.prediction import ClassPrediction, class_table, drawn
from placewise.report.classes import CLASS_WORDS, VALIDATION, class_sections, class_tiles
from placewise.report.parts import Card, Report
from placewise.report.run import making_section, training_section
from placewise.run import Run
from placewise.wording import percent, share


class ClassScoring(Scoring[ClassSample, ClassModel]):
    """Classes against labelled classes; see `Scoring`. Images without a class are left out."""

    labels: ClassDataset
    model: ClassModel

    def __init__(self, run: Run, labels: ClassDataset, samples: Sequence[ClassSample]) -> None:
        known = [sample for sample in samples if sample.label is not None]
        super().__init__(run, labels, known)
        names = run.facts.model.names
        self.truth = _truth(names, labels, known)
        self.probabilities = np.zeros((len(known), len(names)))

    def score(
        self, model: ClassModel, progress: Callable[[int, int], None] | None
    ) -> dict[str, Any]:
        """Accuracy, confusion, precision and recall, log loss and calibration."""
        self.model = model
        images = ScaledImages(self.labels, self.samples, model.settings.input)
        done = 0
        for group in in_groups(images[index] for index in range(len(self.samples))):
            self.probabilities[done : done + len(group)] = model.probabilities(group)
            done += len(group)
            if progress:
                progress(done, len(self.samples))
        scores = score_classes(self.run.facts.model.names, self.truth, self.probabilities)
        scores["temperature"] = model.temperature
        return scores

    def table(self) -> str:
        """`image,class,probability,...,truth`."""
        names = self.run.facts.model.names
        found = [self._prediction(index) for index in range(len(self.samples))]
        return class_table(names, found, [names[label] for label in self.truth])

    def _prediction(self, index: int) -> ClassPrediction:
        return ClassPrediction(self.samples[index].image, Classified(self.probabilities[index]))

    def page(self, scores: dict[str, Any]) -> str:
        """The report on classes."""
        given = self.probabilities[np.arange(len(self.truth)), self.truth]
        right = self.probabilities.argmax(1) == self.truth
        ranked = np.argsort(given, kind="stable")
        worst = [int(i) for i in ranked if not right[i]][:CARDS]
        surest = {int(self.truth[i]): int(i) for i in ranked if right[i]}
        best = sorted(surest.values(), key=lambda i: -given[i])[:CARDS]
        facts = self.run.facts
        settings = {"model": facts.model.model_dump(mode="json"), "training": facts.training}
        report = Report(
            title=self.run.path.resolve().name,
            verdict=verdict(scores),
            tiles=class_tiles(scores),
            sections=[
                *class_sections(
                    scores,
                    worst=[self._card(i) for i in worst],
                    best=[self._card(i) for i in best],
                ),
                training_section(self.run.log(), VALIDATION),
                making_section(settings, facts.versions, facts.fingerprint),
            ],
            words=CLASS_WORDS,
        )
        return report.html()

    def _card(self, index: int) -> Card:
        one, names = self._prediction(index), self.run.facts.model.names
        answer, truth = one.classified.answer, int(self.truth[index])
        sure = percent(float(one.classified.probabilities[answer]))
        beside = "" if answer == truth else f", and is {names[truth]}"
        caption = f"{one.image}: said {names[answer]} ({sure}){beside}"
        return caption, drawn(self.model, self.labels.image(one.image), one)


def _truth(
    names: Sequence[str], labels: ClassDataset, samples: Sequence[ClassSample]
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Number of each sample's class among those of the run.

    Raises:
        SettingsError: a class that the run does not know, or no class at all.
    """
    if not samples:
        raise SettingsError("none of these images has a class; label some")
    strange = {labels.names[sample.label or 0] for sample in samples} - set(names)
    if strange:
        raise SettingsError(
            f"the labels hold the classes {', '.join(sorted(strange))}, which the run does not "
            f"know; it knows {', '.join(names)}: rename them, or train on them"
        )
    place = {name: k for k, name in enumerate(names)}
    return np.array([place[labels.names[sample.label or 0]] for sample in samples], dtype=np.int64)


def verdict(scores: dict[str, Any]) -> str:
    """The first sentence of a report: how often the answer is right, in words."""
    return (
        f"{share(scores['accuracy'])} of {scores['images']:,} {kind_of(scores['split'])} "
        f"images are named rightly (always answering the commonest class: "
        f"{share(scores['majority_baseline'])}).{_most_confused(scores)}"
    )


def _most_confused(scores: dict[str, Any]) -> str:
    """The commonest mistake in a sentence; nothing where there is none."""
    counts = np.array(scores["confusion"])
    np.fill_diagonal(counts, 0)
    if not counts.any():
        return ""
    truth, answer = np.unravel_index(int(counts.argmax()), counts.shape)
    names, times = scores["classes"], int(counts.max())
    often = "once" if times == 1 else f"{times:,} times"
    return f" The commonest mistake, {often}, is '{names[answer]}' for '{names[truth]}'."
