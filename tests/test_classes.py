"""Classes as a task of the first flow: they are learnt, answered, scored and explained."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from placewise.augment import Augmentation
from placewise.backbones import Backbone
from placewise.checking import check, write_findings
from placewise.cli import main
from placewise.errors import DataError, ImageError, SettingsError
from placewise.evaluation import evaluate
from placewise.formats import read_dataset, write_dataset
from placewise.heads import HEADS, ClassHead
from placewise.images import read_image
from placewise.labels import NOT_LABELLED, ClassDataset, ClassSample, of_split, split_images
from placewise.model import InputSettings, ModelSettings, batches_of
from placewise.model.inputs import as_input, choose_input, shown_size
from placewise.prediction import predict
from placewise.run import Run, load_model
from placewise.tasks import choose_model, task_named
from placewise.tasks.classes.check import ClassFacts
from placewise.tasks.classes.items import runs_of_one_size
from placewise.tasks.classes.model import ClassModel
from placewise.training import TrainingSettings, train
from placewise.training.begin import fingerprint_of
from placewise.training.dataset import TrainingSet
from placewise.training.order import Order, Stream

NAMES = ("cross", "square", "stripes")
SIDE = 20


class Averages(ClassHead):
    """The simplest linear head: W · mean of the features + b."""

    def __init__(self, in_channels: int, classes: int, size: tuple[int, ...]) -> None:
        super().__init__()
        self.out = nn.Linear(in_channels, classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.out(features.flatten(2).mean(-1))
        return logits


class Places(ClassHead):
    """Linear too, with weights of its own for each place."""

    any_size = False

    def __init__(self, in_channels: int, classes: int, size: tuple[int, ...]) -> None:
        super().__init__()
        self.out = nn.Linear(in_channels * int(np.prod(size)), classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.out(features.flatten(1))
        return logits


class FromFile(Backbone):
    """Halves by one convolution, whose first weights are those of a file."""

    out_channels, stride, multiple, receptive_field = 4, 2, 2, 2
    first_weights = ("weights",)

    def __init__(self, in_channels: int, *, weights: str = "") -> None:
        super().__init__()
        self.body = nn.Conv2d(in_channels, self.out_channels, 2, stride=2)
        if weights:
            self.body.load_state_dict(load_file(weights))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.body(images)
        return features


def shape(kind: int, rng: np.random.Generator) -> np.ndarray:
    """A cross, a square or stripes somewhere on noise."""
    image = rng.normal(90, 12, (SIDE, SIDE))
    y, x = rng.integers(1, SIDE - 9, 2)
    part = image[y : y + 8, x : x + 8]
    if kind == 0:
        part[3:5], part[:, 3:5] = 230, 230
    elif kind == 1:
        part[:] = 230
        part[2:6, 2:6] = 90
    else:
        part[::2] = 230
    return image.clip(0, 255).astype(np.uint8)


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    return np.stack([shape(int(k), rng) for k in labels]), labels


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .npz of 150 training and 30 test images."""
    folder = tmp_path_factory.mktemp("shapes")
    (x, y), (x_test, y_test) = drawn(150), drawn(30, seed=1)
    np.savez(
        folder / "shapes.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test,
        class_names=np.array(NAMES),
    )  # fmt: skip
    return folder


QUICK = {
    "precision": "float32",
    "batch_size": 8,
    "backbone_settings": {"width": 16, "depth": 1},
    "head_settings": {"hidden": 16},
}


def quick(**values: object) -> TrainingSettings:
    return TrainingSettings.of(**{**QUICK, **values})


def trained(data: Path, out: Path, *, resume: bool = False, **values: object) -> Run:
    return train(read_dataset(data), out, quick(**values), resume=resume, quiet=True)


