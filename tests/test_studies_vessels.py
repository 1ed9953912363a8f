"""Vessels: arms that differ in one thing, pieces in their places, scores that are counted once."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from placewise.backbones.unet import UNet
from placewise.comparison import make_plan
from placewise.errors import SettingsError
from placewise.mask_losses import MASK_LOSSES
from studies import Options, run_study
from studies._page import fill
from studies.vessels import claims, material, read, runs, told
from studies.vessels.net import NoSkips
from studies.vessels.told import Found
from test_studies import strangers

# --- one tiny study for all ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page of a tiny study, and its runs."""
    folder = tmp_path_factory.mktemp("vessels")
    options = Options("tiny", runs=folder / "runs", n_jobs=1, quiet=True)
    run_study("vessels", folder / "pages", options)
    return folder


@pytest.fixture(scope="module")
def record(kept: Path) -> dict[str, Any]:
    return dict(json.loads((kept / "pages" / "vessels.json").read_text(encoding="utf-8")))


def test_the_page_says_what_the_record_holds(kept: Path, record) -> None:
    page = (kept / "pages" / "vessels.md").read_text(encoding="utf-8")
    assert "{{" not in page
    assert "at this scale drawn lines are enough" in page
    for name in ("lines_differences", "examples"):
        assert (kept / "pages" / "vessels" / f"{name}.png").stat().st_size > 1000
    assert strangers(page, record) == set()


def test_the_page_of_vessels_has_all_its_places(record) -> None:
    """The text of the other branch, which tiny runs do not show."""
    text = Path(runs.__file__).parents[1].joinpath("vessels.md").read_text(encoding="utf-8")
    arms = {**record["lines"]["arms"], "skeleton_recall": record["lines"]["arms"]["cldice"]}
    figures = {**record["figures"], "vessels_differences": "x.png"}
    vessels = {**record["lines"], "arms": arms}
    page = fill(text, {**record, "missing": "", "vessels": vessels, "figures": figures})
    assert "CHASE_DB1" in page
    assert "{{" not in page


def test_what_is_kept_is_not_run_again(kept: Path) -> None:
    place = kept / "runs" / "vessels-tiny-0"
    files = [*place.rglob("log.jsonl"), *place.glob("lines/read/*.json")]
    before = {path: path.stat().st_mtime_ns for path in files}
    assert len(before) == 2 * 2 * len(runs.BUDGETS["tiny"].arms)
    run_study("vessels", kept / "again", Options("tiny", runs=kept / "runs", n_jobs=1, quiet=True))
    assert {path: path.stat().st_mtime_ns for path in files} == before
    pages = [(kept / folder / "vessels.md").read_bytes() for folder in ("pages", "again")]
    assert pages[0] == pages[1]


def test_scores_are_those_of_all_pixels_together(kept: Path) -> None:
    place = kept / "runs" / "vessels-tiny-0" / "lines"
    run, data = place / "compared/runs/maps_2/seed-0", place / "data"
    labels, model = material.labels_of(data), read.model_of(run)
    both, either = 0, 0
    for sample in read.tested(labels):
        truth = labels.mask(sample) > 0
        found = model.predict(labels.image(sample.image)).mask > 0
        both, either = both + (truth & found).sum(), either + truth.sum() + found.sum()
    scores = read.examined({"run": str(run), "data": str(data)})
    assert scores["dice"] == pytest.approx(100 * 2 * both / either)
    assert scores.keys() == read.MEASURES.keys()


# --- arms ----------------------------------------------------------------------------------------


def test_each_arm_differs_from_the_reference_in_one_thing() -> None:
    first = runs.WAYS[runs.REFERENCE]
    differ = {
        name: {key for key, value in vars(way).items() if value != vars(first)[key]}
        - {"said", "about"}
        for name, way in runs.WAYS.items()
    }
    assert differ.pop(runs.REFERENCE) == set()
    assert differ.pop("maps_4") == {"stem", "map_stride"}
    assert all(len(one) == 1 for one in differ.values())
    assert {runs.WAYS[name].loss for name in runs.LOSSES} == set(MASK_LOSSES.names())
    assert {name for name in runs.LOSSES if MASK_LOSSES[name].skeletons} <= set(runs.THIN)


@pytest.mark.parametrize("scale", ["tiny", "small", "full"])
def test_the_arms_of_a_scale_can_be_planned(scale: str) -> None:
    arms = runs.BUDGETS[scale].arms
    assert arms[0] == runs.REFERENCE
    plan = make_plan(data="x", arms=[runs.WAYS[name].arm(name) for name in arms], unmatched=True)
    assert plan.against == runs.REFERENCE


def test_without_skips_the_net_is_the_unet_whose_skips_are_silent() -> None:
    nets = []
    for member in (UNet, NoSkips):
        torch.manual_seed(0)
        nets.append(member(1, width=16, depth=2, stem=2).eval())
    usual, cut = nets
    image = torch.randn(1, 1, 32, 48)
    assert not torch.allclose(usual(image), cut(image))
    for up in usual.ups:
        up.skip.weight.data.zero_()
    assert torch.equal(usual(image), cut(image))
    facts = ("out_channels", "stride", "multiple", "receptive_field")
    assert [getattr(usual, one) for one in facts] == [getattr(cut, one) for one in facts]
    learnt = {name for name, weight in cut.named_parameters() if weight.requires_grad}
    assert {name for name, _ in cut.named_parameters()} - learnt == {
        f"unet.ups.{number}.skip.weight" for number in range(2)
    }


# --- images --------------------------------------------------------------------------------------


