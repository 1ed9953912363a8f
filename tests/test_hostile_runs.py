"""A run folder is other people's data: whatever stands in it ends in one line of ours, or nowhere.

What is tried runs in a process of its own with little memory: this file, called as a program.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import placewise as pw
from conftest import draw_squares
from placewise.checkpoint import load, save
from placewise.errors import CheckpointError, PlacewiseError
from placewise.files import digest_of, read_json, write_json
from placewise.run import Run

SECONDS, MEMORY = 2.0, 400 * 2**20
"""What a hostile folder may cost: seconds of a processor, so that other work does not count."""

DELETED = object()
PAIRS = [["light", "dark"]] * 10**6
DEEP: Any = json.loads("[" * 900 + "]" * 900)


@dataclass(frozen=True)
class Case:
    """A hostile folder.

    Attributes:
        file: what is edited.
        field: of it, with dots; empty: the file itself, as bytes or by a function of its path.
        value: what stands there.
        says: what the message has to hold.
        run: which of the runs.
        verb: what is tried.
    """

    file: str
    field: str
    value: Any
    says: str
    run: str = "heatmap"
    verb: str = "predict"

    @property
    def name(self) -> str:
        value = "deleted" if self.value is DELETED else getattr(self.value, "__name__", self.value)
        return f"{self.run}-{self.verb}-{self.file}-{self.field}-{str(value)[:24]}"


def described(rows: list[tuple[str, Any, str]], **common: str) -> list[Case]:
    return [Case("run.json", field, value, says, **common) for field, value, says in rows]


FACTS = described(
    [
        ("pixel_convention", "y up", "pixel_convention: it must be 'x right"),
        ("pixel_convention", 7, "pixel_convention: got 7; it must be text"),
        ("versions", "1.0", "versions: got '1.0'; it must be fields"),
        ("versions", {"torch": 2}, "versions.torch: got 2; it must be text"),
        ("versions", {str(k): "1" for k in range(1000)}, "versions: got"),
        ("versions.torch", "x" * 10**6, "versions.torch: got"),
        ("data", 5, "data: got 5"),
        ("data", "a" * 10**5, "data: got"),
        ("data", DELETED, "data is missing"),
        ("fingerprint", "zz", "fingerprint: got 'zz'"),
        ("colour", 1, "no setting colour"),
        ("a\nb", 1, r"no setting 'a\nb'"),
        ("split.val", DELETED, "split: it must have exactly the parts train, val, test"),
        ("split.more", [], "split: it must have exactly"),
        ("split", None, "split: got None"),
        ("split.train", "images/000.png", "split.train: got 'images/000.png'; it must be a list"),
        ("split.val", [1, 2], "split.val.0: got 1; it must be text"),
        ("training", None, "training"),
        ("training", {"seed": DEEP}, "it is nested too deeply"),
        ("model.names", ["light", "\ud800"], "or holds half a character"),
        ("training", {"seed": {"a": {"b": 1}}}, "training: it must hold numbers and texts"),
        ("model", None, "model: got None"),
        ("model", [], "model: got []"),
        ("model.colour", 1, "no setting model.colour"),
        ("model.names", [], "model.names: got []; it must be of 1 or more"),
        ("model.names", "light", "model.names: got 'light'; it must be a list"),
        ("model.names", ["light", 3], "model.names.1: got 3; it must be text"),
        ("model.names", ["light", "light"], "names: 'light' is there twice"),
        ("model.names", ["light", "x" * 256], "model.names.1: got"),
        ("model.names", ["light", "a\nb"], "holds a character that no name may hold"),
        ("model.names", ["light", ""], "names: '' is empty"),
        ("model.names", [str(k) for k in range(200_000)], "model.names: got"),
        ("model.names", ["light"], "best.safetensors does not fit the field model of"),
        ("model.names", ["light", "dark", "more"], "does not fit the field model of"),
        ("model.symmetry", [["light", "nose"]], "symmetry: ('light', 'nose') must be two"),
        ("model.symmetry", [["light", "light"]], "must be two of the names"),
        ("model.symmetry", [["light", "dark"], ["dark", "light"]], "has one partner"),
        ("model.symmetry", PAIRS, "it has more than 1000000 values"),
        ("model.skeleton", PAIRS, "it has more than 1000000 values"),
        ("model.skeleton", PAIRS[:20_000], "model.skeleton: got"),
        ("model.skeleton", [["light"]], "model.skeleton.0"),
        ("model.skeleton", [["light", "dark", "light"]], "model.skeleton.0"),
    ]
)
INPUT = described(
    [
        (f"model.input.{field}", value, says)
        for field, value, says in [
            ("scale", 0, "model.input.scale: got 0"),
            ("scale", -1.0, "model.input.scale: got -1.0"),
            ("scale", 1e300, "model.input.scale: got 1e+300"),
            ("scale", 10**400, "model.input.scale: got 1"),
            ("scale", "0.5", "model.input.scale: got '0.5'; it must be a number"),
            ("scale", True, "model.input.scale: got True; it must be a number"),
            ("scale", None, "model.input.scale: got None"),
            ("scale", DELETED, "model.input.scale is missing"),
            ("size", [10**9, 10**9], "model.input.size.0: got 1000000000"),
            ("size", [10**5, 10**5], "100,000,000 pixels or fewer"),
            ("size", [0, 56], "model.input.size.0: got 0; it must be 1 or more"),
            ("size", [-48, 56], "model.input.size.0: got -48"),
            ("size", [48], "does not fit the field model"),
            ("size", [48, 56, 1], "does not fit the field model"),
            ("size", [48.5, 56], "model.input.size.0: got 48.5; it must be a whole number"),
            ("size", ["48", 56], "model.input.size.0: got '48'"),
            ("size", [10**400, 56], "model.input.size.0: got 1"),
            ("channels", 0, "model.input.channels: got 0"),
            ("channels", 10**9, "model.input.channels: got 1000000000"),
            ("channels", 3, "mean has 1 numbers"),
            ("channels", "1", "model.input.channels: got '1'"),
            ("mean", [], "mean has 0 numbers"),
            ("mean", [0.4, 0.4], "mean has 2 numbers"),
            ("mean", [-1], "model.input.mean.0: got -1"),
            ("mean", ["0.4"], "model.input.mean.0: got '0.4'"),
            ("std", [0], "model.input.std.0: got 0; it must be 0.001 or more"),
            ("std", [-0.1], "model.input.std.0: got -0.1"),
            ("std", [1e9], "model.input.std.0: got 1000000000.0"),
            ("fit", 1, "model.input.fit: got 1; it must be true or false"),
            ("white", 0, "model.input.white: got 0"),
            ("white", 10**9, "model.input.white: got 1000000000"),
        ]
    ]
)
MEMBERS = described(
    [
        (f"model.{field}", value, says)
        for field, value, says in [
            ("backbone", "hat", "model: no backbone is named 'hat'"),
            ("backbone", "os:system", "model: "),
            ("backbone", "x" * 10**5, "model.backbone: got"),
            ("backbone", 5, "model.backbone: got 5; it must be text"),
            ("backbone", "resnet", "model: backbone ResNet has no setting 'depth'"),
            ("backbone_settings.width", 10**9, "model: width is 1000000000; it must be 16 to"),
            ("backbone_settings.width", 10**30, "model.backbone_settings: 'width' is"),
            ("backbone_settings.width", "16", "model: backbone UNet: width is '16'"),
            ("backbone_settings.width", True, "model: backbone UNet: width is True"),
            ("backbone_settings.width", None, "model.backbone_settings: 'width' is None"),
            ("backbone_settings.width", 512, "does not fit the field model"),
            ("backbone_settings.depth", 0, "model: depth is 0"),
            ("backbone_settings.depth", 5, "does not fit the field model"),
            ("backbone_settings.hat", 1, "model: backbone UNet has no setting 'hat'"),
            ("backbone_settings", [1], "model.backbone_settings: they must be names"),
            ("backbone_settings", {str(k): 1 for k in range(100)}, "64 or fewer"),
            ("head", "hat", "model: no head is named 'hat'"),
            ("head", "os:system", "model: "),
            ("head", "flatten", "model: head Flatten has no setting"),
            ("head_settings.finer", 3, "model: finer is 3"),
            ("head_settings.finer", 10**9, "model: finer is 1000000000"),
            ("head_settings.finer", 1, "does not fit the field model"),
            ("head_settings.sigma", 0, "model: sigma is 0"),
            ("head_settings.sigma", 1e300, "model.head_settings: 'sigma' is 1e+300"),
            ("head_settings.decoder", "hat", "model: no decoder is named 'hat'"),
            ("head_settings.loss", 5, "model: got 5 as a loss"),
            ("head_settings.loss", "hat", "model: no loss is named 'hat'"),
            ("padding", "hat", "model: no padding"),
            ("padding", 0, "model.padding: got 0"),
        ]
    ]
)
TIED = [
    *described(
        [
            ("model.head_settings.fan_in", 10**9, "model: fan_in is 1000000000"),
            ("model.head_settings.fan_in", 10**6, "does not fit the field model"),
            ("model.head_settings.fan_in", 0, "model: fan_in is 0"),
            ("model.head_settings.hidden", 10**6, "does not fit the field model"),
            ("model.head_settings.hidden", 10**9, "model: hidden is 1000000000"),
            ("model.head_settings.layers", 10**9, "model: layers is 1000000000"),
            ("model.head_settings.layers", 100, "does not fit the field model"),
            ("model.head_settings.reach", -1, "model: got reach -1"),
            ("model.input.size", [10**4, 10**4], "does not fit the field model"),
            ("model.input.size", [1, 1], "model"),
            ("model.head", "palm_tree", "model: head PalmTree has no setting"),
            ("model.names", ["one"], "does not fit the field model"),
            ("model.backbone_settings.width", 10**9, "model: width is 1000000000"),
            ("model.backbone_settings.width", 4096, "does not fit the field model"),
        ],
        run="proximity",
    ),
    *described(
        [
            ("model.head_settings.hidden", 10**6, "does not fit the field model"),
            ("model.head_settings.window", 1, "model: window is 1"),
            ("model.names", [str(k) for k in range(100_000)], "does not fit the field model"),
        ],
        run="palm_tree",
    ),
]
TRAINING = described(
    [
        (f"training.{field}", value, says)
        for field, value, says in [
            ("max_steps", "4", "training.max_steps: got '4'; it must be a whole number"),
            ("max_steps", 0, "training.max_steps: got 0"),
            ("max_steps", 10**12, "training.max_steps: got 1000000000000"),
            ("seed", 10**30, "training.seed: got 1000"),
            ("seed", -1, "training.seed: got -1"),
            ("batch_size", 10**9, "training.batch_size: got 1000000000"),
            ("learning_rate", "fast", "training.learning_rate: got 'fast'"),
            ("ema_decay", 1, "training.ema_decay: got 1"),
            ("precision", "int3", "training.precision: got 'int3'; it must be 'auto', 'float32'"),
            ("augmentation", 5, "training.augmentation: got 5"),
            ("augmentation", {"rotate": 1e9}, "training.augmentation: augmentation rotate"),
            ("augmentation", {"hat": 1}, "training.augmentation: no augmentation is named 'hat'"),
            ("hat", 1, "no setting training.hat"),
        ]
    ],
    verb="resume",
)


def calibrated(rows: list[tuple[str, Any, str]], run: str) -> list[Case]:
    return [Case("calibration.json", field, value, says, run) for field, value, says in rows]


CALIBRATION = [
    *calibrated(
        [
            ("factor", -1.0, "calibration.json: factor: got -1.0; it must be 0.0"),
            ("factor", "2", "calibration.json: factor: got '2'; it must be a number"),
            ("factor", True, "factor: got True"),
            ("factor", 1e300, "factor: got 1e+300"),
            ("factor", DELETED, "factor is missing"),
            ("level", 2, "level: got 2"),
            ("keypoints", -1, "keypoints: got -1"),
            ("images", 0, "images: got 0"),
            ("images", "3", "images: got '3'"),
            ("hat", 1, "no setting hat"),
        ],
        "heatmap",
    ),
    *calibrated(
        [
            ("temperature", 0, "calibration.json: temperature: got 0"),
            ("temperature", -1.0, "temperature: got -1.0"),
            ("temperature", 1e9, "temperature: got 1000000000.0"),
            ("images", "8", "images: got '8'"),
        ],
        "proximity",
    ),
]


def sparse(path: Path) -> None:
    """A terabyte that takes no room on the disk."""
    with path.open("r+b") as file:
        file.truncate(2**40)


def nested(path: Path) -> None:
    """Arrays in arrays."""
    path.write_text("[" * 10**6)


def endless(path: Path) -> None:
    """More than is read."""
    path.write_bytes(b" " * (2**25 + 9))


def resaved(change: Callable[[dict[str, torch.Tensor], dict[str, Any]], None]) -> Any:
    """Every checkpoint of a run with other tensors or facts, and right checksums."""

    def edit(best: Path) -> None:
        for path in best.parent.glob("*.safetensors"):
            held = load(path)
            change(held.tensors, held.facts)
            save(path, held.tensors, held.facts)

    edit.__name__ = change.__name__
    return edit


@resaved
def no_number(tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """A weight that `save` would refuse is put in after it: a NaN."""
    tensors["average.mean"] = torch.full_like(tensors["average.mean"], 1234.5)


def not_finite(best: Path) -> None:
    """NaN among the weights, with a right checksum."""
    no_number(best)
    for path in best.parent.glob("*.safetensors"):
        restamp(path, np.float32(1234.5).tobytes(), np.float32("nan").tobytes())


def restamp(path: Path, old: bytes, new: bytes) -> None:
    """Replace bytes of a checkpoint and make its checksum right again."""
    data = path.read_bytes()
    assert data.count(old) == 1
    data = data.replace(old, new)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    stamp = json.loads(header["__metadata__"]["placewise"])["sha256"].encode()
    zeroed = data.replace(stamp, b"0" * 64)
    path.write_bytes(zeroed.replace(b"0" * 64, hashlib.sha256(zeroed).hexdigest().encode()))


@resaved
def one_more(tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """A tensor that the network has not."""
    tensors["average.hat"] = torch.zeros(3)


@resaved
def one_less(tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """A tensor of the network is missing."""
    del tensors["average.mean"]


@resaved
def another_type(tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """A tensor of another type."""
    tensors["average.mean"] = tensors["average.mean"].double()


@resaved
def stranger(tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """A tensor of no part of a training."""
    tensors["hat"] = torch.zeros(3)


@resaved
def words_for_steps(tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """Facts that are no numbers."""
    facts["step"] = "four"


@resaved
def no_parameter(tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """State of a parameter that there is not."""
    if "optimizer.0.step" in tensors:
        tensors["optimizer.999999.step"] = torch.ones(())


@resaved
def half_a_state(tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """State that lacks a part."""
    tensors.pop("optimizer.0.step", None)


def gone(best: Path) -> None:
    """No checkpoint at all."""
    shutil.rmtree(best.parent)


BEST = "checkpoints/best.safetensors"
FILES = [
    Case("run.json", "", b"", "run.json is damaged"),
    Case("run.json", "", b"[]", "run.json is damaged"),
    Case("run.json", "", b"\xff\xfe\x00", "run.json is damaged"),
    Case("run.json", "", b'{"sha256": NaN}', "run.json is damaged"),
    Case("run.json", "", b'{"sha256": ["' + b"x" * 10**6 + b'"]}', "its SHA-256 should be"),
    Case("run.json", "", nested, "run.json is damaged"),
    Case("run.json", "", endless, "it has more than 33554432 bytes"),
    Case("run.json", "", sparse, "it has more than 33554432 bytes"),
    Case("calibration.json", "", b"{}", "calibration.json is damaged"),
    Case("images.json", "images/000.png", "zz", "images.json", verb="evaluate"),
    Case("images.json", "images/000.png", 5, "images.json", verb="evaluate"),
    Case("images.json", "x" * 10**4, "0" * 16, "images.json", verb="evaluate"),
    Case("images.json", "", b"[]", "images.json is damaged", verb="evaluate"),
    Case(BEST, "", gone, "best.safetensors cannot be read"),
    Case(BEST, "", not_finite, "not finite: average.mean"),
    Case(BEST, "", one_more, "it has a tensor 'average.hat'"),
    Case(BEST, "", one_less, "it has no tensor 'average.mean'"),
    Case(BEST, "", another_type, "it has a tensor 'average.mean' of ('F64'"),
    Case(BEST, "", stranger, "it has a tensor 'hat'"),
    Case(BEST, "", words_for_steps, "step: got 'four'; it must be a whole", verb="resume"),
    Case(BEST, "", no_parameter, "is of no parameter", verb="resume"),
    Case(BEST, "", half_a_state, "some parameters lack a part", verb="resume"),
]
ALL = [*FACTS, *INPUT, *MEMBERS, *TIED, *TRAINING, *CALIBRATION, *FILES]
CASES = {f"{number:03d}-{case.name}": case for number, case in enumerate(ALL)}


# --- three small runs ----------------------------------------------------------------------------


def draw_classes(folder: Path) -> Path:
    """Light and dark images in a folder for each class."""
    rng = np.random.default_rng(0)
    for name, value in (("dark", 60), ("light", 190)):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            image = rng.normal(value, 20, (20, 24)).clip(0, 255).astype(np.uint8)
            Image.fromarray(image).save(folder / name / f"{number}.png")
    return folder


def without_stamps(run: Path) -> None:
    """As an older version wrote it, or someone who can write checkpoints."""
    for path in (run / "checkpoints").glob("*.safetensors"):
        held = load(path)
        facts = {k: v for k, v in held.facts.items() if k not in ("run", "calibration")}
        assert facts != held.facts
        save(path, held.tensors, facts)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`heatmap`, `proximity` and `palm_tree`: runs of four steps; `points` and `classes`: data."""
    home = tmp_path_factory.mktemp("hostile")
    points = pw.read_dataset(draw_squares(home / "points", 20))
    classes = pw.read_dataset(draw_classes(home / "classes"))
    common: dict[str, Any] = {"max_steps": 4, "val_interval": 2, "quiet": True, "device": "cpu"}
    common["precision"] = "float32"
    pw.train(points, home / "heatmap", backbone_settings={"width": 16}, **common)
    settings = {"fan_in": 5, "hidden": 2}
    pw.train(
        classes,
        home / "proximity",
        backbone="lenet",
        head="proximity",
        head_settings=settings,
        **common,
    )
    pw.train(classes, home / "palm_tree", backbone="lenet", head="palm_tree", **common)
    return home


