"""Do the intervals hold what they say? Simulations whose truth is known.

    python benchmarks/intervals.py

Each line of the results is one kind of experiment, repeated: the share of intervals that hold the
true difference (95 % is meant), of false alarms where there is none (5 % is meant), and of effects
found that `detectable_effect` says are found (80 %). Answers of the two-way experiments are right
or wrong: each item is hard or easy for both arms, each seed better or worse, and each answer drawn.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from placewise.statistics import (
    FEWEST,
    chances,
    detectable_effect,
    holm,
    mcnemar,
    paired_difference,
    two_way_interval,
)

RESULTS = Path(__file__).parent / "results" / "intervals.json"
TRUTH = 0.3
"""Difference of the paired experiments, in sd."""

Draw = Callable[[np.random.Generator, int], np.ndarray]

KINDS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "uniform": lambda rng, n: rng.uniform(-1, 1, n),
    "of 300 items": lambda rng, n: (rng.binomial(300, 0.9, n) - rng.binomial(300, 0.9, n)) / 300,
}
"""Noise of a paired difference around its mean: all have the mean 0."""


def paired(kind: str, seeds: int, times: int) -> dict[str, object]:
    """How often both intervals of a paired difference hold the truth."""
    rng = np.random.default_rng([1, seeds, len(kind)])
    held = np.zeros(2)
    for _ in range(times):
        found = paired_difference(TRUTH + KINDS[kind](rng, seeds), np.zeros(seeds))
        resampled = found.bootstrap or found.student
        held += [found.student.holds(TRUTH), resampled.holds(TRUTH)]
    return {
        "differences": kind,
        "seeds": seeds,
        "t_interval_holds": float(held[0] / times),
        "bootstrap_interval_holds": float(held[1] / times) if seeds >= FEWEST else None,
    }


SPREAD, EASE, GAIN = 1.5, 2.0, 0.3
"""Items on the logistic scale: their spread, their mean, and what the first arm adds to it."""


def right(mean: float, deviation: float) -> float:
    """Probability of a right answer, the logistic curve of a normal variable averaged."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    return float(weights @ (1 / (1 + np.exp(-mean - deviation * nodes))) / weights.sum())


def answers(
    rng: np.random.Generator, seeds: int, items: int, of_seed: float, of_item: float
) -> np.ndarray:
    """(seeds, items): right answers of the first minus those of the second arm."""
    ease = rng.normal(EASE, SPREAD, (1, items))
    second = ease + rng.normal(0, of_seed, (seeds, 1))
    own = rng.normal(0, of_item, (1, items))
    first = ease + GAIN + own + rng.normal(0, of_seed, (seeds, 1))
    drawn = rng.random((2, seeds, items)) < 1 / (1 + np.exp(-np.stack((first, second))))
    return drawn[0] * 1.0 - drawn[1]


def two_way(seeds: int, items: int, of_seed: float, of_item: float, times: int) -> dict:
    """How often the two-way interval, and that of the seeds alone, hold the truth for both."""
    rng = np.random.default_rng([2, seeds, items, round(10 * of_seed), round(10 * of_item)])
    truth = right(EASE + GAIN, float(np.linalg.norm([SPREAD, of_seed, of_item])))
    truth -= right(EASE, float(np.linalg.norm([SPREAD, of_seed])))
    held = np.zeros(2)
    for number in range(times):
        table = answers(rng, seeds, items, of_seed, of_item)
        alone = paired_difference(table.mean(1), np.zeros(seeds)).student
        held += [two_way_interval(table, seed=number).holds(truth), alone.holds(truth)]
    return {
        "seeds": seeds,
        "items": items,
        "spread_of_seeds": of_seed,
        "spread_of_items": of_item,
        "two_way_interval_holds": held[0] / times,
        "t_interval_of_seeds_alone_holds": held[1] / times,
    }


def false_alarms(arms: int, seeds: int, times: int) -> dict:
    """Arms that are all alike, each against the first: is any called different?

    Also how often `chances` is more than 95 % sure of better or worse where the region is a point.
    """
    rng = np.random.default_rng([3, arms, seeds])
    raw, adjusted, sure = 0, 0, 0
    for _ in range(times):
        values = rng.normal(size=(arms, seeds))
        p = [paired_difference(arm, values[0]).p for arm in values[1:]]
        raw += min(p) < 0.05
        adjusted += min(holm(p)) < 0.05
        found = chances(values[1] - values[0], rope=0.0)
        sure += max(found.better, found.worse) > 0.975
    return {
        "arms": arms,
        "seeds": seeds,
        "any_alarm_without_holm": raw / times,
        "any_alarm_with_holm": adjusted / times,
        "sure_by_chances_of_one_arm": sure / times,
    }


def power(seeds: int, times: int) -> dict:
    """How often an effect of the size that `detectable_effect` names is found."""
    rng = np.random.default_rng([4, seeds])
    effect = detectable_effect(seeds)
    none = np.zeros(seeds)
    hits = [paired_difference(rng.normal(effect, 1, seeds), none).p < 0.05 for _ in range(times)]
    return {"seeds": seeds, "effect_in_sd": effect, "found": float(np.mean(hits))}


def one_seed(items: int, times: int) -> dict:
    """McNemar's false alarms for two nets that are right equally often."""
    rng = np.random.default_rng([5, items])
    hits = [mcnemar(*(rng.random((2, items)) < 0.95)) < 0.05 for _ in range(times)]
    return {"items": items, "false_alarms": float(np.mean(hits))}


def measure(times: int) -> dict:
    return {
        "simulations": times,
        "paired": [paired(kind, n, times) for kind in KINDS for n in (5, 8, 10, 20)],
        "two_way": [
            two_way(*setting, times)
            for setting in (
                (8, 300, 0.1, 0.5),
                (10, 300, 0.0, 0.0),
                (10, 300, 0.1, 0.5),
                (20, 300, 0.1, 0.5),
                (20, 300, 0.3, 0.0),
                (20, 1000, 0.1, 0.5),
            )
        ],
        "false_alarms": [false_alarms(arms, 20, times) for arms in (2, 5, 9)],
        "power": [power(seeds, times) for seeds in (5, 10, 20)],
        "mcnemar": one_seed(1000, times),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=2000)
    found = measure(parser.parse_args().times)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
