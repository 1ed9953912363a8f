"""The page of a run: one file that explains itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from placewise.geometry import FloatArray
from placewise.metrics import KEYPOINT_METRICS, Scores
from placewise.report.blocks import (
    FOOTER,
    Html,
    element,
    joined,
    legend,
    listed,
    page,
    photographs,
    plot,
    section,
    settings_table,
    table,
    tiles,
    words,
)
from placewise.report.figures import curves, error_curve, errors_by_border, errors_by_point
from placewise.report.glossary import WORDS, meaning_of_pck
from placewise.report.marks import Overlay
from placewise.wording import number, share

Card = tuple[str, Overlay]
"""(caption, image with keypoints)."""


@dataclass(frozen=True)
class RunReport:
    """What the page of a run shows.

    Attributes:
        title: name of the run.
        verdict: the finding in a sentence or two.
        scores: what `metrics.json` holds.
        log: lines of `log.jsonl`.
        best: images with the smallest errors, drawn without a legend.
        worst: images with the largest errors, the largest first.
        errors: errors in px of all labelled points, of any shape; None where they are not at hand.
        settings: settings of the run, may be nested.
        versions: versions of what decides numbers.
        fingerprint: fingerprint of the data.
        notes: sentences that the reader has to know.
    """

    title: str
    verdict: str
    scores: Scores
    log: Sequence[Mapping[str, Any]] = ()
    best: Sequence[Card] = ()
    worst: Sequence[Card] = ()
    errors: FloatArray | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    notes: Sequence[str] = ()


def run_page(report: RunReport) -> str:
    """One self-contained HTML page: no script, no request, at most 3 MB.

    Args:
        report: what to show.

    Example:
        >>> text = run_page(RunReport("run 1", "They are 2 px off.", {"mean_error_px": 2.0}))
        >>> "They are 2 px off." in text, "<script" in text
        (True, False)
    """
    parts = [
        _facts(report),
        section("Notes", listed(report.notes)) if report.notes else Html(),
        section("Where the errors are", *_plots(report)),
        *_images(report),
        section("Scores", _scores(report.scores)),
        section("How it was made", *making(report.settings, report.versions, report.fingerprint)),
        section("Words", words(WORDS)),
        FOOTER,
    ]
    return page(report.title, report.verdict, parts)


def _facts(report: RunReport) -> Html:
    """The numbers that stand on top, as far as they are known."""
    top = {"mean_error_px", "median_error_px", "p95_error_px", "mean_position_baseline_px"}
    facts = [
        (score.label, score.shown(score.of(report.scores)))
        for score in KEYPOINT_METRICS
        if score.name in top and score.of(report.scores) is not None
    ]
    images = report.scores.get("images")
    if images is not None:
        facts.append((f"{report.scores.get('split', '')} images".strip(), f"{images:,}"))
    return tiles(facts) if facts else Html()


def _plots(report: RunReport) -> list[Html]:
    points = report.scores.get("by_point") or []
    border = report.scores.get("by_border_distance") or []
    found = []
    if report.errors is not None:
        found.append(_plot_of_errors(report.errors, report.scores))
    if points:
        words = "Error of each point: half of its keypoints are closer than the round mark."
        found.append(plot(partial(errors_by_point, points), words, _said_by_point(points)))
    if border:
        words = (
            "Error by distance from the border: the first bar is the border, the last the middle. "
            "A first bar that towers over the others is a network that sees badly at the border."
        )
        found.append(plot(partial(errors_by_border, border), words, _said_by_border(border)))
    if report.log:
        words = (
            "The training: the loss should fall and settle; the validation error is measured on "
            "images that the network does not learn from, and its best moment is kept."
        )
        alt = f"Curves of training loss and validation error over {len(report.log)} log lines"
        found.append(plot(partial(curves, report.log), words, alt))
    return [element("div", *found, class_="plots")]


def _plot_of_errors(errors: FloatArray, scores: Scores) -> Html:
    median, high = number(scores.get("median_error_px")), number(scores.get("p95_error_px"))
    alt = (
        f"Curve of the share of keypoints by error; half within {median} px, 95 % within {high} px"
    )
    words = "How many keypoints are closer than an error: the further up and left, the better."
    return plot(partial(error_curve, errors), words, alt)


def _said_by_point(rows: Sequence[Mapping[str, Any]]) -> str:
    said = [f"{row['point']} {number(row.get('mean_error_px'))}" for row in rows[:40]]
    return f"Mean error in px of each point: {', '.join(said)}"


def _said_by_border(rows: Sequence[Mapping[str, Any]]) -> str:
    said = [
        f"{share(row['from_share'])} to {share(row['to_share'])}: {number(row['mean_error_px'])} "
        f"({row['count']} labels)"
        for row in rows
    ]
    return f"Mean error in px by distance from the border: {', '.join(said)}"


def _images(report: RunReport) -> list[Html]:
    """Worst and best images under one legend."""
    if not (report.worst or report.best):
        return []
    names = [row["point"] for row in report.scores.get("by_point") or []]
    alt = "Image with predicted keypoints and true places"
    worst, best = photographs([report.worst, report.best], alt)
    key = (
        "A filled mark is a keypoint, hollow where the network is not sure that the point is "
        "there; a "
        "white cross is the labelled place, a line joins the two, and a circle is the radius r90."
    )
    shown = [element("p", key), legend(names)]
    if report.worst:
        shown += [element("h3", "Largest errors"), worst]
    if report.best:
        shown += [element("h3", "Smallest errors"), best]
    return [section("ScaledImages", *shown)]


def _scores(scores: Scores) -> Html:
    rows = [
        (score.label, score.shown(score.of(scores)), score.meaning) for score in KEYPOINT_METRICS
    ]
    note = f"{meaning_of_pck(scores)} A dash: these images cannot tell.".strip()
    parts = [table(["score", "value", "meaning"], rows, [1], note)]
    points = scores.get("by_point") or []
    if points:
        keys = ("mean_error_px", "median_error_px", "p95_error_px")
        cells = [
            [row["point"], f"{row['count']:,}", *(number(row.get(key)) for key in keys)]
            for row in points
        ]
        header = ["point", "labels", "mean", "median", "95th percentile"]
        parts.append(element("h3", "By point"))
        parts.append(table(header, cells, range(1, 5), "Errors in px of the image."))
    return joined(parts)


def making(
    settings: Mapping[str, Any], versions: Mapping[str, str], fingerprint: str
) -> list[Html]:
    """How a run was made.

    Args:
        settings: of the run, may be nested.
        versions: versions of what decides numbers.
        fingerprint: fingerprint of the data.

    Example:
        >>> making({}, {}, "")
        ['<p class="muted">Nothing was recorded.</p>']
    """
    parts = []
    if fingerprint:
        facts = {"fingerprint of the data (SHA-256)": fingerprint}
        note = "Two runs with the same fingerprint saw the same images and labels."
        parts.append(settings_table(facts, note))
    if settings:
        parts += [element("h3", "Settings"), settings_table(settings)]
    if versions:
        parts += [element("h3", "Versions"), settings_table(versions)]
    return parts or [element("p", "Nothing was recorded.", class_="muted")]
