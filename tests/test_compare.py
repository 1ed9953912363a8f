"""A comparison: what is refused, what is paired, what is counted, and what comes of it."""

from __future__ import annotations

import html
import itertools
import json
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import map_coordinates
from torch import nn

import placewise.comparison as compare_module
import placewise.engine as engine_module
from placewise.augment import generator
from placewise.augment.deformation import deform, follow, smooth_field
from placewise.backbones.lenet import LeNet
from placewise.cli import main
from placewise.comparison import (
    Budget,
    budget_of,
    build_arm,
    check_matched,
    compare,
    make_plan,
    read_plan,
)
from placewise.comparison._against import verdict as verdict_of
from placewise.comparison._jobs import (
    Job,
    _items,
    dataset_of,
    examine_job,
    no_control,
    permuted,
    read_items,
    train_job,
)
from placewise.comparison._place import audit_ratios, shift
from placewise.comparison._plan import Trial, train_settings, trials_of
from placewise.comparison._summary import summarise
from placewise.engine import check_engine
from placewise.errors import DataError, SettingsError
from placewise.evaluation import evaluate
from placewise.files import read_json, write_json
from placewise.formats import read_dataset
from placewise.geometry import inside
from placewise.heads import HEADS
from placewise.heads.coordinates import Coordinates
from placewise.heads.flatten import Flatten
from placewise.heads.proximity import Proximity
from placewise.heads.sheet import Sheet
from placewise.items import Change
from placewise.labels import Visibility, single
from placewise.metrics import ACCURACY
from placewise.progress import Display
from placewise.report.comparison import Compared, compare_report, compare_table
from placewise.run import Run
from placewise.statistics import detectable_effect, holm, paired_difference, two_way_interval
from placewise.tasks import task_named
from placewise.tasks.classes.items import ClassItems
from placewise.tasks.classes.permuted import Permuted
from placewise.tasks.classes.prediction import ClassPrediction
from placewise.tasks.keypoints.items import KeypointItems
from placewise.tasks.keypoints.permuted import PermutedKeypoints
from placewise.tasks.keypoints.prediction import KeypointPrediction
from placewise.training.loop import Trainer

TWO = [{"name": "flat", "head": "flatten"}, {"name": "near", "head": "proximity"}]


def write_bars(folder: Path, count: int = 40, side: int = 20) -> Path:
    """Images with an upright or a lying bar, in an .npz with its splits."""
    rng = np.random.default_rng(0)
    images = rng.normal(90, 10, (count, side, side))
    classes = rng.integers(2, size=count)
    for image, upright in zip(images, classes, strict=True):
        at = int(rng.integers(3, side - 3))
        image[(slice(None), at) if upright else (at, slice(None))] = 220
    shown, ends = images.clip(0, 255).astype(np.uint8), (0, count // 2, 3 * count // 4, count)
    parts = {}
    for split, (start, stop) in zip(
        ("train", "val", "test"), itertools.pairwise(ends), strict=True
    ):
        parts[f"x_{split}"], parts[f"y_{split}"] = shown[start:stop], classes[start:stop]
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "bars.npz", **parts)
    return folder / "bars.npz"


@pytest.fixture(scope="session")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bars(tmp_path_factory.mktemp("bars"))


def a_plan(data: Path, arms: list | None = None, **changes):
    values = {
        "data": data,
        "arms": arms or TWO,
        "backbone": "lenet",
        "seeds": 2,
        "training": {"max_steps": 2, "batch_size": 4},
        "tuning": {"trials": 1},
        "unmatched": True,
    }
    return make_plan(**{**values, **changes})


# --- the plan ------------------------------------------------------------------------------------


def test_a_plan_of_toml_is_that_of_python(tmp_path: Path):
    (tmp_path / "plan.toml").write_text(
        'data = "images"\nseeds = 3\nbackbone = "lenet"\ntraining = { max_steps = 9 }\n'
        '[tuning]\ntrials = 2\n[[arms]]\nname = "a"\nhead = "flatten"\n'
        '[[arms]]\nname = "b"\nhead = "sheet"\nhead_settings = { hidden = 4 }\n',
        encoding="utf-8",
    )
    arms = [
        {"name": "a", "head": "flatten"},
        {"name": "b", "head": "sheet", "head_settings": {"hidden": 4}},
    ]
    expected = make_plan(
        data=tmp_path / "images",
        seeds=3,
        backbone="lenet",
        training={"max_steps": 9},
        tuning={"trials": 2},
        arms=arms,
    )
    assert read_plan(tmp_path / "plan.toml") == expected
    assert expected.against == "a"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seed": 3}, "there is no setting seed"),
        ({"arms": TWO[:1]}, "a comparison needs at least 2"),
        ({"arms": [TWO[0], TWO[0]]}, "two arms are named flat"),
        ({"arms": [TWO[0], {**TWO[1], "sigma": 2}]}, r"arms\.1\.sigma"),
        ({"arms": [TWO[0], {**TWO[1], "name": "../up"}]}, r"arms\.1\.name"),
        ({"reference": "none"}, "reference: got 'none'; expected one of the arms: flat, near"),
        ({"seeds": 1}, "seeds: got 1"),
        (
            {"training": {"max_minutes": 3}},
            r"'max_minutes' is not allowed in \[training\]: all arms must take equal steps; use",
        ),
        ({"training": {"seed": 3}}, "give their number as 'seeds'"),
        ({"training": {"val_interval": 3}}, "judged at its last step"),
        ({"training": {"head": "sheet"}}, "it belongs to an arm or to the plan"),
        ({"training": {"bach": 3}}, "bach"),
        ({"training": {"max_steps": 0}}, "max_steps"),
        (
            {"arms": [TWO[0], {**TWO[1], "training": {"max_steps": 3}}]},
            "arms.near.training.*all arms must share it",
        ),
        ({"measure": 3}, "measure"),
    ],
)
def test_what_no_plan_can_be_is_refused(changes: dict, says: str):
    with pytest.raises(SettingsError, match=says):
        make_plan(**{"data": "data", "arms": TWO, **changes})


