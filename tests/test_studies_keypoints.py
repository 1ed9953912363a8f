"""Keypoints: the same images for every arm, few among many, errors read as they were kept."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from placewise.comparison import make_plan
from placewise.errors import SettingsError
from placewise.geometry import border_distance
from placewise.images import resize
from placewise.labels import KeypointDataset, KeypointSample, Visibility
from studies import Options, run_study
from studies._findings import Measured
from studies._page import fill
from studies.keypoints import Decoded, claims, material, read, runs, told

PLAN = Options("tiny", n_jobs=1, quiet=True)


def numbers(text: str) -> set[str]:
    """All numbers of a text, without the commas between thousands."""
    return set(re.findall(r"\d+(?:\.\d+)?", re.sub(r"(?<=\d),(?=\d{3})", "", text)))


# --- one tiny study for all ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page of a tiny study, and its runs."""
    folder = tmp_path_factory.mktemp("keypoints")
    options = Options("tiny", runs=folder / "runs", n_jobs=1, quiet=True)
    run_study("keypoints", folder / "pages", options)
    return folder


@pytest.fixture(scope="module")
def found(kept: Path) -> runs.Found:
    """What the study found on the digits, from what was kept."""
    return runs.measure("digits", PLAN, kept / "runs" / "keypoints-tiny-0")


@pytest.fixture(scope="module")
def record(kept: Path) -> dict[str, Any]:
    return dict(json.loads((kept / "pages" / "keypoints.json").read_text(encoding="utf-8")))


def test_the_page_says_what_the_record_holds(kept: Path, record) -> None:
    page = (kept / "pages" / "keypoints.md").read_text(encoding="utf-8")
    assert "{{" not in page
    assert "at this scale digits are enough" in page
    for figure in ("differences", "counts", "sides"):
        assert (kept / "pages" / "keypoints" / f"{figure}.png").read_bytes()[1:4] == b"PNG"
        assert f"](keypoints/{figure}.png)" in page
    assert set(record["claims"]) == {"works", "beneficial", "table"}
    for name in ("works", "beneficial"):
        assert f"**{record['claims'][name]['verdict']}**" in page
    in_page, in_record = (numbers(text) for text in (page, json.dumps(record)))
    assert len(in_page) > 40
    assert in_page - in_record == set()


def test_what_is_kept_is_not_run_again(kept: Path) -> None:
    runs_of = kept / "runs" / "keypoints-tiny-0" / "digits"
    before = {path: path.stat().st_mtime_ns for path in runs_of.rglob("log.jsonl")}
    assert len(before) == 8
    runs.measure("digits", PLAN, kept / "runs" / "keypoints-tiny-0")
    assert {path: path.stat().st_mtime_ns for path in runs_of.rglob("log.jsonl")} == before


def test_every_arm_sees_the_same_images_whole(found: runs.Found) -> None:
    for outcome in (found.main, *found.counts.values()):
        assert not any("different scales or input sizes" in n for n in outcome.results["notes"])
        assert any("NOT matched" in note for note in outcome.results["notes"])
        for arm in outcome.arms:
            for run in outcome.runs(arm):
                view = json.loads((run / "run.json").read_text(encoding="utf-8"))["model"]["input"]
                assert view["scale"] == 1.0
                assert max(view["size"]) == material.longest(outcome.labels) == 32


def test_errors_are_those_that_the_comparison_counted(found: runs.Found) -> None:
    for arm, one in found.main.arms.items():
        off = found.main.errors(arm)
        truth, _ = material.truth_of(material.part(found.main.labels, "test"))
        assert (np.isfinite(off) == np.isfinite(truth).all(-1)).all()
        means = [run["value"] for run in one["by_seed"]]
        assert np.nanmean(off, axis=(1, 2)) == pytest.approx(means)
        assert found.main.values(arm) == pytest.approx([m * found.main.percent for m in means])


def test_percent_and_pixels_tell_the_same(found: runs.Found) -> None:
    sides = [max(sample.size) for sample in material.part(found.original, "test")]
    by_percent = np.mean(found.main.values("joint")) / 100 * np.median(sides)
    assert by_percent == pytest.approx(
        found.main.arms["joint"]["mean"] / found.main.factor, rel=0.02
    )


def test_the_usual_decoder_reads_what_the_comparison_read(found: runs.Found) -> None:
    (run, *_) = found.main.runs("joint")
    usual = read.read_with(run, found.main.labels, "integral")
    assert usual == pytest.approx(runs.errors_of(run, found.main.labels), abs=1e-4, nan_ok=True)
    other = read.read_with(run, found.main.labels, "argmax")
    assert not np.allclose(usual, other, equal_nan=True)


def test_coordinates_are_not_read_by_a_decoder(found: runs.Found) -> None:
    with pytest.raises(SettingsError, match="does not give heatmaps"):
        read.read_with(found.main.runs("flatten")[0], found.main.labels, "argmax")


