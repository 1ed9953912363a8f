"""Every task goes through every verb, on a few made images each.

A new task adds a function that writes its images and labels to `MADE`, and nothing else.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import draw_squares
from placewise.cli import main
from placewise.tasks import TASKS, task_named
from placewise.tasks.instances.demo import write_images as write_nuclei
from placewise.tasks.masks.demo import write_images as write_threads
from placewise.tasks.poses.demo import write_images as write_fish
from placewise.tasks.spots.demo import write_images as write_spots

SMALL = ["--backbone-set", "width=16", "depth=2", "--batch-size", "4", "--precision", "float32"]


@dataclass(frozen=True)
class Made:
    """Images of a task: `write` makes them and returns what is given to the verbs."""

    write: Callable[[Path], Path]
    measure: str
    backbone: str = "width = 16, depth = 2"


def keypoints(folder: Path) -> Path:
    return draw_squares(folder, 20)


def spots(folder: Path) -> Path:
    return write_spots(folder, images=20).parent


def poses(folder: Path) -> Path:
    return write_fish(folder, images=20).parent


def masks(folder: Path) -> Path:
    return write_threads(folder, images=20)


def instances(folder: Path) -> Path:
    return write_nuclei(folder, images=20)


def classes(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = ["image,class,split"]
    folder.mkdir(parents=True)
    for number in range(20):
        image = rng.normal(60 + 120 * (number % 2), 10, (32, 32)).clip(0, 255)
        Image.fromarray(image.astype(np.uint8)).save(folder / f"{number:02d}.png")
        split = "test" if number % 10 > 7 else "val" if number % 10 > 5 else "train"
        rows.append(f"{number:02d}.png,{('dark', 'light')[number % 2]},{split}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


MADE = {
    "keypoints": Made(keypoints, "mean_error_px"),
    "classes": Made(classes, "accuracy"),
    "spots": Made(spots, "f1"),
    "poses": Made(poses, "pck"),
    "masks": Made(masks, "dice"),
    "instances": Made(instances, "ap_at_iou/0.50"),
}


@dataclass(frozen=True)
class Case:
    """A task with its data and a short run."""

    name: str
    data: Path
    run: Path


@pytest.fixture(scope="module", params=sorted(MADE))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp(request.param)
    data = MADE[request.param].write(folder / "data")
    main(["train", str(data), "--out", str(folder / "run"), "--steps", "3", "--quiet", *SMALL])
    return Case(request.param, data, folder / "run")


def test_every_task_is_here() -> None:
    assert set(MADE) == set(TASKS.names())


def test_labels_are_checked(case: Case, tmp_path: Path) -> None:
    """The task is found from what lies in the folder, and its findings are a page and a file."""
    main(["check", str(case.data), "--out", str(tmp_path / "out"), "--quiet"])
    found = json.loads((tmp_path / "out" / "check.json").read_text(encoding="utf-8"))
    assert found["images"] == 20 and "Ready to train" in found["verdict"]
    page = (tmp_path / "out" / "check.html").read_text(encoding="utf-8")
    assert "Ready to train" in page and page.count("data:image/") >= 1
    assert (tmp_path / "out" / "sheet.png").stat().st_size > 5000


def test_a_run_knows_its_task(case: Case) -> None:
    held = json.loads((case.run / "run.json").read_text(encoding="utf-8"))
    head = held["model"]["head"]
    assert head == task_named(case.name).head
    assert (case.run / "validation" / "report.html").is_file()


def test_a_run_is_scored(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scores, a row of the table for each answer, and a page with figures and images."""
    main(["evaluate", str(case.run), str(case.data), "--out", str(tmp_path / "scores")])
    metric = task_named(case.name).metric
    scores = json.loads((tmp_path / "scores" / "metrics.json").read_text(encoding="utf-8"))
    assert scores["split"] == "test" and scores["images"] == 4
    value = metric.of(scores)
    assert value is None or np.isfinite(value)
    assert metric.name == MADE[case.name].measure
    assert metric.label in capsys.readouterr().out
    page = (tmp_path / "scores" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/") >= 3
    with (tmp_path / "scores" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    assert header[: len(columns(case.name))] == columns(case.name)


def test_new_images_are_predicted(case: Case, tmp_path: Path) -> None:
    """All images are counted, also those on which nothing is found; drawings are made."""
    out = tmp_path / "out"
    images = case.data / "images" if (case.data / "images").is_dir() else case.data
    main(["predict", str(case.run), str(images), "--out", str(out), "--overlays", "2"])
    about = json.loads((out / "about.json").read_text(encoding="utf-8"))
    assert about["images"] == 20 and not about["skipped"]
    assert len(list((out / "overlays").rglob("*.png"))) == 2
    header = (out / "predictions.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header.split(",")[:1] == ["image"]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(name, marks=() if name in ("classes", "spots") else pytest.mark.slow)
        for name in sorted(MADE)
    ],
    indirect=True,
)
def test_arms_are_compared(case: Case, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    head = task_named(case.name).head
    plan.write_text(
        f"""
        data = "{case.data.as_posix()}"
        seeds = 2
        place = false
        backbone_settings = {{ {MADE[case.name].backbone} }}
        training = {{ max_steps = 3, batch_size = 4 }}
        tuning = {{ trials = 1 }}
        arms = [
          {{ name = "one", head = "{head}" }},
          {{ name = "fast", head = "{head}", training = {{ learning_rate = 0.01 }} }},
        ]
        """,
        encoding="utf-8",
    )
    main(["compare", str(plan), "--out", str(tmp_path / "out"), "--n-jobs", "1"])
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    metric = task_named(case.name).metric
    assert (results["measure"], results["better"]) == (metric.name, metric.better)
    assert (tmp_path / "out" / "report.html").is_file()


def columns(name: str) -> list[str]:
    """The first columns of a task's table, whose names may depend on the names of the labels."""
    return task_named(name).columns(("dark", "light"))[:2]
