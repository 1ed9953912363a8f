"""Studies: pages whose every number was found, and counts that are exact."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.resources import files
from itertools import pairwise, product
from math import comb, pi, sin
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from conftest import REPOSITORY
from placewise.auditing.paths import count_paths
from placewise.errors import SettingsError
from placewise.graph import capture
from studies import STUDIES, Options, run_study
from studies._material import load_cifar, load_digits, load_resnet, load_speech
from studies._page import check_place, fill, shown, write_page
from studies.edges import counted, paths
from studies.edges.claims import Case, judge
from studies.edges.digits import canvas
from studies.edges.felt import BUDGETS, Seen, bands
from studies.edges.nets import Arm, accuracy, drawing, fit, moved, settle, sound_net
from studies.edges.residual import residual
from studies.edges.sound import sound

PLACES = re.compile(r"\{\{[^}]*\}\}")
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def numbers_in(text: str) -> set[str]:
    """All numbers of a text, without the commas between thousands."""
    return {found.strip(",").replace(",", "") for found in NUMBER.findall(text)}


def numbers_of(content: Any) -> set[str]:
    """All numbers of the values of a JSON file, as they would be shown."""
    if isinstance(content, dict):
        return set().union(*map(numbers_of, content.values()))
    if isinstance(content, list):
        return set().union(*map(numbers_of, content))
    return numbers_in(content if isinstance(content, str) else shown(content))


def strangers(page: str, record: dict[str, Any]) -> set[str]:
    """Numbers of a page that its record does not hold."""
    known = {key: value for key, value in record.items() if key not in ("sha256", "files")}
    return numbers_in(page) - numbers_of(known)


# --- the command -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a real process has written the page, beside something of the user's."""
    out = tmp_path_factory.mktemp("studies")
    (out / "mine.md").write_text("mine", encoding="utf-8")
    words = ["edges", "--scale", "tiny", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "studies", *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"page: {out / 'edges.md'}"
    return out


@pytest.fixture(scope="module")
def record(made: Path) -> dict[str, Any]:
    return dict(json.loads((made / "edges.json").read_text(encoding="utf-8")))


def test_the_command_writes_the_page_and_nothing_else(made: Path, record) -> None:
    figures = {f"edges/{name}.png" for name in ("pascal", "windows", "growth", "digits")}
    found = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    assert found == {"mine.md", "edges.md", "edges.json", *figures}
    assert (made / "mine.md").read_text(encoding="utf-8") == "mine"
    assert set(record["figures"].values()) == figures
    for figure in figures:
        data = (made / figure).read_bytes()
        assert data[1:4] == b"PNG"
        assert len(data) < 150_000


def test_every_number_of_the_page_stands_in_the_record(made: Path, record) -> None:
    page = (made / "edges.md").read_text(encoding="utf-8")
    assert len(numbers_in(page)) > 100
    assert strangers(page, record) == set()
    assert strangers(page + "\n59,048 ways", record) == {"59048"}


def test_the_page_shows_every_figure_and_leaves_no_place_empty(made: Path, record) -> None:
    page = (made / "edges.md").read_text(encoding="utf-8")
    assert "{{" not in page
    for place in record["figures"].values():
        assert f"]({place})" in page
        assert (made / place).is_file()
    assert "no folder of data was given" in page


COUNTED = {
    "unequal": "partly",
    "single": "partly",
    "pascal": "true",
    "product": "false",
    "square": "partly",
    "exponential": "partly",
    "mirroring": "false",
    "pooling": "true",
    "connection": "partly",
    "sound": "true",
}


def test_each_claim_of_the_thread_is_judged(made: Path, record) -> None:
    page = (made / "edges.md").read_text(encoding="utf-8")
    found = {
        name: c for name, c in record["claims"].items() if name in {*COUNTED, "orders", "learnt"}
    }
    assert len(found) == 12
    for claim in found.values():
        assert f"| {claim['claim']} | **{claim['verdict']}** | {claim['said']} |" in page
    assert {name: found[name]["verdict"] for name in COUNTED} == COUNTED


@pytest.mark.parametrize("name", STUDIES.names())
def test_no_text_of_a_study_holds_a_digit(name: str) -> None:
    text = files("studies").joinpath(f"{name}.md").read_text(encoding="utf-8")
    assert len(PLACES.findall(text)) > 20
    assert [letter for letter in PLACES.sub("", text) if letter.isnumeric()] == []


def test_an_unknown_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Did you mean 'edges'"):
        run_study("edge", tmp_path, Options("tiny"))
    assert list(tmp_path.iterdir()) == []


# --- what may be replaced ----------------------------------------------------------------------


def write(out: Path, **figures: bytes) -> Path:
    return write_page(out, "ways", "{{n}} ways\n", {"study": "ways", "n": "59049"}, figures)


def test_a_former_page_is_replaced_with_its_figures(tmp_path: Path) -> None:
    write(tmp_path, old=b"1", kept=b"2")
    check_place(tmp_path, "ways")
    write(tmp_path, kept=b"3", new=b"4")
    check_place(tmp_path, "ways")
    figures = {path.name: path.read_bytes() for path in (tmp_path / "ways").iterdir()}
    assert figures == {"kept.png": b"3", "new.png": b"4"}


@pytest.mark.parametrize(
    "mine", ["ways.md", "ways.json", "ways", "ways/mine.png", "ways/deep/mine.txt"]
)
@pytest.mark.parametrize("former", [False, True])
def test_what_is_not_of_a_former_page_stays(tmp_path: Path, mine: str, former: bool) -> None:
    if former:
        write(tmp_path, old=b"1")
        (tmp_path / "ways.json").unlink()  # so that nothing says whose the rest is
        if mine == "ways":
            return
    (tmp_path / mine).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / mine).write_text("mine", encoding="utf-8")
    with pytest.raises(SettingsError, match="is in the way"):
        check_place(tmp_path, "ways")
    assert (tmp_path / mine).read_text(encoding="utf-8") == "mine"