@pytest.fixture(scope="module")
def run(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that has learnt the shapes."""
    out = tmp_path_factory.mktemp("runs") / "shapes"
    return trained(shapes, out, max_steps=80, learning_rate=1e-2, val_interval=40)


# --- training --------------------------------------------------------------------------------


def test_it_learns(run: Run) -> None:
    lines = [line for line in run.log() if "val_log_loss" in line]
    assert [line["step"] for line in lines] == [40, 80]
    assert lines[-1]["val_log_loss"] < 0.75 * np.log(3)
    assert lines[-1]["val_accuracy"] > 0.7
    assert run.facts.model.task == "classes"
    assert run.facts.model.names == NAMES
    assert run.facts.model.head == "convolutional"
    assert run.calibration()["temperature"] > 0
    assert "factor" not in run.calibration()
    assert (run.path / "preview.png").is_file()
    counts = {name: len(images) for name, images in run.facts.split.items()}
    assert counts == {"train": 135, "val": 15, "test": 30}


def bits(run: Run) -> dict[str, torch.Tensor]:
    return load_file(max((run.path / "checkpoints").glob("step-*")))


@pytest.fixture(scope="module")
def short(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of 8 steps, undisturbed."""
    return trained(shapes, tmp_path_factory.mktemp("runs") / "short", max_steps=8, val_interval=4)


def test_a_file_of_first_weights_is_read_once(shapes: Path, tmp_path: Path) -> None:
    """Training begins with them; the run keeps its own, so nobody needs the file again."""
    file, labels = tmp_path / "first.safetensors", read_dataset(shapes)
    body = nn.Conv2d(labels.images.read("train/00000").shape[2], FromFile.out_channels, 2)
    save_file(body.state_dict(), file)
    settings = TrainingSettings(
        max_steps=2, learning_rate=1e-6, batch_size=8, precision="float32",
        backbone=f"{HERE}:FromFile", backbone_settings={"weights": str(file)},
    )  # fmt: skip
    run = train(labels, tmp_path / "run", settings, quiet=True)
    file.unlink()
    assert run.facts.model.backbone_settings == {"weights": ""}
    assert run.facts.training["backbone_settings"] == {"weights": str(file)}
    model = load_model(run.path)
    torch.testing.assert_close(model.backbone.body.weight, body.weight, rtol=0, atol=1e-5)
    shutil.rmtree(run.path / "validation", ignore_errors=True)
    assert train(labels, run.path, settings, resume=True, quiet=True).facts == run.facts


def test_workers_do_not_change_a_bit(shapes: Path, short: Run, tmp_path: Path) -> None:
    again = trained(shapes, tmp_path / "two", max_steps=8, val_interval=4, num_workers=2)
    first, second = bits(short), bits(again)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_that_lost_its_end_ends_the_same(shapes: Path, short: Run, tmp_path: Path) -> None:
    torn = shutil.copytree(short.path, tmp_path / "torn")
    (torn / "checkpoints" / "step-00000008.safetensors").unlink()
    (torn / "calibration.json").unlink()
    again = trained(shapes, torn, max_steps=8, resume=True)
    assert all(torch.equal(bits(short)[name], found) for name, found in bits(again).items())
    assert again.calibration() == short.calibration()


@pytest.mark.parametrize("head", [n for n in HEADS.names() if HEADS[n].task == "classes"])
def test_every_head_of_classes_goes_through_the_flow(
    shapes: Path, tmp_path: Path, head: str
) -> None:
    run = trained(shapes, tmp_path / "run", max_steps=2, head=head, head_settings={})
    scores = evaluate(run, read_dataset(shapes))
    assert scores["images"] == 30
    model = load_model(run)
    evidence = model.evidence(read_dataset(shapes).image("test/00000"), 0)
    assert evidence.shape == (SIDE, SIDE) and np.isfinite(evidence).all()


@pytest.mark.parametrize(
    ("head", "says"), [("heatmap", "learns keypoints"), ("coordinates", "keypoints")]
)
def test_a_head_of_keypoints_is_refused(shapes: Path, tmp_path: Path, head: str, says: str) -> None:
    with pytest.raises(
        SettingsError, match=rf"'{head}' learns keypoints.*classes; take one of: .*flat"
    ):
        trained(shapes, tmp_path / "run", max_steps=2, head=head)
    assert not (tmp_path / "run").exists()


def test_a_head_of_classes_is_refused_for_keypoints(squares: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"learns classes, and .* hold (key)?points; take one"):
        train(read_dataset(squares), tmp_path / "run", quick(head="convolutional"), quiet=True)


def test_images_without_a_class_are_left_out(tmp_path: Path) -> None:
    x, y = drawn(40)
    np.savez(tmp_path / "a.npz", images=x, labels=np.where(np.arange(40) < 10, -1, y))
    run = trained(tmp_path, tmp_path / "run", max_steps=2)
    seen = [image for images in run.facts.split.values() for image in images]
    assert sorted(seen) == [f"a/{k:05d}" for k in range(10, 40)]
    labels = read_dataset(tmp_path)
    none = ClassDataset(labels.root, labels.names, labels.samples[:10], held=labels.images)
    with pytest.raises(DataError, match="no image has a class"):
        train(none, tmp_path / "none", quick(max_steps=2), quiet=True)


def test_the_loss_of_an_unknown_class_is_nothing(shapes: Path) -> None:
    labels = read_dataset(shapes)
    sample = ClassSample(labels.samples[0].image, (SIDE, SIDE), None)
    view = InputSettings(scale=1, size=(SIDE, SIDE), channels=1, mean=(0.4,), std=(0.2,))
    shown = TrainingSet(task_named("classes"), labels, [sample], view, (20, 20), Augmentation(), 0)
    _, label, index = shown[0, 0]
    assert (label, index) == (NOT_LABELLED, 0)


def test_batches_are_images_and_their_classes(shapes: Path) -> None:
    labels = read_dataset(shapes)
    samples = of_split(labels, split_images(labels, 0), "train")
    view = choose_input(labels, samples, None, 0, whole=True, fit=True)
    assert (view.scale, view.size, view.channels, view.fit) == (1.0, (SIDE, SIDE), 1, False)
    shown = TrainingSet(task_named("classes"), labels, samples, view, (24, 28), Augmentation(), 0)
    for images, classes, indices in Stream(shown, Order(len(samples), 8, 0, start=0, stop=3), 0):
        assert images.shape == (8, 1, 24, 28)
        assert [samples[int(i)].label for i in indices] == classes.tolist()


def test_the_fingerprint_is_of_images_and_classes(shapes: Path) -> None:
    labels = read_dataset(shapes)

    def of(samples: tuple[ClassSample, ...], names: tuple[str, ...] = NAMES) -> str:
        changed = ClassDataset(labels.root, names, samples, held=labels.images)
        return fingerprint_of(task_named("classes"), changed)

    same = of(labels.samples)
    assert of(labels.samples[::-1]) == same
    other = ClassSample(labels.samples[0].image, (SIDE, SIDE), 2)
    assert of((other, *labels.samples[1:])) != same
    assert of(labels.samples[1:]) != same
    assert of(labels.samples, ("cross", "square", "stripe")) != same


# --- the model -------------------------------------------------------------------------------


def classifier(head: str, *, frame: int = SIDE, fit: bool = False, channels: int = 1) -> ClassModel:
    view = InputSettings(
        scale=1, size=(frame, frame), channels=channels, mean=(0.4,) * channels,
        std=(0.2,) * channels, fit=fit,
    )  # fmt: skip
    settings = ModelSettings(
        names=NAMES, input=view, backbone_settings={"width": 16, "depth": 1}, head=head
    )
    model = ClassModel.build(settings).eval()
    torch.manual_seed(1)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1)
    return model


