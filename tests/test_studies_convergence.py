"""Convergence: steps double as long as validation improves, whatever the test images say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from placewise.decoders import DECODERS
from placewise.labels import KeypointDataset, KeypointSample, Visibility
from placewise.metrics import errors
from placewise.run import Run
from studies import Options, run_study
from studies._figures import COLOURS, panels
from studies._findings import Measured
from studies._page import fill
from studies.convergence import runs, told
from studies.keypoints import figures, material
from studies.keypoints.runs import REFERENCE, WAYS, Arms, Effort, Outcome
from test_studies_keypoints import numbers

PLAN = Options("tiny", n_jobs=1, quiet=True)


# --- one tiny study for all ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page of a tiny study, and its runs."""
    folder = tmp_path_factory.mktemp("convergence")
    options = Options("tiny", runs=folder / "runs", n_jobs=1, quiet=True)
    run_study("convergence", folder / "pages", options)
    return folder


@pytest.fixture(scope="module")
def record(kept: Path) -> dict[str, Any]:
    return dict(json.loads((kept / "pages" / "convergence.json").read_text(encoding="utf-8")))


def test_the_page_says_what_the_record_holds(kept: Path, record) -> None:
    page = (kept / "pages" / "convergence.md").read_text(encoding="utf-8")
    assert "{{" not in page
    assert (kept / "pages" / "convergence" / "lengths.png").read_bytes()[1:4] == b"PNG"
    assert "](convergence/lengths.png)" in page
    claims = {name: claim for name, claim in record["claims"].items() if name != "table"}
    assert set(claims) == {"works", "beneficial", "shrinks", "finer"}
    for claim in claims.values():
        assert f"| {claim['claim']} | **{claim['verdict']}** | {claim['said']} |" in page
    assert [row[1] for row in record["errors"]["rows"]] == [3, 6]
    in_page, in_record = (numbers(text) for text in (page, json.dumps(record)))
    assert len(in_page) > 40
    assert in_page - in_record == set()


def test_what_is_kept_is_not_run_again(kept: Path) -> None:
    place = kept / "runs" / "convergence-tiny-0"
    before = {path: path.stat().st_mtime_ns for path in place.rglob("log.jsonl")}
    assert len(before) == 8
    found = runs.lengthened("digits", PLAN, place)
    assert list(found) == [3, 6]
    assert [one.results["steps"] for one in found.values()] == [3, 6]
    assert {path: path.stat().st_mtime_ns for path in place.rglob("log.jsonl")} == before


def test_validation_is_the_error_of_the_trained_run_on_validation_images(kept: Path) -> None:
    folder = kept / "runs" / "convergence-tiny-0"
    run = folder / "digits" / "steps-6" / "runs" / "flatten" / "seed-1"
    labels = material.points_of(folder / "data" / "digits-32" / "points.csv")
    samples = material.part(labels, "val")
    model = Run.open(run).model()
    placed = np.stack([model.predict(labels.image(s.image)).keypoints for s in samples])
    off = errors(placed, material.truth_of(samples)[0])
    assert runs._validated(run) == pytest.approx(np.nanmean(off), rel=1e-4)


def test_the_page_of_mice_has_all_its_places(record) -> None:
    """The text of the other branches, which tiny runs do not show."""
    text = Path(figures.__file__).parents[1].joinpath("convergence.md").read_text(encoding="utf-8")
    page = fill(text, {**record, "missing": "", "budget": {**record["budget"], "tuned": True}})
    assert "same videos" in page
    assert "drawn from" in page
    assert "{{" not in page


# --- when doubling ends --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("errors", "since"),
    [
        ([9.0], None),
        ([9.0, 8.0], None),
        ([9.0, 8.9], 1),
        ([9.0, 12.0], 1),
        ([9.0, 5.0, 4.9, 4.8], 2),
        ([9.0, 8.9, 5.0], None),
        ([9.0, 8.9, 5.0, 4.9], 4),
        ([100.0, 97.0], 1),
        ([100.0, 96.9], None),
    ],
)
def test_an_arm_is_settled_from_where_no_doubling_improved_it(errors, since) -> None:
    assert runs.settled({2**place: error for place, error in enumerate(errors)}) == since


def outcome(folder: Path, values: dict[str, list[float]], verdict: str = "worse") -> Outcome:
    """Errors in px of each arm by seed, on images 100 px wide, which were 200 px wide before."""
    points, visibility = np.array([[[10.0, 5.0]]]), np.array([[int(Visibility.VISIBLE)]], np.int8)
    samples = tuple(
        KeypointSample(f"{s}.png", (40, 100), points, visibility, s) for s in ("train", "test")
    )
    arms = [
        {
            "name": arm,
            "mean": float(np.mean(by_seed)),
            "by_seed": [{"run": f"{arm}/{s}", "value": v} for s, v in enumerate(by_seed)],
            "learning_rate": 0.001 * (place + 1),
            "weight_decay": 0.5,
        }
        for place, (arm, by_seed) in enumerate(values.items())
    ]
    compared = [
        {
            "arm": arm,
            "difference": float(np.mean(values[REFERENCE]) - np.mean(by_seed)),
            "two_way_interval": None,
            "t_interval": [-99.0, 99.0],
            "p_holm": 0.01,
            "verdict": verdict,
        }
        for arm, by_seed in values.items()
        if arm != REFERENCE
    ]
    results = {"steps": int(folder.name), "arms": arms, "comparisons": compared}
    return Outcome(folder, KeypointDataset(Path(), ("nose",), samples), results, 0.5)


