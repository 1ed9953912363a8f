"""`placewise audit` as a user meets it: real files, and real processes where these may differ."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from placewise.cli import main
from placewise.formats import read_dataset
from placewise.training import TrainingSettings, train

NET = """
from torch import nn

def build():
    import torch
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    )

def volume():
    return nn.Conv3d(1, 1, 3, padding=1)
"""


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`placewise audit` in a folder; never a traceback."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "placewise", "audit", *words],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


Call = Callable[..., subprocess.CompletedProcess[str]]

TAGGER = """
from torch import nn

def build():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, (9, 1), stride=(4, 1))

        def forward(self, x):
            return self.conv(x.unsqueeze(-1)).mean((2, 3))

    return Tagger()
"""


@pytest.fixture
def call(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The same within this process, which saves its start."""

    def within(*words: str) -> subprocess.CompletedProcess[str]:
        code: Any = 0
        try:
            main(["audit", *words])
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        return subprocess.CompletedProcess(words, code or 0, said.out, said.err)

    monkeypatch.chdir(home)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return within


def content(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "audit.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with code of the user's own and images of several sizes and kinds."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "net.py").write_text(NET, encoding="utf-8")
    (folder / "images").mkdir()
    draws = np.random.default_rng(0)
    for number, (size, mode) in enumerate(
        [((70, 90), "RGB"), ((64, 64), "L"), ((33, 47), "RGB"), ((120, 60), "RGBA")]
    ):
        shape = size if mode == "L" else (*size, len(mode))
        pixels = draws.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels, mode).save(folder / "images" / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def measured(home: Path) -> subprocess.CompletedProcess[str]:
    """The whole command once: images, a size of two sides, a folder."""
    done = run(home, "net.py:build", "--size", "40x32", "--data", "images", "--out", "found")
    assert done.returncode == 0, done.stderr
    return done


def test_the_verdict_comes_first_and_images_are_measured(home: Path, measured) -> None:
    lines = measured.stdout.splitlines()
    says = "best-served pixel has 9.0 times the paths of a corner; 41 × 33 would be stride-aligned."
    assert says in lines[0]
    assert lines[2] == "net.py:build at 3 × 40 × 32"
    assert "Measured on images of images, in 0..1." in lines
    assert "Measured on 4 images:" in lines
    assert "not measured" not in measured.stdout
    assert lines[-1] == f"report: {Path('found') / 'report.html'}"
    written = content(home / "found")
    assert written["verdict"] == lines[0]
    assert written["input_shape"] == [3, 40, 32]
    assert written["measured"]["source"] == "images"
    assert (written["measured"]["images"], written["measured"]["missing"]) == (4, {})


def test_the_folder_holds_the_report_and_its_figures(home: Path, measured) -> None:
    found = home / "found"
    assert {path.name for path in found.iterdir()} == {"audit.json", "figures", "report.html"}
    figures = list((found / "figures").iterdir())
    assert len(figures) > 8
    for figure in figures:
        with Image.open(figure) as image:
            assert image.format == "PNG" and min(image.size) > 100
    page = (found / "report.html").read_text(encoding="utf-8")
    assert "41 × 33 would be stride-aligned" in page
    assert not any(mark in page for mark in ("http://", "https://", 'src="figures'))


@pytest.mark.slow  # tests/test_audit.py measures twice in one process
def test_the_same_seed_gives_the_same_findings(home: Path, measured, call: Call) -> None:
    words = ("net.py:build", "--size", "40x32", "--data", "images", "--quiet")
    first = content(home / "found")
    same = call(*words, "--out", "same")
    assert (same.returncode, same.stdout, same.stderr) == (0, "", "")
    assert content(home / "same") == first
    other = call(*words, "--out", "other", "--seed", "5")
    assert other.returncode == 0
    assert content(home / "other")["measured"] != first["measured"]
    assert content(home / "other")["paths"] == first["paths"]


def test_a_former_audit_is_replaced_and_nothing_else(
    home: Path, tmp_path: Path, call: Call
) -> None:
    words = ("net.py:build", "--no-measure", "--quiet", "--out")
    out = tmp_path / "out"
    for size in ("32", "33"):
        assert call(*words, str(out), "--size", size).returncode == 0
        assert content(out)["input_shape"] == [3, int(size), int(size)]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "report.html").write_text("mine", encoding="utf-8")
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for place in (mine, tmp_path / "file"):
        refused = call(*words, str(place), "--size", "32")
        assert refused.returncode == 2
        assert str(place) in refused.stderr
    assert [path.name for path in mine.iterdir()] == ["report.html"]
    assert (mine / "report.html").read_text(encoding="utf-8") == "mine"
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_conditions_that_hold_are_printed_and_the_exit_code_is_1(home: Path, call: Call) -> None:
    words = ("net.py:build", "--size", "32", "--no-measure", "--quiet", "--fail-if")
    broken = run(home, *words, "max_over_corner>8.5", "even==false", "gini>2")
    assert (broken.returncode, broken.stdout) == (1, "")
    assert broken.stderr.splitlines() == [
        "max_over_corner is 9: --fail-if max_over_corner>8.5",
        "even is false: --fail-if even==false",
    ]
    kept = call(*words, "max_over_corner>9.5", "unknown>0")
    assert (kept.returncode, kept.stdout, kept.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("max_over_cornr>8", "max_over_corner"),
        ("gini", "gini"),
        ("gini=>2", "gini"),
        ("consistency<50", "consistency"),
    ],
)
def test_a_condition_that_cannot_be_checked_is_an_error(
    call: Call, condition: str, says: str
) -> None:
    """Not a pass: CI would take it for a success."""
    done = call("net.py:build", "--size", "32", "--no-measure", "--quiet", "--fail-if", condition)
    assert done.returncode == 2
    assert done.stderr.startswith("placewise: ") and says in done.stderr