@pytest.mark.parametrize(
    ("text", "says"),
    [("data = ", "is not TOML"), ('data = "a"\n', "arms"), (None, "cannot be read")],
)
def test_a_plan_that_is_no_plan(tmp_path: Path, text: str | None, says: str):
    if text is not None:
        (tmp_path / "plan.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=rf"plan\.toml.*{says}"):
        read_plan(tmp_path / "plan.toml")


def test_runs_are_equally_long_and_end_at_the_last_step():
    plan = make_plan(data="data", arms=TWO, training={"max_steps": 7, "ema_decay": 0.5})
    for arm in plan.arms:
        settings = train_settings(plan, arm, 3, Trial(learning_rate=0.1, weight_decay=0.2))
        assert (settings.max_steps, settings.val_interval, settings.seed) == (7, 7, 3)
        assert (settings.learning_rate, settings.weight_decay) == (0.1, 0.2)
        assert (settings.max_minutes, settings.precision, settings.ema_decay) == (
            None,
            "float32",
            0.5,
        )
        assert settings.head == arm.head


def test_all_arms_get_equally_many_and_the_same_trials():
    own = {**TWO[1], "training": {"learning_rate": 0.005}}
    plan = make_plan(data="data", arms=[TWO[0], own], tuning={"trials": 50})
    first, second = (trials_of(plan, arm) for arm in plan.arms)
    assert len(first) == len(second) == 50
    assert first[1:] == second[1:]
    assert (first[0].learning_rate, second[0].learning_rate) == (0.002, 0.005)
    rates = np.log([trial.learning_rate for trial in first[1:]])
    low, high = np.log(plan.tuning.learning_rate)
    assert low <= rates.min() and rates.max() <= high * 0.999
    assert abs(rates.mean() - (low + high) / 2) < 3 * (high - low) / np.sqrt(12 * 49)


# --- budgets -------------------------------------------------------------------------------------


class Counted:
    """Slow twin: multiply-adds from the shapes that hooks see."""

    def __init__(self, network: nn.Module) -> None:
        self.total = 0
        for module in network.modules():
            module.register_forward_hook(self.count)

    def count(self, module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        if isinstance(module, nn.Linear):
            self.total += output.numel() * module.in_features
        elif type(module).__name__ in ("Conv2d", "Convolution"):
            self.total += output.numel() * module.weight[0].numel()
        elif type(module).__name__ in ("LocallyConnected", "Proximity") and hasattr(
            module, "weight"
        ):
            self.total += module.weight.numel()


@pytest.mark.parametrize(
    ("head", "parameters"), [(Flatten, 16_644), (Proximity, 16_794), (Sheet, 16_794)]
)
def test_the_exact_net_has_its_119_800_multiply_adds(head: type, parameters: int):
    """78 + 456 parameters of convolutions, 58,800 + 45,000 + 16,000 multiply-adds."""
    network = nn.Sequential(LeNet(1), head(6, 10, (5, 5)))
    network.train()
    assert budget_of(network, (1, 32, 32)) == Budget(parameters, 119_800)
    assert network.training
    assert all(not module._forward_hooks for module in network.modules())
    twin = Counted(network)
    network(torch.zeros(1, 1, 32, 32))
    assert twin.total == 119_800


def test_frozen_parameters_are_not_learnt():
    network = nn.Linear(3, 2)
    network.bias.requires_grad_(False)
    assert budget_of(network, (3,)) == Budget(6, 6)


def test_arms_within_two_percent_are_matched():
    assert check_matched({"a": Budget(100, 1000), "b": Budget(102, 1020)}) == ""


@pytest.mark.parametrize("other", [Budget(103, 1000), Budget(100, 1030), Budget(97, 1000)])
def test_arms_that_differ_more_are_refused_with_both_budgets(other: Budget):
    budgets = {"first": Budget(100, 1000), "second": other}
    what = "parameters" if other.parameters != 100 else "multiply-adds"
    with pytest.raises(SettingsError) as refused:
        check_matched(budgets)
    said = str(refused.value)
    numbers = [f"{getattr(b, what.replace('-', '_')):,}" for b in budgets.values()]
    assert all(word in said for word in (what, "first", "second", *numbers, "--unmatched"))
    assert "NOT matched" in check_matched(budgets, unmatched=True)


def test_an_unmatched_plan_is_refused_before_anything_is_written(bars: Path, tmp_path: Path):
    arms = [TWO[0], {"name": "wide", "head": "flatten", "head_settings": {"hidden": 300}}]
    with pytest.raises(SettingsError, match=r"flat has .*wide has"):
        compare(a_plan(bars, arms, unmatched=False), tmp_path / "out", tell=lambda words: None)
    assert not (tmp_path / "out").exists()


# --- pairing -------------------------------------------------------------------------------------


def test_a_seed_gives_all_arms_the_same_trunk_and_another_seed_another(bars: Path):
    arms = [{"name": head, "head": head} for head in ("flatten", "proximity", "sheet", "palm_tree")]
    plan = a_plan(
        bars, [*arms, {"name": "again", "head": "flatten", "head_settings": {"hidden": 7}}]
    )
    trunks = [build_arm(plan, arm, 3).backbone.state_dict() for arm in plan.arms]
    shuffled = build_arm(plan, permuted(plan, plan.arms[1]), 3).backbone.state_dict()
    other = build_arm(plan, plan.arms[0], 4).backbone.state_dict()
    assert len(trunks[0]) >= 4
    for trunk in (*trunks[1:], shuffled):
        assert all(torch.equal(trunk[name], value) for name, value in trunks[0].items())
    assert not torch.equal(other["first.weight"], trunks[0]["first.weight"])


def test_a_seed_gives_all_arms_the_same_batches(bars: Path, tmp_path: Path, monkeypatch):
    """What training really shows the networks of both arms, bit by bit."""
    shown: dict[str, list[torch.Tensor]] = {}
    plan = a_plan(bars)
    step = Trainer._one_step

    def watched(self, objective, batch, rate):
        shown.setdefault(self.settings.head, []).append(batch[0].clone())
        return step(self, objective, batch, rate)

    monkeypatch.setattr(Trainer, "_one_step", watched)
    trial = Trial(learning_rate=0.01, weight_decay=0.0)
    for arm in plan.arms:
        train_job(Job(tmp_path, plan, arm.name, 1, trial))
    assert [len(batches) for batches in shown.values()] == [2, 2]
    for first, second in zip(*shown.values(), strict=True):
        assert torch.equal(first, second)


def test_the_trainer_begins_with_the_networks_that_were_shown(
    bars: Path, tmp_path: Path, monkeypatch
):
    """`build_arm` and the trainer draw the same first weights."""
    begun = {}

    def loop(self, display):
        begun.update(self.model.state_dict())
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_loop", loop)
    plan = a_plan(bars)
    with pytest.raises(KeyboardInterrupt):
        train_job(Job(tmp_path, plan, "flat", 5, Trial(learning_rate=0.01, weight_decay=0.0)))
    expected = build_arm(plan, plan.arms[0], 5).state_dict()
    assert begun and all(torch.equal(begun[name], value) for name, value in expected.items())


def test_labels_without_a_split_get_one_for_all_seeds(squares: Path, tmp_path: Path):
    table = (squares / "points.csv").read_text(encoding="utf-8")
    bare = re.sub(r",[a-z]+$", "", table, flags=re.MULTILINE)
    data = tmp_path / "data"
    data.mkdir()
    shutil.copytree(squares / "images", data / "images")
    (data / "points.csv").write_text(bare, encoding="utf-8")
    splits = [sample.split for sample in dataset_of(a_plan(data)).samples]
    assert {"train", "val", "test"} == set(splits)


# --- place ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["flatten", "proximity", "sheet", "convolutional"])
def test_permuted_is_the_head_on_permuted_places(head: str):
    torch.manual_seed(1)
    shuffled = Permuted(3, 4, (5, 2), head=head, order=7)
    features = torch.rand(2, 3, 5, 2)
    places = shuffled.permutation.places.tolist()
    assert sorted(places) == list(range(10)) and places != list(range(10))
    moved = torch.empty_like(features)
    for to, come in enumerate(places):
        moved[:, :, to // 2, to % 2] = features[:, :, come // 2, come % 2]
    assert torch.equal(shuffled(features), shuffled.inner(moved))
    again = Permuted(3, 4, (5, 2), head=head, order=7)
    assert torch.equal(again.permutation.places, shuffled.permutation.places)
    assert HEADS[task_named("classes").control] is Permuted


@pytest.mark.parametrize("head", ["heatmap", "coordinates", "integral"])
def test_permuted_keypoints_are_the_head_on_permuted_places(head: str):
    torch.manual_seed(1)
    shuffled = PermutedKeypoints(3, 2, (4, 4), (20, 12), head=head, order=7)
    features = torch.rand(2, 3, 5, 3)
    moved = torch.empty_like(features)
    for to, come in enumerate(shuffled.permutation.places.tolist()):
        moved[:, :, to // 3, to % 3] = features[:, :, come // 3, come % 3]
    output = shuffled(features)
    assert torch.equal(output, shuffled.inner(moved))
    assert not torch.equal(moved, features)
    points, visibility = torch.tensor([[[3.0, 9.0], [1.0, 2.0]]] * 2), torch.full((2, 2), 3)
    assert torch.equal(
        shuffled.loss(output, points, visibility), shuffled.inner.loss(output, points, visibility)
    )
    encode = shuffled.encode(points, visibility, (20, 12))
    assert torch.equal(encode, shuffled.inner.encode(points, visibility, (20, 12)))
    read, expected = (one.decode(encode, (20, 12)) for one in (shuffled, shuffled.inner))
    assert torch.equal(read.keypoints, expected.keypoints)
    assert HEADS[task_named("keypoints").control] is PermutedKeypoints


def test_flattened_coordinates_learn_the_same_behind_a_permutation():
    """So the place-use index of flattening every place is 0, and that of pooling too."""
    torch.manual_seed(0)
    features, visibility = torch.rand(8, 3, 4, 4).double(), torch.full((8, 2), 3)
    points = 16 * torch.rand(8, 2, 2).double()
    for gather in ("flatten", "pool"):
        settings = {"gather": gather, "cell": 1, "hidden": 16}
        plain = Coordinates(3, 2, 4, (16, 16), **settings).double()
        text = json.dumps(settings)
        shuffled = PermutedKeypoints(
            3, 2, (4, 4), (16, 16), head="coordinates", settings=text
        ).double()
        shuffled.inner.load_state_dict(plain.state_dict())
        if gather == "flatten":
            order = (torch.arange(3)[:, None] * 16 + shuffled.permutation.places).flatten()
            with torch.no_grad():
                shuffled.inner.hidden.weight.copy_(plain.hidden.weight[:, order])
        for head in (plain, shuffled):
            optimiser = torch.optim.AdamW(head.parameters(), lr=0.01)
            for _ in range(20):
                optimiser.zero_grad()
                head.loss(head(features), points, visibility).mean().backward()
                optimiser.step()
        torch.testing.assert_close(plain(features), shuffled(features), rtol=1e-9, atol=1e-9)


def test_flattening_learns_the_same_behind_a_permutation():
    """Permuted weights and permuted inputs take the same path: so the place-use index is 0."""
    torch.manual_seed(0)
    plain, shuffled = Flatten(3, 4, (4, 4)).double(), Permuted(3, 4, (4, 4)).double()
    shuffled.inner.load_state_dict(plain.state_dict())
    order = (torch.arange(3)[:, None] * 16 + shuffled.permutation.places).flatten()
    with torch.no_grad():
        shuffled.inner.hidden[0].weight.copy_(plain.hidden[0].weight[:, order])
    features, labels = torch.rand(8, 3, 4, 4).double(), torch.arange(8) % 4
    for head in (plain, shuffled):
        optimiser = torch.optim.AdamW(head.parameters(), lr=0.01)
        for _ in range(20):
            optimiser.zero_grad()
            head.loss(head(features), labels).mean().backward()
            optimiser.step()
    torch.testing.assert_close(plain(features), shuffled(features), rtol=1e-9, atol=1e-9)


def test_shifts_move_images_and_repeat_their_border():
    image = np.random.default_rng(0).random((5, 7, 2)).astype(np.float32)
    for right, down in ((2, 0), (-3, 1), (0, -4), (9, 9)):
        moved = shift(image, (right, down))
        for y, x in np.ndindex(5, 7):
            source = image[np.clip(y - down, 0, 4), np.clip(x - right, 0, 6)]
            assert (moved[y, x] == source).all()


def test_fields_are_the_sums_of_waves_that_they_claim_to_be():
    """Slow twin: loops over pixels and waves; and the promised size, in the mean."""
    field = smooth_field(np.random.default_rng(5), (6, 9), cut=3, push=2.0)
    drawn = np.random.default_rng(5).normal(size=(2, 3, 3))
    pairs = [(i, j) for i in (1, 2, 3) for j in (1, 2, 3) if i * i + j * j <= 9]
    scale = 2.0 / np.sqrt(2 * sum(1 / (i * i + j * j) for i, j in pairs) / 4)
    for y, x in np.ndindex(6, 9):
        v, u = (y + 0.5) / 6, (x + 0.5) / 9
        waves = {(i, j): np.sin(np.pi * i * v) * np.sin(np.pi * j * u) for i, j in pairs}
        for axis in (0, 1):
            sum_ = sum(
                drawn[axis, i - 1, j - 1] / np.sqrt(i * i + j * j) * wave
                for (i, j), wave in waves.items()
            )
            assert field[y, x, axis] == pytest.approx(scale * sum_)
    rng = np.random.default_rng(0)
    squares = [(smooth_field(rng, (12, 12), push=1.5) ** 2).sum(-1).mean() for _ in range(3000)]
    assert np.sqrt(np.mean(squares)) == pytest.approx(1.5, rel=0.03)


def test_deforming_reads_where_the_field_says():
    ramp = np.indices((8, 10)).astype(np.float32).transpose(1, 2, 0)
    field = np.full((8, 10, 2), (0.25, -0.5))
    inner = deform(ramp, field)[1:-1, 1:-1]
    np.testing.assert_allclose(inner, (ramp - (-0.5, 0.25))[1:-1, 1:-1], atol=1e-5)
    np.testing.assert_allclose(deform(ramp, np.zeros((8, 10, 2))), ramp, atol=1e-5)


class Linear:
    """A stand-in for a class model whose logits are linear in the image."""

    def __init__(self, matrix: torch.Tensor) -> None:
        self.matrix = matrix

    def predict_scaled(self, shown, sizes, images=None):
        logits = torch.from_numpy(shown).double().flatten(1) @ self.matrix.T
        names = tuple(map(str, range(len(self.matrix))))
        return [
            ClassPrediction(names, "", size, one.numpy())
            for one, size in zip(logits, sizes, strict=True)
        ]


def class_items(matrix: torch.Tensor, images: list[np.ndarray]) -> ClassItems:
    made = ClassItems.__new__(ClassItems)
    made.model, made.shown = Linear(matrix), images
    made.names = [str(n) for n in range(len(images))]
    return made


def test_deformation_sensitivity_of_networks_that_are_known():
    """What keeps every pixel has 1 and a little; what averages is stable; scale does not count."""
    rng = np.random.default_rng(0)
    smooth = [deform(rng.random((12, 12, 1)).astype(np.float32), np.zeros((12, 12, 2)))] * 40
    keeps = class_items(torch.eye(144).double(), smooth).deformation(1)
    twice = class_items(2 * torch.eye(144).double(), smooth).deformation(1)
    mean = class_items(torch.ones(1, 144).double(), smooth).deformation(1)
    nothing = class_items(torch.zeros(2, 144).double(), smooth).deformation(1)
    assert keeps == pytest.approx(1, rel=0.25)
    assert twice == pytest.approx(keeps)
    assert mean < 0.6 * keeps
    assert nothing is None


def test_what_was_at_a_point_is_where_the_deformation_brings_it():
    """Slow twin: an image whose pixels say where they are, read at the places where points go."""
    ramp = np.indices((40, 30)).astype(np.float32).transpose(1, 2, 0)[..., ::-1].copy()
    field = smooth_field(np.random.default_rng(3), (40, 30), push=1.5)
    points = np.array([[10.0, 12.0], [20.3, 30.8], [15.5, 20.5], [4.2, 33.0]])
    moved = deform(ramp, field).astype(np.float64)
    found = follow(points, field)
    shown = [map_coordinates(moved[..., axis], found[:, ::-1].T, order=1) for axis in (0, 1)]
    np.testing.assert_allclose(np.stack(shown, -1), points, atol=1e-3)
    assert (np.linalg.norm(found - points, axis=-1) > 0.3).all()


def placed(points: np.ndarray, size: tuple[int, int]) -> KeypointPrediction:
    """A prediction of these places."""
    names, numbers = tuple(map(str, range(len(points)))), np.ones(len(points))
    return KeypointPrediction(names, "", size, points, numbers, numbers, numbers)


class Locates:
    """A stand-in for a keypoint model: what is asked of each image in turn."""

    def __init__(self, places: list[np.ndarray]) -> None:
        self.turn = itertools.cycle(places)

    def predict_scaled(self, shown, sizes, images=None):
        return [placed(next(self.turn), size) for size in sizes]


def left_behind(places: list[np.ndarray], images: int) -> float | None:
    made = KeypointItems.__new__(KeypointItems)
    made.model, made.shown = Locates(places), [np.zeros((24, 24, 1), np.float32)] * images
    made.known = np.array([[True, True, False]] * images)
    return made.deformation(5)


def test_keypoints_that_follow_a_deformation_are_not_left_behind():
    plain = np.array([[9.0, 12.0], [15.0, 6.0], [np.nan, np.nan]])
    rng = generator(5, 0, "deformation")
    fields = [smooth_field(rng, (24, 24)) for _ in range(3)]
    followed = [follow(plain[:2], field) for field in fields]
    lost = np.full((1, 2), np.nan)
    half = [plain[:2] + (moved - plain[:2]) / 2 for moved in followed]
    for share, answers in ((0.0, followed), (1.0, [plain[:2]] * 3), (0.5, half)):
        turns = [one for moved in answers for one in (plain, np.concatenate((moved, lost)))]
        assert left_behind(turns, 3) == pytest.approx(share, abs=1e-9)
    corner = np.full((3, 2), -0.5)
    assert left_behind([corner], 1) == pytest.approx(1)


def test_audit_ratios_tell_of_the_edge():
    valid = audit_ratios(nn.Conv2d(1, 2, 3), (1, 9, 9))
    assert valid["edge_coverage"] == pytest.approx(1 / 9)
    assert valid["unseen_pixels"] == 0


@pytest.mark.parametrize(("right", "down"), [(3, 0), (-2, 0), (0, 4)])
def test_keypoints_of_a_shifted_image_are_asked_for_where_they_went(
    squares: Path, right: int, down: int
):
    """A model that knows the shifted truth makes no error; lost points are left out."""
    labels = dataset_of(a_plan(squares))
    samples = labels.samples[:6]

    shown = [single(sample, None)[0] + np.array([right, down]) for sample in samples]
    made = KeypointItems.__new__(KeypointItems)
    made.model, made.samples = Locates(shown), samples
    pairs = [single(sample, None) for sample in samples]
    made.truth = np.stack([points for points, _ in pairs])
    made.known = np.stack([visibility >= Visibility.HIDDEN for _, visibility in pairs])
    made.shown = [np.zeros((*sample.size, 1), np.float32) for sample in samples]
    found = made.score(Change(lambda image: image, (float(right), float(down))))
    there = inside(made.truth[made.known] + np.array([right, down]), samples[0].size)
    assert there.any()
    np.testing.assert_allclose(found[there], 0, atol=1e-9)
    assert np.isnan(found[~there]).all()


# --- a whole comparison --------------------------------------------------------------------------


@pytest.fixture(scope="session")
def made(bars: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A comparison of classes: 2 arms, 2 seeds, 2 trials, 2 steps."""
    out = tmp_path_factory.mktemp("compared") / "out"
    arms = [*TWO]
    plan = a_plan(bars, arms, seeds=2, tuning={"trials": 2})
    said: list[str] = []
    results = compare(plan, out, n_jobs=1, quiet=True, tell=said.append)
    (out / "said.txt").write_text("\n".join(said), encoding="utf-8")
    return out, results


def test_the_effect_and_both_budgets_are_told_before_the_runs(made: tuple[Path, dict]):
    out, results = made
    said = (out / "said.txt").read_text(encoding="utf-8")
    before = said[: said.index("report:")]
    assert f"{detectable_effect(2):.2f} standard deviations" in before
    for arm in results["arms"]:
        assert f"{arm['parameters']:,}" in before and f"{arm['multiply_adds']:,}" in before
    assert "4 tuning runs and 4 runs, and 4 with places permuted" in before
    assert "a claim needs 20" in before


def test_every_number_is_that_of_its_runs(made: tuple[Path, dict]):
    out, results = made
    values = {}
    for arm in results["arms"]:
        assert len(arm["by_seed"]) == 2
        for one in arm["by_seed"]:
            folder = out / one["run"]
            items, each = read_items(folder)
            assert one["value"] == pytest.approx(np.mean(each))
            assert len(items) == results["test_items"] == 10
            assert Run.open(folder).facts.training["seed"] == one["seed"]
            assert Run.open(folder).facts.training["learning_rate"] == arm["learning_rate"]
            values.setdefault(arm["name"], []).append(one["value"])
        assert arm["mean"] == pytest.approx(np.mean(values[arm["name"]]))
    (one,) = results["comparisons"]
    expected = paired_difference(values["near"], values["flat"])
    assert one["difference"] == pytest.approx(expected.mean)
    assert one["t_interval"] == pytest.approx([expected.student.low, expected.student.high])
    assert one["p_holm"] == pytest.approx(holm([expected.p])[0])
    assert one["better"] + one["equal"] + one["worse"] == pytest.approx(1)
    assert len(one["mcnemar_p"]) == 2
    assert read_json(out / "results.json") == json.loads(json.dumps(results))


def test_the_tested_answers_are_those_of_the_evaluation(made: tuple[Path, dict], bars: Path):
    """The verb `evaluate` finds the same accuracy in the same run."""
    out, results = made
    one = results["arms"][1]["by_seed"][0]
    scores = evaluate(
        Run.open(out / one["run"]),
        read_dataset(bars),
        split="test",
        out=out / "again",
    )
    assert scores["accuracy"] == pytest.approx(one["value"])


def test_tuning_takes_the_best_on_validation_images_and_never_sees_the_test(
    made: tuple[Path, dict],
):
    out, results = made
    for arm in results["arms"]:
        trials = arm["tuning"]
        assert len(trials) == 2
        best = max(trials, key=lambda trial: trial["value"])
        assert (arm["learning_rate"], arm["weight_decay"]) == (
            best["learning_rate"],
            best["weight_decay"],
        )
        for trial in trials:
            folder = out / trial["run"]
            assert not (folder / "tested.json").exists() and not (folder / "items.csv").exists()
            seeds = {one["seed"] for one in arm["by_seed"]}
            assert Run.open(folder).facts.training["seed"] not in seeds


def test_runs_are_judged_by_the_weights_of_their_last_step(made: tuple[Path, dict]):
    out, results = made
    run = Run.open(out / results["arms"][0]["by_seed"][0]["run"])
    best, last = run.checkpoints.best(print), run.checkpoints.latest(print)
    assert last is not None and best.facts["step"] == last.facts["step"] == results["steps"]


def test_the_test_images_are_read_after_all_training(made: tuple[Path, dict]):
    out, _ = made
    trained = [path.stat().st_mtime_ns for path in out.rglob("calibration.json")]
    tested = [path.stat().st_mtime_ns for path in out.rglob("items.csv")]
    assert len(trained) == 4 + 8 and len(tested) == 8
    assert max(trained) < min(tested)


def test_place_is_told_of_every_arm(made: tuple[Path, dict]):
    out, results = made
    for arm in results["arms"]:
        place = arm["place"]
        control = [
            read_json(out / run / "tested.json")["value"] for run in place["use_index"]["runs"]
        ]
        assert len(control) == 2
        assert place["use_index"]["mean"] == pytest.approx(arm["mean"] - np.mean(control))
        assert set(place["shifted"]) == {"1", "2", "4"}
        assert place["sizes"]["1.25"] is None, "both heads are tied to their size"
        assert place["sizes"]["0.5"] is not None
        assert place["deformation"]["mean"] > 0
        assert place["audit"]["edge_coverage"] > 0


def test_pages_show_the_numbers_and_escape_names(made: tuple[Path, dict]):
    out, results = made
    page, table = ((out / name).read_text(encoding="utf-8") for name in ("report.html", "table.md"))
    for arm in results["arms"]:
        for text in (page, table):
            assert f"{100 * arm['mean']:.2f}" in text and f"{arm['multiply_adds']:,}" in text
        assert all(one["run"] in page for one in arm["by_seed"])
    assert "<script" not in page and page.count("<img") >= 3
    carried = [block for block in table.split("\n\n") if block.startswith("|")]
    assert len(carried) == 4


def test_unmatched_arms_are_said_to_be_so_in_every_table(made: tuple[Path, dict]):
    out, results = made
    assert not results["matched"]
    page = (out / "report.html").read_text(encoding="utf-8")
    captions = re.findall(r"<caption>(.*?)</caption>", page)
    assert sum("NOT matched" in caption for caption in captions) == 4
    blocks = (out / "table.md").read_text(encoding="utf-8").split("\n\n")
    tables = [number for number, block in enumerate(blocks) if block.startswith("|")]
    assert len(tables) == 4
    assert all("NOT matched" in blocks[number - 1] for number in tables)


def test_a_finished_comparison_is_not_run_again(made: tuple[Path, dict], bars: Path):
    out, results = made
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*/*/**/*") if path.is_file()}
    again = compare(
        a_plan(bars, TWO, seeds=2, tuning={"trials": 2}), out, n_jobs=1, quiet=True, tell=str
    )
    assert again == results
    assert before and before == {
        path: path.stat().st_mtime_ns for path in out.glob("*/*/*/**/*") if path.is_file()
    }


def test_another_plan_does_not_go_into_the_folder(made: tuple[Path, dict], bars: Path):
    with pytest.raises(SettingsError, match="holds a comparison with another plan"):
        compare(a_plan(bars, TWO, seeds=6, tuning={"trials": 2}), made[0], tell=str)
    with pytest.raises(SettingsError, match="not empty"):
        compare(a_plan(bars), made[0] / "runs", tell=str)


def test_keypoints_are_compared_by_their_error(squares: Path, tmp_path: Path):
    arms = [
        {"name": "map", "head": "heatmap"},
        {"name": "numbers", "head": "coordinates", "head_settings": {"gather": "pool"}},
    ]
    small = {"width": 16, "depth": 1}
    plan = a_plan(squares, arms, backbone="unet", backbone_settings=small, rope=0.5)
    results = compare(plan, tmp_path / "out", n_jobs=1, quiet=True, tell=str)
    assert (results["measure"], results["better"]) == ("mean_error_px", "lower")
    means = {arm["name"]: arm["mean"] for arm in results["arms"]}
    (one,) = results["comparisons"]
    assert one["difference"] == pytest.approx(means["map"] - means["numbers"])
    assert one["mcnemar_p"] is None
    for arm in results["arms"]:
        index, deformed = arm["place"]["use_index"], arm["place"]["deformation"]
        assert index["mean"] == pytest.approx(index["permuted_mean"] - arm["mean"])
        assert len(index["runs"]) == 2 and deformed["mean"] > 0
    page, table = ((tmp_path / "out" / name).read_text() for name in ("report.html", "table.md"))
    assert all("R_τ" in text and "McNemar" not in text for text in (page, table))
    control = Run.open(tmp_path / "out" / "permuted" / "map" / "seed-0").facts.model
    own = Run.open(tmp_path / "out" / "runs" / "map" / "seed-0").facts.model
    assert json.loads(str(control.head_settings["settings"])) == own.head_settings
    assert control.input == own.input
    run = Run.open(tmp_path / "out" / "runs" / "map" / "seed-0")
    scores = evaluate(run, read_dataset(squares), split="test")
    first = results["arms"][0]["by_seed"][0]["value"]
    assert scores["mean_error_px"] == pytest.approx(first, rel=1e-5)


def test_places_are_permuted_only_where_nothing_else_changes(squares: Path, tmp_path: Path):
    """An arm that learns from windows has no control, and neither have images of all sizes."""
    arms = [{"name": "map", "head": "heatmap"}, {"name": "numbers", "head": "coordinates"}]
    plan = a_plan(squares, arms, backbone="unet", training={"max_steps": 2, "input_pixels": 1024})
    assert [no_control(plan, arm) for arm in plan.arms] == [
        "it learns from crops of larger images",
        "",
    ]
    data = shutil.copytree(squares, tmp_path / "data")
    first = sorted((data / "images").iterdir())[0]
    with Image.open(first) as image:
        larger = image.resize((image.width + 8, image.height))
    larger.save(first)
    plan = a_plan(data, arms, backbone="unet")
    assert {no_control(plan, arm) for arm in plan.arms} == {"the images are of several sizes"}


@pytest.mark.parametrize("measure", ["accuracy", "luck"])
def test_a_measure_that_the_labels_lack_is_refused(squares: Path, tmp_path: Path, measure: str):
    arms = [{"name": "a", "head": "heatmap"}, {"name": "b", "head": "integral"}]
    with pytest.raises(SettingsError, match=r"holds (key)?points, measured by 'mean_error_px'"):
        plan = a_plan(squares, arms, measure=measure, backbone="unet")
        compare(plan, tmp_path / "out", tell=str)


def test_a_trial_that_diverges_is_a_bad_trial(bars: Path, tmp_path: Path):
    plan = a_plan(bars, tuning={"trials": 2})
    mad = Job(tmp_path, plan, "flat", 0, Trial(learning_rate=1e30, weight_decay=0.0), "tuning")
    calm = Job(tmp_path, plan, "flat", 1, Trial(learning_rate=1e-3, weight_decay=0.0), "tuning")
    for job in (mad, calm):
        train_job(job)
    assert read_json(mad.result)["value"] is None
    assert compare_module._best(plan, plan.arms[0], [mad, calm]) == calm.trial


def test_a_job_that_is_done_is_not_done_again(bars: Path, tmp_path: Path):
    plan = a_plan(bars, place=False)
    job = Job(tmp_path, plan, "flat", 0, Trial(learning_rate=1e-3, weight_decay=0.0))
    assert job.progress() == 0
    train_job(job)
    assert (job.progress(), job.progress_of_result()) == (1, 0)
    examine_job(job)
    assert job.progress_of_result() == 1
    before = {path: path.stat().st_mtime_ns for path in job.folder.rglob("*")}
    train_job(job)
    examine_job(job)
    assert before == {path: path.stat().st_mtime_ns for path in job.folder.rglob("*")}


# --- findings, from runs that were never trained --------------------------------------------------


def pretend(out: Path, plan, rates: dict[str, float], *, spread: float = 0.0, items: int = 400):
    """Tested runs of each arm whose items are right that often, but for a spread of seeds."""
    rng, runs = np.random.default_rng(0), {}
    luck = rng.random(items)
    for arm in plan.arms:
        runs[arm.name] = []
        for seed in range(plan.seeds):
            job = Job(out, plan, arm.name, seed, Trial(learning_rate=0.1, weight_decay=0.1))
            rate = rates[arm.name] + spread * rng.normal()
            right = (0.7 * luck + 0.3 * rng.random(items)) < rate
            rows = [f"{n},{int(one)}" for n, one in enumerate(right)]
            job.folder.mkdir(parents=True)
            (job.folder / "items.csv").write_text("\n".join(["item,accuracy", *rows]) + "\n")
            content = {"measure": "accuracy", "value": float(right.mean()), "items": items}
            told = {"fingerprint": "f", "input": {}, "images_per_second": None, "place": None}
            write_json(job.result, {**content, **told})
            runs[arm.name].append(job)
    return runs


def summed(plan, runs: dict) -> dict:
    budgets = {arm.name: Budget(1, 1) for arm in plan.arms}
    return summarise(plan, budgets, {}, {}, runs, {}, {}, "")


@pytest.mark.parametrize(
    ("gain", "spread", "rope", "verdict"),
    [
        (0.1, 0.0, 0.002, "better"),
        (-0.1, 0.0, 0.002, "worse"),
        (0.0, 0.0, 0.02, "equal"),
        (0.02, 0.1, 0.002, "open"),
    ],
)
def test_verdicts(
    bars: Path, tmp_path: Path, gain: float, spread: float, rope: float, verdict: str
):
    plan = make_plan(data=bars, arms=TWO, seeds=20, rope=rope)
    runs = pretend(tmp_path, plan, {"flat": 0.6, "near": 0.6 + gain}, spread=spread)
    results = summed(plan, runs)
    (one,) = results["comparisons"]
    assert one["verdict"] == verdict
    assert results["notes"] == []
    table = np.array([read_items(b.folder)[1] for b in runs["near"]]) - np.array(
        [read_items(a.folder)[1] for a in runs["flat"]]
    )
    whole = {"placewise": "0", "plan": plan.model_dump(mode="json"), **results}
    both = two_way_interval(table)
    assert one["two_way_interval"] == [both.low, both.high]
    assert one["difference"] == pytest.approx(table.mean())
    assert one["seeds_won"] == int((table.mean(1) > 0).sum())
    apart = sum(p < 0.05 for p in one["mcnemar_p"])
    assert (apart > 15) == (verdict in ("better", "worse")), "so that the count below can fail"
    said = f"Of 20 pairs of runs, an exact McNemar test (p < 0.05) tells apart: 'near' in {apart}."
    compared = Compared(whole, ACCURACY, task_named("classes").place_words)
    report = compare_report(compared, "<b>")
    page = report.html()
    assert said in compare_table(compared) and said in report.text()
    assert html.escape(said) in page
    words = {"better": "is better", "worse": "is worse", "equal": "is practically equal"}
    assert f"{words.get(verdict, 'do not distinguish')} " in page
    assert "<b>" not in page and "&lt;b&gt;" in page
    assert "Thick line: the two-way interval" in page
    few = replace(compared, results={**whole, "comparisons": [{**one, "two_way_interval": None}]})
    assert "Thick line" not in compare_report(few, "few").html(), "no such line is drawn"
    if verdict in ("better", "worse"):
        low, high = sorted(abs(100 * end) for end in one["two_way_interval"])
        assert f"{abs(100 * one['difference']):.2f} [{low:.2f}, {high:.2f}] points" in page


@pytest.mark.parametrize(
    ("p", "both", "equal", "verdict"),
    [
        (0.01, [0.1, 0.3], 0.0, "better"),
        (0.06, [0.1, 0.3], 0.0, "open"),
        (0.01, [-0.1, 0.3], 0.0, "open"),
        (0.01, None, 0.0, "better"),
        (0.01, [0.1, 0.3], 0.96, "equal"),
        (0.9, [-0.1, 0.1], 0.96, "equal"),
    ],
)
def test_better_takes_both_other_seeds_and_other_items(p, both, equal: float, verdict: str):
    one = {"p_holm": p, "two_way_interval": both, "t_interval": [0.1, 0.3], "equal": equal}
    assert verdict_of({**one, "difference": 0.2}) == verdict


def test_errors_in_px_count_the_other_way(squares: Path, tmp_path: Path):
    plan = make_plan(data=squares, arms=TWO, seeds=2)
    runs = pretend(tmp_path, plan, {"flat": 0.9, "near": 0.2})
    for job in (*runs["flat"], *runs["near"]):
        write_json(job.result, {**read_json(job.result), "measure": "mean_error_px"})
    means = {n: np.mean([read_json(j.result)["value"] for j in jobs]) for n, jobs in runs.items()}
    (one,) = summed(plan, runs)["comparisons"]
    assert one["difference"] == pytest.approx(means["flat"] - means["near"]) and means["flat"] > 0.8
    assert one["mcnemar_p"] is None


def test_runs_that_do_not_belong_together_are_refused(bars: Path, tmp_path: Path):
    plan = make_plan(data=bars, arms=TWO, seeds=2)
    runs = pretend(tmp_path, plan, {"flat": 0.5, "near": 0.5})
    assert "2 seeds are exploratory" in summed(plan, runs)["notes"][0]
    last = runs["near"][-1]
    whole = read_json(last.result)
    write_json(last.result, {**whole, "fingerprint": "g"})
    with pytest.raises(SettingsError, match="the data changed"):
        summed(plan, runs)
    write_json(last.result, {**whole, "input": {"scale": 0.5}})
    assert "different scales or input sizes" in summed(plan, runs)["notes"][-1]
    write_json(last.result, whole)
    text = (last.folder / "items.csv").read_text(encoding="utf-8")
    (last.folder / "items.csv").write_text(text.replace("\n7,", "\n700,"), encoding="utf-8")
    with pytest.raises(SettingsError, match="different items"):
        summed(plan, runs)


# --- the command line, engines -------------------------------------------------------------------


def test_the_command_line_takes_heads_or_a_plan(bars: Path, tmp_path: Path, capsys):
    with pytest.raises(SystemExit) as stop:
        words = ["--heads", "flatten,convolutional", "--backbone", "lenet"]
        main(["compare", str(bars), *words, "--out", str(tmp_path / "out")])
    assert stop.value.code == 2
    assert "convolutional has" in capsys.readouterr().err
    (tmp_path / "plan.toml").write_text(
        f'data = "{bars}"\nseeds = 2\nbackbone = "lenet"\n'
        "training = { max_steps = 2, batch_size = 4 }\n"
        'tuning = { trials = 1 }\n[[arms]]\nname = "a"\nhead = "flatten"\n'
        '[[arms]]\nname = "b"\nhead = "flatten"\n',
        encoding="utf-8",
    )
    with pytest.raises(SystemExit) as stop:
        main(["compare", str(tmp_path / "plan.toml"), "--seeds", "3", "--out", str(tmp_path / "o")])
    assert stop.value.code == 2
    assert "seeds" in capsys.readouterr().err
    words = ["--out", str(tmp_path / "o"), "--n-jobs", "1", "--no-place"]
    main(["compare", str(tmp_path / "plan.toml"), *words])
    said = capsys.readouterr().out
    assert "practically equal" in said and "report.html" in said


@pytest.mark.parametrize(
    ("engine", "n_jobs", "says"),
    [("sheep", None, "no engine 'sheep'"), ("local", 0, "--n-jobs is 0")],
)
def test_engines_that_there_are_not(engine: str, n_jobs: int | None, says: str):
    with pytest.raises(SettingsError, match=says):
        check_engine(engine, n_jobs)


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("dask://a:1", "distributed")])
def test_an_engine_that_is_not_installed_is_named(engine: str, package: str, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(SettingsError, match=f"pip install {package}"):
        check_engine(engine, None)


@pytest.mark.parametrize("engine", ["ray://a:1", "dask://a:1"])
def test_a_cluster_that_does_not_answer_is_named(engine: str, monkeypatch):
    def refuse(**settings):
        raise ConnectionError("timed out.")

    fake = SimpleNamespace(init=refuse, Client=refuse)
    monkeypatch.setattr(engine_module, "_ray", lambda: fake)
    monkeypatch.setattr(engine_module, "_distributed", lambda: fake)
    with pytest.raises(SettingsError, match=r"no .* cluster answers at a:1: timed out; check"):
        engine_module.run_all(str, [1], lambda job: 0.0, what="runs", engine=engine, quiet=True)


def test_progress_is_read_off_what_jobs_leave(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine_module, "LOOK", 0.001)
    done, shown = {0: 1.0, 1: 0.0, 2: 0.0}, []

    class Noted(Display):
        def __call__(self, done: float, total: float, values: object = None) -> None:
            shown.append((done, total))

    with engine_module.watched([0, 1, 2], done.__getitem__, Noted("runs")):
        done[1] = 0.5
        while shown[-1][0] < 1.5:
            time.sleep(0.001)
    assert shown[0] == (1.0, 3) and shown[-1] == (1.5, 3)
    shown.clear()
    with engine_module.watched([0, 1, 2], done.__getitem__, Noted("runs", quiet=True)):
        time.sleep(0.01)
    assert shown == []


def test_items_need_a_model_of_the_same_names_and_labelled_images(
    squares: Path, bars: Path, tmp_path: Path
):
    keypoints, classes = dataset_of(a_plan(squares)), dataset_of(a_plan(bars))
    model = build_arm(a_plan(bars), a_plan(bars).arms[0], 0)
    with pytest.raises(DataError, match="lack the keypoints"):
        _items(model, keypoints, "test")
    with pytest.raises(SettingsError, match="no image of the split 'test' is labelled"):
        _items(model, replace(classes, samples=classes.samples[:20]), "test")
    found = _items(model, classes, "test")
    assert found.names == [f"test/{number:05d}" for number in range(10)]
    assert set(found.score()) <= {0.0, 1.0}
