"""A run: the folder that training writes and that everything after it reads.

```
RUN/
  run.json           settings, split, versions and the fingerprint of the data
  images.json        content of every image that the run has seen, by name
  log.jsonl          a line every few steps
  preview.png        validation images with the latest predictions
  calibration.json   what turns the model's own confidence into one that holds; at the end
  checkpoints/       best.safetensors and the last two step-*.safetensors
  validation/        scores and report on the validation images; written at the end
```

A run may come from anyone. So every field of its files has bounds, and the network that `run.json`
describes is compared with the header of a checkpoint before either takes memory. Checkpoints hold
a SHA-256 of what `run.json` says of the learning, and the best one that of `calibration.json`:
files of two runs, or of one that was edited, are not mixed.
"""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, RootModel
from torch import Tensor
from torch.overrides import TorchFunctionMode

from placewise import __version__
from placewise.backbones import BACKBONES
from placewise.checkpoint import Checkpoint, Checkpoints, Header, Kind
from placewise.devices import device_of
from placewise.errors import CheckpointError, PlacewiseError, SettingsError
from placewise.family import blaming, from_file
from placewise.files import digest_of, make_folder, read_json, write_json
from placewise.geometry import PIXEL_CONVENTION
from placewise.heads import HEADS
from placewise.labels import SPLITS, Dataset, Pixels
from placewise.model import ModelSettings, Network, Short
from placewise.tasks import build, reopened, task_named

Name = Annotated[str, Field(max_length=4096)]
"""Of an image or a file."""

D = TypeVar("D", bound=Dataset[Any])

Notice = Callable[[str], None]
_LOG = logging.getLogger("placewise")


FREE = frozenset({"device", "num_workers"})
"""Settings that a resumed run may take anew: they do not change what is learnt."""

LONGEST_LINE = 2**16
"""Characters of a line of `log.jsonl`, at most."""


def _check_convention(convention: str) -> str:
    if convention != PIXEL_CONVENTION:
        raise ValueError(f"it must be {PIXEL_CONVENTION!r}")
    return convention


def _check_split(split: dict[str, Any]) -> dict[str, Any]:
    if set(split) != set(SPLITS):
        raise ValueError(f"it must have exactly the parts {', '.join(SPLITS)}")
    return split


def _check_plain(settings: Any) -> Any:
    """Refuse what no settings are: more than numbers and words, and such under names."""
    for value in settings.values() if isinstance(settings, Mapping) else [()]:
        inner = value.values() if isinstance(value, Mapping) else [value]
        for one in inner:
            single = one if isinstance(one, list | tuple) else [one]
            if not all(x is None or isinstance(x, int | float | str) for x in single):
                raise ValueError("it must hold numbers and texts by name, nested once at most")
    return settings


