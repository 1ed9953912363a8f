"""`train --resume` on labels that were touched: names are looked up, and nothing is silent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from conftest import draw_squares
from placewise.errors import DataError, SettingsError
from placewise.formats import read_dataset
from placewise.labels import ClassDataset, ClassSample, KeypointDataset
from placewise.run import Run
from placewise.training import train

QUICK: dict[str, Any] = {
    "precision": "float32",
    "backbone_settings": {"width": 16, "depth": 1},
    "batch_size": 4,
    "max_steps": 12,
    "val_interval": 4,
}


class Stopped(Exception):
    """What stops a training in these tests."""


def stop(line: Mapping[str, Any]) -> None:
    """Stops after ten steps: the last checkpoint is that of step 8."""
    if line["step"] == 10:
        raise Stopped


def draw(folder: Path) -> Path:
    """Squares in which the points do not come in the order of the alphabet."""
    return draw_squares(folder, 24)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("resume") / "data")


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return train(read_dataset(data), out, quiet=True, **QUICK)


@pytest.fixture
def begun(data: Path, tmp_path: Path) -> Path:
    """The same run, stopped after step 10."""
    with pytest.raises(Stopped):
        train(read_dataset(data), tmp_path / "run", quiet=True, callbacks=[stop], **QUICK)
    return tmp_path / "run"


def files(run: Path) -> dict[str, bytes]:
    return {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*") if p.is_file()}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "step-00000012.safetensors")


def assert_same_end(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    curves = [
        [{k: v for k, v in line.items() if k != "images_per_second"} for line in Run.open(r).log()]
        for r in (one, other)
    ]
    assert curves[0] == curves[1]


def edited(data: Path, folder: Path, edit: Any) -> KeypointDataset:
    """Another table of the same images, with its rows changed."""
    folder.mkdir()
    header, *rows = (data / "points.csv").read_text(encoding="utf-8").splitlines()
    (folder / "points.csv").write_text("\n".join([header, *edit(rows)]) + "\n", encoding="utf-8")
    found = read_dataset(folder / "points.csv", root=data)
    assert isinstance(found, KeypointDataset)
    return found


def by_point(rows: list[str]) -> list[str]:
    """As a spreadsheet sorts them."""
    return sorted(rows, key=lambda row: (row.split(",")[1], row))


def test_rows_in_another_order_train_as_the_same(
    data: Path, whole: Run, begun: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = edited(data, tmp_path / "sorted", by_point)
    assert labels.names == ("dark", "light") != read_dataset(data).names
    caplog.set_level("INFO", "placewise")
    train(labels, begun, resume=True, quiet=True)
    assert any("resumed at step 8 of 12" in line for line in caplog.messages)
    assert not any("changed" in line for line in caplog.messages)
    assert_same_end(begun, whole.path)
    mirrored = edited(data, tmp_path / "reversed", lambda rows: rows[::-1])
    assert train(mirrored, begun, resume=True, quiet=True).facts == whole.facts


def test_the_same_labels_go_on_to_the_same_end(data: Path, whole: Run, begun: Path) -> None:
    train(read_dataset(data), begun, resume=True, quiet=True, **QUICK)
    assert_same_end(begun, whole.path)


def renamed(rows: list[str]) -> list[str]:
    return [row.replace(",light,", ",snout,").replace(",dark,", ",paw,") for row in rows]


def added(rows: list[str]) -> list[str]:
    return [*rows, *(row.replace(",light,", ",extra,") for row in rows if ",light," in row)]


def lost(rows: list[str]) -> list[str]:
    return [row for row in rows if ",dark," not in row]


def fewer(rows: list[str]) -> list[str]:
    return [row for row in rows if not row.startswith("images/000.png")]


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (renamed, r"snout, paw, which the run was not begun with; it has light, dark"),
        (added, r"hold extra, which the run was not begun with"),
        (lost, r"lack the keypoints dark of the run; they have light"),
        (fewer, r"no longer have: images/000\.png"),
    ],
)
def test_other_labels_are_refused_before_the_first_step(
    data: Path, begun: Path, tmp_path: Path, edit: Any, says: str
) -> None:
    labels, before = edited(data, tmp_path / "other", edit), files(begun)
    with pytest.raises(DataError, match=says):
        train(labels, begun, resume=True, quiet=True)
    assert files(begun) == before


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"max_steps": 400}, r"max_steps=400 \(the run has 12\)"),
        ({"learning_rate": 5e-4}, r"learning_rate=0\.0005 \(the run has 0\.002\)"),
        ({"backbone_settings": {"width": 48}}, r"backbone_settings=\{'width': 48\} \(the run has"),
        ({"head": "integral"}, r"head=integral \(the run has heatmap\)"),
        ({"seed": 3, "batch_size": 8}, r"(?=.*seed=3)(?=.*batch_size=8)"),
        ({"augmentation": {"rotate": 90}}, r"augmentation="),
    ],
)
def test_options_that_a_resumed_run_does_not_take_are_named(
    data: Path, begun: Path, values: dict[str, Any], says: str
) -> None:
    before = files(begun)
    with pytest.raises(SettingsError, match=says) as refused:
        train(read_dataset(data), begun, resume=True, quiet=True, **values)
    assert "begin a new run" in str(refused.value)
    assert files(begun) == before


def test_options_that_change_nothing_of_what_is_learnt_are_taken(
    data: Path, whole: Run, begun: Path
) -> None:
    """As are those that say what the run has, in full or in part."""
    same = {"max_steps": 12, "backbone_settings": {"width": 16}, "precision": "auto"}
    train(read_dataset(data), begun, resume=True, quiet=True, num_workers=1, device="cpu", **same)
    assert_same_end(begun, whole.path)


def moved(rows: list[str]) -> list[str]:
    """One place corrected by a pixel."""
    cells = rows[0].split(",")
    return [",".join([*cells[:2], str(int(cells[2]) + 1), *cells[3:]]), *rows[1:]]


def test_corrected_labels_are_announced(
    data: Path, begun: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = edited(data, tmp_path / "moved", moved)
    train(labels, begun, resume=True, quiet=True)
    assert any("labels or images have changed" in line for line in caplog.messages)
    assert (begun / "checkpoints" / "step-00000012.safetensors").is_file()


def test_changed_images_are_announced(
    begun: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    again = draw(tmp_path / "again")
    with Image.open(again / "images" / "003.png") as image:
        brighter = image.point(lambda value: min(255, value + 1))
    brighter.save(again / "images" / "003.png")
    train(read_dataset(again), begun, resume=True, quiet=True)
    assert any("labels or images have changed" in line for line in caplog.messages)


def test_classes_are_looked_up_by_name_too(tmp_path: Path) -> None:
    """A class more in the middle of the alphabet is refused, another order is the same."""
    rng = np.random.default_rng(0)
    names = ("ant", "cow", "elk")
    samples = []
    for number in range(24):
        path = tmp_path / "images" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (20, 20)).astype(np.uint8)).save(path)
        split = "val" if number % 4 == 3 else "train"
        samples.append(ClassSample(path.name, (20, 20), number % 3, split))
    dataset = ClassDataset(tmp_path / "images", names, tuple(samples))
    whole = train(dataset, tmp_path / "whole", quiet=True, **QUICK)
    with pytest.raises(Stopped):
        train(dataset, tmp_path / "run", quiet=True, callbacks=[stop], **QUICK)
    before = files(tmp_path / "run")
    more = replace(
        dataset,
        names=("ant", "bee", "cow", "elk"),
        samples=tuple(replace(s, label=s.label and s.label + 1) for s in samples),
    )
    with pytest.raises(DataError, match="bee, which the run"):
        train(more, tmp_path / "run", resume=True, quiet=True)
    assert files(tmp_path / "run") == before
    turned = replace(
        dataset,
        names=names[::-1],
        samples=tuple(replace(s, label=2 - (s.label or 0)) for s in samples),
    )
    train(turned, tmp_path / "run", resume=True, quiet=True)
    assert_same_end(tmp_path / "run", whole.path)
