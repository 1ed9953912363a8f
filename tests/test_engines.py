"""Engines: each says what torch says, is chosen by measurement, and harms nothing of the user's."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import placewise as pw
from conftest import draw_squares
from placewise.backbones import BACKBONES
from placewise.engines import ENGINES, INT8, SMALLEST, Engine, Plain, write_int8, write_network
from placewise.engines._folding import NORMS, fold
from placewise.errors import SettingsError, ShapeError
from placewise.files import lock, read_json, write_json
from placewise.formats import read_dataset
from placewise.model import InputSettings, ModelSettings, Network
from placewise.onnx_files import able, metadata_in
from placewise.prediction import choosing, predict
from placewise.prediction.choosing import NEAR, Choice, Chooser, Lanes, distance
from placewise.run import Run
from placewise.tasks import build
from placewise.training import TrainingSettings, train

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:onnx.*")

CHOICES = [Choice(name, one) for name in ENGINES.names() for one in ENGINES[name].precisions]
assert {one.engine for one in CHOICES} >= {"torch", "onnxruntime", "openvino"}


def stirred(network: nn.Module, seed: int = 0) -> nn.Module:
    """With norms that do something: as they begin, folding them could hardly be wrong."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, NORMS):
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.uniform_(module.bias, -0.3, 0.3, generator=generator)
    return network.eval()


def network_of(backbone: str = "unet", head: str = "heatmap", **more: object) -> Network:
    settings = ModelSettings(
        names=("a", "b"),
        input=InputSettings(scale=1, size=(32, 48), channels=1, mean=(0.4,), std=(0.3,)),
        backbone=backbone,
        backbone_settings={"width": 16, "depth": 1} if backbone == "unet" else {},
        head=head,
        **more,
    )
    torch.manual_seed(0)
    network = stirred(build(settings))
    if head == "heatmap":
        nn.init.normal_(network.head.maps.values.weight, std=0.5)
    return network