def program(home: Path, what: str, seed: int = 0) -> list[dict[str, Any]]:
    """What was found when this file was called as a program."""
    out = home / f"{what}-{seed}.json"
    paths = [str(Path(pw.__file__).parents[1]), str(Path(__file__).parent)]
    done = subprocess.run(
        [sys.executable, __file__, str(home), what, str(seed), str(out)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "MALLOC_ARENA_MAX": "1",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found: list[dict[str, Any]] = json.loads(out.read_text())
    return found


def faults(tried: list[dict[str, Any]], allowed: set[str]) -> list[dict[str, Any]]:
    """What did not end in an error of ours on one line, in time and memory, or as allowed."""
    assert tried, "nothing was tried"
    return [
        one
        for one in tried
        if one["end"] not in allowed
        or one["seconds"] > SECONDS
        or "\n" in one["said"]
        or len(one["said"]) > 1500
        or "nput should" in one["said"]
    ]


@pytest.fixture(scope="module")
def table(home: Path) -> dict[str, dict[str, Any]]:
    return {one["case"]: one for one in program(home, "cases")}


def test_there_are_many_cases() -> None:
    assert len(CASES) >= 80


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_folder_is_one_line_that_names_file_and_field(
    table: dict[str, dict[str, Any]], name: str
) -> None:
    """Without the stamps of its checkpoints, so that only bounds and headers protect."""
    found = table[name]
    assert not faults([found], {"error"}), found
    assert CASES[name].says in found["said"], found


def test_random_edits_change_nothing_or_are_refused(home: Path) -> None:
    tried = program(home, "edits-200", seed=1)
    assert not faults(tried, {"error", "same"})
    ends = [one["end"] for one in tried]
    assert min(ends.count("error"), ends.count("same")) >= 3


@pytest.mark.slow
def test_random_edits_without_stamps_never_break(home: Path) -> None:
    tried = program(home, "bare-200", seed=2)
    assert not faults(tried, {"error", "same", "other"})


@pytest.mark.slow
def test_three_thousand_random_edits(home: Path) -> None:
    assert not faults(program(home, "edits-3000", seed=3), {"error", "same"})
    assert not faults(program(home, "bare-3000", seed=4), {"error", "same", "other"})


# --- what is mixed up ----------------------------------------------------------------------------


def edit_json(path: Path, field: str, value: Any) -> None:
    """Change a field, with a right checksum."""
    content = {**read_json(path)}
    place: Any = content
    *way, last = [field] if path.name == "images.json" else field.split(".")
    for part in way:
        place = place[part]
    if value is DELETED:
        del place[last]
    else:
        place[last] = value
    text = json.dumps({**content, "sha256": digest_of(content)})
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "field", "value"),
    [
        ("run.json", "model.names", ["dark", "light"]),
        ("run.json", "model.input.scale", 0.5),
        ("run.json", "model.input.std", [0.5]),
        ("run.json", "model.padding", "zeros"),
        ("run.json", "split.val", []),
        ("calibration.json", "factor", 0.125),
    ],
)
def test_plausible_values_that_are_not_the_training_s_are_refused(
    home: Path, tmp_path: Path, file: str, field: str, value: Any
) -> None:
    shutil.copytree(home / "heatmap", tmp_path / "run")
    edit_json(tmp_path / "run" / file, field, value)
    with pytest.raises(CheckpointError, match=f"{file}.*(changed|not the one)"):
        pw.load_model(tmp_path / "run", "cpu")


