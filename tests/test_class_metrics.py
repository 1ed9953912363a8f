"""Scores of classes: slow twins, an oracle, and laws."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
)
from sklearn.metrics import log_loss as sklearn_log_loss

from placewise.errors import SettingsError
from placewise.metrics import (
    brier,
    by_class,
    calibration_error,
    class_table,
    confusion,
    log_loss,
    reliability,
    temperature,
)


def drawn(count: int = 400, classes: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that know something of their classes, and the classes."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, count)
    logits = rng.normal(0, 1.5, (count, classes))
    logits[np.arange(count), truth] += 1.5
    return logits, truth


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


@pytest.mark.parametrize("seed", range(3))
def test_as_scikit_learn_has_it(seed: int) -> None:
    logits, truth = drawn(seed=seed)
    p = softmax(logits)
    answers = p.argmax(1)
    found = class_table(list("abcde"), truth, p)
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, answers))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, answers))
    assert found["confusion"] == confusion_matrix(truth, answers).tolist()
    assert found["log_loss"] == pytest.approx(sklearn_log_loss(truth, p))
    precision, recall, f1, count = precision_recall_fscore_support(truth, answers)
    rows = found["by_class"]
    assert [row["precision"] for row in rows] == pytest.approx(precision)
    assert [row["recall"] for row in rows] == pytest.approx(recall)
    assert [row["f1"] for row in rows] == pytest.approx(f1)
    assert [row["images"] for row in rows] == count.tolist()
    assert found["macro_f1"] == pytest.approx(np.mean(f1))


def test_slow_twins() -> None:
    logits, truth = drawn(120, 4)
    p = softmax(logits)
    loss = square = 0.0
    for row, label in zip(p, truth, strict=True):
        loss -= np.log(row[label])
        square += sum((row[k] - (k == label)) ** 2 for k in range(4))
    assert log_loss(p, truth) == pytest.approx(loss / 120)
    assert brier(p, truth) == pytest.approx(square / 120)
    bins: dict[int, list[tuple[float, bool]]] = {}
    for row, label in zip(p, truth, strict=True):
        sure, place = float(row.max()), 0
        while not place / 15 < sure <= (place + 1) / 15:
            place += 1
        bins.setdefault(place, []).append((sure, bool(row.argmax() == label)))
    off = 0.0
    for held in bins.values():
        gap = sum(sure for sure, _ in held) - sum(right for _, right in held)
        off += abs(gap) / 120
    right = p.argmax(1) == truth
    assert calibration_error(p.max(1), right) == pytest.approx(off)
    counted = {b: row["images"] for b, row in enumerate(reliability(p.max(1), right))}
    assert {b: n for b, n in counted.items() if n} == {b: len(held) for b, held in bins.items()}


def test_a_perfect_and_a_blind_answer() -> None:
    truth = np.array([0, 1, 2, 2])
    perfect = class_table(list("abc"), truth, np.eye(3)[truth])
    assert (perfect["accuracy"], perfect["log_loss"], perfect["brier"]) == (1.0, 0.0, 0.0)
    assert perfect["calibration_error"] == 0.0
    blind = class_table(list("abc"), truth, np.full((4, 3), 1 / 3))
    assert blind["log_loss"] == pytest.approx(np.log(3))
    assert blind["majority_baseline"] == 0.5
    assert blind["by_class"][2]["precision"] is None


def test_the_order_of_the_images_does_not_matter() -> None:
    logits, truth = drawn()
    p, order = softmax(logits), np.random.default_rng(1).permutation(len(truth))
    one, two = (
        class_table(list("abcde"), truth, p),
        class_table(list("abcde"), truth[order], p[order]),
    )
    for name in ("accuracy", "log_loss", "brier", "calibration_error", "macro_f1"):
        assert one[name] == pytest.approx(two[name])
    assert one["confusion"] == two["confusion"]


def test_renaming_the_classes_renames_the_rows() -> None:
    _, truth = drawn(60, 3)
    answers = np.random.default_rng(2).integers(0, 3, 60)
    swap = np.array([2, 0, 1])
    one, two = confusion(truth, answers, 3), confusion(swap[truth], swap[answers], 3)
    np.testing.assert_array_equal(one, two[np.ix_(swap, swap)])
    assert by_class("abc", one)[0] == {**by_class("cab", two)[2], "class": "a"}


@pytest.mark.parametrize("heat", [0.3, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(heat: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (40_000, 4))
    p = softmax(logits / heat)
    truth = (p.cumsum(1) < rng.random((len(p), 1))).sum(1)
    assert temperature(logits, truth) == pytest.approx(heat, rel=0.03)


def test_no_other_temperature_is_better() -> None:
    """Slow twin: the cross-entropy with Platt's targets, over a fine grid."""
    logits, truth = drawn(300, 4, seed=5)
    targets = np.full(logits.shape, 1 / 304)
    targets[np.arange(300), truth] = 301 / 304
    grid = np.exp(np.linspace(-3, 3, 2001))
    losses = [-(targets * np.log(softmax(logits / heat))).sum() for heat in grid]
    best = grid[int(np.argmin(losses))]
    assert temperature(logits, truth) == pytest.approx(best, rel=0.005)


def test_scaled_logits_scale_the_temperature() -> None:
    logits, truth = drawn(200, 3)
    assert temperature(7 * logits, truth) == pytest.approx(7 * temperature(logits, truth), rel=1e-4)


def test_all_right_does_not_make_it_sure_without_bounds() -> None:
    truth = np.array([0, 1] * 10)
    heat = temperature(np.eye(2)[truth], truth)
    sure = softmax(np.eye(2)[truth] / heat).max()
    assert sure == pytest.approx(21 / 22, abs=1e-3)


@pytest.mark.parametrize(
    ("truth", "p", "says"),
    [
        ([0, 1], np.full((3, 2), 0.5), "one row for each image"),
        ([], np.zeros((0, 2)), "one row for each image"),
        ([0, 2], np.full((2, 2), 0.5), "classes reach from 0 to 2"),
        ([0, 1], np.full((2, 2), 0.7), "apply softmax"),
        ([0, 1], np.array([[2.0, -1.0], [0.5, 0.5]]), "apply softmax"),
    ],
)
def test_what_cannot_be_scored(truth: list[int], p: np.ndarray, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        class_table(["a", "b"], np.array(truth, dtype=np.int64), p)
