"""What networks take: signals, several inputs, other orders of dimensions, whole numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from placewise.auditing import audit
from placewise.cli import main
from placewise.display import show
from placewise.errors import CaptureError, SettingsError, own_line
from placewise.graph import Inputs, capture, feed, taken
from placewise.graph.inputs import readings
from placewise.report.style import LIGHT
from placewise.target import find_target

NETS = """
import torch
from torch import nn

class Tagger(nn.Module):
    '''(batch, 1, samples) to a map with a column, then two-dimensional convolutions.'''
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(1, 8, (64, 1), stride=(4, 1))
        self.d = nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, x):
        return self.d(self.c(x.unsqueeze(-1))).mean((2, 3))

class Waves(Tagger):
    '''The same for (batch, samples).'''
    def forward(self, x):
        return super().forward(x.unsqueeze(1))

class Broken(nn.Module):
    def forward(self, x):
        y = x + 1
        return torch.cat([y, torch.zeros(1, 2)])

def loads():
    return torch.load("no_such_weights.pth")

def wants(width):
    return nn.Identity()

class Two(nn.Module):
    def forward(self, image, by):
        return image + by

waves = torch.zeros(2, 300)
both = (torch.zeros(1, 3, 8, 12), torch.ones(1))
count = 3

def by_name():
    return {"by": torch.ones(1), "image": torch.zeros(1, 3, 8, 12)}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "typo.py").write_text("x = 1\ndef build(:\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- signals on the command line -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"axes": 1, "size": (1024,), "in_channels": 1}, (1, 1024)),
        ({"axes": 1, "size": (1024,)}, (1, 1024)),
        ({"axes": 1}, (1, 224)),
        ({"axes": 3, "size": (8,)}, (1, 8, 8, 8)),
        ({"axes": 2, "size": (8, 9)}, (1, 8, 9)),
        ({"size": (8, 9, 10)}, (1, 8, 9, 10)),
        ({"size": (1024,)}, (1, 1024, 1024)),
        ({"example": "nets.py:waves"}, (1, 300)),
        ({"example": "nets.py:waves", "axes": 1, "size": (300,)}, (1, 300)),
    ],
)
def test_axes_and_examples_give_the_shape(home: Path, options: dict[str, Any], shape) -> None:
    assert find_target("nets.py:Tagger", **options).shape == shape


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"axes": 4}, "--axes is 4; give 1 for signals"),
        ({"axes": 1, "size": (8, 9)}, "--size has 2 sides, but --axes is 1"),
        ({"example": "nets.py:waves", "size": (99,)}, r"\(2, 300\) float32.* of size 99"),
        ({"example": "nets.py:waves", "axes": 2}, "none of them is a batch of images"),
        ({"example": "nets.py:wavs"}, "has no 'wavs'. Did you mean 'waves'"),
        ({"example": "nets.py:count"}, "'nets.py:count' is a int; give module:name"),
        ({"example": "waves"}, "--input is 'waves'; give module:name"),
    ],
)
def test_what_cannot_be_an_input_is_refused(home: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        find_target("nets.py:Tagger", **options)


@pytest.mark.parametrize("net", ["Tagger", "Waves"])
def test_a_waveform_tagger_is_a_net_of_signals(home: Path, net: str, capsys) -> None:
    main(["audit", f"nets.py:{net}", "--axes", "1", "--size", "1024", "--no-measure"])
    said = capsys.readouterr().out
    assert said.startswith(
        "To d (241), the last feature map: the best-served sample has 24 times the paths of an "
        "end; 1024 is stride-aligned."
    )
    assert not IMAGE_WORDS.search(said), said
    assert ("takes recordings without channels" in said) == (net == "Waves")


# --- orders of dimensions ------------------------------------------------------------------------


class Wrapped(nn.Module):
    """A network behind a change of its input."""

    def __init__(self, change, *layers: nn.Module) -> None:
        super().__init__()
        self.change, self.layers = change, nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.change(x))


def spectrum(x: Tensor) -> Tensor:
    """A complex spectrum as two channels, from (batch, samples)."""
    frames = x.unfold(-1, 16, 8) * torch.ones(16)
    return torch.view_as_real(torch.fft.fft(frames)).permute(0, 3, 1, 2)


