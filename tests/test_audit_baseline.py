"""Audits compared with earlier ones, where ratios arise, and places that read padding alone."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from placewise.auditing import SCALARS, SCHEMA, Baseline, Condition, audit
from placewise.auditing._words import arises_said
from placewise.auditing.arising import RATIOS, arising
from placewise.auditing.padding_only import padding_only
from placewise.auditing.paths import paths_by_layer
from placewise.cli import main
from placewise.errors import CheckpointError, SettingsError
from placewise.files import read_json, write_json
from placewise.graph import capture

NETS = """
from torch import nn

def strided():
    return nn.Sequential(nn.Conv2d(1, 2, 5, 2, 2), nn.Conv2d(2, 2, 3, 1, 1))

def wide():
    return nn.Sequential(nn.Conv2d(1, 2, 9, 2, 4), nn.Conv2d(2, 2, 3, 1, 1))
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The audit of `strided`, saved once."""
    folder = tmp_path_factory.mktemp("old")
    (folder / "nets.py").write_text(NETS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run("nets.py:strided", "--out", "old") == 0
    return folder / "old"


def run(*words: str) -> int:
    try:
        main(["audit", *words, "--size", "32", "--no-measure"])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_two_audits_are_shown_side_by_side(home: Path, capsys) -> None:
    assert run("nets.py:strided", "--out", "old") == 0
    old = read_json(home / "old" / "audit.json")
    assert old["schema"] == SCHEMA == 1 and old["against"] is None
    capsys.readouterr()
    assert run("nets.py:wide", "--against", "old/audit.json", "--out", "new") == 0
    said = capsys.readouterr().out
    assert "Compared with old/audit.json: nets.py:strided at 1 × 32 × 32, audited by" in said
    new = read_json(home / "new" / "audit.json")
    line = next(row for row in said.splitlines() if row.startswith("max_over_corner "))
    then, now = (audit_of["scalars"]["max_over_corner"] for audit_of in (old, new))
    assert then < now and f"× {now / then:.3g}" in line
    assert new["against"]["scalars"] == old["scalars"]
    assert new["against"]["network"] == "nets.py:strided"
    page = (home / "new" / "report.html").read_text()
    assert "Compared with an earlier audit" in page and old["verdict"] in page
    assert "Compared" not in (home / "old" / "report.html").read_text()


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("max_over_corner>1.05*baseline", 1),
        ("max_over_corner>baseline", 1),
        ("max_over_corner>9*baseline", 0),
        ("max_over_corner<baseline", 0),
        ("even!=baseline", 0),
        ("unseen_pixels>baseline", 0),
        ("position>baseline", 2),
    ],
)
def test_budgets_relative_to_a_baseline(
    home: Path, old: Path, condition: str, code: int, capsys
) -> None:
    assert run("nets.py:wide", "--against", str(old), "--fail-if", condition) == code
    error = capsys.readouterr().err
    if code == 1:
        assert ", and was " in error and f"--fail-if {condition}" in error
    if code == 2:
        assert "this audit has no 'position'" in error


def test_a_condition_without_what_it_compares_with_is_refused(home: Path, capsys) -> None:
    assert run("nets.py:wide", "--fail-if", "gini>baseline") == 2
    assert "needs an earlier audit; give it with --against audit.json" in capsys.readouterr().err
    found = Condition.parse("gini > 2*baseline")
    assert (
        str(found) == "gini>2*baseline" and str(Condition.parse("gini>baseline"))[-8:] == "baseline"
    )
    with pytest.raises(SettingsError, match="the earlier audit has no 'gini'"):
        found.holds({"gini": 0.5}, {"gini": None})
    for text in ("gini>a*baseline", "gini>baseline*2", "gini>2*base"):
        with pytest.raises(SettingsError, match=r"nor FACTOR\*baseline"):
            Condition.parse(text)


def test_only_audits_of_this_schema_are_read(home: Path) -> None:
    assert run("nets.py:strided", "--out", "old") == 0
    good = read_json(home / "old" / "audit.json")
    assert Baseline.read(home / "old").scalars.keys() == SCALARS.keys()
    for changed, says in (
        ({**good, "schema": 2}, "has the schema 2, and this version of placewise reads audits of"),
        ({k: v for k, v in good.items() if k != "schema"}, "has no schema number"),
        ({k: v for k, v in good.items() if k != "scalars"}, "has the schema 1"),
    ):
        write_json(home / "other.json", changed)
        with pytest.raises(SettingsError, match=says):
            Baseline.read(home / "other.json")
    write_json(home / "other.json", {**good, "scalars": {"gini": []}})
    with pytest.raises(CheckpointError, match="no complete audit"):
        Baseline.read(home / "other.json")
    (home / "other.json").write_text(json.dumps({**good, "verdict": "better"}))
    with pytest.raises(CheckpointError):
        Baseline.read(home / "other.json")
    with pytest.raises(SettingsError, match="no such file"):
        Baseline.read(home / "nowhere.json")


def test_infinite_numbers_come_back(tmp_path: Path) -> None:
    net = nn.Conv1d(1, 1, 1, stride=2)
    found = audit(net, (1, 8), measure=False)
    assert found.scalars()["corner_ratio"] == math.inf
    found.save(tmp_path / "a")
    old = Baseline.read(tmp_path / "a")
    assert old.scalars["corner_ratio"] == math.inf
    again = audit(net, (1, 8), measure=False, against=tmp_path / "a")
    assert {row[3] for row in again.against.rows(again.scalars())} == {"same"}


# --- where ratios arise --------------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 1, 3, 1, 1), nn.BatchNorm2d(1), nn.ReLU())
        self.big = nn.Sequential(nn.Conv2d(1, 1, 11, 1, 5), nn.BatchNorm2d(1), nn.ReLU())
        self.last = nn.Conv2d(1, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.big(self.first(x)))


def test_the_layer_that_adds_most_is_named() -> None:
    found = audit(Residual(), (1, 40, 40), measure=False)
    one = found.counted.arises("max_over_corner")
    assert found.counted.name(one.node) == "big.0", "the window, not what follows it"
    steps = [layer.paths.max_over_corner for layer in found.counted.layers]
    assert (one.before, one.reached) == tuple(steps[:2])
    assert one.share == pytest.approx((steps[1] - steps[0]) / (steps[2] - 1))
    assert one.share == max(np.diff([1.0, *steps])) / (steps[-1] - 1)
    sentence = f"arises in big.0: from {one.before:.3g} to {one.reached:.3g}."
    assert sentence in arises_said(found.counted)
    row = next(line for line in found.table().splitlines() if line.startswith("arises"))
    assert "in big.0:" in row and "best-served pixel" in row
    assert found.to_dict()["arises"]["max_over_corner"]["layer"] == "big.0"
    assert found.to_dict()["arises"]["corner_ratio"] is None


def test_a_ratio_that_becomes_infinite_or_never_arises() -> None:
    layers = [nn.Conv1d(1, 1, 3, 1, 1), nn.Conv1d(1, 1, 1, stride=2), nn.Conv1d(1, 1, 3, 1, 1)]
    graph = capture(nn.Sequential(*layers), (1, 8))
    assert arising(paths_by_layer(graph), "corner_ratio") is None  # the last layer mends it
    holes = audit(nn.Sequential(nn.Conv1d(1, 1, 1, stride=2)), (1, 8), measure=False)
    assert holes.counted.arises("corner_ratio").share is None
    assert "All of the lead of the best end over the worst arises in" in holes.table() or (
        "all of the lead" in holes.table()
    )
    even = capture(nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular"), (1, 8))
    assert all(arising(paths_by_layer(even), ratio) is None for ratio in RATIOS)


# --- padding alone -------------------------------------------------------------------------------


def by_running(net: nn.Module, shape: tuple[int, ...]) -> np.ndarray:
    """Places of the output that no pixel changes, though padding reaches them, by running it."""
    for parameter in net.parameters():
        nn.init.ones_(parameter)
    with torch.no_grad():
        zero, one = (net(torch.full((1, *shape), value)) for value in (0.0, 1.0))
    return (zero == one)[0, 0].numpy()


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (nn.Sequential(nn.Conv2d(1, 1, 2, padding=3)), (1, 6, 7)),
        (
            nn.Sequential(nn.Conv2d(1, 1, 3, padding=2), nn.Conv2d(1, 1, 3, padding=(4, 1))),
            (1, 6, 7),
        ),
        (nn.Sequential(nn.Conv1d(1, 1, 2, padding=4), nn.MaxPool1d(2)), (1, 9)),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding=1)), (1, 6, 7)),
    ],
)
def test_places_that_read_padding_alone_are_those_that_nothing_changes(net, shape) -> None:
    found = audit(net, shape, measure=False)
    (one,) = found.counted.padding_only
    truth = by_running(net, shape)
    assert np.array_equal(one.mask, truth)
    assert found.scalars()["padding_only_places"] == truth.sum() == one.count
    assert ("nothing but padding" in found.verdict) == bool(truth.any())
    assert found.to_dict()["padding_only"][0]["count"] == truth.sum()


def test_what_a_normalisation_reads_is_read() -> None:
    plain = nn.Conv2d(1, 1, 2, padding=3)
    normed = nn.Sequential(nn.Conv2d(1, 1, 2, padding=3), nn.GroupNorm(1, 1))
    after = nn.Sequential(nn.GroupNorm(1, 1), nn.Conv2d(1, 1, 2, padding=3))
    counts = [padding_only(capture(net, (1, 6, 6)))[0].count for net in (plain, normed, after)]
    assert counts[0] == counts[2] > 0 == counts[1]


def test_each_output_has_its_own_places() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 1, 2, padding=3), nn.Conv2d(1, 1, 3, 2, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.a(x), self.b(x)

    found = audit(Two(), (1, 6, 6), measure=False)
    assert [one.layer for one in found.counted.padding_only] == ["a", "b"]
    assert found.counted.padding_only[0].whole == ((0, 1, 9, 10), (0, 1, 9, 10))
    said = "72 places read nothing but padding: 59.5 % of a (rows 0–1, 9–10 and columns 0–1, 9–10)."
    assert said in found.verdict