@pytest.mark.parametrize(
    ("joint", "flatten", "lengths"),
    [
        ([9, 8, 7, 6], [9, 9, 9, 9], [3, 6, 12, 24]),
        ([9, 9, 1, 1], [9, 9, 1, 1], [3, 6]),
        ([9, 9, 9, 1], [9, 8, 8, 1], [3, 6, 12]),
    ],
)
def test_doubling_ends_by_validation_or_at_the_most_steps(
    monkeypatch, kept: Path, joint, flatten, lengths
) -> None:
    """Errors on test images always fall, which prolongs nothing."""
    validated, calls = {"joint": joint, "flatten": flatten}, []
    budget = replace(runs.BUDGETS["tiny"], trials=3, most={"digits": 24})

    def trained(
        file: Path, labels: KeypointDataset, out: Path, arms: Arms, effort: Effort, plan: Options
    ) -> Outcome:
        calls.append((effort.steps, effort.trials, effort.seeds, dict(arms)))
        assert out.name == f"steps-{effort.steps}"
        return outcome(Path(f"{effort.steps}"), dict.fromkeys(arms, [90 / effort.steps] * 2))

    def last(run: Path) -> float:
        return float(validated[run.parent.name][int(np.log2(int(run.parts[-3]) / 3))])

    monkeypatch.setitem(runs.BUDGETS, "tiny", budget)
    monkeypatch.setattr(runs, "trained", trained)
    monkeypatch.setattr(runs, "_validated", last)
    assert list(runs.lengthened("digits", PLAN, kept / "runs" / "convergence-tiny-0")) == lengths
    chosen = {
        "joint": {"learning_rate": 0.001, "weight_decay": 0.5},
        "flatten": {"learning_rate": 0.002, "weight_decay": 0.5},
    }
    first = {arm: {"learning_rate": runs.untuned([arm])[arm]["learning_rate"]} for arm in chosen}
    assert calls[0] == (3, 3, 2, first)
    assert calls[1:] == [(steps, 1, 2, chosen) for steps in lengths[1:]]


@pytest.mark.parametrize("scale", ["small", "full"])
def test_lengths_double_from_the_first_to_the_most(scale) -> None:
    budget = runs.BUDGETS[scale]
    assert set(budget.first) == set(budget.most) == set(budget.side)
    for name, most in budget.most.items():
        doublings = np.log2(most / budget.first[name])
        assert doublings == int(doublings) >= 2
    assert set(budget.arms) <= set(WAYS)
    assert budget.arms[0] == REFERENCE
    assert len(budget.arms) <= len(COLOURS)


# --- words ---------------------------------------------------------------------------------------

SHORT = {"joint": [10.0, 11.0], "flatten": [30.0, 32.0], "mse": [12.0, 13.0]}
LONG = {"joint": [4.0, 5.0], "flatten": [14.0, 15.0], "mse": [4.0, 5.0]}
MADE = {"digits": {3: outcome(Path("3"), SHORT), 6: outcome(Path("6"), LONG)}}


def test_a_lead_that_shrinks_is_negative() -> None:
    assert told.lead(MADE["digits"]).values == pytest.approx((-10, -11))


def test_the_answer_is_that_of_the_longest_training() -> None:
    rows = told.answer_table(MADE)["rows"]
    assert [row[:3] for row in rows] == [["digits", 6, WAYS[arm].said] for arm in LONG]
    assert rows[0][4] is None
    assert [row[4].split(" ")[0] for row in rows[1:]] == ["+10.00", "0.00"]
    lengths = told.length_table(MADE, told.error)["rows"]
    assert [row[1:3] for row in lengths] == [[3, "10.50 [4.15, 16.85]"], [6, "4.50 [-1.85, 10.85]"]]


def test_who_still_improved_is_named(monkeypatch) -> None:
    monkeypatch.setattr(runs, "_validated", lambda run: 7 if run.parts == ("6", "mse", "0") else 8)
    assert told.unsettled(MADE) == f"{WAYS['mse'].said} (digits)"
    rows = {row[1]: row[2:5] for row in told.settled_table(MADE)["rows"]}
    assert rows[WAYS["joint"].said] == ["8.00 → 8.00", 3, 3]
    assert rows[WAYS["mse"].said] == ["8.00 → 7.50", "still improving at 6", 6]


@pytest.mark.parametrize(
    ("verdict", "beneficial", "squared"),
    [("worse", "true", "false"), ("equal", "false", "true"), ("open", "open", "open")],
)
def test_claims_are_judged_after_the_longest_training(monkeypatch, verdict, beneficial, squared):
    monkeypatch.setattr(material, "baseline", lambda labels: 60.0)
    made = {"digits": {3: MADE["digits"][3], 6: outcome(Path("6"), LONG, verdict)}}
    by_decoder = {name: Measured.of([20.0, 20.1]) for name in DECODERS.names()}
    by_decoder["integral"] = Measured.of([21.0, 21.2])
    claims = told.judged(made, {"digits": {"joint": by_decoder}})
    assert {name: claim["verdict"] for name, claim in claims.items() if name != "table"} == {
        "works": "true",
        "beneficial": beneficial,
        "shrinks": "true",
        "finer": "false",
        "squared": squared,
    }
    assert claims["table"]["header"][0] == "claim"


def test_errors_that_differ_little_have_marks_on_a_logarithmic_axis() -> None:
    _, (axes,) = panels(4, 3)
    axes.plot([3, 6], [26, 45])
    figures._doubling(axes)
    low, high = axes.get_ylim()
    assert len([mark for mark in axes.get_yticks() if low <= mark <= high]) >= 2