ORDERS = {
    "frames": (
        Wrapped(lambda x: x.unsqueeze(1), nn.Conv1d(1, 2, 4, 2), nn.Conv1d(2, 2, 3, padding=1)),
        nn.Sequential(nn.Conv1d(1, 2, 4, 2), nn.Conv1d(2, 2, 3, padding=1)),
        (1, 40),
        "none",
    ),
    "volume": (
        Wrapped(lambda x: x.unsqueeze(1), nn.Conv3d(1, 2, 3, padding=1)),
        nn.Sequential(nn.Conv3d(1, 2, 3, padding=1)),
        (1, 5, 6, 7),
        "none",
    ),
    "last": (
        Wrapped(lambda x: x.permute(0, 3, 1, 2), nn.Conv2d(3, 2, 3, 2, 1)),
        nn.Sequential(nn.Conv2d(3, 2, 3, 2, 1)),
        (3, 10, 12),
        "last",
    ),
}


@pytest.mark.parametrize("name", ORDERS)
def test_a_network_in_another_order_has_the_paths_of_the_usual_one(name: str) -> None:
    net, usual, shape, channels = ORDERS[name]
    found, truth = (audit(one, shape, measure=False) for one in (net, usual))
    assert taken(net, shape).channels == channels and taken(usual, shape) is None
    assert (found.counted.paths.counts == truth.counted.paths.counts).all()
    assert found.counted.graph.capture == "export"
    assert len(found.notes) == 1 and not truth.notes
    shown = show(net, shape, paths=False)
    assert shown.multiply_adds == show(usual, shape, paths=False).multiply_adds > 0


def test_a_spectrum_of_complex_numbers_is_followed_from_samples() -> None:
    found = audit(Wrapped(spectrum, nn.Conv2d(2, 3, 3, padding=1)), (1, 96), measure=False)
    assert "without channels" in found.notes[0]
    assert found.counted.paths.sides == (96,)
    assert found.counted.paths.minimum > 0


def test_the_names_of_layers_and_the_network_stay(home: Path) -> None:
    net = ORDERS["frames"][0]
    before = dict(vars(net))
    one = feed(net, Inputs.alone((1, 40), "none"))
    assert [name for name, _ in one.named_parameters()] == [n for n, _ in net.named_parameters()]
    found = {node.module for node in capture(one, (1, 40)).nodes}
    assert found == {"", "layers.0", "layers.1"}
    assert vars(net) == before and "forward" not in vars(net)


def test_the_error_says_what_to_do_and_where_the_users_code_failed(home: Path) -> None:
    with pytest.raises(CaptureError) as caught:
        audit(find_target("nets.py:Broken").model, (1, 16), measure=False)
    line = 1 + NETS.splitlines().index("        return torch.cat([y, torch.zeros(1, 2)])")
    assert f"nets.py:{line})" in str(caught.value)
    assert "on a recording of shape (1, 16)" in str(caught.value)
    assert "--input file.py:example" in str(caught.value)
    assert "site-packages" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("nets.py:loads", '    return torch.load("no_such_weights.pth")'),
        ("typo.py:build", None),
    ],
)
def test_errors_name_the_last_line_of_the_users_file(home: Path, text: str, place) -> None:
    with pytest.raises(SettingsError) as caught:
        find_target(text)
    number = 2 if place is None else 1 + NETS.splitlines().index(place)
    assert f"{text.split(':')[0]}:{number})" in str(caught.value)
    assert "cannot be called" not in str(caught.value)
    with pytest.raises(SettingsError, match=r"cannot be called without arguments.*'width'"):
        find_target("nets.py:wants")


def test_an_error_without_a_line_of_the_user_names_none() -> None:
    try:
        torch.zeros(2) @ torch.zeros(3)
    except RuntimeError as error:
        assert Path(own_line(error).rpartition(":")[0]) == Path(__file__)
    assert own_line(RuntimeError("made, not raised")) == ""


# --- examples ------------------------------------------------------------------------------------