class RunFacts(BaseModel):
    """What `run.json` holds.

    Attributes:
        pixel_convention: the convention of every coordinate in the run.
        versions: versions of placewise, Python and the libraries that decide numbers.
        data: file of labels that the run was trained on.
        pixels: what the places in that file count from.
        fingerprint: SHA-256 over the labels and the bytes of every image.
        split: images of each split.
        model: what the model is built from.
        training: settings of the training, resolved.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pixel_convention: Annotated[str, AfterValidator(_check_convention)] = PIXEL_CONVENTION
    versions: Annotated[dict[Short, Short], Field(max_length=64)]
    data: Name
    pixels: Pixels = "center"
    fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    split: Annotated[dict[str, tuple[Name, ...]], AfterValidator(_check_split)]
    model: ModelSettings
    training: Annotated[dict[Short, Any], Field(max_length=64), BeforeValidator(_check_plain)]


class _Contents(RootModel[dict[Name, Annotated[str, Field(pattern="^[0-9a-f]{16}$")]]]):
    """What `images.json` holds."""


class Run:
    """A run folder that has been begun.

    Args:
        path: the folder.
        facts: content of its `run.json`.
        stamp: see `stamp_of`.

    Example:
        >>> Run.open(Path("nowhere"))
        Traceback (most recent call last):
        ...
        placewise.errors.SettingsError: nowhere is not a run: it has no run.json; ...
    """

    def __init__(self, path: Path, facts: RunFacts, stamp: str) -> None:
        self.path, self.facts, self.stamp = path, facts, stamp
        self.checkpoints = Checkpoints(path / "checkpoints")

    @classmethod
    def create(cls, path: Path, facts: RunFacts, digests: Mapping[str, bytes]) -> Run:
        """Begin a run in an empty or new folder.

        Args:
            path: the folder.
            facts: content of its `run.json`.
            digests: SHA-256 of every image, by name.
        """
        make_folder(path)
        content = facts.model_dump(mode="json")
        run = cls(path, facts, stamp_of(content))
        run.remember(digests)
        write_json(path / "run.json", content)
        return run

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open a run.

        Raises:
            SettingsError: the folder is not a run.
            CheckpointError: its `run.json` is damaged, of another version, or holds what no
                training writes; the message names the field.
        """
        path = Path(path)
        file = path / "run.json"
        if not file.is_file():
            raise SettingsError(
                f"{path} is not a run: it has no run.json; give a folder that "
                "'placewise train DATA --out RUN' has written"
            )
        content = read_json(file)
        facts = from_file(RunFacts, file, content)
        with blaming(file, "model"):
            _ = facts.model.task  # a head and a backbone that are there
            if reopened(facts.model) != facts.model:
                raise SettingsError("a run has its own weights, and this names a file of others")
        return cls(path, facts, stamp_of(content))

    def model(self, notice: Notice = _LOG.warning) -> Network[Any]:
        """The best model of the run, ready to predict, calibrated as far as the run is.

        Args:
            notice: called where a damaged checkpoint was passed over.

        Raises:
            CheckpointError: no checkpoint can be read, or none belongs to this `run.json`.
        """
        best = self.best(notice)
        calibration = self.calibration()
        if best.facts.get("calibration") not in (None, digest_of(calibration)):
            raise CheckpointError(
                f"{self.path / 'calibration.json'} is not the one that the training wrote for the "
                "weights; put it back, or delete it and continue the training with --resume"
            )
        model = self.network(best)
        model.run = self
        return model.calibrated(calibration).eval()

    def best(self, notice: Notice = _LOG.warning) -> Checkpoint:
        """The best checkpoint of the run; see `Checkpoints.best`."""
        return self.checkpoints.best(notice, partial(self._check, self._tensors()))

    def latest(self, notice: Notice = _LOG.warning) -> Checkpoint | None:
        """The newest checkpoint of the run; see `Checkpoints.latest`."""
        return self.checkpoints.latest(notice, partial(self._check, self._tensors()))

    def network(self, checkpoint: Checkpoint) -> Network[Any]:
        """The network of the run with the averaged weights of a checkpoint, not calibrated."""
        with blaming(self.path / "run.json", "model"):
            model = build(self.facts.model)
            load_weights(model, checkpoint)
        return model

    def _tensors(self) -> dict[str, Kind] | None:
        """Type and shape of the network's tensors by name, found without any memory for them.

        None for members from outside of the package, which may not be made for that: the user has
        imported their code and trusts it.
        """
        model = self.facts.model
        members = (BACKBONES[model.backbone], HEADS[model.head])
        if any(not member.__module__.startswith("placewise.") for member in members):
            return None
        with blaming(self.path / "run.json", "model"):
            try:
                with torch.device("meta"), _Undrawn():
                    state = build(model).state_dict()
            except PlacewiseError:
                raise
            except Exception as error:  # whatever torch says of impossible sizes
                raise SettingsError(f"no network can be built from it ({error!r:.200})") from error
        return {name: (_TYPES[one.dtype], tuple(one.shape)) for name, one in state.items()}

    def _check(self, tensors: Mapping[str, Kind] | None, header: Header) -> None:
        """Refuse a checkpoint of another run, or with other tensors than those of the network."""
        stamp = header.facts.get("run")
        if stamp not in (None, self.stamp):
            raise CheckpointError(
                f"{header.path} does not belong to {self.path / 'run.json'}, which was changed or "
                "is that of another run; put back the one that the training wrote"
            )
        if tensors is not None:
            _compare(header, tensors, self.path / "run.json")

    def counted_as_then(self, dataset: D) -> D:
        """Labels; those of the run's own file with places that count from what was said then.

        Args:
            dataset: the labels.
        """
        own = str(dataset.source or dataset.root) == self.facts.data
        if not own or dataset.pixels == self.facts.pixels:
            return dataset
        return dataset.counted_from(self.facts.pixels)

    def images(self) -> dict[str, str]:
        """Content of every image that the run has seen, by name; see `image_digest`."""
        file = self.path / "images.json"
        return from_file(_Contents, file, read_json(file)).root if file.is_file() else {}

    def remember(self, digests: Mapping[str, bytes]) -> None:
        """Keep the content of the images that the run sees from now on.

        Args:
            digests: SHA-256 of each image, by name.
        """
        contents = {image: image_digest(digest) for image, digest in digests.items()}
        write_json(self.path / "images.json", contents)

    def log(self) -> list[dict[str, Any]]:
        """Lines of `log.jsonl`; what is no line of it, or was cut short, is left out."""
        file = self.path / "log.jsonl"
        if not file.is_file():
            return []
        with file.open(encoding="utf-8", errors="replace") as text:
            read = (_line(line) for line in iter(lambda: text.readline(LONGEST_LINE), ""))
            return [line for line in read if line is not None]

    def calibration(self) -> dict[str, Any]:
        """What `calibration.json` holds; nothing before calibration."""
        file = self.path / "calibration.json"
        if not file.is_file():
            return {}
        content = read_json(file)
        from_file(task_named(self.facts.model.task).calibration, file, content)
        return content


