"""What metrics know of themselves, against the numbers that they describe."""

from __future__ import annotations

import numpy as np
import pytest

from placewise.metrics import ACCURACY, CLASS_METRICS, KEYPOINT_METRICS, MEAN_ERROR, Metric

ALL = [*KEYPOINT_METRICS, *CLASS_METRICS]


def test_metrics_are_named_once_and_explained_in_a_phrase() -> None:
    for metrics in (KEYPOINT_METRICS, CLASS_METRICS):
        assert len({m.name for m in metrics}) == len({m.label for m in metrics}) == len(metrics) > 7
    for metric in ALL:
        assert len(metric.meaning.split()) > 3 and not metric.meaning.endswith(".")


@pytest.mark.parametrize("metric", [ACCURACY, MEAN_ERROR], ids=lambda metric: metric.name)
def test_a_gain_is_positive_where_the_new_value_is_better(metric: Metric) -> None:
    assert metric.equal is not None and metric.equal > 0
    worse, better = (0.2, 0.9) if metric.better == "higher" else (0.9, 0.2)
    assert metric.gain(better, worse) == pytest.approx(0.7)
    rng = np.random.default_rng(0)
    new, old = rng.normal(size=(2, 50))
    assert np.array_equal(metric.gain(new, old), -metric.gain(old, new))
    assert np.array_equal(metric.gain(new, old) > 0, (new > old) == (metric.better == "higher"))


def test_a_metric_without_a_direction_has_no_gain() -> None:
    without = [metric for metric in ALL if metric.better is None]
    assert without
    for metric in without:
        with pytest.raises(ValueError, match="no direction"):
            metric.gain(1.0, 2.0)


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_numbers_are_found_by_name_and_written_in_the_unit(metric: Metric) -> None:
    keys = metric.name.split("/")
    scores = {keys[0]: 0.25} if len(keys) == 1 else {keys[0]: {keys[1]: 0.25}}
    assert metric.of(scores) == 0.25
    assert metric.of({}) is None and metric.of({keys[0]: "text"}) is None
    assert metric.shown(0.25) == ("25 %" if metric.unit == "%" else f"0.25 {metric.unit}".strip())
    assert metric.shown(None) == metric.shown(float("nan")).split()[0] == "–"
    assert float(metric.precise(0.25)) == 0.25 * metric.factor
    assert metric.difference(-0.25).startswith("−") and metric.difference(0.25).startswith("+")
    assert metric.difference(0.25, signed=False) == metric.precise(0.25)
