"""Evaluation knows images by their content: a name or a path says nothing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from conftest import draw_squares
from placewise.errors import DataError
from placewise.evaluation import evaluate
from placewise.formats import read_dataset
from placewise.run import Run, load_model
from placewise.training import TrainingSettings, train


def draw(folder: Path, count: int, seed: int, prefix: str = "") -> Path:
    """Squares without a split, so that the run draws one; with a prefix before the names."""
    draw_squares(folder, count, seed=seed)
    table = (folder / "points.csv").read_text(encoding="utf-8")
    table = re.sub(r",[a-z]+$", "", table, flags=re.MULTILINE)
    if prefix:
        for file in sorted((folder / "images").iterdir()):
            file.rename(file.with_name(prefix + file.name))
        table = table.replace("images/", f"images/{prefix}")
    (folder / "points.csv").write_text(table, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels A, which the run was trained on; and B, other images with the same names."""
    home = tmp_path_factory.mktemp("content")
    draw(home / "A", 20, seed=0)
    draw(home / "B", 20, seed=9)
    return home


@pytest.fixture(scope="module")
def run(home: Path) -> Run:
    small = {"width": 16, "depth": 1}
    settings = TrainingSettings.of(
        max_steps=2, batch_size=4, precision="float32", backbone_settings=small
    )
    return train(read_dataset(home / "A"), home / "run", settings, quiet=True)


def test_the_images_of_the_training_keep_their_split(
    run: Run, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for split in ("train", "val", "test"):
        scores = evaluate(run, read_dataset(home / "A"), split=split)
        assert scores["images"] == len(run.facts.split[split]) > 0
    assert evaluate(run, read_dataset(home / "A"))["split"] == "test"
    assert caplog.messages == []


def test_other_images_with_the_same_names_are_all_scored(
    run: Run, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scores = evaluate(run, read_dataset(home / "B"))
    assert (scores["split"], scores["images"]) == ("test", 20)
    assert scores["mean_position_baseline_px"] is None, "these are not its training labels"
    (told,) = caplog.messages
    assert told.startswith("20 images have names that the run knows, but other content")
    for split in ("train", "val"):
        with pytest.raises(DataError, match=f"split '{split}'; there are: train 0, val 0, test 20"):
            evaluate(run, read_dataset(home / "B"), split=split)


def test_new_images_among_known_ones_are_scored_and_counted(
    run: Run, home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    both = draw(tmp_path / "both", 12, seed=5, prefix="new-")
    for file in (home / "A" / "images").iterdir():
        shutil.copy(file, both / "images")
    rows = (home / "A" / "points.csv").read_text().splitlines(keepends=True)[1:]
    with (both / "points.csv").open("a") as table:
        table.writelines(rows)
    scores = evaluate(run, read_dataset(both))
    assert scores["images"] == len(run.facts.split["test"]) + 12
    assert scores["mean_position_baseline_px"] is not None
    assert any(line.startswith("12 of 32 labelled images are new") for line in caplog.messages)
    assert evaluate(run, read_dataset(both), split="train")["images"] == len(
        run.facts.split["train"]
    )


def test_the_same_images_through_another_path_keep_their_split(
    run: Run, home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Labels one folder higher, and images under other names, are those of the training."""
    table = (home / "A" / "points.csv").read_text()
    (home / "above.csv").write_text(table.replace("images/", "A/images/"))
    above = read_dataset(home / "above.csv")
    assert {sample.image for sample in above.samples}.isdisjoint(
        name for names in run.facts.split.values() for name in names
    )
    renamed = shutil.copytree(home / "A", tmp_path / "renamed")
    for file in sorted((renamed / "images").iterdir(), reverse=True):
        file.rename(file.with_name(f"x{file.name}"))
    (renamed / "points.csv").write_text(table.replace("images/", "images/x"))
    for dataset in (above, read_dataset(renamed)):
        for split in ("train", "val", "test"):
            scores = evaluate(run, dataset, split=split)
            same = evaluate(run, read_dataset(home / "A"), split=split)
            assert scores["images"] == len(run.facts.split[split])
            assert scores["mean_error_px"] == same["mean_error_px"]
            assert scores["mean_position_baseline_px"] == pytest.approx(
                same["mean_position_baseline_px"]
            )
    assert caplog.messages == []


def test_images_that_have_changed_places_are_known_by_what_they_show(
    run: Run, home: Path, tmp_path: Path
) -> None:
    """A training image and a test image under each other's names change their splits."""
    first, second = run.facts.split["train"][0], run.facts.split["test"][0]
    swapped = shutil.copytree(home / "A", tmp_path / "swapped")
    (swapped / "x.png").write_bytes((swapped / first).read_bytes())
    (swapped / first).write_bytes((swapped / second).read_bytes())
    (swapped / "x.png").replace(swapped / second)
    out = tmp_path / "scores"
    evaluate(run, read_dataset(swapped), split="test", out=out)
    scored = {line.split(",")[0] for line in (out / "predictions.csv").read_text().splitlines()[1:]}
    assert scored == {*run.facts.split["test"], first} - {second}


def test_a_loaded_model_is_scored_as_its_run_is(run: Run, home: Path) -> None:
    dataset = read_dataset(home / "A")
    assert (
        evaluate(load_model(run), dataset)
        == evaluate(run, dataset)
        == evaluate(str(run.path), dataset)
    )


def test_nothing_is_written_unless_asked_for(run: Run, home: Path, tmp_path: Path) -> None:
    before = set(home.rglob("*"))
    evaluate(run, read_dataset(home / "A"))
    assert set(home.rglob("*")) == before
    evaluate(run, read_dataset(home / "A"), out=tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "metrics.json", "predictions.csv", "report.html",
    }  # fmt: skip