def test_a_file_among_the_figures_of_a_former_page_stays(tmp_path: Path) -> None:
    write(tmp_path, old=b"1")
    (tmp_path / "ways" / "mine.png").write_bytes(b"mine")
    with pytest.raises(SettingsError, match=r"mine\.png is in the way"):
        check_place(tmp_path, "ways")


@pytest.mark.parametrize("change", ["a digit", "another study"])
def test_a_record_that_was_changed_is_not_trusted(tmp_path: Path, change: str) -> None:
    page = write(tmp_path)
    record = tmp_path / "ways.json"
    old, new = ("59049", "59048") if change == "a digit" else ('"study": "ways"', '"study": "all"')
    record.write_text(record.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(SettingsError, match="is in the way"):
        check_place(tmp_path, "ways")
    assert page.is_file()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    with pytest.raises(SettingsError, match="is a file"):
        run_study("edges", tmp_path / "out", Options("tiny"))


def test_a_place_without_a_number_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"asks for 'a\.c'"):
        fill("{{a.c}}", {"a": {"b": 1}})


# --- counts ------------------------------------------------------------------------------------


def test_the_triangles_are_those_of_pascal() -> None:
    found = counted.pascal(6)
    assert found["two"]["rows"] == [[str(comb(n, i)) for i in range(n + 1)] for n in range(7)]
    assert found["three"]["rows"][2:4] == [list("12321"), list("1367631")]
    assert found["three"]["middle"] == "141"
    assert [sum(map(int, row)) for row in found["three"]["rows"]] == [3**n for n in range(7)]
    assert found["two"]["agrees"] and found["three"]["agrees"]


