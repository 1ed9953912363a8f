"""The study of proximity: arms of one cost, pairs by seed, and a page that says what was found."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from placewise.comparison import budget_of
from placewise.layers.proximity import Proximity
from studies import Options, run_study
from studies._training import drawing
from studies.proximity.arms import (
    BEST,
    DEEP,
    FAMILY,
    FLAT,
    LOCAL,
    MAIN,
    PERMUTED,
    PIXELS,
    RANDOM,
    WIDENED,
    rewired,
)
from studies.proximity.claims import claims
from studies.proximity.growing import RULES, dense_share
from studies.proximity.numbers import against, interval, points
from studies.proximity.runs import (
    RATES,
    TUNING,
    Contest,
    Outcome,
    best,
    hold,
    moved,
    packed,
    unpacked,
)


def weights(net: torch.nn.Module) -> list[torch.Tensor]:
    return [value.detach().clone() for value in net.parameters()]


# --- arms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("arm", [LOCAL, RANDOM, PERMUTED, BEST, *FAMILY], ids=lambda arm: arm.name)
def test_the_wired_arms_have_identical_weights_and_multiply_adds(arm) -> None:
    """16,260 in the head and 534 in the trunk; 16,000 and 103,800 multiply-adds."""
    budget = budget_of(arm.build(1, 32, 0), (1, 32, 32))
    assert (budget.parameters, budget.multiply_adds) == (16_260 + 534, 119_800)


def test_flattening_has_the_same_multiply_adds() -> None:
    budget = budget_of(FLAT.build(1, 32, 0), (1, 32, 32))
    assert (budget.parameters, budget.multiply_adds) == (16_644, 119_800)


def test_the_others_are_matched_in_what_the_page_says() -> None:
    first = budget_of(LOCAL.build(1, 32, 0), (1, 32, 32))
    named = {arm.name: budget_of(arm.build(1, 32, 0), (1, 32, 32)) for arm in (*MAIN, WIDENED)}
    for name in ("average", "low rank", "flatten, dropout"):
        assert named[name].multiply_adds == pytest.approx(first.multiply_adds, rel=0.01)
    assert named["average, widened"].parameters == pytest.approx(first.parameters, rel=0.02)
    assert named["flatten, as many units"].multiply_adds > 1.1 * first.multiply_adds


def test_the_arms_without_a_convolution_are_matched() -> None:
    budgets = [budget_of(arm.build(1, 28, 0), (1, 28, 28)) for arm in PIXELS]
    assert budgets[0] == budgets[1] == budgets[2]
    assert budgets[3].parameters == pytest.approx(budgets[0].parameters, rel=0.02)
    assert budgets[3].multiply_adds == pytest.approx(budgets[0].multiply_adds, rel=0.02)


def test_the_deep_net_answers() -> None:
    assert DEEP.build(1, 28, 0)(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_a_seed_gives_every_arm_the_same_trunk_and_another_seed_another() -> None:
    def trunk(arm, seed: int) -> list[torch.Tensor]:
        with drawing(seed):
            return weights(arm.build(1, 32, seed)[0])

    first = trunk(LOCAL, 3)
    for arm in (*MAIN, *FAMILY):
        assert all(map(torch.equal, first, trunk(arm, 3))), arm.name
    assert not any(map(torch.equal, first[::2], trunk(LOCAL, 4)[::2]))


def test_near_units_read_what_is_near_and_random_ones_do_not() -> None:
    lengths = {}
    for arm in PIXELS[:3]:
        sheet = next(m for m in arm.build(1, 28, 0).modules() if isinstance(m, Proximity))
        lengths[arm.name] = float(sheet.lengths.max())
    assert lengths["near"] == lengths["near, permuted"] < 5 < 20 < lengths["random"]


def test_the_permuted_arm_is_the_local_one_on_maps_in_another_order() -> None:
    with drawing(0):
        permuted = PERMUTED.build(1, 32, 7)
    with drawing(0):
        local = LOCAL.build(1, 32, 7)
    images = torch.rand(2, 1, 32, 32)
    maps = local[0](images)
    taken = permuted[1].taken
    assert sorted(taken.tolist()) == list(range(25)) != taken.tolist()
    expected = local[1](maps.flatten(2)[:, :, taken].view_as(maps))
    assert torch.equal(permuted(images), expected)
    assert not torch.equal(permuted(images), local(images))


def test_the_family_has_each_rule_at_each_reach() -> None:
    names = {arm.name for arm in (*FAMILY, RANDOM, BEST)}
    assert {name for row in RULES.values() for name in row} == names
    assert BEST.growth == rewired(math.inf, 1.0).growth
    growth, schedule = rewired(1.5, 0.0).rewiring(1600)
    assert (growth.nearness.reach, growth.gradient, growth.noise) == (1.5, 0.0, 1.0)
    assert [schedule.due(step) for step in (100, 1100, 1200)] == [True, True, False]
    assert LOCAL.rewiring(1600) is None


def test_gradients_of_all_candidates_cost_little() -> None:
    assert dense_share(119_800) == pytest.approx(100 * 250 * 150 / 100 / (3 * 119_800), rel=0.01)


# --- runs ----------------------------------------------------------------------------------------


def test_answers_are_kept_bit_by_bit() -> None:
    answers = torch.rand(301, generator=torch.Generator().manual_seed(0)) < 0.7
    assert unpacked(packed(answers), 301).tolist() == answers.double().tolist()


def test_images_are_moved_a_little_and_zeros_come_in() -> None:
    """The centre of a blot goes as far as it was moved, and the turn leaves it near."""
    images = torch.zeros(200, 2, 29, 29)
    images[:, :, 13:16, 13:16] = torch.tensor([1.0, 2.0])[:, None, None]
    found = moved(images, 2, torch.Generator().manual_seed(0))
    assert torch.allclose(found[:, 1], 2 * found[:, 0])
    mass = found[:, 0].sum((1, 2))
    assert 0.8 * 9 < float(mass.min()) < float(mass.max()) < 1.25 * 9
    places = torch.arange(29.0) - 14
    across = (found[:, 0].sum(1) * places).sum(1) / mass
    assert -2.6 < float(across.min()) < -1.5 and 1.5 < float(across.max()) < 2.6
    assert torch.equal(moved(images, 0, torch.Generator().manual_seed(0))[:, :, :9].sum(), zero())


def zero() -> torch.Tensor:
    return torch.tensor(0.0)


def test_a_contest_pairs_its_arms_and_takes_the_best_rate_on_validation(tmp_path: Path) -> None:
    contest = Contest("digits", "digits", (LOCAL, FLAT), seeds=2, steps=3, rates=RATES[:2])
    found = hold(contest, Options("tiny", runs=tmp_path, n_jobs=1, quiet=True))
    for arm in (LOCAL, FLAT):
        outcome = found[arm.name]
        assert outcome.right.shape == (2, 300)
        assert outcome.rate == best(outcome.tried)
        trial = tmp_path / "digits" / "tuning" / arm.name / f"{outcome.rate:g}.json"
        kept = json.loads(trial.read_text())
        assert kept["found"] == {"percent": outcome.tried[outcome.rate]}
        assert kept["of"]["settings"]["seed"] == TUNING
        seeds = [json.loads(path.read_text()) for path in (tmp_path / "digits").rglob("runs/*/*")]
        assert {one["of"]["settings"]["seed"] for one in seeds} == {0, 1}
    assert found[LOCAL.name].percent != found[FLAT.name].percent


def test_a_single_rate_is_not_tried(tmp_path: Path) -> None:
    contest = Contest("digits", "digits", (FLAT,), seeds=1, steps=1, rates=(1e-2,))
    (outcome,) = hold(contest, Options("tiny", runs=tmp_path, n_jobs=1, quiet=True)).values()
    assert (outcome.rate, outcome.tried) == (1e-2, {})
    assert not (tmp_path / "digits" / "tuning").exists()


# --- findings ------------------------------------------------------------------------------------


def outcomes(**rates: float) -> dict[str, Outcome]:
    """Arms that are right so often, the same seeds and items being hard for all."""
    rng = np.random.default_rng(0)
    luck = rng.random((20, 500))
    budget = budget_of(FLAT.build(1, 32, 0), (1, 32, 32))
    named = {arm.name: rates.get(arm.name.split(",")[0], 0.8) for arm in MAIN}
    named[PERMUTED.name] = rates.get("permuted", 0.8)
    return {
        name: Outcome(FLAT, budget, 0.01, {}, (luck < rate).astype(np.float64))
        for name, rate in named.items()
    }


@pytest.mark.parametrize(
    ("rates", "verdict"),
    [
        ({"local": 0.9}, "true"),
        ({"local": 0.9, "permuted": 0.9}, "partly"),
        ({"random": 0.9, "permuted": 0.9}, "false"),
        ({}, "false"),
    ],
)
def test_nearness_wins_only_if_local_beats_both_controls(rates, verdict: str) -> None:
    held = {"digits": outcomes(**rates)}
    judged = claims(held, {"digits": against(held["digits"], LOCAL.name)})
    assert judged["nearness"]["verdict"] == verdict
    assert "pixels" not in judged


def test_nets_without_a_convolution_are_judged_by_themselves() -> None:
    held, bare = {"digits": outcomes()}, outcomes()
    held["bare"] = {arm.name: bare[name] for arm, name in zip(PIXELS, bare, strict=False)}
    differences = {name: against(found, next(iter(found))) for name, found in held.items()}
    judged = claims(held, differences)
    assert judged["pixels"]["said"].count("; ") == len(PIXELS) - 3
    assert "bare" not in judged["nearness"]["said"]


def test_differences_are_told_both_ways() -> None:
    one = against(outcomes(local=0.9), LOCAL.name)[RANDOM.name]
    low, high = interval(one)
    assert low < -5 and high < 0
    told = points(one)
    assert told.startswith("-") and not points(one, -1).startswith("-")
    assert points(one, -1).split(" ")[0] == told.split(" ")[0].removeprefix("-")


def test_the_page_says_what_was_found(tmp_path: Path) -> None:
    page = run_study("proximity", tmp_path, Options("tiny", n_jobs=1, quiet=True))
    text = page.read_text(encoding="utf-8")
    record = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    rows = record["sets"]["digits"]["table"]["rows"]
    assert [row[0] for row in rows] == [arm.name for arm in (*MAIN, WIDENED)]
    for row in rows:
        by = record["sets"]["digits"]["by"][row[0].replace(",", "").replace(" ", "_")]
        assert by["right"]["mean"] == pytest.approx(np.mean(by["by_seed"]), abs=0.006)
        assert f"| {row[0]} | {row[1]:,} | {row[2]:,} |" in text
    assert "need the data sets" in text and "## MNIST" not in text
    for figure in record["figures"].values():
        assert (tmp_path / figure).read_bytes()[1:4] == b"PNG"