def test_a_training_ends_in_the_same_bytes_with_other_workers_and_labels_elsewhere(
    home: Path, tmp_path: Path
) -> None:
    shutil.copytree(home / "points", tmp_path / "points")
    dataset = pw.read_dataset(tmp_path / "points")
    common: dict[str, Any] = {"max_steps": 4, "val_interval": 2, "quiet": True, "device": "cpu"}
    settings = {"backbone_settings": {"width": 16}, "num_workers": 1, "precision": "float32"}
    pw.train(dataset, tmp_path / "run", **settings, **common)
    for file in ("calibration.json", "checkpoints/best.safetensors"):
        assert (tmp_path / "run" / file).read_bytes() == (home / "heatmap" / file).read_bytes()


def test_the_checkpoints_of_another_run_are_refused(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "palm_tree", tmp_path / "run")
    edit_json(tmp_path / "run" / "run.json", "training.seed", 7)
    dataset = pw.read_dataset(home / "classes")
    with pytest.raises(CheckpointError, match="is that of another run"):
        pw.train(dataset, tmp_path / "run", resume=True, quiet=True)


def test_a_missing_calibration_is_made_again(home: Path, tmp_path: Path) -> None:
    """Bit for bit: it may be that a training was killed before it was written."""
    shutil.copytree(home / "heatmap", tmp_path / "run")
    (tmp_path / "run" / "calibration.json").unlink()
    with pytest.raises(CheckpointError, match="continue the training with --resume"):
        pw.load_model(tmp_path / "run", "cpu")
    pw.train(pw.read_dataset(home / "points"), tmp_path / "run", resume=True, quiet=True)
    for file in ("calibration.json", "checkpoints/best.safetensors"):
        assert (tmp_path / "run" / file).read_bytes() == (home / "heatmap" / file).read_bytes()