HERE = __name__


@pytest.mark.parametrize("head", ["Averages", "Places"])
@pytest.mark.parametrize("label", [0, 2])
def test_evidence_adds_up_to_the_logit(head: str, label: int) -> None:
    """Of a head that is linear in its features, for an image that fills the frame."""
    model = classifier(f"{HERE}:{head}", frame=24)
    image = np.random.default_rng(0).integers(0, 255, (24, 24, 1)).astype(np.uint8)
    logit = model.predict(image).logits[label]
    bias = model.head.out.bias[label].detach()
    found = model.evidence(image, label).sum() / model.stride**2
    assert found == pytest.approx(float(logit - bias), rel=1e-4)


def test_evidence_of_an_average_is_the_class_activation_map() -> None:
    """Slow twin: Σ_c w_c f_c at each place, brought to the image's size."""
    model = classifier(f"{HERE}:Averages", frame=24)
    image = np.random.default_rng(1).integers(0, 255, (24, 24, 1)).astype(np.uint8)
    with torch.no_grad():
        features = model.features(model.as_batch(as_input(image, model.input)))[0]
        expected = torch.zeros(features.shape[1:])
        for weight, feature in zip(model.head.out.weight[1], features, strict=True):
            expected += weight * feature / feature.numel()
    large = nn.functional.interpolate(expected[None, None], size=(24, 24), mode="bilinear")
    np.testing.assert_allclose(model.evidence(image, 1), large[0, 0].numpy(), atol=1e-6)


