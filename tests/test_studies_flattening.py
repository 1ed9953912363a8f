"""Flattening: orders that change nothing, indices that must be zero, digits on either side."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import torch

from placewise.files import read_json
from studies import Options, run_study
from studies import flattening as study
from studies._findings import Measured, gains
from studies._material import Labelled, load_digits
from studies._training import drawing

order, place, sides = (
    import_module(f"studies.flattening.{name}") for name in ("order", "place", "sides")
)


def few() -> Labelled:
    """The first of the digits."""
    found = load_digits()
    return Labelled(*(part[:40] for part in vars(found).values()))


def test_nets_that_flatten_in_another_order_stay_the_same() -> None:
    digits = load_digits()
    taken = order.orders(64, 0)["at random"]
    assert sorted(taken.tolist()) == list(range(64))
    assert 0 < order.difference(digits, taken, 0) <= order.SAME


def test_the_difference_sees_weights_that_are_not_reordered(monkeypatch) -> None:
    monkeypatch.setattr(order, "_change_order", lambda net, taken: None)
    assert order.difference(load_digits(), order.orders(64, 0)["backwards"], 0) > 0.01


def test_mixing_draws_an_order_for_each_image() -> None:
    images = torch.arange(12.0).repeat(50, 1).reshape(50, 1, 3, 4)
    found = order.mixed(images, torch.Generator().manual_seed(0))
    assert found.shape == images.shape
    assert (found.flatten(1).sort(1)[0] == torch.arange(12.0)).all()
    assert len({tuple(p.flatten().tolist()) for p in found}) == 50


@pytest.mark.parametrize("name", place.NAMES)
def test_the_order_of_the_map_is_nothing_to_the_average_alone(name: str) -> None:
    """With the same weights: the average is the same, every other head reads other places."""
    taken = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    answers = []
    for where in ("nowhere", "map"):
        with drawing(0):
            net = place.net(name, where, 8, taken)
        with torch.no_grad():
            answers.append(net(load_digits().test[:5]))
    assert torch.allclose(*answers, atol=1e-5) == (name == "convolutional")


def test_a_digit_stands_on_its_side() -> None:
    digits = load_digits().test[:4]
    found = sides.on_side(digits, torch.tensor([False, True, False, True]))
    assert found.shape == (4, 1, 8, 16)
    assert torch.equal(found[::2, ..., :8], digits[::2])
    assert torch.equal(found[1::2, ..., 8:], digits[1::2])
    assert found.sum() == digits.sum()


def test_likeness_is_that_of_centred_vectors() -> None:
    one = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert sides.alike(one, 3 * one + 7) == pytest.approx(1)
    assert sides.alike(one, -one) == pytest.approx(-1)


def test_an_index_gains_only_above_its_interval_and_is_open_where_that_is_wide() -> None:
    assert gains(Measured.of([3, 4, 5]), 1) is True
    assert gains(Measured.of([-3, 4, 5]), 1) is None
    assert gains(Measured.of([0.1, 0, -0.1]), 1) is False
    assert gains(Measured.of([3]), 1) is None


def test_the_page_holds_what_was_found(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(study.BUDGETS, "tiny", study.Budget(2, 1))
    monkeypatch.setattr(study, "load_digits", few)
    page = run_study("flattening", tmp_path, Options("tiny", quiet=True))
    text, record = page.read_text(encoding="utf-8"), read_json(tmp_path / "flattening.json")
    assert "{{" not in text
    claims = {k: c for k, c in record["claims"].items() if "verdict" in c}
    assert len(claims) == 7
    for claim in claims.values():
        assert f"| {claim['claim']} | **{claim['verdict']}** | {claim['said']} |" in text
    assert claims["order"]["verdict"] == "true"
    assert record["place"]["convolutional"]["map"]["mean"] == 0
    for where in record["figures"].values():
        assert f"]({where})" in text
        assert (tmp_path / where).read_bytes()[1:4] == b"PNG"