def test_a_calibration_that_does_not_count_its_images_is_read(home: Path, tmp_path: Path) -> None:
    """As older versions wrote it."""
    run = tmp_path / "run"
    shutil.copytree(home / "heatmap", run)
    without_stamps(run)
    held = {"level": 0.9, "keypoints": 36, "factor": 2.5}
    write_json(run / "calibration.json", held)
    assert pw.load_model(run, "cpu").calibration == held
    one = pw.load_model(run, "cpu").predict(home / "points" / "images" / "004.png")
    assert one.radius_90 == pytest.approx(2.5 * one.uncertainty)


def test_a_run_of_an_older_version_predicts_and_resumes_the_same(
    home: Path, tmp_path: Path
) -> None:
    """Its checkpoints have no stamps; here it also lost its last step and its calibration."""
    run = tmp_path / "run"
    shutil.copytree(home / "heatmap", run)
    without_stamps(run)
    image = home / "points" / "images" / "004.png"
    before = answer(home / "heatmap", image)
    assert answer(run, image) == before
    (run / "checkpoints" / "step-00000004.safetensors").unlink()
    (run / "calibration.json").unlink()
    pw.train(pw.read_dataset(home / "points"), run, resume=True, quiet=True)
    assert answer(run, image) == before
    ends = [Run.open(path).latest() for path in (home / "heatmap", run)]
    first, second = (end.tensors for end in ends if end is not None)
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_lines_that_are_no_log_are_left_out(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "heatmap", tmp_path / "run")
    log, before = tmp_path / "run" / "log.jsonl", Run.open(home / "heatmap").log()
    assert before
    garbage = [
        b"[1]",
        b'{"loss": 1.0}',
        b'{"step": "4", "loss": 1.0}',
        b'{"step": true}',
        b'{"step": 4, "loss": "low"}',
        b'{"step": 4, "loss": [1]}',
        b'{"step": 4, "loss": 1' + b"0" * 400 + b"}",
        b"[" * 10**5,
        b"\xff\xfe",
        b"x" * 10**6,
    ]
    log.write_bytes(b"\n".join([*garbage, log.read_bytes().rstrip(), b'{"step": 9, "lo']))
    assert Run.open(tmp_path / "run").log() == before
    out = tmp_path / "out"
    pw.evaluate(tmp_path / "run", pw.read_dataset(home / "points"), out=out, device="cpu")
    assert (out / "report.html").is_file()