@pytest.mark.parametrize("name", [name for name in BACKBONES.names() if name != "timm"])
def test_folded_norms_say_the_same(name: str) -> None:
    backbone = stirred(BACKBONES[name](1))
    images = torch.rand(2, 1, 64, 96)
    folded = copy.deepcopy(backbone)
    count = fold(folded, images)
    norms = sum(isinstance(one, NORMS) for one in backbone.modules())
    left = sum(isinstance(one, NORMS) for one in folded.modules())
    assert count == norms - left and (count > 0) == (norms > 0)
    with torch.inference_mode():
        expected, found = backbone(images), folded(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


class Twice(nn.Module):
    """What a convolution says goes to a norm and past it; another convolution is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)
        self.shared, self.last = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.first(images)
        maps = maps + self.norm(maps)
        return self.last(self.shared(self.shared(maps)))


def test_norms_stay_where_others_read_what_they_read() -> None:
    network = stirred(Twice())
    images = torch.rand(1, 1, 8, 8)
    expected = network(images)
    assert fold(network, images) == 0
    assert torch.equal(network(images), expected)


def lanes() -> Lanes:
    return Lanes(1, torch.get_num_threads())


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_squares(tmp_path_factory.mktemp("engines") / "data", 20)


@pytest.fixture(scope="module")
def run(squares: Path) -> Run:
    settings = TrainingSettings.of(
        max_steps=2, device="cpu", backbone_settings={"width": 16, "depth": 1}
    )
    return train(read_dataset(squares), squares.parent / "run", settings, quiet=True)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of `network_of` as a file."""
    if not able():
        pytest.skip('onnx or onnxscript is not installed: pip install "placewise[onnx]"')
    path = tmp_path_factory.mktemp("file") / "network.onnx"
    write_network(network_of(), path)
    return path


@pytest.fixture(scope="module")
def int8_file(file: Path) -> Path:
    """The same in 8 bits, made for images of several sizes."""
    if not ENGINES["onnxruntime"].there():
        pytest.skip('onnxruntime is not installed: pip install "placewise[fast]"')
    generator = torch.Generator().manual_seed(0)
    sizes = [(32, 48), (40, 56), (24, 40)]
    images = [torch.rand(1, 1, *size, generator=generator) for size in sizes]
    path = file.with_name("int8.onnx")
    write_int8(file, iter(images), path)
    return path


def made(choice: Choice, network: Network, request: pytest.FixtureRequest) -> Engine:
    member = ENGINES[choice.engine]
    if not member.there():
        pytest.skip(f'{member.package} is not installed: pip install "placewise[fast]"')
    path = None
    if member.from_file:
        path = request.getfixturevalue("int8_file" if choice.precision == INT8 else "file")
    return member(network, path, choice.precision, 1, 2)


@pytest.mark.parametrize("choice", CHOICES, ids=lambda one: one.shown.replace(" ", "-"))
def test_an_engine_says_what_torch_says(choice: Choice, request: pytest.FixtureRequest) -> None:
    network = network_of()
    engine, batch = made(choice, network, request), torch.rand(1, 1, 40, 56)
    assert distance(engine, network, batch) <= NEAR[choice.precision]
    with torch.inference_mode():
        several = torch.rand(3, 1, 24, 40)
        found, expected = engine(several), network.head(network.features(several))
        assert found.dtype == torch.float32 and found.shape == expected.shape
        if choice.engine != "torch":
            assert torch.equal(engine(several[1:2]), found[1:2]), "the others change nothing"
        if choice.precision == "float32":
            shown = tuple(several.shape[2:])
            one, other = (network.read(x, shown)["keypoints"] for x in (found, expected))
            assert float((one - other).abs().max()) <= 1e-3


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_an_image_that_is_too_small_is_for_the_modules(name: str, tmp_path: Path) -> None:
    """What runs a file fails in words of its own, or gives maps without a pixel."""
    if not (able() and ENGINES[name].there()):
        pytest.skip(f"{name} or onnx is not installed")
    network, file = network_of("lenet"), tmp_path / "network.onnx"
    write_network(network, file)
    engine = ENGINES[name](network, file, "float32", 1, 1)
    for size in [(4, 4), (8, 32), (32, 8)]:
        with pytest.raises(ShapeError) as expected:
            network(torch.rand(1, 1, *size))
        with pytest.raises(ShapeError, match=re.escape(str(expected.value))):
            engine(torch.rand(1, 1, *size))
    for size in [(16, 16), (16, 40), (40, 20)]:
        images = torch.rand(2, 1, *size)
        with torch.inference_mode():
            torch.testing.assert_close(engine(images), network(images), rtol=1e-4, atol=1e-4)
    assert json.loads(metadata_in(file)[SMALLEST]) == [16, 16]


def test_distance_sees_a_single_wrong_corner() -> None:
    network = network_of()

    def wrong(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            output = network.head(network.features(images))
            output[..., -1, -1] += output.std()
            return output

    assert distance(wrong, network, torch.rand(1, 1, 64, 96)) > NEAR["bfloat16"]  # type: ignore[arg-type]


class Off(ENGINES["torch"]):  # type: ignore[misc]
    """Says something else."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return super().__call__(images) * 1.1


def test_an_engine_that_differs_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "ENGINES", {"torch": Off})
    with pytest.raises(SettingsError, match=r"torch in float32 differs .* 0\.0001 is allowed"):
        Chooser(run, run.model(), lanes(), lambda: [torch.rand(1, 1, 32, 32)]).held(Choice())


def test_little_work_is_done_by_torch_in_float32(run: Run, squares: Path, tmp_path: Path) -> None:
    about = predict(run, squares / "images", tmp_path / "out", overlays=0, device="cpu")
    assert (about["engine"], about["precision"]) == ("torch", "float32")
    assert not (run.path / "engines").exists()
    chosen = pw.load_model(run.path, "cpu").predict(squares / "images" / "000.png")
    first = (tmp_path / "out" / "predictions.csv").read_text().splitlines()[1].split(",")
    assert np.allclose([float(first[2]), float(first[3])], chosen.keypoints[0], atol=2e-3)


@pytest.fixture
def torch_alone(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every prediction is worth a choice, and only torch is there; what is timed."""
    timed: list[str] = []
    usual = choosing._seconds

    def noted(engine: Engine, images: torch.Tensor) -> float:
        timed.append(type(engine).__name__)
        return usual(engine, images)

    for limit in ("LITTLE", "MUCH"):
        monkeypatch.setattr(choosing, limit, 0.0)
    monkeypatch.setattr(choosing, "_seconds", noted)
    for name in ENGINES.names():
        if name != "torch":
            monkeypatch.setattr(ENGINES[name], "there", classmethod(lambda cls: False))
    return timed


def test_much_work_is_measured_once_and_kept(
    run: Run, squares: Path, tmp_path: Path, torch_alone: list[str]
) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    first = predict(tmp_path / "run", squares / "images", tmp_path / "one", overlays=0)
    assert torch_alone == ["Torch"] * 2 * choosing.TRIES
    (kept,) = (tmp_path / "run" / "engines").iterdir()
    content = read_json(kept)
    assert (content["engine"], content["precision"]) == (first["engine"], first["precision"])
    assert set(content["images_per_second"]) == {"torch in float32", "torch in bfloat16"}
    second = predict(tmp_path / "run", squares / "images", tmp_path / "two", overlays=0)
    assert len(torch_alone) == 2 * choosing.TRIES, "nothing was measured again"
    assert second["engine"] == first["engine"]
    files = [(tmp_path / out / "predictions.csv").read_bytes() for out in ("one", "two")]
    assert files[0] == files[1]

    write_json(kept, {**content, "weights": "another"})
    predict(tmp_path / "run", squares / "images", tmp_path / "three", overlays=0)
    assert len(torch_alone) == 4 * choosing.TRIES, "the weights are others"


def test_a_kept_choice_that_differs_on_these_images_is_not_used(
    run: Run,
    squares: Path,
    tmp_path: Path,
    torch_alone: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    chooser = Chooser(Run.open(tmp_path / "run"), run.model(), lanes(), lambda: iter(()))
    machine = choosing.lanes_of(torch.device("cpu"), 40)
    monkeypatch.setattr(chooser, "lanes", machine)
    chooser._keep(Choice("torch", "bfloat16"), {}, whole=True)
    monkeypatch.setitem(NEAR, "bfloat16", 0.0)
    about = predict(tmp_path / "run", squares / "images", tmp_path / "out", overlays=0)
    assert (about["engine"], about["precision"]) == ("torch", "float32")
    assert "torch in bfloat16 is not used: " in caplog.text


def test_engines_are_compared_on_an_image_that_shows_something(run: Run) -> None:
    blank, shown = torch.ones(1, 1, 32, 32), torch.rand(1, 1, 32, 32)
    chooser = Chooser(run, run.model(), lanes(), lambda: iter((blank, shown, blank)))
    assert chooser.first is blank and chooser._liveliest is shown


def test_a_file_beside_the_run_is_read_before_another_process_may_remove_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Predictions in 8 bits that began at the same moment removed each other's files."""
    shutil.copytree(run.path, tmp_path / "run")
    read: list[bool] = []

    class Reads(ENGINES["torch"]):  # type: ignore[misc]
        from_file = True

        def __init__(self, model: Network, file: Path, *rest: object) -> None:
            with (file.parent / ".lock").open("rb") as held, pytest.raises(OSError):
                lock(held.fileno())
            read.append(file.is_file())
            super().__init__(model, None, *rest)

    def write(chooser: Chooser) -> Path:
        (chooser._home() / "network.onnx").touch()
        return chooser._home() / "network.onnx"

    monkeypatch.setattr(choosing, "ENGINES", {"torch": Reads})
    monkeypatch.setattr(Chooser, "_file", write)
    images = [torch.rand(1, 1, 32, 32)]
    Chooser(Run.open(tmp_path / "run"), run.model(), lanes(), lambda: images).make(Choice())
    assert read == [True]
    with (tmp_path / "run" / "engines" / ".lock").open("rb") as free:
        lock(free.fileno())


def test_some_work_is_worth_a_precision_but_no_file(
    run: Run, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "LITTLE", 0.0)
    monkeypatch.setattr(choosing, "MUCH", 1e9)
    for number, (slow, chosen) in enumerate([(2.0, "bfloat16"), (1.1, "float32")]):
        speeds = {torch.float32: slow, torch.bfloat16: 1.0}
        monkeypatch.setattr(choosing, "_seconds", lambda engine, _, s=speeds: s[engine._kind])
        out = tmp_path / f"out{number}"
        about = predict(run, squares / "images", out, overlays=0, device="cpu")
        assert (about["engine"], about["precision"]) == ("torch", chosen)
    assert not (run.path / "engines").exists()


def test_a_run_that_cannot_be_written_to_is_left_alone(
    run: Run, squares: Path, tmp_path: Path, torch_alone: list[str]
) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    (tmp_path / "run" / "engines").write_text("in the way")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    predict(tmp_path / "run", squares / "images", tmp_path / "out", overlays=0)
    assert torch_alone
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}


def test_int8_is_made_for_the_images_and_only_when_asked(
    run: Run, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = [name for name in ("onnxruntime", "openvino") if not ENGINES[name].there()]
    if missing or not able():
        pytest.skip(f'{missing or "onnx"} is not installed: pip install "placewise[fast]"')
    monkeypatch.setitem(choosing.NEAR, INT8, 1.0)  # weights of two steps say next to nothing
    shutil.copytree(run.path, tmp_path / "run")
    (tmp_path / "few").mkdir()
    for number in range(3, 6):
        shutil.copy(squares / "images" / f"00{number}.png", tmp_path / "few")
    kept = []
    for number, images in enumerate((squares / "images", tmp_path / "few", squares / "images")):
        out = tmp_path / f"out{number}"
        about = predict(tmp_path / "run", images, out, overlays=0, precision="int8", device="cpu")
        assert (about["engine"], about["precision"]) == ("openvino", "int8")
        names = {one.stem for one in (tmp_path / "run" / "engines").glob("*.onnx")}
        assert len(names) == 2, "the network, and the last of those in 8 bits"
        kept.append((names, (out / "predictions.csv").read_bytes()))
    assert kept[0] == kept[2] and kept[0][0] != kept[1][0]
    usual = {one for precision in ("auto", "float32") for one in choosing._asked("auto", precision)}
    assert usual and all(one.precision != INT8 for one in usual)


def test_engines_that_cannot_be_used_are_refused(run: Run, squares: Path, tmp_path: Path) -> None:
    asked = {
        "computes in float32": {"engine": "onnxruntime", "precision": "bfloat16"},
        "no engine is named 'tourch'": {"engine": "tourch"},
        "got the precision 'int4'; use auto, bfloat16, float32, int8": {"precision": "int4"},
        "computes in float32 or bfloat16; leave": {"engine": "torch", "precision": "int8"},
    }
    for match, options in asked.items():
        with pytest.raises(SettingsError, match=match):
            predict(run, squares / "images", tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_resumed_prediction_keeps_its_engine(run: Run, squares: Path, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Stopped

    options = {"overlays": 0, "device": "cpu", "engine": "torch", "precision": "bfloat16"}
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert predict(run, squares / "images", whole, **options)["precision"] == "bfloat16"
    with pytest.raises(Stopped):
        predict(run, squares / "images", out, **options, progress=stop)
    lines = [json.loads(line) for line in (out / "progress.jsonl").read_text().splitlines()]
    assert lines[1] == {"engine": ["torch", "bfloat16"]}
    with pytest.raises(SettingsError, match="or with other options"):
        predict(run, squares / "images", out, overlays=0, resume=True)
    predict(run, squares / "images", out, **options, resume=True)
    assert (out / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()


def test_lanes_share_the_threads() -> None:
    for threads in range(1, 70):
        for batches in (1, 2, 3, 100):
            found = Lanes.of(threads, batches)
            assert 1 <= found.calls <= min(4, batches, threads)
            assert 1 <= found.calls * found.threads <= threads


@pytest.mark.parametrize("choice", CHOICES, ids=lambda one: one.shown.replace(" ", "-"))
def test_calls_at_once_give_the_same_bits(choice: Choice, request: pytest.FixtureRequest) -> None:
    network = network_of()
    engine = made(choice, network, request)
    batches = [torch.rand(2, 1, 24 + 8 * (number % 3), 40) for number in range(12)]
    alone = [engine(batch) for batch in batches]
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(engine, batches))
    assert all(torch.equal(*pair) for pair in zip(alone, together, strict=True))


SILENT = """
import sys
def listen(event, arguments):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib")):
        print("CALLED", event, arguments, file=sys.stderr)
        raise SystemExit(9)
sys.addaudithook(listen)
import placewise as pw
pw.predict(*sys.argv[1:4], engine=sys.argv[4], overlays=0, device="cpu")
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_nothing_calls_out(run: Run, squares: Path, tmp_path: Path, engine: str) -> None:
    if not (able() and ENGINES[engine].there()):
        pytest.skip(f"{engine} or onnx is not installed")
    words = [str(run.path), str(squares / "images"), str(tmp_path / "out"), engine]
    done = subprocess.run([sys.executable, "-c", SILENT, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    kept = sorted(path.suffix for path in (run.path / "engines").iterdir())
    assert kept == [".json", ".onnx"]


def test_plain_is_the_network() -> None:
    network, images = network_of(), torch.rand(1, 1, 32, 48)
    with torch.inference_mode():
        assert torch.equal(Plain(network)(images), network(images))
