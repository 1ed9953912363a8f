"""Networks named on the command line: every way to name one, and files that must not be trusted."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from placewise.auditing import audit
from placewise.errors import ImageError, SettingsError
from placewise.formats import read_dataset
from placewise.run import Run
from placewise.target import Target, find_target, parse_size, parse_sizes, read_images
from placewise.target._find import IMAGENET
from placewise.training import TrainingSettings, train

OWN = """
from torch import nn
from neighbour import WIDTH

def build():
    return nn.Sequential(nn.Conv2d(1, WIDTH, 3, padding=1), nn.ReLU())

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv1d(2, 3, 5)

    def forward(self, x):
        return self.layer(x)

class Inner:
    volume = nn.Conv3d(4, 1, 3)

ready = nn.Identity()
number = 3

def wants(width):
    return nn.Identity()

def gives_none():
    return None

def breaks():
    raise RuntimeError("no weights here")
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with code of the user's own."""
    (tmp_path / "own_net.py").write_text(OWN, encoding="utf-8")
    (tmp_path / "neighbour.py").write_text("WIDTH = 6\n", encoding="utf-8")
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("own_net", "neighbour", "_of_own_net"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


# --- the user's own code -------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["own_net", "own_net.py", "./own_net.py"])
@pytest.mark.parametrize(
    ("name", "kind", "shape"),
    [
        ("build", nn.Sequential, (1, 224, 224)),
        ("Net", nn.Module, (2, 224)),
        ("ready", nn.Identity, (3, 224, 224)),
        ("Inner.volume", nn.Conv3d, (4, 64, 64, 64)),
    ],
)
def test_own_code_by_module_and_by_file(home: Path, where: str, name: str, kind, shape) -> None:
    found = find_target(f"{where}:{name}")
    assert isinstance(found.model, kind)
    assert (found.shape, found.name) == (shape, f"{where}:{name}")
    assert (found.mean, found.std, found.note) == (None, None, "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("own_net.py:biuld", "Did you mean 'build'"),
        ("own_net:Nett", "Did you mean 'Net'"),
        ("own_net:number", "'own_net:number' is a int"),
        ("own_net:wants", "cannot be called without arguments .*missing a required.*'width'"),
        ("own_net:gives_none", "returns a NoneType; give a torch.nn.Module"),
        ("own_net.py:breaks", r"RuntimeError: no weights here at .*own_net.py:\d+"),
        ("broken.py:build", "cannot be imported .*nothing_of_that_name"),
        ("nowhere.py:build", "there is no such file"),
        ("nothing_of_that_name:build", "cannot be imported"),
        ("nowhere", "neither a folder nor a network"),
        ("resnet18", "give torchvision:NAME"),
        ("nowhere.pt2", "there is no such file"),
    ],
)
def test_what_is_no_network_is_refused(home: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        find_target(text)


@pytest.mark.parametrize(
    ("name", "size", "in_channels", "shape"),
    [
        ("build", (32,), None, (1, 32, 32)),
        ("build", (24, 32), None, (1, 24, 32)),
        ("build", (), 3, (3, 224, 224)),
        ("Net", (100,), 5, (5, 100)),
        ("Inner.volume", (8, 9, 10), None, (4, 8, 9, 10)),
    ],
)
def test_the_user_says_how_large_images_are(home: Path, name, size, in_channels, shape) -> None:
    assert find_target(f"own_net:{name}", size=size, in_channels=in_channels).shape == shape


@pytest.mark.parametrize(
    ("text", "size"), [("224", (224,)), ("240x320", (240, 320)), ("4×5X6", (4, 5, 6))]
)
def test_sizes_as_users_write_them(text: str, size: tuple[int, ...]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "x", "2x", "-3", "1.5", "1x2x3x4", "224,224", "٣x"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize("text", ["", "5", "9:5", "0:5", "a:b", "1:2:3", "-1:5"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is not a range"):
        parse_sizes(text)
    assert parse_sizes("5:5") == range(5, 6)


# --- libraries -----------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_library_that_is_not_installed_is_named(library: str, monkeypatch) -> None:
    for module in (library, f"{library}.models"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SettingsError, match=f"{library} cannot be imported.*pip install {library}"):
        find_target(f"{library}:resnet18")


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stand-ins of both libraries with one network each; what they are asked for is kept."""
    asked: list[dict[str, Any]] = []

    def vision(*, weights: str | None = "trained", weights_backbone: str | None = "trained"):
        asked.append({"weights": weights, "weights_backbone": weights_backbone})
        return nn.Conv2d(3, 1, 3)

    def create(name: str, *, pretrained: bool) -> nn.Module:
        asked.append({"name": name, "pretrained": pretrained})
        net = nn.Conv2d(1, 1, 3)
        net.pretrained_cfg = {"input_size": (1, 96, 80), "mean": [0.5], "std": [0.25]}
        return net

    models, timm = ModuleType("torchvision.models"), ModuleType("timm")
    models.list_models = lambda: ["resnet18", "vgg16"]
    models.get_model_builder = lambda name: vision
    timm.list_models = lambda: ["convnext_tiny"]
    timm.create_model = create
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    monkeypatch.setitem(sys.modules, "timm", timm)
    return asked


def test_networks_of_libraries_are_new_and_know_their_images(libraries) -> None:
    vision = find_target("torchvision:resnet18")
    assert (vision.shape, vision.mean, vision.std) == ((3, 224, 224), *IMAGENET)
    timm = find_target("timm:convnext_tiny.some_weights")
    assert (timm.shape, timm.mean, timm.std) == ((1, 96, 80), (0.5,), (0.25,))
    assert libraries == [
        {"weights": None, "weights_backbone": None},
        {"name": "convnext_tiny.some_weights", "pretrained": False},
    ]
    assert "do not describe a trained network" in vision.note == timm.note
    assert find_target("timm:convnext_tiny", size=(64,)).shape == (1, 64, 64)


@pytest.mark.parametrize(
    ("text", "near"), [("torchvision:resnet81", "resnet18"), ("timm:convnxt_tiny", "convnext_tiny")]
)
def test_a_name_that_a_library_does_not_know_is_refused(libraries, text: str, near: str) -> None:
    with pytest.raises(SettingsError, match=f"has no network named .* Did you mean '{near}'"):
        find_target(text)
    assert libraries == [], "nothing was built"


@pytest.mark.parametrize("text", ["torchvision:squeezenet1_1", "timm:test_vit"])
def test_real_libraries_where_they_are_installed(text: str) -> None:
    pytest.importorskip(text.split(":")[0], reason="needs the library itself")
    found = find_target(text, size=(64,) if text.startswith("torch") else ())
    assert audit(found.model, found.shape, measure=False).counted is not None


# --- normalisation and devices -------------------------------------------------------------------


def test_how_images_are_brought_to_a_network() -> None:
    grey, colour = (Target("net", nn.Identity(), (n, 8, 8)) for n in (1, 3))
    assert colour.normalised("auto") is colour
    assert (colour.normalised("imagenet").mean, colour.normalised("imagenet").std) == IMAGENET
    assert colour.normalised("imagenet").normalised("none").mean is None
    with pytest.raises(SettingsError, match="3 channels, but this network takes 1"):
        grey.normalised("imagenet")
    assert colour.said == "in 0..1"
    assert "minus 0.485, 0.456, 0.406" in colour.normalised("imagenet").said


@pytest.mark.parametrize("device", ["cuda:99", "nonsense", "privateuseone"])
def test_a_device_that_is_not_there_is_named(device: str) -> None:
    with pytest.raises(SettingsError, match=f"device '{device}' cannot be used"):
        Target("net", nn.Conv2d(1, 1, 1), (1, 8, 8)).on(device)


# --- exported programs ---------------------------------------------------------------------------


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("programs") / "net.pt2"
    torch.export.save(torch.export.export(small(), (torch.zeros(1, 3, 32, 24),)), path)
    return path


def test_an_exported_program_is_audited_as_its_network(program: Path) -> None:
    found = find_target(str(program))
    assert (found.shape, found.mean) == ((3, 32, 24), None)
    counted = audit(found.model, found.shape, measure=False).counted
    truth = audit(small(), (3, 32, 24), measure=False).counted
    assert counted is not None and truth is not None
    assert counted.paths.total == truth.paths.total > 0
    assert (counted.paths.counts == truth.paths.counts).all()
    with pytest.raises(SettingsError, match="cannot be moved to another device"):
        found.on("cuda")


def test_a_program_of_two_images_is_refused(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return x + y

    pair = (torch.zeros(1, 1, 4, 4),) * 2
    torch.export.save(torch.export.export(Two(), pair), tmp_path / "two.pt2")
    with pytest.raises(SettingsError, match="a program of 2 inputs; it must take one"):
        find_target(str(tmp_path / "two.pt2"))


def rewritten(program: Path, to: Path, change: Callable[[str, bytes], bytes], **more: bytes) -> str:
    """An archive with records that were changed and added."""
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
        for name, data in more.items():
            new.writestr(name, data)
    return str(to)


def edited(old: str, new: str) -> Callable[[str, bytes], bytes]:
    """Changes JSON records; at least one has to change."""

    def change(name: str, data: bytes) -> bytes:
        return data.replace(old.encode(), new.encode()) if name.endswith(".json") else data

    return change


def test_an_archive_that_is_written_anew_unchanged_is_read(program: Path, tmp_path: Path) -> None:
    """Else the tests below would pass because of the rewriting."""
    text = rewritten(program, tmp_path / "same.pt2", lambda name, data: data)
    assert find_target(text).shape == (3, 32, 24)


RELU = '"torch.ops.aten.relu.default"'


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (RELU, '"os.system"', "a call of 'os.system'"),
        (RELU, '"torch.load"', "a call of 'torch.load'"),
        (RELU, '"torch.ops.load_library"', "a call of 'torch.ops.load_library'"),
        (RELU, '"_operator.methodcaller"', "a call of '_operator.methodcaller'"),
        (RELU, '"_operator.add.__call__"', "a call of '_operator.add.__call__'"),
        (RELU, '"torch.ops.nowhere.nothing"', "a call of 'torch.ops.nowhere.nothing'"),
        ('"as_int": 2', '"as_expr": {"expr_str": "__import__(\'os\').getcwd()"}', "the expression"),
        ('"use_pickle": false', '"use_pickle": true', "a pickled tensor"),
        ('"path_name": "weight_0"', '"path_name": "custom_obj_0"', "a pickled object"),
    ],
)
def test_a_program_that_would_execute_something_is_refused(
    program: Path, tmp_path: Path, old: str, new: str, says: str
) -> None:
    with zipfile.ZipFile(program) as archive:
        records = [archive.read(n).decode() for n in archive.namelist() if n.endswith(".json")]
    if old == '"as_int": 2':
        old = '"sizes": ['
        new = f'"sizes": [{{{new}}}, '
    assert any(old in record for record in records), "the archive has another form"
    text = rewritten(program, tmp_path / "crafted.pt2", edited(old, new))
    with pytest.raises(SettingsError, match=f"contains {says}"):
        find_target(text)


class Trap:
    """Pickled, it makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.folder,)


def test_pickles_in_a_program_are_never_executed(program: Path, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    data = io.BytesIO()
    torch.save(Trap(sprung), data)
    torch.load(io.BytesIO(data.getvalue()), weights_only=False)
    assert sprung.is_dir(), "the trap works"
    sprung.rmdir()

    def everywhere(name: str, old: bytes) -> bytes:
        return data.getvalue() if name.endswith(".pt") else old

    text = rewritten(program, tmp_path / "samples.pt2", everywhere)
    with pytest.raises(SettingsError, match="cannot be read as an exported program"):
        find_target(text)
    weights = rewritten(
        program,
        tmp_path / "weights.pt2",
        lambda name, old: data.getvalue() if "weights/weight" in name else old,
    )
    with pytest.raises(SettingsError):
        find_target(weights)
    assert not sprung.exists()


def test_compiled_libraries_and_old_formats_are_refused(program: Path, tmp_path: Path) -> None:
    def same(name: str, data: bytes) -> bytes:
        return data

    library = {"net/data/aotinductor/model/lib.so": b"\x7fELF"}
    with pytest.raises(SettingsError, match="aotinductor"):
        find_target(rewritten(program, tmp_path / "library.pt2", same, **library))
    with pytest.raises(SettingsError, match=r"torch 2\.7 or older"):
        find_target(rewritten(program, tmp_path / "old.pt2", same, version=b"5.3"))


def test_a_damaged_program_is_refused_in_words(program: Path, tmp_path: Path) -> None:
    whole = program.read_bytes()
    cut = [whole[: len(whole) * share // 10] for share in range(10)]
    noise = np.random.default_rng(0).bytes(500)
    for number, data in enumerate([*cut, noise, b"PK\x03\x04" + noise, whole[200:]]):
        path = tmp_path / f"{number}.pt2"
        path.write_bytes(data)
        with pytest.raises(SettingsError, match="export it again"):
            find_target(str(path))


def test_a_flipped_bit_never_ends_in_a_crash(program: Path, tmp_path: Path) -> None:
    whole, draws = program.read_bytes(), np.random.default_rng(1)
    refused = 0
    for place in draws.integers(0, len(whole), 25):
        data = bytearray(whole)
        data[place] ^= 1 << int(draws.integers(8))
        path = tmp_path / "flipped.pt2"
        path.write_bytes(data)
        try:
            assert find_target(str(path)).shape
        except SettingsError:
            refused += 1
    assert refused > 0


def test_missing_records_are_told(program: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(program) as archive:
        names = [name for name in archive.namelist() if name.endswith(".json")]
    assert len(names) > 1
    for number, gone in enumerate(names):
        path = tmp_path / f"gone_{number}.pt2"
        with pytest.raises(SettingsError, match=r"cannot be read|program of"):
            find_target(rewritten(program, path, lambda n, d, gone=gone: b"{}" if n == gone else d))


# --- runs ----------------------------------------------------------------------------------------


def test_a_run_of_ours(squares: Path, tmp_path: Path) -> None:
    quick = {
        "precision": "float32",
        "backbone_settings": {"width": 16},
        "batch_size": 4,
        "max_steps": 2,
    }
    run = train(read_dataset(squares), tmp_path / "run", TrainingSettings.of(**quick), quiet=True)
    found = find_target(str(run.path))
    model = Run.open(run.path).model(print)
    assert found.shape == (run.facts.model.input.channels, *model.input_size)
    assert sorted(found.model.state_dict()) == sorted(model.state_dict())
    for name, value in model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], value), name


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="run") as caught:
        find_target(str(tmp_path))
    assert type(caught.value).__module__ == "placewise.errors"


# --- images ------------------------------------------------------------------------------------


def test_images_are_the_middles_of_files(tmp_path: Path) -> None:
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, 20:60, 0] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    (tmp_path / "deeper").mkdir()
    Image.fromarray(np.full((30, 20), 51, np.uint8)).save(tmp_path / "deeper" / "grey.png")
    told: list[tuple[int, int]] = []
    found = read_images(tmp_path, (3, 40, 40), progress=lambda *step: told.append(step))
    assert found.shape == (2, 3, 40, 40)
    assert told == [(1, 2), (2, 2)]
    grey, red = sorted(found, key=lambda image: float(image[0].mean()))
    assert torch.allclose(grey, torch.full_like(grey, 0.2), atol=1e-3)
    assert float(red[0].min()) == 1 and float(red[1:].max()) == 0
    scaled = read_images(tmp_path, (3, 40, 40), (0.5, 0, 0), (0.25, 1, 1))
    assert torch.allclose(scaled[:, 0], (found[:, 0] - 0.5) / 0.25)
    assert torch.equal(scaled[:, 1:], found[:, 1:])
    one = read_images(tmp_path / "wide.png", (1, 20, 20))[..., 1:-1]
    assert torch.allclose(one, torch.full_like(one, 1 / 3), atol=1e-3)


def test_of_many_images_some_from_all_over(tmp_path: Path) -> None:
    for number in range(9):
        Image.fromarray(np.full((4, 4), 20 * number, np.uint8)).save(tmp_path / f"{number}.png")
    found = read_images(tmp_path, (1, 4, 4), most=3)[:, 0, 0, 0]
    assert (255 * found).round().tolist() == [0, 80, 160]


def test_images_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="leave --data out"):
        read_images(tmp_path, (3, 16))
    with pytest.raises(SettingsError, match="2 channels and 2 axes"):
        read_images(tmp_path, (2, 16, 16))
    with pytest.raises(ImageError):
        read_images(tmp_path, (3, 16, 16))
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ImageError, match=r"torn\.png"):
        read_images(tmp_path, (3, 16, 16))