def test_bands_are_means_by_distance_from_the_border(found: runs.Found) -> None:
    off = found.main.errors("flatten")
    by_band: list[list[list[float]]] = [[[] for _ in off] for _ in read.EDGES[1:]]
    for row, sample in enumerate(material.part(found.main.labels, "test")):
        for point, place in enumerate(sample.points[0]):
            if np.isfinite(place).all():
                share = 2 * border_distance(place, sample.size) / min(sample.size)
                band = sum(share >= edge for edge in read.EDGES[1:-1])
                for seed, errors in enumerate(off):
                    by_band[band][seed].append(errors[row, point])
    assert read.counted(found.main) == [len(band[0]) for band in by_band]
    for band, values in zip(read.bands(found.main, "flatten"), by_band, strict=True):
        if values[0]:
            means = [float(np.mean(seed)) * found.main.percent for seed in values]
            assert band is not None
            assert band.values == pytest.approx(means)
        else:
            assert band is None


# --- images ------------------------------------------------------------------------------------


def drawn(folder: Path) -> KeypointDataset:
    return material.original("digits", None, folder, 20, 0)


def test_scaling_moves_points_with_the_pixels(tmp_path: Path) -> None:
    labels = drawn(tmp_path)
    copy = material.points_of(material.scaled(labels, 40, tmp_path / "40"))
    assert material.longest(copy) == 40
    assert copy.names == labels.names
    for before, after in zip(labels.samples, copy.samples, strict=True):
        assert after.split == before.split
        assert (after.visibility == before.visibility).all()
        shown = resize(labels.image(before.image), after.size)
        assert (copy.image(after.image) == shown).all()
        shares = [(s.points + 0.5) / s.size[::-1] for s in (before, after)]
        np.testing.assert_allclose(*shares, atol=1e-6)


def test_images_are_never_enlarged(tmp_path: Path) -> None:
    labels = drawn(tmp_path)
    copy = material.points_of(material.scaled(labels, 1000, tmp_path / "1000"))
    assert [s.size for s in copy.samples] == [s.size for s in labels.samples]


def test_the_few_are_among_the_many_and_nothing_else_changes(tmp_path: Path) -> None:
    file = material.scaled(drawn(tmp_path), 32, tmp_path / "32")
    every = material.points_of(file)
    kept = [
        {s.image for s in material.part(material.points_of(material.fewer(file, n, 0)), "train")}
        for n in (3, 7, 14)
    ]
    assert [len(images) for images in kept] == [3, 7, 14]
    assert kept[0] < kept[1] < kept[2]
    few = material.points_of(material.fewer(file, 3, 0))
    for split in ("val", "test"):
        images = [[s.image for s in material.part(of, split)] for of in (few, every)]
        assert images[0] == images[1] != []


def test_any_beginning_has_its_share_of_each_size() -> None:
    none = np.full((1, 1, 2), np.nan), np.zeros((1, 1), np.int8)
    sizes = [(8, 8)] * 40 + [(8, 12)] * 20 + [(6, 8)] * 20
    samples = tuple(KeypointSample(f"{i}", size, *none) for i, size in enumerate(sizes))
    order = material.nested(samples, 0)
    assert sorted(s.image for s in order) == sorted(s.image for s in samples)
    assert [s.image for s in order] != [s.image for s in material.nested(samples, 1)]
    for count in (8, 20, 44):
        beginning = [s.size for s in order[:count]]
        assert beginning.count((8, 8)) == pytest.approx(count / 2, abs=1)
        assert beginning.count((6, 8)) == pytest.approx(count / 4, abs=1)


def test_the_mean_place_is_off_by_what_loops_say(tmp_path: Path) -> None:
    labels = drawn(tmp_path)
    off = []
    for number in range(len(labels.names)):
        known = [
            (s.points[0, number], np.array(s.size[::-1]))
            for s in material.part(labels, "train")
            if s.visibility[0, number] >= Visibility.HIDDEN
        ]
        share = np.mean([(point + 0.5) / size for point, size in known], 0) if known else 0.5
        for s in material.part(labels, "test"):
            if s.visibility[0, number] >= Visibility.HIDDEN:
                answer = share * np.array(s.size[::-1]) - 0.5
                off.append(np.linalg.norm(answer - s.points[0, number]))
    assert material.baseline(labels) == pytest.approx(np.mean(off))


def test_mice_that_are_not_there_are_told(tmp_path: Path) -> None:
    assert "no folder of data" in material.missing(None)
    assert "openfield_mouse/points.csv, mirror_mouse/points.csv" in material.missing(tmp_path)
    for name in material.MICE:
        (tmp_path / name).mkdir()
        (tmp_path / name / "points.csv").touch()
    assert material.missing(tmp_path) == ""


# --- plans and words -----------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["small", "full"])
def test_the_arms_of_a_scale_can_be_planned(scale: str) -> None:
    budget = runs.BUDGETS[scale]
    assert set(runs.FEW) <= set(budget.arms) <= set(runs.WAYS)
    assert budget.arms[0] == runs.REFERENCE
    arms = [
        {"name": a, "head": runs.WAYS[a].head, "head_settings": runs.WAYS[a].settings}
        for a in budget.arms
    ]
    assert make_plan(data="x", arms=arms, unmatched=True).against == runs.REFERENCE


