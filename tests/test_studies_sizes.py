"""Sizes: the same scene at every resolution, and fine-tuning of the last layer alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from placewise.errors import ShapeError
from placewise.files import read_json
from studies import Options, run_study
from studies import sizes as study
from studies._material import Labelled, load_digits
from studies._training import drawing, drawn_from


def few() -> Labelled:
    """The first of the digits."""
    found = load_digits()
    return Labelled(*(part[:40] for part in vars(found).values()))


def shown(kind: study.Kind, side: int) -> torch.Tensor:
    return study.scene(load_digits().test[:20], kind, side, torch.Generator().manual_seed(0))


def middles(images: torch.Tensor) -> torch.Tensor:
    """Where the ink is on average, as shares of the image."""
    ink, side = images[:, 0], images.shape[-1]
    cells = (torch.arange(side) + 0.5) / side
    rows, columns = ink.sum(2) @ cells, ink.sum(1) @ cells
    return torch.stack((rows, columns), 1) / ink.sum((1, 2))[:, None]


@pytest.mark.parametrize("side", [12, 16, 20, 32, 48])
def test_another_resolution_shows_the_same_scene(side: int) -> None:
    first, other = shown("scaled", study.SIDE), shown("scaled", side)
    assert other.shape == (20, 1, side, side)
    assert torch.allclose(middles(first), middles(other), atol=0.01)
    assert torch.allclose(first.mean((1, 2, 3)), other.mean((1, 2, 3)), rtol=0.05)
    assert len({tuple(m.tolist()) for m in middles(first)}) > 10


def test_a_wider_image_holds_digits_of_the_same_size() -> None:
    first, wide = shown("wider", study.SIDE), shown("wider", 48)
    assert torch.equal(first, shown("scaled", study.SIDE))
    assert wide.shape == (20, 1, 48, 48)
    assert torch.allclose(first.sum((1, 2, 3)), wide.sum((1, 2, 3)))


def test_fine_tuning_changes_the_last_layer_of_a_copy_alone() -> None:
    digits = load_digits()
    draw = drawn_from(study.scaled(digits.train[:50], 48), digits.train_classes[:50])
    with drawing(0) as generator:
        net = study.build("convolutional").eval()
        before = {name: value.clone() for name, value in net.state_dict().items()}
        after = study.fine_tuned(net, draw, 2, generator).state_dict()
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"1.out.weight", "1.out.bias"}


def test_the_flattened_head_refuses_another_size_and_takes_it_scaled_back() -> None:
    net, images = study.build("flatten"), shown("scaled", 48)
    with pytest.raises(ShapeError, match="flattens"):
        net(images)
    assert net(study.scaled(images, study.SIDE)).shape == (20, 10)


def test_the_page_holds_what_was_found(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(study.BUDGETS, "tiny", study.Budget(2, 1, 1))
    monkeypatch.setattr(study, "load_digits", few)
    page = run_study("sizes", tmp_path, Options("tiny", quiet=True))
    text, record = page.read_text(encoding="utf-8"), read_json(tmp_path / "sizes.json")
    assert "{{" not in text
    claims = [c for c in record["claims"].values() if "verdict" in c]
    assert len(claims) == 6
    for claim in claims:
        assert f"| {claim['claim']} | **{claim['verdict']}** | {claim['said']} |" in text
    rows = record["scaled"]["rows"]
    assert [len(row) for row in rows] == [7] * 6
    at_training = [row[4] for row in rows if "fine-tuned" not in row[0]]
    assert at_training[0] == at_training[1]
    for where in record["figures"].values():
        assert f"]({where})" in text
        assert (tmp_path / where).read_bytes()[1:4] == b"PNG"
