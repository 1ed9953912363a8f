"""The audit as a whole: its numbers agree with each other, its words say what they say."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import placewise
from audit_backbones import resnet
from placewise.auditing import SCALARS, Audit, Condition, _measured, audit
from placewise.auditing._drawings import NAMES
from placewise.errors import CaptureError, SettingsError
from placewise.files import read_json
from placewise.report import canvas

COUNTED = "receptive_field paths paths_to_output paths_to_unit unseen evenness padding layers"


class Block(nn.Module):
    """A residual block that halves the map."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after))
        self.short = nn.Conv2d(before, after, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.short(x))


def classifier() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 5, 2, 2), nn.ReLU(), Block(4, 6), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(6, 3))


class Attention(nn.Module):
    """Patches, then attention over all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.mix = nn.Conv2d(3, 8, 4, 4), nn.MultiheadAttention(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).permute(2, 0, 1)
        return self.mix(tokens, tokens, tokens)[0].mean(0)


class Outside(nn.Module):
    """What it does cannot be followed: it leaves torch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.layer(x).detach().numpy().mean((2, 3)))


@torch.library.custom_op("placewise_tests::odd", mutates_args=())
def odd(x: Tensor) -> Tensor:
    return x.clone()


@odd.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Odd(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return odd(x)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured on few images, which is enough to see that all is there."""
    for name, count in (("MANY", 4), ("FEW", 2)):
        monkeypatch.setattr(_measured, name, count)


@pytest.fixture(scope="module")
def found() -> Audit:
    return audit(classifier(), (3, 32, 32), measure=False)


# --- numbers -----------------------------------------------------------------------------------


def blocks(side: int, cells: int) -> np.ndarray:
    """How many pixels each cell of a map in JSON stands for."""
    size = math.ceil(side / 64)
    return np.diff([*range(0, side, size), side]) if cells < side else np.ones(side)


@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 130, 65)])
def test_the_numbers_of_the_json_add_up(shape: tuple[int, ...]) -> None:
    content = audit(classifier(), shape, measure=False).to_dict()
    paths = content["paths"]
    logs = np.array(paths["log10_map"], dtype=float)
    area = np.outer(*(blocks(side, n) for side, n in zip(shape[1:], logs.shape, strict=True)))
    assert (area * 10**logs).sum() == pytest.approx(int(paths["total"]), rel=1e-4)
    corners, most = [int(count) for count in paths["corners"]], int(paths["max"])
    assert paths["max_over_corner"] == pytest.approx(most / max(corners), rel=1e-5)
    assert paths["corner_ratio"] == pytest.approx(max(corners) / min(corners), rel=1e-5)
    last = content["layers"][-1]
    assert (last["total"], last["corners"]) == (paths["total"], paths["corners"])
    assert last["receptive_field"] == content["receptive_field"]
    totals = [int(layer["total"]) for layer in content["layers"]]
    assert totals == sorted(totals) and totals[0] < totals[-1]
    mask = np.array(content["unseen"]["mask"], dtype=float)
    assert (area * mask).sum() == pytest.approx(content["unseen"]["pixels"])
    assert content["padding"]["min"] <= content["padding"]["overall"] <= content["padding"]["max"]


def test_the_scalars_are_those_of_the_json(found: Audit) -> None:
    content, scalars = found.to_dict(), found.scalars()
    assert list(scalars) == list(SCALARS)
    assert scalars["max_over_corner"] == pytest.approx(content["paths"]["max_over_corner"], 1e-5)
    assert scalars["window_field"] == max(content["receptive_field"]["size"])
    assert scalars["unseen_pixels"] == content["unseen"]["pixels"]
    assert scalars["even"] is content["evenness"]["aligned"] is False
    dropping = {one["node"] for one in content["evenness"]["layers"] if one["unused"]}
    assert scalars["uneven_layers"] == len(dropping) > 0
    assert scalars["padding_share"] == pytest.approx(content["padding"]["max"], rel=1e-5)
    kept = {name: value for name, value in content["scalars"].items() if value is not None}
    assert kept and all(scalars[name] == pytest.approx(value, 1e-5) for name, value in kept.items())


def test_a_resnet_has_its_known_figures() -> None:
    """Computed by hand for the layers of ResNet-18: shared/research/audit.md, 3B."""
    net = resnet([2, 2, 2, 2], bottleneck=False)
    found = audit(net, (1, 224, 224), measure=False)
    assert found.verdict == (
        "To the output (7 × 7): the top-left corner has 24 times the paths of the bottom-right; "
        "225 would be stride-aligned. At 225 all corners are equal; the best-served pixel still "
        "has 116 times their paths."
    )
    paths = found.to_dict()["paths"]
    assert paths["total"] == "21371777627496398075"
    assert paths["corners"] == ["9616253250768", "1955023936268", "1955023936268", "397660071184"]
    assert found.to_dict()["receptive_field"]["size"] == [435, 435]


class Skip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def test_channels_count_apart_on_request() -> None:
    """A skip has one way for each channel, a convolution of 4 to 4 channels has 4."""
    own, other = (
        audit(Skip(), (4, 8, 8), per_channel=channels, measure=False).to_dict()["paths"]
        for channels in (False, True)
    )
    assert (own["convention"], other["convention"]) == ("spatial", "per channel")
    assert [int(own["max"]), int(other["max"])] == [9 + 1, 4 * (4 * 9 + 1)]
    assert own["max_over_corner"] == 10 / 5
    assert other["max_over_corner"] == pytest.approx(37 / 17, rel=1e-5)


def test_sizes_are_checked_as_asked(found: Audit) -> None:
    sides = range(20, 60)
    asked = audit(classifier(), (3, 32, 32), sizes=sides, measure=False)
    assert [one.size for one in asked.sizes] == list(sides)
    aligned = [one.size for one in asked.sizes if one.aligned]
    steps = {b - a for a, b in pairwise(aligned)}
    assert aligned and steps == {asked.to_dict()["evenness"]["step"][0]}
    assert 32 in [one.size for one in found.sizes]
    for one in asked.sizes[::13]:
        again = audit(classifier(), (3, one.size, one.size), measure=False)
        assert again.scalars()["uneven_layers"] == one.misaligned_layers


# --- words -------------------------------------------------------------------------------------


def tall(*layers: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*layers)


@pytest.mark.parametrize(
    ("build", "shape", "says"),
    [
        (
            classifier,
            (3, 33, 33),
            "the best-served pixel has .* of a corner; 33 is stride-aligned.",
        ),
        (classifier, (3, 32, 32), "the top-left corner has .* of the bottom-right; 33 would"),
        (classifier, (3, 33, 44), "paths of the .*; 33 × 45 would be stride-aligned."),
        (nn.Identity, (3, 8, 8), r"^To the output \(8 × 8\): every pixel has equally many paths."),
        (
            tall(nn.Conv2d(3, 1, 4, 4)),
            (3, 9, 8),
            "2 of 4 corners have no path .*; 8 would be stride-aligned.",
        ),
        (tall(nn.Conv2d(3, 1, 4, 4)), (3, 9, 8), r"8 pixels are never seen \(row 8\)."),
        (tall(nn.Conv2d(3, 1, 1, 2)), (3, 4, 4), r"12 .* \(rows 1, 3 and columns 1, 3\)."),
        (tall(nn.Conv1d(1, 1, 5, 2)), (1, 10), r"the last sample has no path .*\(sample 9\)."),
        (
            tall(nn.Conv3d(1, 1, 5, 2, 2), nn.Conv3d(1, 1, 5, 2, 2)),
            (1, 8, 8, 8),
            "the front-top-left corner has 64 times the paths of the back-bottom-right;",
        ),
        (
            tall(nn.Conv2d(1, 1, 5, padding=2, padding_mode="replicate")),
            (1, 9, 9),
            "the corners have 1.4 times the paths of the middle.",
        ),
        (Attention, (3, 16, 16), "every pixel has equally many paths; 16 is stride-aligned."),
        (
            Odd,
            (3, 8, 8),
            r"^A guess \(.* unknown operations\), to .* Unknown: placewise_tests::odd\.",
        ),
    ],
)
def test_the_verdict_says_what_was_found(
    build: Callable[[], nn.Module], shape: tuple[int, ...], says: str
) -> None:
    found = audit(build(), shape, measure=False)
    assert re.search(says, found.verdict), found.verdict
    assert found.table().startswith(found.verdict)
    assert found.verdict in repr(found) and "\n" not in repr(found)
    assert str(found) == found.table()
    assert all(len(line) < 200 for line in found.table().splitlines()[1:])


def test_unknown_operations_are_named_and_counted() -> None:
    found = audit(nn.Sequential(Odd(), Odd()), (3, 8, 8), measure=False)
    assert found.status == "guessed"
    assert found.to_dict()["unknown"] == {"placewise_tests::odd": 2}
    assert found.scalars()["unknown"] == 2


# --- what is measured --------------------------------------------------------------------------


def test_all_is_measured_on_noise_and_the_same_again(few: None) -> None:
    steps: list[tuple[int, int]] = []
    first = audit(classifier(), (3, 32, 32), seed=3, progress=lambda *step: steps.append(step))
    measured = first.to_dict()["measured"]
    assert measured["missing"] == {} and measured["source"] == "noise"
    assert all(measured[name] for name in measured if name not in ("missing", "source"))
    assert audit(classifier(), (3, 32, 32), seed=3).to_dict() == first.to_dict()
    assert audit(classifier(), (3, 32, 32), seed=4).to_dict() != first.to_dict()
    done = [one for one, _ in steps]
    assert max(done) == done[-1] == steps[-1][1] == steps[0][1] and len(done) > 20
    assert done == sorted(done)
    assert all(value is not None for value in first.scalars().values())
    assert "Measured on 4 images of noise:" in first.table()


@pytest.mark.parametrize(
    ("stride", "most", "offsets"),
    [
        (1, 5, [0, 1]),
        (4, 5, [0, 1, 2, 3, 4]),
        (8, 5, [0, 1, 2, 4, 8]),
        (32, 5, [0, 1, 4, 16, 32]),
        (32, 3, [0, 16, 32]),
        (12, 16, list(range(13))),
        (32, 16, [0, 1, 2, 4, 8, 16, 32]),
    ],
)
def test_few_phases_reach_from_0_to_the_stride(stride: int, most: int, offsets: list[int]) -> None:
    assert _measured._few_phases(stride, most) == offsets


def test_measurements_look_at_the_images_that_are_given(few: None) -> None:
    images = torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    images[..., 32:] = 0.5
    found = audit(classifier(), (3, 32, 32), images=images).to_dict()["measured"]
    assert found["source"] == "images" and found["missing"] == {}
    exact = audit(classifier(), (3, 32, 32), images=images[..., 16:48, 16:48]).to_dict()
    assert exact["measured"]["sensitivity"] == found["sensitivity"]
    assert "border_swap" in exact["measured"]["missing"] and "sensitivity" not in exact["notes"]
    for wrong in (images[:, :1], images[..., :16], images[0]):
        with pytest.raises(SettingsError, match="images"):
            audit(classifier(), (3, 32, 32), images=wrong)


def test_what_cannot_be_followed_is_measured_and_says_so(few: None) -> None:
    found = audit(Outside(), (3, 16, 16))
    content = found.to_dict()
    assert found.status == content["status"] == content["capture"] == "empirical"
    assert found.verdict.startswith("The network could not be followed")
    assert all(content[name] is None for name in COUNTED.split())
    assert content["scalars"]["consistency"] is not None
    assert content["scalars"]["max_over_corner"] is None
    assert content["why"] in found.table()
    with pytest.raises(CaptureError):
        audit(Outside(), (3, 16, 16), measure=False)


class Refuses(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("not today")


def test_a_network_that_does_not_run_is_an_error(few: None) -> None:
    with pytest.raises(CaptureError, match="not today"):
        audit(Refuses(), (3, 16, 16))


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (nn.Sequential(nn.Conv1d(1, 2, 5, 2, 2), nn.ReLU(), nn.Conv1d(2, 2, 3)), (1, 40)),
        (nn.Sequential(nn.Conv3d(1, 2, 3, 2, 1), nn.ReLU(), nn.Conv3d(2, 2, 3)), (1, 10, 9, 8)),
        (nn.Sequential(nn.Conv2d(2, 3, 3, 2, 1), nn.Upsample(scale_factor=2)), (2, 20, 16)),
    ],
)
def test_signals_volumes_and_dense_outputs(
    few: None, net: nn.Module, shape: tuple[int, ...]
) -> None:
    content = audit(net, shape).to_dict()
    axes = len(shape) - 1
    assert len(content["paths"]["corners"]) == 2**axes
    assert np.ndim(content["paths"]["log10_map"]) == axes == len(content["receptive_field"]["size"])
    assert np.ndim(content["measured"]["sensitivity"]["map"]) == axes
    assert content["measured"]["effective_field"]["size"] > 0
    json.dumps(content, allow_nan=False)


# --- what is left alone ------------------------------------------------------------------------


def test_the_network_stays_as_found(few: None) -> None:
    net = classifier().train()
    net[0].weight.requires_grad_(False)
    net[5].weight.grad = torch.ones_like(net[5].weight)
    net[1].register_forward_hook(lambda module, inputs, output: None)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    hooks = dict(net[1]._forward_hooks)
    state = torch.get_rng_state()
    audit(net, (3, 32, 32))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(module.training for module in net.modules())
    assert not net[0].weight.requires_grad and net[0].weight.grad is None
    assert torch.equal(net[5].weight.grad, torch.ones_like(net[5].weight))
    assert net[1]._forward_hooks == hooks and not net[0]._forward_hooks


def test_files_hold_what_was_found(
    found: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canvas, "DPI", 40)
    folder = tmp_path / "new" / "findings"
    report = found.save(folder)
    assert report == folder / "report.html" and report.is_file()
    written = read_json(folder / "audit.json")
    assert written == found.to_dict()
    assert (folder / "figures" / "paths.png").read_bytes() == found.figure()
    assert {p.stem for p in (folder / "figures").iterdir()} == set(found.drawings)
    assert set(found.drawings) < set(NAMES)
    (folder / "figures" / "mine.png").write_bytes(b"mine")

    def keys(value: Any) -> None:
        if isinstance(value, dict):
            assert list(value) == sorted(value)
        for part in value.values() if isinstance(value, dict) else value:
            if isinstance(part, dict | list):
                keys(part)

    keys(written)
    json.dumps(written, allow_nan=False)
    audit(nn.Identity(), (3, 8, 8), measure=False).save(folder)
    assert read_json(folder / "audit.json")["network"] == "Identity"
    assert {p.stem for p in (folder / "figures").iterdir()} == {"paths", "mine"}


def test_nothing_of_others_is_overwritten(found: Audit, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SettingsError, match=r"audit\.json"):
        found.save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(SettingsError):
        found.save(tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_an_exported_program_is_audited_like_its_network(few: None) -> None:
    net = classifier().eval()
    for batch in (1, 3):
        program = torch.export.export(net, (torch.zeros(batch, 3, 32, 32),), strict=False)
        found = audit(program, (3, 32, 32))
        own = audit(net, (3, 32, 32))
        for key in ("paths", "receptive_field", "unseen", "evenness"):
            theirs, ours = found.to_dict()[key], own.to_dict()[key]
            assert {
                k: v
                for k, v in theirs.items()
                if k not in ("node", "layers", "target", "advised", "tried")
            } == {
                k: v
                for k, v in ours.items()
                if k not in ("node", "layers", "target", "advised", "tried")
            }
        seen = found.to_dict()["measured"]["sensitivity"]["places"]["centre"]
        ours = own.to_dict()["measured"]["sensitivity"]["places"]["centre"]
        assert seen == pytest.approx(ours, rel=1e-4)  # rounded, and summed in another order


def test_it_is_a_public_name(found: Audit) -> None:
    assert placewise.audit is audit and isinstance(found, placewise.Audit)


# --- conditions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("max_over_corner>150", 190.96, True),
        ("max_over_corner > 150", 150.0, False),
        ("max_over_corner>=150", 150.0, True),
        ("max_over_corner<1e1", 9.5, True),
        ("corner_ratio<=1", 1.0, True),
        ("corner_ratio>1000000", math.inf, True),
        ("unseen_pixels!=0", 3, True),
        ("unseen_pixels==0", 3, False),
        ("even==false", False, True),
        ("even==False", True, False),
        ("even!=true", True, False),
        ("gini>-1", 0.0, True),
    ],
)
def test_conditions(text: str, value: float, holds: bool) -> None:
    condition = Condition.parse(text)
    assert condition.holds({condition.name: value}) is holds
    assert condition.said({condition.name: value}).startswith(f"{condition.name} is ")
    assert Condition.parse(str(condition)) == condition


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_over_corne>1", "Did you mean 'max_over_corner'"),
        ("nonsense>1", "choose one of max_over_corner, "),
        ("max_over_corner", "not a condition"),
        ("max_over_corner>", "not a condition"),
        ("max_over_corner=3", "not a condition"),
        ("max_over_corner>3>4", "neither a number"),
        ("max_over_corner>__import__('os')", "neither a number"),
        ("even==maybe", "neither a number"),
        ("", "not a condition"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, says: str) -> None:
    with pytest.raises(SettingsError, match="(?s)" + says.replace("(", r"\(")):
        Condition.parse(text)


def test_a_condition_on_what_was_not_found_is_no_pass(found: Audit) -> None:
    with pytest.raises(SettingsError, match="consistency"):
        Condition.parse("consistency<50").holds(found.scalars())


@pytest.mark.parametrize(
    ("model", "shape", "given", "says"),
    [
        ("resnet18", (3, 8, 8), {}, "the network is a str; give a torch.nn.Module"),
        (nn.Identity(), 224, {}, "the shape of the image is 224; give"),
        (nn.Identity(), (3, "8", 8), {}, "give .channels, length"),
        (nn.Identity(), (3, 8, 8), {"in_channels": 3, "images": None}, None),
        (nn.Identity(), (8, 8), {"in_channels": 0}, "give .channels, length"),
        (nn.Identity(), (3, 8, 8), {"images": [1, 2]}, "the images are a list; give a tensor"),
    ],
)
def test_wrong_input_is_an_error_of_ours(
    model: Any, shape: Any, given: dict[str, Any], says: str | None
) -> None:
    if says is None:
        assert audit(model, shape, measure=False, **given).shape == (3, *shape)
        return
    with pytest.raises(SettingsError, match=says):
        audit(model, shape, **given)


def test_channels_of_the_input_and_the_way_of_counting_are_apart() -> None:
    own = audit(Skip(), (4, 8, 8), measure=False)
    same = audit(Skip(), (8, 8), in_channels=4, measure=False)
    assert own.to_dict() == same.to_dict() and same.shape == (4, 8, 8)


def test_exact_counts_outlive_floats() -> None:
    deep = nn.Sequential(*[nn.Conv1d(1, 1, 9, padding=4) for _ in range(40)])
    content = audit(deep, (1, 400), measure=False).to_dict()["paths"]
    assert int(content["max"]) == 9**40 and Fraction(content["max"]) > 2**100
    assert content["max_over_corner"] == pytest.approx(
        int(content["max"]) / max(map(int, content["corners"])), rel=1e-5
    )
