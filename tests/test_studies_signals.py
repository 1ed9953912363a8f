"""Signals: the same beat near an end and inside, and one net that takes every padding rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from placewise.errors import SettingsError
from placewise.paddings import PADDINGS
from studies import Options, run_study
from studies._findings import Measured
from studies._page import fill
from studies.signals import claims, material, read, runs, told, windows
from studies.signals.net import CELL, Straight, fitted
from studies.signals.told import Found
from test_studies import strangers

PLAN = Options("tiny", n_jobs=1, quiet=True)


# --- one tiny study for all ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page of a tiny study, and its runs."""
    folder = tmp_path_factory.mktemp("signals")
    options = Options("tiny", runs=folder / "runs", n_jobs=1, quiet=True)
    run_study("signals", folder / "pages", options)
    return folder


@pytest.fixture(scope="module")
def record(kept: Path) -> dict[str, Any]:
    return dict(json.loads((kept / "pages" / "signals.json").read_text(encoding="utf-8")))


def test_the_page_says_what_the_record_holds(kept: Path, record) -> None:
    page = (kept / "pages" / "signals.md").read_text(encoding="utf-8")
    assert "{{" not in page
    assert "at this scale made recordings are enough" in page
    for name in ("distance", "bands"):
        assert (kept / "pages" / "signals" / f"{name}.png").stat().st_size > 1000
    assert strangers(page, record) == set()


def test_the_page_of_real_recordings_has_all_its_places(record) -> None:
    """The text of the other branch, which tiny runs do not show."""
    text = Path(runs.__file__).parents[1].joinpath("signals.md").read_text(encoding="utf-8")
    page = fill(text, {**record, "missing": "", "ecg": record["made"]})
    assert "MIT-BIH" in page
    assert "{{" not in page


def test_what_is_kept_is_not_run_again(kept: Path) -> None:
    place = kept / "runs" / "signals-tiny-0"
    files = [*place.rglob("log.jsonl"), *place.glob("made-0/read/*.json")]
    before = {path: path.stat().st_mtime_ns for path in files}
    assert len(before) == 2 * 2 * len(runs.RULES)
    run_study("signals", kept / "again", Options("tiny", runs=kept / "runs", n_jobs=1, quiet=True))
    assert {path: path.stat().st_mtime_ns for path in files} == before
    pages = [(kept / folder / "signals.md").read_bytes() for folder in ("pages", "again")]
    assert pages[0] == pages[1]


def test_rules_differ_in_nothing_but_the_rule(kept: Path) -> None:
    place = kept / "runs" / "signals-tiny-0" / "made-0" / "compared"
    arms = json.loads((place / "results.json").read_text(encoding="utf-8"))["arms"]
    assert [arm["name"] for arm in arms] == list(runs.RULES)
    assert len({arm["parameters"] for arm in arms}) == 1
    settings = []
    for rule in runs.RULES:
        one = json.loads((place / f"runs/{rule}/seed-1/run.json").read_text(encoding="utf-8"))
        backbone = one["model"]["backbone_settings"]
        assert backbone.pop("padding_mode") == rule
        settings.append((backbone, one["model"]["input"], one["training"]["seed"]))
    assert all(one == settings[0] for one in settings)


# --- windows -------------------------------------------------------------------------------------

BEATS = np.array([130.0, 171.0, 230.0, 262.0, 355.0, 470.0, 590.0])
LENGTH, SIDE, AT = 700, 120, (4, 12, 24)


def test_every_beat_lies_where_its_windows_say() -> None:
    asked = windows.windows_of(BEATS, LENGTH, SIDE, AT)
    by_beat: dict[int, list[windows.Window]] = {}
    for one in asked:
        by_beat.setdefault(one.beat, []).append(one)
    assert sorted(by_beat) == [0, 1, 2, 3, 4, 5]  # the last beat is too near the end
    for beat, mine in by_beat.items():
        assert len(mine) == 1 + 2 * len(AT)
        assert len({one.start % CELL for one in mine}) == 1
        for one in mine:
            at = int(BEATS[beat]) - one.start
            assert 0 <= one.start <= LENGTH - SIDE
            assert (
                at == SIDE // 2
                if one.distance is None
                else at
                in (
                    one.distance,
                    SIDE - one.distance,
                )
            )