class Conditioned(nn.Module):
    """A step of a diffusion network: an image, a step for each image, an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Linear(2, 4)

    def forward(self, x: Tensor, step: Tensor, *, cond: Tensor, scale: float = 1.0) -> Any:
        shift = self.b(cond) + step.float()[:, None]
        joined = torch.cat([self.a(x), shift[..., None, None].expand(-1, -1, 8, 8)], 1)
        return {"sample": joined * scale}


def test_several_inputs_are_an_image_and_constants() -> None:
    net, image = Conditioned(), torch.zeros(1, 3, 16, 16)
    named = {"step": torch.tensor([5]), "x": image, "cond": torch.zeros(1, 2), "scale": 2.0}
    with pytest.raises(CaptureError, match=r"needs x, step, cond.*give an example of all"):
        audit(net, (3, 16, 16), measure=False)
    found = audit(net, example={**named, "cond": torch.zeros(1, 2)}, measure=False)
    truth = audit(net.a, (3, 16, 16), measure=False)
    assert found.shape == (3, 16, 16) and found.name == "Conditioned"
    assert (found.counted.paths.counts == truth.counted.paths.counts).all()
    assert "The image is the input 'x' of 4" in found.notes[0] or "'x'" in found.notes[0]
    one = feed(net, Inputs.of(named))
    assert one(torch.zeros(5, 3, 16, 16))["sample"].shape == (5, 8, 8, 8)


@pytest.mark.parametrize("text", ["nets.py:both", "nets.py:by_name"])
def test_inputs_on_the_command_line(home: Path, text: str, capsys) -> None:
    main(["audit", "nets.py:Two", "--input", text, "--no-measure", "--out", "found"])
    assert capsys.readouterr().out.startswith("To the output (8 × 12): every pixel has equally")
    main(["show", "nets.py:Two", "--input", text])
    assert "Two at 3@8×12" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("example", "shape", "channels"),
    [
        (torch.zeros(1, 50), (1, 50), "none"),
        (torch.zeros(1, 80, 50), (80, 50), "first"),
        (torch.zeros(1, 32, 24, 3), (3, 32, 24), "last"),
        (torch.zeros(1, 3, 24, 3), (3, 24, 3), "first"),
        (torch.zeros(1, 9, 8, 7, 1), (1, 9, 8, 7), "last"),
        (torch.zeros(1, 20, dtype=torch.long), (1, 20), "none"),
        (torch.zeros(1, 20, 30, dtype=torch.long), (1, 20, 30), "none"),
        (torch.zeros(1, 3, 20, 30, dtype=torch.uint8), (3, 20, 30), "first"),
        ((torch.zeros(1, 7, dtype=torch.long), torch.zeros(1, 2, 9)), (2, 9), "first"),
    ],
)
def test_how_an_example_is_read(example: Any, shape, channels: str) -> None:
    found = Inputs.of(example)
    assert (found.shape, found.channels) == (shape, channels)
    assert tuple(found.canonical.shape) == (1, *shape)
    (back,) = [arg for n, arg in enumerate(found.given(found.canonical)[0]) if n == found.image]
    own = example[found.image] if isinstance(example, tuple) else example
    assert back.dtype == own.dtype and back.shape == own.shape


def test_what_was_asked_for_decides_between_ways_to_read() -> None:
    frames = torch.zeros(1, 50, 80)
    assert {shape for _, shape in readings(frames)} == {(50, 80), (80, 50), (1, 50, 80)}
    assert Inputs.of(frames, in_channels=80).channels == "last"
    assert Inputs.of(frames, axes=2).channels == "none"
    both = (torch.zeros(1, 4, 10), torch.zeros(1, 3, 8, 8))
    assert Inputs.of(both).image == 0 and Inputs.of(both, size=(8, 8)).image == 1
    with pytest.raises(SettingsError, match="no tensor, and none of them"):
        Inputs.of((1, "a"))


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e, self.c = nn.Embedding(30, 8), nn.Conv1d(8, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.e(x).transpose(1, 2))


def test_whole_numbers_are_counted_and_not_measured() -> None:
    found = audit(Tokens(), example=torch.arange(20)[None])
    assert found.counted.paths.counts.tolist() == [2, *[3] * 18, 2]
    assert found.measured is None
    assert "Nothing is measured: the recording consists of whole" in found.table()


# --- words ---------------------------------------------------------------------------------------

IMAGE_WORDS = re.compile(
    r"\b(images?|pixels?|px|pictures?|photographs?|rows?|columns?|squares?|corners?|borders?)\b"
    r"|\bleft\b|\bright\b|\btop\b|\bbottom\b|\bdarke?r?\b|\bsees\b|\bobjects?\b|painted",
    re.IGNORECASE,
)


def page_words(page: str) -> str:
    """What a reader of a page sees, and what is said of its figures."""
    alts = " ".join(re.findall(r'alt="([^"]*)"', page))
    page = re.sub(r"<(style|script).*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"<[^>]+>", " ", re.sub(r'src="[^"]*"', "", page)) + alts


def drawn_words(found, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that is written in the figures."""
    from matplotlib.axes import Axes
    from matplotlib.text import Text

    written: list[str] = []
    real = Text.set_text
    monkeypatch.setattr(Text, "set_text", lambda own, s: written.append(str(s)) or real(own, s))
    plot = Axes.plot
    monkeypatch.setattr(
        Axes, "plot", lambda *a, **k: written.append(str(k.get("label", ""))) or plot(*a, **k)
    )
    for drawing in found.drawings.values():
        drawing.draw.cache_clear()
        drawing.draw(LIGHT)
    return written