# --- the program ---------------------------------------------------------------------------------


def answer(run: Path, image: Path) -> str:
    """What a run says of an image, to the last bit."""
    found = pw.load_model(run, "cpu").predict(image)
    return repr((found.rows(), [v for k, v in sorted(vars(found).items()) if k != "image"]))


class Trial:
    """Tries edited runs, one after the other."""

    def __init__(self, home: Path, work: Path, *, stamps: bool) -> None:
        self.images = {
            "heatmap": home / "points" / "images" / "004.png",
            "proximity": home / "classes" / "dark" / "1.png",
            "palm_tree": home / "classes" / "dark" / "1.png",
        }
        self.points, self.classes = (pw.read_dataset(home / n) for n in ("points", "classes"))
        self.home, self.work = home, work
        for name in self.images:
            shutil.copytree(home / name, work / name)
            if not stamps:
                without_stamps(work / name)
        self.before = {name: answer(home / name, image) for name, image in self.images.items()}
        self._verb("heatmap", "resume")
        self._verb("heatmap", "evaluate")
        self.limit()

    def limit(self) -> None:
        """Leave `MEMORY` to what comes."""
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        used = pages * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))

    def __call__(self, name: str, verb: str, edit: Callable[[Path], None]) -> dict[str, Any]:
        """Edit a copy of a run, and say how it ends."""
        kept, run = self.work / f"{name}-kept", self.work / name
        shutil.copytree(run, kept)
        try:
            edit(run)
            started = time.process_time()
            end, said = self._end(name, verb)
            seconds = time.process_time() - started
        finally:
            shutil.rmtree(run)
            kept.rename(run)
        return {"end": end, "said": said, "seconds": seconds}

    def _end(self, name: str, verb: str) -> tuple[str, str]:
        try:
            found = self._verb(name, verb)
        except PlacewiseError as error:
            return "error", str(error)
        except BaseException as error:
            return "broken", repr(error)[:500]
        return ("same" if found in ("", self.before[name]) else "other"), ""

    def _verb(self, name: str, verb: str) -> str:
        run, dataset = self.work / name, self.points if name == "heatmap" else self.classes
        if verb == "predict":
            return answer(run, self.images[name])
        if verb == "evaluate":
            pw.evaluate(run, dataset, device="cpu")
        else:
            pw.train(dataset, run, resume=True, quiet=True, device="cpu")
        return ""