def slow_twin(
    asked: list[windows.Window], beats: np.ndarray, spots: dict[int, list[float]], tolerance: float
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Loops instead of matching: each beat takes the spot nearest to it (spots are far apart)."""
    own: dict[tuple[int, int | None, int], float | None] = {}
    bands = {str(low): {"hits": 0, "missed": 0, "false": 0} for low in windows.BANDS}

    def band(place: float) -> dict[str, float]:
        end = max(0, min(place, SIDE - 1 - place))
        return bands[str(max(low for low in windows.BANDS if low <= end))]

    for one in asked:
        found = [place - one.start for place in spots[one.start]]
        taken = set()
        for number, beat in enumerate(beats):
            at = beat - one.start
            near = [place for place in found if abs(place - at) <= tolerance]
            if 0 <= at < SIDE:
                band(at)["hits" if near else "missed"] += 1
                if number == one.beat:
                    own[one.beat, one.distance, one.start] = abs(near[0] - at) if near else None
            taken |= set(near)
        for place in found:
            if place not in taken:
                band(place)["false"] += 1
    middle = {beat: error for (beat, distance, _), error in own.items() if distance is None}
    pairs: dict[str, dict[str, float]] = {}
    for (beat, distance, _), error in own.items():
        if distance is None:
            continue
        row = pairs.setdefault(
            str(distance),
            dict.fromkeys(
                ("pairs", "missed", "inside", "lost", "both", "error", "error_inside"), 0.0
            ),
        )
        row["pairs"] += 1
        row["missed"] += error is None
        row["inside"] += middle[beat] is None
        row["lost"] += error is None and middle[beat] is not None
        if error is not None and middle[beat] is not None:
            row["both"] += 1
            row["error"] += error
            row["error_inside"] += middle[beat]
    return pairs, bands


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_those_of_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    asked = windows.windows_of(BEATS, LENGTH, SIDE, AT)
    tolerance, spots = 6.0, {}
    for one in asked:  # some beats, moved a little, and some spots where no beat is
        inside = [b for b in BEATS if one.start - 4 <= b < one.start + SIDE + 4]
        found = [b + rng.integers(-5, 6) for b in inside if rng.random() < 0.7]
        found += [p for p in (150, 200, 310, 420, 530) if rng.random() < 0.5]
        spots[one.start] = [p for p in found if one.start <= p < one.start + SIDE]
    judged = [
        windows.judge_window(
            one, SIDE, BEATS, np.array(spots[one.start], float) - one.start, tolerance
        )
        for one in asked
    ]
    pairs, bands = slow_twin(asked, BEATS, spots, tolerance)
    assert windows.pairs_of(judged) == pairs
    assert windows.bands_of(judged) == bands
    assert all(sum(row[kind] for row in bands.values()) for kind in ("hits", "missed", "false"))


def test_counts_of_recordings_add_up() -> None:
    one = {"4": {"pairs": 2, "missed": 1}, "8": {"pairs": 3, "missed": 0}}
    assert windows.summed([one, one, one]) == {
        "4": {"pairs": 6, "missed": 3},
        "8": {"pairs": 9, "missed": 0},
    }
    assert windows.f1({"hits": 0, "missed": 0, "false": 0}) is None


# --- the net -------------------------------------------------------------------------------------


def nets(rule: str) -> Straight:
    torch.manual_seed(0)
    return Straight(1, 1, width=6, layers=3, padding_mode=rule).eval()


@pytest.mark.parametrize("rule", PADDINGS.names())
def test_inside_every_rule_says_the_same(rule: str) -> None:
    """Beyond half the receptive field from an end, no padding can be seen."""
    signal = torch.randn(1, 1, 400)
    half = -(-Straight(1, 1, layers=3).receptive_field // (2 * CELL))
    maps, usual = (nets(one)(signal) for one in (rule, "zeros"))
    assert maps.shape == usual.shape == (1, 6, 100)
    assert torch.allclose(maps[..., half:-half], usual[..., half:-half], atol=1e-5)
    if rule == "valid":
        assert not maps[..., : half - 1].any() and maps[..., half].any()


def test_a_circular_net_moves_with_the_recording_and_others_do_not() -> None:
    signal = torch.randn(1, 1, 400)
    moved = signal.roll(8 * CELL, -1)
    same = {
        rule: torch.allclose(nets(rule)(moved), nets(rule)(signal).roll(8, -1), atol=1e-5)
        for rule in runs.RULES
    }
    assert same == {rule: rule == "circular" for rule in runs.RULES}


def test_fitted_keeps_the_middle_in_its_place() -> None:
    maps = torch.arange(1.0, 13.0).reshape(1, 1, 3, 4)
    assert fitted(maps, (5, 2))[0, 0].tolist() == [[0, 0], [2, 3], [6, 7], [10, 11], [0, 0]]


def test_paths_are_even_where_the_rule_says_so() -> None:
    side = 256
    by_rule = {rule: read.paths_at(rule, side, 2) for rule in runs.RULES}
    for rule in ("circular", "symmetric"):
        assert (by_rule[rule] == 1).all()
    middle = slice(side // 2 - 20, side // 2 + 20)
    first = {rule: paths[0] for rule, paths in by_rule.items()}
    assert all((paths[middle] == 1).all() for paths in by_rule.values())
    assert first["valid"] < first["zeros"] < first["full"] < 1


# --- recordings ----------------------------------------------------------------------------------


def test_made_patients_are_the_same_again_and_differ_from_each_other() -> None:
    one, again, other = material.made(0, 20, 0), material.made(0, 20, 0), material.made(1, 20, 0)
    assert (one.signal == again.signal).all() and (one.beats == again.beats).all()
    assert not np.array_equal(one.beats, other.beats)
    assert (np.diff(one.beats) > 0).all() and one.beats.max() < len(one.signal)


def test_parts_of_a_recording_do_not_overlap_and_keep_their_beats() -> None:
    whole = material.made(0, 60, 0)
    for count in (1, 3, 6):
        parts = material._spread(whole, count, 10)
        starts = [int(part.name.split("-")[1]) for part in parts]
        assert (np.diff(starts) >= 10 * material.RATE).all()
        for start, part in zip(starts, parts, strict=True):
            assert (part.signal == whole.signal[start : start + 3600]).all()
            inside = [b - start for b in whole.beats if start <= b < start + 3600]
            assert part.beats.tolist() == inside


def test_no_patient_is_in_training_and_in_the_test(tmp_path: Path) -> None:
    amount = runs.BUDGETS["tiny"].amount
    file = material.excerpts("made", 0, None, tmp_path / "made", amount, 0)
    labels = material.labels_of(file)
    by_split = {
        split: {s.image.split("-")[0] for s in labels.samples if s.split == split}
        for split in material.SPLITS
    }
    assert by_split["train"] == by_split["val"] != set()
    assert by_split["test"] and not by_split["test"] & by_split["train"]
    before = file.stat().st_mtime_ns
    material.excerpts("made", 0, None, tmp_path / "made", amount, 0)
    assert file.stat().st_mtime_ns == before


def test_real_recordings_are_cut_as_they_are(real_data: Path, tmp_path: Path) -> None:
    amount = material.Amount(10, 1, 1, 0)
    labels = material.labels_of(material.excerpts("ecg", 1, real_data, tmp_path / "ecg", amount, 0))
    tested = [s for s in labels.samples if s.split == "test"]
    assert {s.image.split("-")[0] for s in tested} == set(material.RECORDS[1])
    assert len(labels.samples) == 3 * len(material.RECORDS[0])
    for sample in tested[:2]:
        record, start = sample.image.removesuffix(".npz").split("-")
        with np.load(real_data / material.FOLDER / f"{record}.npz") as arrays:
            part = slice(int(start), int(start) + 3600)
            assert (labels.image(sample.image)[:, 0] == arrays["signal_adc"][part]).all()
            beats = arrays["beats"].astype(int)
        inside = beats[(beats >= int(start)) & (beats < int(start) + 3600)] - int(start)
        assert sample.points[sample.located][:, 0].tolist() == inside.tolist()


def test_recordings_that_are_not_there_are_told(tmp_path: Path) -> None:
    assert "no folder of data" in material.missing(None)
    assert "mitbih12/100.npz" in material.missing(tmp_path)
    with pytest.raises(SettingsError, match="no folder of data"):
        material.excerpts("ecg", 0, None, tmp_path / "x", material.Amount(10, 1, 1, 0), 0)


# --- claims --------------------------------------------------------------------------------------


def found(missed: dict[str, list[int]]) -> Found:
    """Of 100 beats at each distance, so many are missed near the end and none inside."""
    counts = {}
    for rule, by_seed in missed.items():
        counts[rule] = [
            {
                "beats": 50,
                "pairs": {
                    str(at): {
                        "pairs": 100,
                        "missed": count if at < told.CONTROL else 0,
                        "inside": 0,
                        "lost": count,
                        "both": 100 - count,
                        "error": 2.0 * (100 - count),
                        "error_inside": 1.0 * (100 - count),
                    }
                    for at in windows.DISTANCES
                },
                "bands": {
                    str(low): {"hits": 100 - count, "missed": count, "false": 0}
                    for low in windows.BANDS
                },
            }
            for count in by_seed
        ]
    return Found("made", counts)


def test_claims_follow_the_numbers() -> None:
    few, many, none = [9, 10, 11], [89, 90, 91], [0, 0, 0]
    one = found(
        {"zeros": few, "valid": many, "circular": none, "symmetric": [0, 10, 22], "full": many}
    )
    paths = {
        rule: np.array([share, 1.0, 1.0])
        for rule, share in zip(runs.RULES, (0.3, 0.0, 1.0, 1.0, 0.5), strict=True)
    }
    judged = claims.judged([one], paths)
    verdicts = {name: one["verdict"] for name, one in judged.items() if name != "table"}
    assert verdicts == {
        "paths": "partly",
        "missed": "open",  # symmetric is not decided
        "kept": "open",
        "follows": "open",
        "overcome": "open",
        "strip": "true",
    }
    sure = found({**dict.fromkeys(runs.RULES, none), "zeros": few, "valid": many, "full": many})
    first = {rule: told.percent(paths[rule], 0) for rule in runs.RULES}
    others = ("valid", "circular", "symmetric", "full")
    follows = {rule: claims._follows(sure, rule, first).holds for rule in others}
    assert follows == {"valid": True, "circular": True, "symmetric": True, "full": False}
    kept = {rule: claims._none_lost(sure, rule).holds for rule in runs.RULES}
    assert kept == {
        "zeros": False,
        "valid": False,
        "circular": True,
        "symmetric": True,
        "full": False,
    }
    judged = claims.judged([sure], paths)
    verdicts = {name: one["verdict"] for name, one in judged.items() if name != "table"}
    assert set(verdicts.values()) == {"partly", "true"}
    assert verdicts["strip"] == "true"


def test_differences_are_paired_by_beat_and_seed() -> None:
    one = found({rule: [10, 20, 30] for rule in runs.RULES})
    assert one.missed("zeros", 4).values == (10, 20, 30)
    error = one.error("zeros", 4)
    assert error is not None
    assert error.values == pytest.approx([1000 / material.RATE] * 3)
    assert one.more_missed("full", "zeros", 4).values == Measured.of([0, 0, 0]).values
    assert found({rule: [100] * 2 for rule in runs.RULES}).error("zeros", 4) is None
