"""Training: it learns, it is exact, it survives, and it says what is wrong."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from conftest import draw_squares
from placewise.errors import DataError, SettingsError, TrainingError
from placewise.evaluation import choose_samples
from placewise.formats import read_dataset
from placewise.heads.heatmap import Heatmap
from placewise.labels import KeypointDataset, KeypointSample, Visibility, split_images
from placewise.run import Run
from placewise.task import Validation
from placewise.tasks import task_named
from placewise.tasks.keypoints import Keypoints
from placewise.training import TrainingSettings, train
from placewise.training.begin import TIMED, WARM_STEPS
from placewise.training.schedule import Counted, learning_rate
from placewise.training.step import Objective, move_average, optimiser
from survival import campaign

QUICK = {"precision": "float32", "backbone_settings": {"width": 16}, "batch_size": 4}


def quick(**values: object) -> TrainingSettings:
    return TrainingSettings.of(**{**QUICK, **values})


def trained(data: Path, out: Path, *, resume: bool = False, **values: object) -> Run:
    return train(read_dataset(data), out, quick(**values), resume=resume, quiet=True)


def curve(run: Run) -> list[tuple[object, ...]]:
    return [(x["step"], x.get("loss"), x.get("val_error_px")) for x in run.log()]


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(max((run.path / "checkpoints").glob("step-*")))


def assert_same_run(one: Run, other: Run) -> None:
    assert curve(one) == curve(other)
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def short(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of 24 steps, undisturbed."""
    out = tmp_path_factory.mktemp("runs") / "short"
    return trained(squares, out, max_steps=24, val_interval=8)


