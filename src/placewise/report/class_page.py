"""The page of a run that answers with classes: one file that explains itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from placewise.metrics import CLASS_METRICS, Scores
from placewise.report import text
from placewise.report.blocks import (
    FOOTER,
    Html,
    element,
    joined,
    page,
    photographs,
    plot,
    section,
    table,
    tiles,
    words,
)
from placewise.report.class_figures import (
    confusion_map,
    reliability_diagram,
    said_of_classes,
)
from placewise.report.figures import curves
from placewise.report.glossary import CLASS_WORDS
from placewise.report.html import making
from placewise.report.marks import Overlay
from placewise.wording import number, share

Card = tuple[str, Overlay]
"""(caption, image with evidence)."""


@dataclass(frozen=True)
class ClassReport:
    """What the page of a run shows.

    Attributes:
        title: name of the run.
        verdict: the finding in a sentence or two.
        scores: what `metrics.json` holds.
        log: lines of `log.jsonl`.
        best: images that are rightly named, the surest of each class.
        worst: images that are wrongly named, those first whose class was thought least likely.
        settings: settings of the run, may be nested.
        versions: versions of what decides numbers.
        fingerprint: fingerprint of the data.
    """

    title: str
    verdict: str
    scores: Scores
    log: Sequence[Mapping[str, Any]] = ()
    best: Sequence[Card] = ()
    worst: Sequence[Card] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""


def class_page(report: ClassReport) -> str:
    """One self-contained HTML page: no script, no request, at most 3 MB.

    Args:
        report: what to show.

    Example:
        >>> text = class_page(ClassReport("run 1", "All are right.", {"accuracy": 1.0}))
        >>> "All are right." in text, "<script" in text
        (True, False)
    """
    top = {"accuracy", "majority_baseline", "log_loss", "calibration_error"}
    facts = [
        (score.label, score.shown(score.of(report.scores)))
        for score in CLASS_METRICS
        if score.name in top and score.of(report.scores) is not None
    ]
    parts = [
        tiles(facts),
        section("Where the answers go", *_plots(report)),
        *_images(report),
        section("Scores", _scores(report.scores)),
        section("How it was made", *making(report.settings, report.versions, report.fingerprint)),
        section("Words", words(CLASS_WORDS)),
        FOOTER,
    ]
    return page(report.title, report.verdict, parts)


def class_scores_table(scores: Scores) -> str:
    """What `metrics.json` holds, each number with its meaning, then the classes.

    Example:
        >>> print(class_scores_table({"accuracy": 0.975, "split": "test", "images": 200}))
        200 test images
        <BLANKLINE>
        accuracy  97.5 %  share of images with the correct class
    """
    rows = [
        (score.label, score.shown(score.of(scores)), score.meaning)
        for score in CLASS_METRICS
        if score.of(scores) is not None
    ]
    parts = [f"{scores.get('images', '?'):,} {scores.get('split', '')} images"]
    parts.append(text.table(["", "", ""], rows, numbers=[1]))
    if scores.get("by_class"):
        parts.append(text.table(HEADER, _class_rows(scores), numbers=range(1, len(HEADER))))
    return "\n\n".join(parts)


HEADER = ("class", "images", "precision", "recall", "F₁", "most often taken for")


def _class_rows(scores: Scores) -> list[list[str]]:
    counts, names = scores["confusion"], scores["classes"]
    rows = []
    for k, row in enumerate(scores["by_class"]):
        others = [(counts[k][j], name) for j, name in enumerate(names) if j != k]
        most = max(others, default=(0, ""))
        taken = f"{most[1]} ({most[0]:,})" if most[0] else "–"
        shares = [share(row[key]) for key in ("precision", "recall")]
        rows.append([row["class"], f"{row['images']:,}", *shares, number(row["f1"]), taken])
    return rows


def _plots(report: ClassReport) -> list[Html]:
    scores, found = report.scores, []
    if scores.get("confusion"):
        said = "Rows are what images show, columns what was answered; the diagonal is right. The "
        said += "colour is the share of the row."
        alt = said_of_classes(scores["by_class"])
        draw = partial(confusion_map, scores["confusion"], scores["classes"])
        found.append(plot(draw, said, alt))
    if scores.get("reliability"):
        said = (
            "How often an answer is right, by how probable it was said to be. Bars on the dashed "
            "line are honest; below it the network is surer than it should be."
        )
        alt = f"Calibration error {share(scores.get('calibration_error'))}"
        found.append(plot(partial(reliability_diagram, scores["reliability"]), said, alt))
    if report.log:
        said = (
            "The training: the loss should fall and settle; the validation log loss is measured on "
            "images that the network does not learn from, and its best moment is kept."
        )
        alt = f"Curves of training loss and validation log loss over {len(report.log)} log lines"
        found.append(plot(partial(curves, report.log), said, alt))
    return [element("div", *found, class_="plots")]


def _images(report: ClassReport) -> list[Html]:
    if not (report.worst or report.best):
        return []
    alt = "Image, evidence for the answer on it, and the likeliest classes"
    worst, best = photographs([report.worst, report.best], alt)
    key = (
        "Left the image, right the evidence for the answer: orange speaks for it, blue against "
        "it, and the strongest place has the strongest colour. Below, the likeliest classes."
    )
    shown = [element("p", key)]
    if report.worst:
        shown += [element("h3", "Wrong, and most surely so"), worst]
    if report.best:
        shown += [element("h3", "Right, and most surely so, of each class the surest"), best]
    return [section("ScaledImages", *shown)]


def _scores(scores: Scores) -> Html:
    rows = [
        (score.label, score.shown(score.of(scores)), score.meaning)
        for score in CLASS_METRICS
        if score.of(scores) is not None
    ]
    parts = [table(["score", "value", "meaning"], rows, [1])]
    if scores.get("by_class"):
        parts.append(element("h3", "By class"))
        parts.append(table(HEADER, _class_rows(scores), range(1, len(HEADER))))
    return joined(parts)