@pytest.mark.parametrize(
    ("size", "shape"), [("24", [3, 24, 24]), ("24x36", [3, 24, 36]), ("24×36", [3, 24, 36])]
)
def test_sizes_of_images(call: Call, tmp_path: Path, size: str, shape: list[int]) -> None:
    words = ("net.py:build", "--no-measure", "--quiet", "--out", str(tmp_path / "out"))
    assert call(*words, "--size", size).returncode == 0
    assert content(tmp_path / "out")["input_shape"] == shape


def test_sizes_of_volumes_and_channels(call: Call, tmp_path: Path) -> None:
    words = ("net.py:volume", "--no-measure", "--quiet", "--out", str(tmp_path / "out"))
    assert call(*words, "--size", "6x7x8").returncode == 0
    found = content(tmp_path / "out")
    assert found["input_shape"] == [1, 6, 7, 8]
    assert len(found["paths"]["corners"]) == 8


def test_sizes_whose_alignment_is_checked(call: Call, tmp_path: Path) -> None:
    words = ("net.py:build", "--size", "32", "--no-measure", "--quiet")
    assert call(*words, "--sizes", "29:38", "--out", str(tmp_path / "out")).returncode == 0
    sizes = content(tmp_path / "out")["sizes"]
    assert [one["size"] for one in sizes] == list(range(29, 39))
    assert [one["size"] for one in sizes if one["aligned"]] == [29, 33, 37]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["net.py:biuld"], "Did you mean 'build'"),
        (["nowhere.py:build"], "there is no such file"),
        (["net.py:build", "--size", "0"], "is not a size"),
        (["net.py:build", "--size", "4", "--data", "nowhere"], "nowhere"),
        (["net.py:build", "--size", "8", "--sizes", "9"], "is not a range"),
        (["net.py:build", "--size", "8", "--device", "cuda:99"], "cuda:99"),
        (["net.py:build", "--size", "8", "--in-channels", "2"], "2"),
        (["net.py:volume", "--size", "8", "--data", "images"], "leave --data out"),
    ],
)
def test_what_cannot_be_audited_ends_with_one_message(call: Call, words, says) -> None:
    done = call(*words, "--quiet")
    assert done.returncode == 2
    assert done.stderr.startswith("placewise: ")
    assert says in done.stderr


def test_an_exported_program_is_measured(home: Path, call: Call) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    exported = torch.export.export(net, (torch.zeros(1, 3, 24, 24),))
    torch.export.save(exported, home / "net.pt2")
    done = call("net.pt2", "--data", "images", "--out", "program")
    assert done.returncode == 3 and "no layer gives a map" in done.stderr, done.stderr
    assert re.match(
        r"To .* \(12 × 12\), .*: the best-served pixel has 4.0 times .*; 24 ", done.stdout
    )
    found = content(home / "program")["measured"]
    assert found["sensitivity"] and found["occlusion"] and found["consistency"]
    (home / "torn.pt2").write_bytes((home / "net.pt2").read_bytes()[:900])
    torn = call("torn.pt2")
    assert torn.returncode == 2 and "torn.pt2 cannot be read" in torn.stderr


def test_a_run_of_ours_is_audited_at_its_frame(squares: Path, tmp_path: Path, call: Call) -> None:
    quick = {
        "precision": "float32",
        "backbone_settings": {"width": 16},
        "batch_size": 4,
        "max_steps": 2,
    }
    train(read_dataset(squares), tmp_path / "run", TrainingSettings.of(**quick), quiet=True)
    done = call(str(tmp_path / "run"), "--no-measure", "--out", str(tmp_path / "found"))
    assert done.returncode == 0, done.stderr
    found = content(tmp_path / "found")
    assert found["status"] == "exact" and found["unknown"] == {}
    rows = found["layers"][-1]["map"][0]
    assert found["receptive_field"]["stride"][0] * rows == found["input_shape"][1] > rows > 1
    told = " ".join(done.stdout.split())
    assert "other sizes cannot be followed beyond backbone" in told and "every 1" not in told


def test_what_is_not_measured_of_a_signal_is_said_in_its_words(call: Call, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(TAGGER)
    words = ("--axes", "1", "--size", "64", "--in-channels", "1")
    done = call(str(tmp_path / "net.py:build"), *words)
    assert done.returncode == 3
    said = done.stderr.split("audited partly (exit code 3):")[1]
    assert "not measured: " in said and "recording" in said
    assert not re.search(r"\b(image|pixel|border)s?\b", said), said