def test_other_images_on_resume_are_told_and_remembered(
    squares: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Images of the same names with other content: what is trained on now is no test image."""
    folder, out = tmp_path / "data", tmp_path / "run"
    shutil.copytree(squares, folder)
    trained(folder, out, max_steps=4)
    for path in folder.rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)) // 2).save(path)
    run = trained(folder, out, max_steps=4, resume=True)
    assert "labels or images have changed" in caplog.text
    dataset = read_dataset(folder)
    for split, images in run.facts.split.items():
        assert len(choose_samples(run, dataset, split).samples) == len(images)
    assert choose_samples(run, dataset, "train").notes == ()


def test_of_copies_in_two_splits_each_keeps_its_own(squares: Path, tmp_path: Path) -> None:
    """And under another name an image counts as what it was learnt as."""
    folder = tmp_path / "data"
    shutil.copytree(squares, folder)
    dataset = read_dataset(folder)
    names = [sample.image for sample in dataset.samples]
    splits = dict(zip(names, split_images(dataset, 0), strict=True))
    first = {split: next(n for n in names if splits[n] == split) for split in ("train", "test")}
    shutil.copy(folder / first["train"], folder / first["test"])
    run = trained(folder, tmp_path / "run", max_steps=4)
    for split in ("train", "test"):
        assert first[split] in {s.image for s in choose_samples(run, dataset, split).samples}
    (folder / first["train"]).rename(folder / "moved.png")
    moved = [replace(s, image="moved.png") for s in dataset.samples if s.image == first["train"]]
    other = replace(dataset, samples=tuple(moved))
    assert choose_samples(run, other, "train").samples == tuple(moved)


def test_it_learns(squares: Path, tmp_path: Path) -> None:
    run = trained(squares, tmp_path / "run", max_steps=150, learning_rate=4e-3)
    lines = run.log()
    losses = [line["loss"] for line in lines if "loss" in line]
    errors = [line["val_error_px"] for line in lines if "val_error_px" in line]
    assert losses[-1] < 0.6 * losses[0]
    assert min(errors) < 4.0
    assert run.calibration()["factor"] > 0


@pytest.mark.parametrize(
    ("chooses", "found", "step"),
    [(False, (1.0, 2.0, 3.0), 6), (True, (1.0, 2.0, 3.0), 2), (True, (0.0, 0.0, 1.0), 4)],
)
def test_validation_images_choose_only_where_the_task_says_so(
    squares: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chooses: bool,
    found: tuple[float, ...],
    step: int,
) -> None:
    """Keypoints keep the last weights, as their radii need; of equal scores the later is kept."""
    assert not Keypoints.chooses
    scores = iter(found)
    monkeypatch.setattr(Keypoints, "chooses", chooses)
    monkeypatch.setattr(Keypoints, "validate", lambda *_: Validation({}, next(scores), ""))
    run = trained(squares, tmp_path / "run", max_steps=6, val_interval=2)
    assert run.best().facts["step"] == step


def test_what_a_run_leaves(short: Run) -> None:
    names = {path.relative_to(short.path).as_posix() for path in short.path.rglob("*.*")}
    assert names == {
        "run.json",
        "images.json",
        "log.jsonl",
        "preview.png",
        "calibration.json",
        "checkpoints/best.safetensors",
        "checkpoints/step-00000016.safetensors",
        "checkpoints/step-00000024.safetensors",
    }
    assert [line["step"] for line in short.log() if "loss" in line] == [10, 20, 24]
    assert [line["step"] for line in short.log() if "val_error_px" in line] == [8, 16, 24]
    facts = short.facts
    assert facts.training["max_steps"] == 24
    assert {name: len(images) for name, images in facts.split.items()} == {
        "train": 24,
        "val": 8,
        "test": 8,
    }
    assert len(facts.fingerprint) == 64


@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_settings_give_the_same_bits(
    squares: Path, short: Run, tmp_path: Path, workers: int
) -> None:
    again = trained(squares, tmp_path / "again", max_steps=24, val_interval=8, num_workers=workers)
    assert_same_run(short, again)


def test_another_seed_gives_another_run(squares: Path, short: Run, tmp_path: Path) -> None:
    other = trained(squares, tmp_path / "other", max_steps=24, val_interval=8, seed=1)
    assert curve(short) != curve(other)


def test_a_finished_run_is_left_as_it_is(squares: Path, tmp_path: Path) -> None:
    run = trained(squares, tmp_path / "run", max_steps=8)
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}
    trained(squares, tmp_path / "run", max_steps=8, resume=True)
    after = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}
    assert before == after


def test_folders_in_use_are_refused(squares: Path, short: Run, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--resume"):
        trained(squares, short.path, max_steps=4)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SettingsError, match="not empty"):
        trained(squares, tmp_path, max_steps=4)
    with pytest.raises(SettingsError, match="holds no run"):
        trained(squares, tmp_path, max_steps=4, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(SettingsError, match="is a file"):
        trained(squares, tmp_path / "mine.txt", max_steps=4)


def test_resuming_with_other_labels_is_refused(squares: Path, short: Run) -> None:
    labels = read_dataset(squares)
    fewer = KeypointDataset(labels.root, labels.names, labels.samples[5:])
    with pytest.raises(DataError, match="no longer have"):
        train(fewer, short.path, quick(max_steps=24), resume=True, quiet=True)


def start(data: Path, out: Path, *flags: str) -> subprocess.Popen[str]:
    verb = [sys.executable, "-m", "placewise", "train", str(data), "--out", str(out)]
    settings = "--steps 400 --precision float32 --width 16 --batch-size 4 --val-interval 50".split()
    return subprocess.Popen(
        [*verb, *settings, *flags], text=True, stderr=subprocess.PIPE, start_new_session=True
    )


def wait_for_steps(run: Path, step: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        file = run / "log.jsonl"
        if file.is_file() and f'"step": {step}' in file.read_text():
            return
        time.sleep(0.05)
    raise AssertionError("the run took no steps within a minute")


@pytest.mark.parametrize(
    ("number", "workers"),
    [
        (signal.SIGTERM, "2"),
        (signal.SIGINT, "0"),
        pytest.param(signal.SIGTERM, "0", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, "2", marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_with_a_checkpoint_and_is_documented(
    squares: Path, tmp_path: Path, number: signal.Signals, workers: str
) -> None:
    """Sent to the whole group, as a terminal and a scheduler do."""
    run = tmp_path / "run"
    process = start(squares, run, "--resume", "--num-workers", workers)
    wait_for_steps(run, 20)
    os.killpg(process.pid, number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "--resume" in told
    found = Run.open(run).checkpoints.latest(print)
    assert found is not None
    assert 20 <= found.facts["step"] < 400


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments_the_end_is_the_same(tmp_path: Path, kills: int) -> None:
    """SIGKILLs of the whole process group; benchmarks/survival.py does 200."""
    data = draw_squares(tmp_path / "data", 40)
    tally = campaign(data, kills, tmp_path)
    assert tally.kills >= kills
    assert tally.finished >= 1
    assert tally.checkpoints_lost == 0
    assert tally.different == []
    assert tally.failures == []


def inject(monkeypatch: pytest.MonkeyPatch, at: int, value: float) -> None:
    """Let the loss of one step be something that is not a number."""
    usual = Heatmap.loss
    calls = iter(range(1_000_000))

    def loss(self, output, points, visibility):  # type: ignore[no-untyped-def]
        found = usual(self, output, points, visibility)
        return found * value if self.training and next(calls) == at else found

    monkeypatch.setattr(Heatmap, "loss", loss)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("step", [0, 3, 17])
def test_not_a_number_is_caught_before_it_is_learnt(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, value: float
) -> None:
    timed = WARM_STEPS + TIMED  # the same loss is called there, on copies
    inject(monkeypatch, timed + step, value)
    with pytest.raises(TrainingError, match=rf"step {step + 1}: .*images/\d+\.png"):
        trained(squares, tmp_path / "run", max_steps=24, val_interval=8)
    files = list((tmp_path / "run" / "checkpoints").glob("*.safetensors"))
    assert len(files) == (0 if step < 8 else 3)
    for file in files:
        for name, tensor in load_file(file).items():
            assert torch.isfinite(tensor).all(), name


def test_a_precision_with_which_the_loss_is_no_number_is_not_taken(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even if it is faster; a weight that the last step of the trial breaks counts too."""
    begin = sys.modules["placewise.training.begin"]
    timed, step = begin._time_steps, Objective.forward

    def quicker(objective, *given):  # type: ignore[no-untyped-def]
        seconds, loss = timed(objective, *given)
        return seconds / (100 if objective.precision == "bfloat16" else 1), loss

    calls = iter(range(1_000_000))

    def broken(self, *given):  # type: ignore[no-untyped-def]
        loss = step(self, *given)
        if self.precision != "bfloat16" or next(calls) < WARM_STEPS + TIMED - 1:
            return loss
        return loss + 0 * torch.sqrt(0 * loss)  # a number, whose gradient is none

    monkeypatch.setattr(begin, "_time_steps", quicker)
    run = trained(squares, tmp_path / "sound", max_steps=1, precision="auto")
    assert run.facts.training["precision"] == "bfloat16"
    monkeypatch.setattr(Objective, "forward", broken)
    run = trained(squares, tmp_path / "broken", max_steps=1, precision="auto")
    assert run.facts.training["precision"] == "float32"


@pytest.mark.slow
def test_not_a_number_at_fifty_steps(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(50):
        with monkeypatch.context() as patch:
            inject(patch, WARM_STEPS + TIMED + step, float("nan"))
            with pytest.raises(TrainingError, match=f"step {step + 1}:"):
                trained(squares, tmp_path / str(step), max_steps=60, val_interval=5)
        files = list((tmp_path / str(step) / "checkpoints").glob("*.safetensors"))
        assert bool(files) == (step >= 5)
        assert all(torch.isfinite(t).all() for f in files for t in load_file(f).values())


def test_a_damaged_checkpoint_falls_back_and_says_so(
    squares: Path, short: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "placewise")
    torn = Run.open(shutil.copytree(short.path, tmp_path / "torn"))
    newest = torn.path / "checkpoints" / "step-00000024.safetensors"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 4
    newest.write_bytes(data)
    train(read_dataset(squares), torn.path, quick(max_steps=24), resume=True)
    assert "step-00000024" in caplog.text
    assert "resumed at step 16" in caplog.text
    assert_same_run(short, torn)


def test_steps_and_minutes_exclude_each_other(squares: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="one of them"):
        trained(squares, tmp_path / "run", max_steps=3, max_minutes=1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_size": 1}, "batch_size: got 1"),
        ({"colour": 1}, "colour"),
        ({"head": "heatmpa"}, "Did you mean 'heatmap'"),
        ({"head_settings": {"sgima": 1}}, "Did you mean 'sigma'"),
        ({"head_settings": {"loss": "bce"}}, "no loss is named 'bce'; there are: .*mse"),
        ({"backbone_settings": {"width": 1}}, "16 to 1024"),
        ({"device": "cuda:77"}, "--device auto, cpu"),
        ({"device": "toaster"}, "--device auto, cpu"),
        ({"augmentation": {"spin": 3}}, "spin"),
        ({"learning_rate": float("inf")}, "learning_rate: got inf"),
    ],
)
def test_settings_that_cannot_be(
    squares: Path, tmp_path: Path, values: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        trained(squares, tmp_path / "run", max_steps=2, **values)


@pytest.mark.parametrize("given", [{"callbacks": print}, {"metrics": None}, {"callbacks": [3]}])
def test_callbacks_and_metrics_are_lists_of_functions(
    squares: Path, tmp_path: Path, given: dict
) -> None:
    """Known before the first step, not at the first line of the log."""
    with pytest.raises(SettingsError, match="lists of functions"):
        train(read_dataset(squares), tmp_path / "run", max_steps=2, **given)
    assert not (tmp_path / "run").exists()


def test_no_image_is_touched(squares: Path, tmp_path: Path) -> None:
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in squares.rglob("*.*")}
    trained(squares, tmp_path / "run", max_steps=4)
    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in squares.rglob("*.*")}