def test_sound_is_spoken_of_as_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.Sequential(
        nn.Conv1d(1, 2, 7, 2, 3), nn.ReLU(), nn.Conv1d(2, 2, 3, 1, 1), nn.Conv1d(2, 2, 3, 2, 1)
    )
    said: list[str] = []
    found = audit(net, (1, 48), say=said.append)
    assert found.measured is not None and len(found.drawings) > 8
    page = found.save(tmp_path / "a").read_text()
    told = {
        "console": "\n".join(said),
        "table": found.table(),
        "page": page_words(page),
        "figures": "\n".join(drawn_words(found, monkeypatch)),
        "json": sentences(found.to_dict()),
        "show": show(net, (1, 48)).table(),
    }
    for where, words in told.items():
        assert len(words) > 50, where
        found_words = IMAGE_WORDS.search(words.replace("max_over_corner", ""))
        assert found_words is None, (where, found_words)
    assert "Measured on 32 recordings of noise" in told["console"]
    assert re.search(r"effective field +[\d.]+ samples", told["console"])


def sentences(value: Any) -> str:
    """All text of JSON that has a blank, so that keys and names are left out."""
    if isinstance(value, dict):
        return " \n".join(sentences(one) for one in value.values())
    if isinstance(value, list):
        return " \n".join(map(sentences, value))
    return value if isinstance(value, str) and " " in value else ""


def test_volumes_are_spoken_of_as_volumes(tmp_path: Path, monkeypatch) -> None:
    net = nn.Sequential(nn.Conv3d(1, 2, 3, 2, 1), nn.Conv3d(2, 2, 3, 1, 1))
    found = audit(net, (1, 8, 9, 8), measure=False)
    page = page_words(found.save(tmp_path / "a").read_text())
    told = [found.table(), page, sentences(found.to_dict()), show(net, (1, 8, 9, 8)).table()]
    words = "\n".join([*told, *drawn_words(found, monkeypatch)])
    assert "voxel" in words and "volume" in words
    assert not re.search(r"\b(images?|pixels?|px)\b", words, re.IGNORECASE)


def test_the_first_line_is_true_and_complete() -> None:
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)

        def forward(self, x: Tensor) -> list[Tensor]:
            first = self.a(x)
            return [first, self.b(first)]

    class Upwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            down = functional.max_pool2d(self.a(x), 2)
            return self.b(functional.interpolate(down, scale_factor=2))

    first = audit(Detector(), (3, 33, 33), measure=False).verdict
    assert first.startswith("To the first of 2 outputs (17 × 17): the best-served pixel has")
    assert audit(Upwards(), (3, 32, 32), measure=False).verdict.startswith(
        "To the output (32 × 32)"
    )
