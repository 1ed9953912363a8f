"""The toy of colours: what the images hold, what counting can do, and what the page says."""

from __future__ import annotations

from itertools import product
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch

from placewise.files import read_json
from studies import Options, run_study
from studies import colours as study
from studies._findings import Measured
from studies._training import drawing, fit


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def at(images: torch.Tensor, cell: tuple[int, int]) -> torch.Tensor:
    """0 blank, 1 red, 2 blue."""
    return images[:, 0, cell[0], cell[1]] + 2 * images[:, 1, cell[0], cell[1]]


def test_the_toy_as_told_is_what_the_thread_tells() -> None:
    images, answers = study.told(400, seeded())
    centre = at(images, study.CENTRE)
    corners = torch.stack([at(images, corner) for corner in study.CORNERS])
    assert torch.equal(answers.bool(), (corners != centre).any(0))
    assert set(images.sum((1, 2, 3)).tolist()) == {5.0}
    assert 0.4 < answers.double().mean() < 0.6
    assert len({tuple(p.flatten().tolist()) for p in images}) == 32


@pytest.mark.parametrize("which", [range(4), (0, 1, 2), (3,)])
def test_a_balanced_image_is_answered_by_its_centre_and_its_corner(which) -> None:
    images, answers = study.balanced(which)(300, seeded(1))
    corners = torch.stack([at(images, corner) for corner in study.CORNERS])
    assert ((corners > 0).sum(0) == 1).all()
    assert {int(c) for c in (corners > 0).long().argmax(0)} == set(which)
    assert torch.equal(answers.bool(), corners.amax(0) != at(images, study.CENTRE))
    assert 0.4 < answers.double().mean() < 0.6


def test_counting_as_told_is_that_of_all_images() -> None:
    images, answers = study.told(4000, seeded(2))
    alone = (images.sum((2, 3)) == 0).any(1)
    assert torch.equal(alone, ~answers.bool())
    assert study.told_by_counting(exactly_one=False) == 100


def test_counting_on_balanced_images_is_that_of_a_slow_twin(monkeypatch) -> None:
    """Three by three cells: one corner is coloured, the centre, and four cells may be."""
    monkeypatch.setattr(study, "SIDE", 3)
    seen: dict[tuple[int, int], list[float]] = {}
    for *cells, corner, centre in product("-rb", "-rb", "-rb", "-rb", "rb", "rb"):
        chance = prod(0.5 if cell == "-" else 0.25 for cell in cells) / 4
        counted = [*cells, corner, centre]
        pair = seen.setdefault((counted.count("r"), counted.count("b")), [0.0, 0.0])
        pair[corner != centre] += chance
    best = 100 * sum(max(pair) for pair in seen.values())
    assert study.balanced_by_counting() == pytest.approx(best)


def test_the_circular_control_cannot_tell_one_place_from_another() -> None:
    images, _ = study.balanced()(20, seeded(3))
    moved = torch.roll(images, (1, 2), (2, 3))
    alike = {}
    for arm in study.ARMS:
        with drawing(0):
            net = arm.net()
        with torch.no_grad():
            alike[arm.name] = torch.allclose(net(images), net(moved), atol=1e-5)
    assert [name for name, same in alike.items() if same] == ["convolutional, circular"]


def test_a_flattened_head_learns_the_toy_as_told() -> None:
    arm = study.ARMS[0]
    with drawing(0) as generator:
        net = arm.net()
        fit(net, study.told, 60, generator)
        assert study.accuracy(net, *study.told(200, generator)) > 90


def test_verdicts_follow_the_interval() -> None:
    wide, narrow = Measured.of([90, 100, 100]), Measured.of([99, 100, 99.5])
    assert study.verdict(wide, 50) == "above"
    assert study.verdict(narrow, 50) == "passes"
    assert study.verdict(Measured.of([40, 60, 50]), 54.5) == "not above"
    assert np.isclose(narrow.mean, 99.5)


def test_the_page_holds_what_was_found(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(study, "ARMS", study.ARMS[:2] + study.ARMS[5:])
    page = run_study("colours", tmp_path, Options("tiny", quiet=True))
    text, record = page.read_text(encoding="utf-8"), read_json(tmp_path / "colours.json")
    assert "{{" not in text
    claims = [c for c in record["claims"].values() if "verdict" in c]
    assert len(claims) == 4
    for claim in claims:
        assert f"| {claim['claim']} | **{claim['verdict']}** | {claim['said']} |" in text
    for place in record["figures"].values():
        assert f"]({place})" in text
        assert (tmp_path / place).read_bytes()[1:4] == b"PNG"
    assert len(record["figures"]) == 2
    assert {len(v) for arm in record["by_seed"].values() for v in arm.values()} == {2}