def test_the_learning_rate_rises_once_and_falls_to_nothing() -> None:
    rates = np.array([learning_rate(s + 1, Counted(200, 10), 3e-3) for s in range(200)])
    top = int(rates.argmax())
    assert rates.max() == pytest.approx(3e-3)
    assert (np.diff(rates[: top + 1]) > 0).all()
    assert (np.diff(rates[top + 1 :]) < 0).all()
    assert rates[-1] < 1e-6


def test_weights_decay_and_biases_and_norms_do_not() -> None:
    """Every parameter is learnt, in one of two groups."""
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    decaying, others = optimiser(net, quick(weight_decay=0.3, learning_rate=0.1)).param_groups
    assert [id(p) for p in decaying["params"]] == [id(net[0].weight)]
    kept = [net[0].bias, net[1].weight, net[1].bias]
    assert {id(p) for p in others["params"]} == {id(p) for p in kept}
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    assert decaying["lr"] == others["lr"] == 0.1


def test_the_average_is_the_average() -> None:
    """Against the plain formula, number by number."""
    now, average = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    expected = {k: v.double().clone() for k, v in average.state_dict().items()}
    for step in range(1, 40):
        for value in now.state_dict().values():
            value.copy_(torch.randint(0, 9, value.shape) if value.ndim == 0 else torch.rand(2))
        move_average(average, now, 0.8, step)
        share = 1 - min(0.8, (1 + step) / (10 + step))
        for name, value in now.state_dict().items():
            old = expected[name]
            expected[name] = old + share * (value - old) if value.ndim else value.double()
    for name, value in average.state_dict().items():
        assert torch.allclose(value.double(), expected[name], atol=1e-5)