@pytest.mark.parametrize("size", [(20, 20), (24, 24), (9, 13), (41, 30), (24, 64)])
def test_any_image_has_probabilities_and_evidence(size: tuple[int, int]) -> None:
    model = classifier(f"{HERE}:Averages")
    image = np.random.default_rng(0).integers(0, 255, (*size, 3)).astype(np.uint8)
    found = model.predict(image)
    assert found.probabilities.sum() == pytest.approx(1)
    assert found.label == found.ranked(3)[0] == int(found.probabilities.argmax())
    assert found.name == NAMES[found.label]
    assert model.evidence(image, 0).shape == size


def test_a_small_image_is_laid_into_the_middle() -> None:
    model = classifier(f"{HERE}:Places")
    image = np.random.default_rng(0).random((17, 20, 1)).astype(np.float32)
    laid = np.pad(image, ((3, 4), (2, 2), (0, 0)), mode="edge")
    assert model.input_size == (24, 24)
    one, other = model.predict(image), model.predict(laid)
    np.testing.assert_allclose(one.logits, other.logits, rtol=1e-7, atol=1e-7)


def test_training_lays_images_where_answering_does(shapes: Path) -> None:
    """Without any change, the image of a batch is the image that the model answers."""
    labels = read_dataset(shapes)
    model = classifier(f"{HERE}:Averages")
    view = model.input
    task, plain = task_named("classes"), Augmentation.none()
    shown = TrainingSet(task, labels, labels.samples[:4], view, model.input_size, plain, 0)
    for index in range(4):
        image, _, _ = shown[0, index]
        with torch.no_grad():
            direct = model(image[None]).double().numpy()
        found = model.predict(labels.image(labels.samples[index].image))
        np.testing.assert_allclose(direct[0], found.logits, rtol=1e-4, atol=1e-5)


def test_a_head_that_is_tied_to_places_refuses_larger_images() -> None:
    model = classifier(f"{HERE}:Places")
    with pytest.raises(SettingsError, match=r"up to 24×24 px .* got 25×20 px.*'convolutional'"):
        model.predict(np.zeros((20, 25, 1), np.uint8))


def test_images_of_many_sizes_are_shrunk_to_fit() -> None:
    view = InputSettings(scale=0.5, size=(20, 30), channels=1, mean=(0.5,), std=(0.2,), fit=True)
    for size in [(40, 60), (400, 60), (41, 61), (10, 300), (8, 8)]:
        high, wide = shown_size(size, view)
        assert high <= 20 and wide <= 30
    assert shown_size((8, 8), view) == (4, 4)
    assert classifier(f"{HERE}:Places", fit=True).predict(np.zeros((99, 25, 1), np.uint8))


def test_small_images_keep_their_size_and_mixed_ones_are_fitted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / NAMES[number % 3] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        size = (30, 40) if number % 2 else (50, 36)
        Image.fromarray(rng.integers(0, 255, (*size, 3)).astype(np.uint8)).save(path)
    labels = read_dataset(tmp_path)
    chosen = choose_model(labels, labels.samples)
    assert (chosen.input.scale, chosen.input.fit, chosen.input.channels) == (1.0, True, 3)
    assert chosen.head == "convolutional"


def test_stacks_hold_the_images_in_their_order() -> None:
    rng = np.random.default_rng(0)
    sizes = [(4, 4, 1)] * 5 + [(3, 4, 1)] + [(4, 4, 1)] * 2
    images = [rng.random(size).astype(np.float32) for size in sizes]
    items = [(str(n), image, image) for n, image in enumerate(images)]
    groups = list(batches_of(iter(items), 3))
    assert [len(names) for names, _ in groups] == [3, 2, 1, 2]
    assert [name for names, _ in groups for name in names] == [name for name, _, _ in items]
    flat = [image for _, held in groups for image, _ in held]
    assert all(np.array_equal(a, b) for a, b in zip(flat, images, strict=True))
    assert list(batches_of(iter([]), 3)) == []
    ends = [(0, 3), (3, 5), (5, 6), (6, 8)]
    assert runs_of_one_size(images, 3) == ends and runs_of_one_size([], 3) == []


# --- answering and scoring -------------------------------------------------------------------