def test_the_window_of_the_thread() -> None:
    found = counted.wide_windows()
    assert (found["middle"], found["corner"], found["edge"]) == ("256", "1", "16")
    assert found["paths_after_all"] == str(2**80)
    assert found["table"]["rows"][1] == [2, str(2**16), "1", str(19**2), "604"]
    by_hand = [sum(start <= x < start + 64 for start in range(0, 193, 4)) for x in range(256)]
    assert found["along"] == list(map(str, by_hand))


def test_the_least_side_has_all_paths_and_a_smaller_one_has_not() -> None:
    def paths_on(side: int) -> int:
        layer = nn.Sequential(nn.Conv1d(1, 1, 64, 4), nn.Conv1d(1, 1, 64, 4))
        return int(count_paths(capture(layer, (1, side))).maximum)

    assert paths_on(604) == 256
    assert paths_on(603) < 256


@pytest.fixture(scope="module")
def growth() -> dict[str, Any]:
    return counted.growth((1000,))


def test_ten_layers_on_thirty_two_pixels(growth) -> None:
    found = {rule: (growth[rule]["middle"], growth[rule]["edge"]) for rule in counted.RULES}
    even = ("59049", "59049")
    assert found == {
        "valid": ("57882", "1"),
        "zeros": ("59049", "17303"),
        "reflect": ("59049", "34001"),
        **dict.fromkeys(("symmetric", "replicate", "circular", "full"), even),
    }
    assert growth["zeros"]["over_edge"] == 3.41
    assert growth["zeros"]["over_corner"] == 11.6
    assert growth["valid"]["over_corner"] == 57882**2
    assert growth["wider"]["replicate"]["over_edge"] == 0.76


def test_growth_is_exponential_without_padding_alone(growth) -> None:
    assert growth["valid"]["fits"]["factor"] == 3
    assert growth["valid"]["fits"]["factor_explains"] > growth["valid"]["fits"]["power_explains"]
    assert growth["zeros"]["fits"]["factor_explains"] < growth["zeros"]["fits"]["power_explains"]
    assert 0.45 < growth["large"]["power"] < 0.5