def upright(turn: float, count: int = 12) -> KeypointDataset:
    """Labels of a shape that stands at random angles of this standard deviation."""
    rng = np.random.default_rng(0)
    shape = np.array([[0.0, 0.0], [0.0, 30.0], [12.0, 14.0]])
    samples = []
    for number, angle in enumerate(np.radians(rng.normal(0, turn, count))):
        matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        visibility = np.full((1, 3), Visibility.VISIBLE, np.int8)
        samples.append(
            KeypointSample(f"{number}.png", (90, 90), (shape @ matrix + 40)[None], visibility)
        )
    return KeypointDataset(Path(), ("a", "b", "c"), tuple(samples))


@pytest.mark.parametrize(("turn", "least", "most"), [(0.5, 5, 5), (4, 5.1, 10), (60, 15, 15)])
def test_images_are_turned_as_much_as_the_labels_are(
    turn: float, least: float, most: float
) -> None:
    labels = upright(turn)
    chosen = task_named("keypoints").augmentation(labels, labels.samples)
    assert least <= chosen["rotate"] <= most
    assert not chosen["flip"]


def test_augmentation_that_is_asked_for_is_taken(squares: Path, tmp_path: Path) -> None:
    run = trained(squares, tmp_path / "run", max_steps=2, augmentation={"rotate": 90})
    assert run.facts.training["augmentation"]["rotate"] == 90
    assert run.facts.training["augmentation"]["scale"] == [0.8, 1.25]