def saved(folder: Path, count: int) -> Path:
    x, y = drawn(count, seed=1)
    for number, (image, label) in enumerate(zip(x, y, strict=True)):
        path = folder / NAMES[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_predictions_are_files_that_can_be_read_again(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = saved(tmp_path / "new", 9)
    (folder / "cross" / "broken.png").write_text("no image")
    out = tmp_path / "out"
    assert predict(run, folder, out, overlays=2)["images"] == 9
    rows = rows_of(out / "predictions.csv")
    assert len(rows) == 9
    model = load_model(run)
    for row in rows:
        again = model.predict(read_image(folder / row["image"]))
        assert row["class"] == again.name
        assert float(row["probability"]) == pytest.approx(again.probabilities.max(), abs=1e-4)
        assert float(row["probability"]) >= float(row["second_probability"])
    images = sorted(f"{NAMES[label]}/{n}.png" for n, label in enumerate(drawn(9, seed=1)[1]))
    assert [row["image"] for row in rows] == images
    overlays = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    assert overlays == ["overlays/cross/0.png", "overlays/cross/3.png"]
    about = json.loads((out / "about.json").read_text())
    assert [skip["image"] for skip in about["skipped"]] == ["cross/broken.png"]
    assert "pixel_convention" not in about
    assert "passed over" in caplog.messages[0]
    again = read_dataset(out / "predictions.csv", root=folder)
    assert again.task == "classes" and len(again.samples) == 9


def test_what_the_head_cannot_take_is_passed_over(
    shapes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = train(
        read_dataset(shapes),
        tmp_path / "run",
        TrainingSettings(**(QUICK | {"head_settings": {}}), max_steps=2, head=f"{HERE}:Places"),
        quiet=True,
    )
    folder = tmp_path / "images"
    folder.mkdir()
    for side in (SIDE - 4, 2 * SIDE):
        Image.new("L", (side, side), 99).save(folder / f"{side}.png")
    assert predict(run, folder, tmp_path / "out")["images"] == 1
    assert [row["image"] for row in rows_of(tmp_path / "out" / "predictions.csv")] == [
        f"{SIDE - 4}.png"
    ]
    assert caplog.messages[-1].startswith(
        f"1 of 2 images were passed over; about.json names them; the first, '{2 * SIDE}.png': "
    )
    (folder / f"{SIDE - 4}.png").unlink()
    with pytest.raises(ImageError, match=rf"no image could be predicted; the first, .{2 * SIDE}"):
        predict(run, folder, tmp_path / "none")


def test_a_device_that_is_none_is_refused(run: Run, shapes: Path, tmp_path: Path) -> None:
    for device in ("foo", "cuda:99"):
        with pytest.raises(SettingsError, match=f"device '{device}'.*--device auto, cpu"):
            predict(run, shapes / "shapes.npz", tmp_path / "out", device=device)


def test_arrays_are_predicted_too(run: Run, shapes: Path, tmp_path: Path) -> None:
    about = predict(run, shapes / "shapes.npz", tmp_path / "out", overlays=1)
    assert about["images"] == len(rows_of(tmp_path / "out" / "predictions.csv")) == 180
    assert (tmp_path / "out" / "overlays" / "train" / "00000.png").is_file()


def test_scores_are_those_of_the_answers(run: Run, shapes: Path) -> None:
    labels = read_dataset(shapes)
    before = {path.name for path in run.path.iterdir()}
    assert evaluate(run, labels)["images"] == 30
    assert {path.name for path in run.path.iterdir()} == before, "without `out` nothing is written"
    scores = evaluate(run, labels, out=run.path / "evaluation")
    assert scores["split"] == "test" and scores["images"] == 30
    model = load_model(run)
    test = [sample for sample in labels.samples if sample.split == "test"]
    p = np.stack([model.predict(labels.image(s.image)).probabilities for s in test])
    truth = np.array([sample.label for sample in test])
    assert scores["accuracy"] == pytest.approx((p.argmax(1) == truth).mean())
    assert scores["log_loss"] == pytest.approx(-np.log(p[np.arange(30), truth]).mean(), rel=1e-3)
    assert scores["accuracy"] > 0.6
    written = json.loads((run.path / "evaluation" / "metrics.json").read_text())
    assert written["confusion"] == scores["confusion"]
    rows = rows_of(run.path / "evaluation" / "predictions.csv")
    right = [row["class"] == row["truth"] for row in rows]
    assert np.mean(right) == pytest.approx(scores["accuracy"])
    page = (run.path / "evaluation" / "report.html").read_text()
    assert "images are classified correctly" in page and "<script" not in page
    assert page.count("<img") >= 3


def test_classes_are_known_by_their_names(run: Run, tmp_path: Path) -> None:
    """The order of the classes in other labels does not matter; a strange one is refused."""
    x, y = drawn(30, seed=1)
    words = np.array(NAMES)[y]
    np.savez(tmp_path / "a.npz", images=x, labels=words, class_names=np.array(NAMES[::-1]))
    other = read_dataset(tmp_path)
    assert other.names == NAMES[::-1]
    one = evaluate(run, other, out=tmp_path / "one")
    assert one["accuracy"] > 0.6
    np.savez(tmp_path / "a.npz", images=x, labels=np.where(words == "cross", "star", words))
    with pytest.raises(DataError, match=r"classes star, which the run does not know"):
        evaluate(run, read_dataset(tmp_path), out=tmp_path / "two")


def test_a_run_is_evaluated_on_labels_of_its_kind(run: Run, squares: Path, shapes: Path) -> None:
    with pytest.raises(DataError, match=r"predicts classes, and .* hold (key)?points"):
        evaluate(run, read_dataset(squares))
    with pytest.raises(SettingsError, match="pck_pair: this is no option for classes"):
        evaluate(run, read_dataset(shapes), pck_pair=("a", "b"))


def test_the_temperature_is_used(run: Run, shapes: Path) -> None:
    model = load_model(run)
    assert model.temperature == run.calibration()["temperature"]
    image = read_dataset(shapes).image("test/00001")
    with torch.inference_mode():
        raw = model(model.as_batch(as_input(image, model.input))).double()
    one = model.predict(image)
    np.testing.assert_allclose(one.logits, raw[0].numpy(), rtol=1e-5, atol=1e-5)
    expected = torch.softmax(torch.from_numpy(one.logits) / model.temperature, -1).numpy()
    np.testing.assert_allclose(one.probabilities, expected)


def test_from_the_command_line(shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = str(tmp_path / "run")
    main([
        "train", str(shapes), "--out", run, "--steps", "4", "--width", "16", "--precision",
        "float32", "--batch-size", "8",
    ])  # fmt: skip
    assert "15 validation images" in capsys.readouterr().out
    assert (tmp_path / "run" / "validation" / "report.html").is_file()
    main(["evaluate", run, str(shapes)])
    assert "balanced accuracy" in capsys.readouterr().out
    main(["check", str(shapes)])
    assert "180 images, 3 classes" in capsys.readouterr().out


# --- looking at labels -----------------------------------------------------------------------


def facts(labels: ClassDataset) -> ClassFacts:
    found = check(labels).facts
    assert isinstance(found, ClassFacts)
    return found


def test_what_is_counted(shapes: Path, tmp_path: Path) -> None:
    labels = read_dataset(shapes)
    found = facts(labels)
    assert found.images == 180 and found.splits == {"train": 135, "val": 15, "test": 30}
    assert [one.images for one in found.by_class] == [60, 60, 60]
    assert sum(one.by_split["test"] for one in found.by_class) == 30
    assert found.sizes == {"20×20": 180}
    findings = check(labels)
    assert findings.verdict == "Ready to train: 180 images, 3 classes."
    write_findings(findings, labels, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "check.json", "check.html", "sheet.png",
    }  # fmt: skip
    assert "cross" in str(findings)


def test_what_is_warned_of(tmp_path: Path) -> None:
    folder = saved(tmp_path, 30)
    data = (folder / "cross" / "0.png").read_bytes()
    for name in ("square/copy.png", "cross/again.png"):
        (folder / name).write_bytes(data)
    (folder / "cross" / "3.png").write_bytes(data[: len(data) // 2])
    text = "\n".join(check(read_dataset(folder)).warnings)
    assert "1 image cannot be read" in text
    assert "Identical images have different classes (1 groups)" in text
    assert "Few training images: cross" in text


def test_copies_in_two_splits_are_a_leak(shapes: Path) -> None:
    labels = read_dataset(shapes)
    x, y = drawn(60)
    np.savez(shapes.parent / "leak.npz", x_train=x, y_train=y, x_test=x[:3], y_test=y[:3])
    found = check(read_dataset(shapes.parent / "leak.npz"))
    assert any("are in different splits (3 times)" in words for words in found.warnings)
    assert not facts(labels).leaks


def test_a_table_of_classes_from_arrays_that_lie_in_files(tmp_path: Path) -> None:
    """From folders to a table to a run: the same images and classes."""
    folder = saved(tmp_path / "data", 24)
    labels = read_dataset(folder)
    write_dataset(labels, folder / "labels.csv")
    again = read_dataset(folder)
    assert again.source == folder / "labels.csv"
    task = task_named("classes")
    assert fingerprint_of(task, again) == fingerprint_of(task, labels)
