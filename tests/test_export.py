"""A run as a file of ONNX: it answers by itself, on any size, what `predict` says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import placewise as pw
from conftest import REPOSITORY, draw_squares
from placewise.errors import SettingsError
from placewise.exporting import whole_as_onnx
from placewise.formats import read_dataset
from placewise.images import read_image
from placewise.onnx_files import able
from placewise.paddings import PADDINGS
from placewise.run import Run
from placewise.training import TrainingSettings, train

needs_onnx = pytest.mark.skipif(
    not able(), reason='onnx or onnxscript is not installed: pip install "placewise[onnx]"'
)


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_squares(tmp_path_factory.mktemp("export") / "data", 20)


def trained(squares: Path, name: str, **more: object) -> Run:
    settings = TrainingSettings.of(
        max_steps=30, device="cpu", backbone_settings={"width": 16, "depth": 1}, **more
    )
    return train(read_dataset(squares), squares.parent / name, settings, quiet=True)


def session(file: Path) -> object:
    return pytest.importorskip("onnxruntime").InferenceSession(str(file))


def check_file(run: Run, file: Path, image: np.ndarray) -> None:
    """On parts of an image of unseen sizes the file says what the model says."""
    model, answers = pw.load_model(run, "cpu"), session(file)
    height, width = image.shape[:2]
    for number in range(5):
        part = np.ascontiguousarray(image[number : height - 3 * number, : width - 5 * number])
        expected, shown = model.predict(part), model.prepared(part)
        given = np.ascontiguousarray(np.moveaxis(shown, -1, 0))[None].repeat(number + 1, 0)
        found = dict(zip(model.answers, answers.run(None, {"images": given}), strict=True))
        ratio = np.array(part.shape[1::-1]) / np.array(shown.shape[1::-1])
        places = (found["keypoints"].astype(float) + 0.5) * ratio - 0.5
        assert places.shape == (number + 1, len(model.names), 2)
        assert np.abs(places - expected.keypoints).max() <= 1e-3
        assert np.abs(found["scores"] - expected.scores).max() <= 1e-4


@needs_onnx
def test_a_file_says_what_the_model_says(squares: Path) -> None:
    """With the quickest decoder: the usual one has twenty times as many operations."""
    run = trained(squares, "quick", head_settings={"decoder": "argmax"})
    file = squares.parent / "quick.onnx"
    metadata = pw.export(run, file)
    check_file(run, file, read_image(squares / "images" / "000.png"))
    kept = session(file).get_modelmeta().custom_metadata_map
    assert kept == metadata
    assert json.loads(kept["names"]) == list(run.facts.model.names)
    assert json.loads(kept["pixel_convention"]).startswith("x right, y down")
    assert json.loads(kept["input"])["scale"] == run.facts.model.input.scale
    assert [path.name for path in file.parent.glob("quick.onnx*")] == ["quick.onnx"]
    with pytest.raises(SettingsError, match="there already; add --overwrite"):
        pw.export(run, file)


@needs_onnx
@pytest.mark.slow
def test_a_file_with_the_usual_decoder(squares: Path) -> None:
    run = trained(squares, "usual")
    file = squares.parent / "usual.onnx"
    pw.export(run, file)
    check_file(run, file, read_image(squares / "images" / "000.png"))
    example = re.search(r"```python\n(# onnxruntime.*?)```", docs("export.md"), re.S)
    assert example and len(example[1].splitlines()) <= 24
    words = example[1].replace("model.onnx", str(file))
    words = words.replace("image.png", str(squares / "images" / "003.png"))
    known: dict[str, object] = {}
    exec(compile(words, "docs/export.md", "exec"), known)
    expected = pw.load_model(run, "cpu").predict(read_image(squares / "images" / "003.png"))
    assert np.abs(known["keypoints"] - expected.keypoints).max() <= 0.05


def docs(name: str) -> str:
    return (REPOSITORY / "docs" / name).read_text(encoding="utf-8")


def test_what_cannot_be_exported_is_named(squares: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(squares, "refused", head_settings={"decoder": "taylor"})
    with pytest.raises(SettingsError, match=r"must end in \.onnx"):
        pw.export(run, squares.parent / "model.txt")
    with pytest.raises(SettingsError, match=r"there is no folder .*; make it"):
        pw.export(run, squares.parent / "missing" / "model.onnx")
    usual = Run.model

    def other(self: Run, *args: object) -> nn.Module:
        model = usual(self)
        model.padding = PADDINGS["distribution"]()
        return model

    monkeypatch.setattr(Run, "model", other)
    with pytest.raises(SettingsError, match="padded by the rule 'distribution'"):
        pw.export(run, squares.parent / "padded.onnx")
    monkeypatch.setattr(Run, "model", usual)
    if not able():
        with pytest.raises(SettingsError, match="placewise\\[onnx\\]"):
            pw.export(run, squares.parent / "model.onnx")
    for name in ("model.txt", "padded.onnx", "model.onnx"):
        assert not list(squares.parent.glob(f"{name}*"))


class Fixed(nn.Module):
    """Averages over cells of 4×4 that hold for batches of two and no other number."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        cells = nn.functional.avg_pool2d(images, 4)
        return cells.view(len(cells), 3, *cells.shape[2:])


@needs_onnx
def test_the_part_that_cannot_be_written_is_named() -> None:
    model = pw.KeypointModel(Fixed(), pw.heads.Heatmap(3, 2, decoder="argmax")).eval()
    with pytest.raises(SettingsError) as refused:
        whole_as_onnx(model)
    assert str(refused.value) == (
        "the backbone 'test_export:Fixed' cannot be written as ONNX (torch can follow it only for "
        "one size of the images, or one number of them); use another one, or `placewise predict` "
        "with --engine torch, which needs no such file"
    )
    usual = nn.Conv2d(3, 3, 4, stride=4)
    model = pw.KeypointModel(usual, pw.heads.Heatmap(3, 2, decoder="taylor")).eval()
    with pytest.raises(SettingsError, match="what is read off the output of the head 'heatmap'"):
        whole_as_onnx(model)


def test_what_is_read_in_the_graph_is_what_is_decoded(squares: Path) -> None:
    model = pw.load_model(squares.parent / "refused", "cpu")
    shown = model.prepared(read_image(squares / "images" / "001.png"))
    output, size = model.raw(shown[None]), shown.shape[:-1]
    read, (one,) = model.read(output, size), model.decode(output, size, [size], ["a"])
    assert set(read) == set(model.answers)
    assert torch.allclose(read["keypoints"][0].double(), torch.from_numpy(one.keypoints))