def cases(trial: Trial) -> Iterator[dict[str, Any]]:
    for name, case in CASES.items():

        def edit(run: Path, case: Case = case) -> None:
            path = run / case.file
            if case.field:
                edit_json(path, case.field, case.value)
            elif isinstance(case.value, bytes):
                path.write_bytes(case.value)
            else:
                case.value(path)

        yield {"case": name, **trial(case.run, case.verb, edit)}


HOSTILE = [
    *(0, -1, 1, 2, 10**9, 2**63, 10**400, 0.0, -0.5, 0.5, 1e-300, 1e300, True, False, None),
    *("", "1", "nan", "a\nb", "../..", "os:system", "x" * 10**5),
    *([], {}, [[]], [0] * 1000, {"a": 1}, {"": {"": []}}),
]


def places(content: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything in JSON."""
    keys = range(len(content)) if isinstance(content, list) else list(content)
    found = [(content, key) for key in keys]
    for key in keys:
        if isinstance(content[key], list | dict):
            found += places(content[key])
    return found


def random_edit(content: dict[str, Any], rng: random.Random) -> str:
    """Change something in JSON; what it was."""
    holder, key = rng.choice(places(content))
    old, kind = holder[key], rng.randrange(7)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(old, int | float):
        holder[key] = old * rng.choice([-1, 0, 0.5, 2, 1000, 1.0000001])
    elif kind == 2 and isinstance(old, list):
        rng.shuffle(old)
    elif kind == 3:
        holder[key] = [old] * rng.choice([1, 2, 50])
    elif kind == 4 and isinstance(holder, dict):
        holder[rng.choice(["hat", "", "a\nb", "x" * 1000])] = holder.pop(key)
    elif kind == 5:
        other, at = rng.choice(places(content))
        holder[key] = copy.deepcopy(other[at])
    else:
        holder[key] = copy.deepcopy(rng.choice(HOSTILE))
    return f"{key}, {kind}: {str(old)[:40]}"


def edits(trial: Trial, seed: int, count: int) -> Iterator[dict[str, Any]]:
    rng = random.Random(seed)
    for _ in range(count):
        name = rng.choice(["heatmap", "heatmap", "proximity", "palm_tree"])
        file, what = rng.choice(["run.json", "run.json", "run.json", "calibration.json"]), []

        def edit(run: Path, file: str = file, what: list[str] = what) -> None:
            content = read_json(run / file)
            for _ in range(rng.choice([1, 1, 1, 2, 3])):
                if content:
                    what.append(random_edit(content, rng))
            text = json.dumps({**content, "sha256": digest_of(content)})
            (run / file).write_text(text, encoding="utf-8")

        found = trial(name, "predict", edit)
        yield {"case": f"{name}/{file}: {'; '.join(what)}", **found}


def main(home: Path, what: str, seed: int, out: Path) -> None:
    kind, _, count = what.partition("-")
    trial = Trial(home, Path(f"{out}.work"), stamps=kind == "edits")
    found = cases(trial) if kind == "cases" else edits(trial, seed, int(count))
    out.write_text(json.dumps(list(found)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
