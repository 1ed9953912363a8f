"""A task that lies outside of the package goes through every verb: the contract is enough."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TOY = Path(__file__).parent / "toy"
LONGEST = 150
USE = ["--plugin", "stripes"]
READ = [*USE, "--format", "stripes:AngleCsv"]


def drawn(folder: Path, count: int, seed: int = 0) -> Path:
    """Images with a bright stripe through their middle, and `angles.csv`."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    rows = ["image,angle,split"]
    down, across = np.indices((32, 40), dtype=float)
    for number in range(count):
        angle = round(float(rng.uniform(0, 180)), 2)
        along = np.radians(angle)
        off = (down - 15.5) * np.cos(along) - (across - 19.5) * np.sin(along)
        image = 60 + 140 * (abs(off) < 2.5) + rng.normal(0, 6, (32, 40))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"{number:03d}.png")
        split = ("train", "train", "train", "val", "test")[number % 5]
        rows.append(f"{number:03d}.png,{angle},{split}")
    (folder / "angles.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / "angles.csv"


def placewise(*words: object) -> str:
    """What a verb prints, in a process of its own."""
    path = os.pathsep.join([str(TOY), os.environ.get("PYTHONPATH", "")])
    found = subprocess.run(
        [sys.executable, "-m", "placewise", *map(str, words)],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("stripes") / "data", 60)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    small = ["--backbone-set", "width=16", "depth=2", "--precision", "float32"]
    placewise("train", data, *READ, "--out", out, "--steps", 150, "--learning-rate", 4e-3, *small)
    return out


def test_the_whole_task_is_a_short_file() -> None:
    assert len((TOY / "stripes.py").read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_labels_are_checked(data: Path, tmp_path: Path) -> None:
    text = placewise("check", data, *READ, "--out", tmp_path / "out")
    assert text.startswith("Ready to train: 60 images")
    assert json.loads((tmp_path / "out" / "check.json").read_text())["images"] == 60
    assert "Ready to train" in (tmp_path / "out" / "check.html").read_text(encoding="utf-8")


def test_it_learns_and_is_scored(data: Path, run: Path, tmp_path: Path) -> None:
    """Angles move with the augmentation: a net that is taught otherwise stays at 45 degrees."""
    text = placewise("evaluate", run, data, *READ, "--out", tmp_path / "scores")
    scores = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert (scores["split"], scores["images"]) == ("test", 12)
    assert scores["mean_error_deg"] < 15
    assert "mean error" in text and "°" in text
    page = (tmp_path / "scores" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/") >= 6 and "Mean error on 12 test images" in page
    with (tmp_path / "scores" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    off = [abs(float(row["angle"]) - float(row["truth"])) % 180 for row in rows]
    mean = np.mean([min(one, 180 - one) for one in off])
    assert mean == pytest.approx(scores["mean_error_deg"], abs=0.02)


def test_new_images_are_predicted(data: Path, run: Path, tmp_path: Path) -> None:
    placewise("predict", run, data.parent, *USE, "--out", tmp_path / "out", "--overlays", 3)
    rows = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
    assert rows[0] == "image,angle" and len(rows) == 61
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == 3


def test_arms_are_compared(data: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        f"""
        data = "{data.as_posix()}"
        format = "stripes:AngleCsv"
        seeds = 2
        place = false
        backbone_settings = {{ width = 16, depth = 2 }}
        training = {{ max_steps = 4 }}
        tuning = {{ trials = 1 }}
        arms = [
          {{ name = "one", head = "stripes:AngleHead" }},
          {{ name = "fast", head = "stripes:AngleHead", training = {{ learning_rate = 0.01 }} }},
        ]
        """,
        encoding="utf-8",
    )
    placewise("compare", plan, *USE, "--out", tmp_path / "out", "--n-jobs", 1)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["measure"] == "mean_error_deg" and results["better"] == "lower"
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "mean error (°)" in page