def test_limits_are_what_many_layers_come_to(growth) -> None:
    for rule in ("zeros", "reflect", "symmetric", "replicate", "circular"):
        assert growth[rule]["limit"] == growth[rule]["by_depth"][-1][1], rule
    assert growth["reflect"]["limit"] == 2
    for side in (32, 33, 224):
        wave = paths.limit(paths.padded("zeros", 3), side)
        expected = [sin(pi * (place + 1) / (side + 1)) for place in range(side)]
        assert wave == pytest.approx(np.array(expected) / expected[side // 2], abs=1e-9)


NUMPY = {
    "zeros": "constant",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
    "circular": "wrap",
    "full": "constant",
    "valid": "constant",
}


def naive_paths(rule: str, size: int, side: int, layers: int) -> list[int]:
    """Products of matrices of ones and zeros, with numpy's own padding."""
    margin = {"valid": 0, "full": size - 1}.get(rule, size // 2)
    total = np.eye(side, dtype=object)
    for _ in range(layers):
        places = np.pad(np.arange(1, len(total) + 1), margin, mode=NUMPY[rule])
        one = np.zeros((len(places) - size + 1, len(total)), dtype=object)
        for row, tap in product(range(len(one)), range(size)):
            if places[row + tap]:
                one[row, places[row + tap] - 1] += 1
        total = one.dot(total)
    return list(total.sum(0))


@pytest.mark.parametrize("rule", counted.RULES)
@pytest.mark.parametrize("size", [3, 5])
def test_paths_along_an_axis_are_those_of_matrices(rule: str, size: int) -> None:
    for side, layers in ((13, 1), (14, 3)):
        maps = paths.chain(side, paths.padded(rule, size), layers)
        assert paths.backward(maps).tolist() == naive_paths(rule, size, side, layers)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_paths_along_an_axis_are_those_of_a_captured_net(mode: str) -> None:
    net = nn.Sequential(*(nn.Conv1d(1, 1, 3, padding=1, padding_mode=mode) for _ in range(3)))
    along = paths.backward(paths.chain(12, paths.padded(mode, 3), 3))
    assert count_paths(capture(net, (1, 12))).counts.tolist() == along.tolist()


def test_pooling_multiplies_by_three_halves_and_vgg_has_its_numbers() -> None:
    found = counted.pooling()
    assert [row[1] for row in found["table"]["rows"]] == [
        paths.significant(1.5**blocks) for blocks in range(1, 6)
    ]
    vgg = found["vgg"]
    assert (vgg["middle"], vgg["edge"], vgg["corner"]) == (
        str(1594323**2),
        str(1594323 * 115374),
        str(115374**2),
    )


def test_an_end_changes_nothing_of_what_was_before() -> None:
    ends = counted.endings()["ends"]
    assert ends["a full connection"] == ends["global average pooling"]
    assert ends["a full connection"]["middle"] == str(59049**2)
    assert ends["a full connection"]["corner"] == str(17303**2)
    assert ends["one unit in the middle of the last map"]["edge"] == "0"
    assert ends["a full connection and no layer before it"]["over_corner"] == 1
    assert ends["the small network, flattened"]["over_corner"] == 625


# --- what is measured --------------------------------------------------------------------------


def test_random_weights_are_felt_as_the_roots_of_the_path_counts() -> None:
    """Mean squares of the derivative over random weights are proportional to the path counts."""
    shares = paths.paths_of(
        nn.Sequential(*(nn.Conv1d(1, 1, 3, padding=1) for _ in range(4))), (1, 14)
    )
    squares = torch.zeros(14, dtype=torch.float64)
    with drawing(0):
        for _ in range(300):
            widths = [1, 12, 12, 12, 1]
            taps = [torch.randint(0, 2, (o, i, 3)).double() * 2 - 1 for i, o in pairwise(widths)]
            image = torch.zeros(1, 1, 14, dtype=torch.float64, requires_grad=True)
            maps = image
            for weight in taps:
                maps = nn.functional.conv1d(maps, weight, padding=1)
            signs = torch.randint(0, 2, maps.shape).double() * 2 - 1
            (slope,) = torch.autograd.grad((maps * signs).sum(), image)
            squares += slope.square().flatten()
    felt = (squares / squares.sum()).sqrt().numpy()
    assert felt == pytest.approx(np.sqrt(shares / shares.sum()), rel=0.1)
    assert felt != pytest.approx(shares / np.sqrt((shares**2).sum()), rel=0.1)


@pytest.mark.parametrize("sides", [(9,), (8, 12)])
def test_bands_of_even_and_uneven_maps(sides: tuple[int, ...]) -> None:
    flat = bands(np.ones(sides))
    assert flat["over_edge"] == flat["over_corner"] == 1
    dented = np.ones(sides)
    dented[(0,) * len(sides)] = 0
    corners = 2 ** len(sides)
    assert bands(dented)["over_corner"] == paths.significant(corners / (corners - 1))
    assert bands(np.ones(sides) * 7) == flat


def test_moving_keeps_all_pixels_and_makes_places_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.arange(24.0).reshape(2, 1, 3, 4)
    found = moved(images, generator)
    for before, after in zip(images, found, strict=True):
        assert sorted(before.flatten().tolist()) == sorted(after.flatten().tolist())
    ramp = torch.arange(6.0).reshape(1, 1, 6).repeat(6000, 1, 1)
    assert moved(ramp, generator).mean(0).flatten().tolist() == pytest.approx([2.5] * 6, abs=0.1)


def test_digits_lose_no_ink_on_their_canvas() -> None:
    digits = load_digits().test[:20]
    found = canvas(digits, torch.Generator().manual_seed(1))
    assert found.shape == (20, 1, 16, 16)
    assert torch.allclose(found.sum((1, 2, 3)), digits.sum((1, 2, 3)))
    assert len({tuple(map(int, p[0].nonzero()[0])) for p in found}) > 5


def test_drawing_leaves_the_randomness_of_others_alone() -> None:
    before = torch.get_rng_state()
    with drawing(3):
        first = torch.rand(2)
    with drawing(3):
        assert torch.equal(first, torch.rand(2))
    assert torch.equal(before, torch.get_rng_state())


def test_the_net_without_a_border_shows_none_and_the_one_without_padding_does() -> None:
    images = canvas(load_digits().test[:64], torch.Generator().manual_seed(0))
    found = {}
    for padding in ("circular", "valid"):
        arm = Arm(padding, "average")
        shares = paths.paths_of(arm.net(16, 6), (1, 16, 16))
        with drawing(0):
            net = arm.net(16, 6)
        settle(net, images)
        found[padding] = Seen.of(net, images, np.sqrt(shares), 0)
    assert 0.9 < bands(found["circular"].map)["over_edge"] < 1.1
    assert found["circular"].numbers()["rank"] is None
    assert bands(found["valid"].map)["over_edge"] > 15
    assert found["valid"].rank > 0.95


def test_training_is_the_same_again_and_learns() -> None:
    digits = load_digits()

    def draw(number: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = torch.randint(0, len(digits.train), (number,), generator=generator)
        return digits.train[chosen], digits.train_classes[chosen]

    def trained() -> tuple[nn.Module, float]:
        with drawing(0) as generator:
            net = Arm("zeros", "flatten").net(8, 2)
            fit(net, draw, 40, generator)
        return net, accuracy(net, digits.test, digits.test_classes)

    (net, right), (again, _) = trained(), trained()
    assert all(map(torch.equal, net.state_dict().values(), again.state_dict().values()))
    assert right > 70


def test_a_claim_is_true_in_all_cases_false_in_none() -> None:
    yes, no = Case("a", 1, True), Case("b", 2, False)
    verdicts = [judge("c", "by", cases)["verdict"] for cases in ([yes], [no], [yes, no])]
    assert verdicts == ["true", "false", "partly"]


# --- with data ---------------------------------------------------------------------------------


def test_missing_data_is_named(tmp_path: Path) -> None:
    found, maps = residual(Options("tiny", data=tmp_path), BUDGETS["tiny"])
    assert not found["there"] and not maps
    assert (
        "cifar10_subset/cifar10_subset.npz, resnet_cifar10/resnet20.safetensors" in found["missing"]
    )
    heard = sound(Options("tiny", data=tmp_path), BUDGETS["tiny"])
    assert "spoken_digits" in heard["missing"]
    assert heard["paths"]["first"] == paths.significant(19683 / 1592)


def test_the_published_weights_fit_the_residual_net(real_data: Path) -> None:
    cifar = load_cifar(real_data)
    assert accuracy(load_resnet(real_data, 20), cifar.test[:100], cifar.test_classes[:100]) > 70


@pytest.mark.slow
def test_trained_residual_nets_and_sounds(real_data: Path) -> None:
    options = Options("tiny", data=real_data, quiet=True)
    found, maps = residual(options, BUDGETS["tiny"])
    first = found["first"]
    assert {"paths", "untrained", "trained", "moved"} == set(maps)
    assert first["roots"]["over_edge"] == pytest.approx(first["paths"]["over_edge"] ** 0.5, rel=0.1)
    assert 1.5 < first["moved"]["over_edge"] < 6
    heard = sound(options, BUDGETS["tiny"])
    assert set(heard["nets"]) == {"start", "anywhere"}


def test_sounds_are_read_as_they_are(real_data: Path) -> None:
    speech = load_speech(real_data, most=60)
    assert len(speech.train) + len(speech.test) == 60
    assert speech.test.shape[1:] == (1, 4096)
    assert sound_net()(speech.test[:2]).shape == (2, 10)
    assert set(speech.train_classes.tolist()) <= set(range(10))