def test_pieces_meet_at_the_middle_and_nowhere_overlap() -> None:
    seen = np.zeros((960, 999), int)
    for number in range(material.PIECES):
        seen[material.window_of(seen.shape, number)] += 1
    rows, columns = np.nonzero(seen)
    assert seen.max() == 1
    assert seen.sum() == material.PIECES * material.PIECE**2
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (240, 719, 259, 738)


def test_children_are_parted_and_every_piece_is_tested() -> None:
    samples: Any = [
        SimpleNamespace(image=f"{child}{eye}", split="train" if child < 4 else "test")
        for child in range(14)
        for eye in "LR"
    ]
    found = list(material.chosen(samples, 1))
    by_split: dict[str, set[str]] = {}
    for sample, split, _ in found:
        by_split.setdefault(split, set()).add(sample.image.rstrip("LR"))
    assert by_split["val"] == {"3"} and by_split["train"] == {"0", "1", "2"}
    assert len(by_split["test"]) == 10
    tested = [numbers for _, split, numbers in found if split == "test"]
    assert {number for numbers in tested for number in numbers} == set(range(material.PIECES))
    (whole,) = {
        tuple(sorted(numbers))
        for _, split, numbers in material.chosen(samples, material.PIECES)
        if split == "test"
    }
    assert whole == tuple(range(material.PIECES))


def test_vessels_are_cut_as_they_are(real_data: Path, tmp_path: Path) -> None:
    amount = material.Amount(0, 1)
    folder = material.images_of("vessels", real_data, tmp_path / "vessels", amount, 0)
    labels = material.labels_of(folder)
    splits = [sample.split for sample in labels.samples]
    assert [splits.count(one) for one in ("train", "val", "test")] == [24, 8, 20]
    whole = material.labels_of(real_data / material.FOLDER)
    for sample in labels.samples[::17]:
        name, number = Path(sample.image).stem.split("-")
        (source,) = (s for s in whole.samples if Path(s.image).stem == name)
        window = material.window_of(source.size, int(number))
        assert (labels.image(sample.image) == whole.image(source.image)[window]).all()
        assert (labels.mask(sample) == whole.mask(source)[window]).all()


def test_a_piece_outside_of_the_field_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "data" / material.FOLDER
    for part, value in (("images", 9), ("masks", 255), ("fov", 0)):
        (home / part).mkdir(parents=True)
        Image.fromarray(np.full((480, 480), value, np.uint8)).save(home / part / "a.png")
    (home / "split.csv").write_text("image,mask,fov,split\nimages/a.png,masks/a.png,fov/a.png,test")
    with pytest.raises(SettingsError, match="beyond its field of view"):
        material.images_of("vessels", home.parent, tmp_path / "x", material.Amount(0, 1), 0)
    assert not (tmp_path / "x").exists()


def test_vessels_that_are_not_there_are_told(tmp_path: Path) -> None:
    assert "no folder of data" in material.missing(None)
    assert "chase_db1/split.csv" in material.missing(tmp_path)


# --- claims --------------------------------------------------------------------------------------


def found(name: str, thin: dict[str, list[float]], dice: dict[str, list[float]]) -> Found:
    """Scores of some arms: recall of thin parts, which clDice equals, and Dice."""
    trained: Any = None
    scores = {
        arm: [
            {"thin": t, "cldice": t, "dice": d} for t, d in zip(thin[arm], dice[arm], strict=True)
        ]
        for arm in thin
    }
    return Found(name, scores, trained)


def test_claims_follow_the_numbers() -> None:
    usual, more, less = [50.0, 51, 52], [60.0, 62, 61], [40.0, 42, 41]
    thin = {
        "bce": usual,
        "cldice": more,
        "skeleton_recall": less,
        "cells_1": more,
        "cells_4": less,
        "maps_2": less,
        "maps_4": usual,
        "no_skips": [50.0, 49, 54],
    }
    dice = {**{key: [91.0, 91.1, 91.2] for key in thin}, "cldice": [60.0, 61, 62]}
    judged = claims.judged([found("lines", thin, dice)])
    verdicts = {name: one["verdict"] for name, one in judged.items() if name != "table"}
    assert verdicts == {
        "segmentation": "partly",
        "last": "partly",  # at stride two more with full size, at stride four less
        "first": "true",
        "skips": "open",
        "losses": "partly",
        "connected": "partly",
        "free": "partly",
    }


def test_cases_hold_for_the_arms_that_they_name() -> None:
    thin = {"bce": [50.0, 51, 52], "cldice": [60.0, 62, 61], "skeleton_recall": [40.0, 42, 41]}
    dice = {**{key: [91.0, 91, 91] for key in thin}, "cldice": [60.0, 61, 62]}
    one = found("lines", thin, dice)
    holds = {loss: claims._more(one, loss, "bce").holds for loss in runs.THIN}
    assert holds == {"cldice": True, "skeleton_recall": False}
    assert {loss: claims._kept(one, loss).holds for loss in runs.THIN} == {
        "cldice": False,
        "skeleton_recall": True,
    }
    assert claims._enough(one, "bce").holds is True
    assert claims._enough(one, "cldice").holds is False


def test_a_claim_without_a_case_is_left_out() -> None:
    values = {"bce": [1.0, 2.0], "cldice": [1.0, 2.0]}
    judged = claims.judged([found("lines", values, values)])
    assert set(judged) == {"segmentation", "losses", "connected", "free", "table"}


def test_differences_are_paired_by_seed() -> None:
    values = {"bce": [10.0, 50.0, 90.0], "cldice": [11.0, 51.0, 91.0]}
    one = found("lines", values, values)
    assert one.more("cldice", "thin").numbers()["said"] == "1 [1, 1]"
    (row,) = told.more_table(one)["rows"]
    assert row[1:] == ["1 [1, 1]"] * 3