class _Undrawn(TorchFunctionMode):
    """First weights are not drawn.

    Tensors without memory need none, and torch would load its compiler to draw them, which takes
    longer than many a prediction.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if func is Tensor.normal_ or getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def _line(text: str) -> dict[str, Any] | None:
    """A line of the log: a step, and numbers by name; None where it is none.

    Example:
        >>> _line('{"step": 10, "loss": 0.5}'), _line('{"step": 10, "lo')
        ({'step': 10, 'loss': 0.5}, None)
    """
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or type(line.get("step")) is not int:
        return None
    values = [value for value in line.values() if value is not None]
    able = all(type(x) is float or (type(x) is int and abs(x) < 2**63) for x in values)
    return line if able else None


_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""Types of tensors, as safetensors writes them."""


def _compare(header: Header, tensors: Mapping[str, Kind], file: Path) -> None:
    """Refuse a checkpoint whose averaged weights are not those of a network of these tensors.

    Its other tensors are a second copy of them, and what an optimiser keeps of each.
    """
    kept: dict[str, Kind] = {}
    fault = ""
    for name, found in header.tensors.items():
        prefix, _, own = name.partition(".")
        if prefix == "average":
            kept[own] = found
        if prefix == "optimizer":
            able = found[1] == () or found in tensors.values()
        else:
            able = prefix in ("average", "model") and tensors.get(own) == found
        if not able:
            fault = f"has a tensor {name!r:.200} of {found!s:.100}, as the network has none"
    if missing := sorted(set(tensors) - set(kept)):
        fault = f"has no tensor 'average.{missing[0]}', which the network needs"
    if fault:
        raise CheckpointError(
            f"{header.path} does not fit the field model of {file}: it {fault}; put back the "
            "run.json and the checkpoints of one training"
        )


def load_model(run: str | Path | Run, device: str | torch.device = "auto") -> Network[Any]:
    """The best model of a run: an `nn.Module` in eval mode, ready for `predict`.

    Args:
        run: the run, or its folder.
        device: "auto" (cuda, mps or cpu, whichever is there), or one of them.

    Raises:
        SettingsError: the folder is not a run.
        CheckpointError: it holds no checkpoint that can be read.

    Example:
        >>> load_model("my_run").predict("image.png").keypoints  # doctest: +SKIP
    """
    opened = run if isinstance(run, Run) else Run.open(run)
    return opened.model().to(device_of(device))


def stamp_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of what a `run.json` says of the learning, which the checkpoints of the run hold.

    Where the labels lie, versions and `FREE` settings are left out: the same training ends in the
    same bytes whatever they are.

    Example:
        >>> stamp_of({"data": "here", "training": {"device": "cpu"}}) == stamp_of({"training": {}})
        True
    """
    learning = {k: v for k, v in content.items() if k not in ("data", "versions")}
    settings = {k: v for k, v in content["training"].items() if k not in FREE}
    return digest_of({**learning, "training": settings})


def image_digest(digest: bytes) -> str:
    """A short name for the content of an image: 16 digits of its SHA-256.

    Example:
        >>> image_digest(bytes(32))
        '0000000000000000'
    """
    return digest[:8].hex()


def load_weights(model: Network[Any], checkpoint: Checkpoint, prefix: str = "average.") -> None:
    """Put the averaged weights of a checkpoint into a model, or others.

    Args:
        model: the model.
        checkpoint: holds them.
        prefix: of their names in the checkpoint.

    Raises:
        CheckpointError: the tensors do not fit the model.
    """
    weights = prefixed(checkpoint.tensors, prefix)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise CheckpointError(
            f"the checkpoint does not fit the model of its run: {first}"
        ) from error


def prefixed(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, without it.

    Example:
        >>> prefixed({"model.a": torch.zeros(1), "b": torch.zeros(1)}, "model.")
        {'a': tensor([0.])}
    """
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


def versions() -> dict[str, str]:
    """Versions of what decides numbers.

    Example:
        >>> versions()["placewise"] == __version__
        True
    """
    found = {"placewise": __version__, "python": platform.python_version()}
    for package in ("torch", "numpy", "pillow", "safetensors"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