def outcome(difference: float, interval: tuple[float, float], verdict: str) -> runs.Outcome:
    """Of an image 50 px wide, with one other arm; a difference above zero is better."""
    points, visibility = np.array([[[10.0, 5.0]]]), np.array([[int(Visibility.VISIBLE)]], np.int8)
    samples = tuple(
        KeypointSample(f"{s}.png", (40, 50), points, visibility, s) for s in ("train", "test")
    )
    one = {
        "arm": "flatten",
        "difference": difference,
        "two_way_interval": list(interval),
        "t_interval": [-99.0, 99.0],
        "p_holm": 0.01,
        "verdict": verdict,
    }
    arms = [{"name": name} for name in ("joint", "flatten")]
    results = {"comparisons": [one], "arms": arms}
    return runs.Outcome(Path(), KeypointDataset(Path(), ("nose",), samples), results, 0.5)


def test_a_difference_is_turned_so_that_more_is_worse() -> None:
    one = told.Difference.of(outcome(-2.0, (-3.0, -1.5), "worse"), "flatten")
    assert told.said(one.measured) == "4.00 [3.00, 6.00]"
    assert told.against(outcome(-2.0, (-3.0, -1.5), "worse"), "flatten").startswith("+4.00")
    assert told.against(outcome(2.0, (1.5, 3.0), "better"), "flatten") == (
        "-4.00 [-6.00, -3.00], better"
    )


@pytest.mark.parametrize(
    ("verdicts", "worse", "unclear"),
    [
        ([("a", "worse"), ("b", "open"), ("c", "worse")], "(a, c)", "(b)"),
        ([("a", "worse"), ("b", "worse")], "(all sets)", None),
        ([("a", "open")], None, "(a)"),
    ],
)
def test_verdicts_are_gathered_by_arm(verdicts, worse: str | None, unclear: str | None) -> None:
    sets = {name: outcome(-1.0, (-2.0, 0.5), verdict) for name, verdict in verdicts}
    found = told.verdicts(sets)
    flat = runs.WAYS["flatten"].said
    assert found["worse"] == (f"{flat} {worse}" if worse else "none")
    assert found["open"] == (f"{flat} {unclear}" if unclear else "none")
    assert found["better"] == found["equal"] == "none"


@pytest.mark.parametrize(("errors", "listed"), [([9, 10, 11], False), ([9, 10, 12.8], True)])
def test_who_is_no_better_than_the_mean_place_is_named(monkeypatch, errors, listed: bool) -> None:
    monkeypatch.setattr(material, "baseline", lambda labels: 6.5)  # 13 per cent of 50 px
    one = outcome(0, (0, 0), "open")
    by_seed = {"joint": [1.0, 1.1, 1.2], "flatten": [error / 2 for error in errors]}
    for arm in one.results["arms"]:
        arm["by_seed"] = [{"value": value} for value in by_seed[arm["name"]]]
    said = told.idle({"a": one})
    assert said == (f"{runs.WAYS['flatten'].said} (a)" if listed else "none")


@pytest.mark.parametrize(
    ("errors", "holds"), [([4, 5, 6], True), ([20, 21, 22], False), ([4, 10, 16], None)]
)
def test_an_arm_works_where_it_is_well_below_the_mean_position(monkeypatch, errors, holds) -> None:
    monkeypatch.setattr(material, "baseline", lambda labels: 10.0)  # 20 per cent of 50 px
    case = claims.works(outcome(0, (0, 0), "open"), "a", Measured.of(errors))
    assert case.holds is holds
    assert "mean position 20" in case.name


@pytest.mark.parametrize(
    ("verdict", "holds"), [("worse", True), ("better", False), ("equal", False), ("open", None)]
)
def test_a_claim_of_worse_follows_the_verdict(verdict: str, holds: bool | None) -> None:
    assert claims.worse(outcome(-1, (-2, 0), verdict), "a", "flatten").holds is holds


def test_the_page_of_mice_has_all_its_places(record) -> None:
    """The text of the other branch, which tiny runs do not show."""
    text = Path(runs.__file__).parents[1].joinpath("keypoints.md").read_text(encoding="utf-8")
    page = fill(text, {**record, "missing": "", "budget": {**record["budget"], "tuned": True}})
    assert "between mirrors" in page
    assert "{{" not in page


def test_a_study_with_nothing_to_keep_keeps_nothing(monkeypatch, tmp_path: Path) -> None:
    places = []

    def stop(name: str, options: Options, folder: Path) -> runs.Found:
        places.append(folder)
        raise SettingsError("enough")

    monkeypatch.setattr("studies.keypoints.measure", stop)
    with pytest.raises(SettingsError, match="enough"):
        Decoded().run(PLAN)
    assert not places[0].parent.exists()
