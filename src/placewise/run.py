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
"""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from placewise import __version__
from placewise.checkpoint import Checkpoint, Checkpoints
from placewise.devices import device_of
from placewise.errors import CheckpointError, SettingsError
from placewise.files import make_folder, read_json, write_json
from placewise.geometry import PIXEL_CONVENTION
from placewise.model import ModelSettings, Network
from placewise.tasks import build

Notice = Callable[[str], None]
_LOG = logging.getLogger("placewise")


class RunFacts(BaseModel):
    """What `run.json` holds.

    Attributes:
        pixel_convention: the convention of every coordinate in the run.
        versions: versions of placewise, Python and the libraries that decide numbers.
        data: file of labels that the run was trained on.
        fingerprint: SHA-256 over the labels and the bytes of every image.
        split: images of each split.
        model: what the model is built from.
        training: settings of the training, resolved.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pixel_convention: str = PIXEL_CONVENTION
    versions: dict[str, str]
    data: str
    fingerprint: str
    split: dict[str, tuple[str, ...]]
    model: ModelSettings
    training: dict[str, Any]


class Run:
    """A run folder that has been begun.

    Args:
        path: the folder.
        facts: content of its `run.json`.

    Example:
        >>> Run.open(Path("nowhere"))
        Traceback (most recent call last):
        ...
        placewise.errors.SettingsError: nowhere is not a run: it has no run.json; ...
    """

    def __init__(self, path: Path, facts: RunFacts) -> None:
        self.path, self.facts = path, facts
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
        run = cls(path, facts)
        run.remember(digests)
        write_json(path / "run.json", facts.model_dump(mode="json"))
        return run

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open a run.

        Raises:
            SettingsError: the folder is not a run.
            CheckpointError: its `run.json` is damaged or of another version.
        """
        path = Path(path)
        file = path / "run.json"
        if not file.is_file():
            raise SettingsError(
                f"{path} is not a run: it has no run.json; give a folder that "
                "'placewise train DATA --out RUN' has written"
            )
        content = read_json(file)
        try:
            return cls(path, RunFacts.model_validate(content))
        except ValidationError as error:
            what = error.errors()[0]
            raise CheckpointError(
                f"{file}: field {'.'.join(map(str, what['loc']))}: {what['msg']}; the run was "
                f"written by another version, this is {__version__}"
            ) from error

    def model(self, notice: Notice = _LOG.warning) -> Network[Any]:
        """The best model of the run, ready to predict, calibrated as far as the run is.

        Args:
            notice: called where a damaged checkpoint was passed over.
        """
        model = build(self.facts.model)
        load_weights(model, self.checkpoints.best(notice))
        model.run = self
        return model.calibrated(self.calibration()).eval()

    def images(self) -> dict[str, str]:
        """Content of every image that the run has seen, by name; see `image_digest`."""
        file = self.path / "images.json"
        return read_json(file) if file.is_file() else {}

    def remember(self, digests: Mapping[str, bytes]) -> None:
        """Keep the content of the images that the run sees from now on.

        Args:
            digests: SHA-256 of each image, by name.
        """
        contents = {image: image_digest(digest) for image, digest in digests.items()}
        write_json(self.path / "images.json", contents)

    def log(self) -> list[dict[str, Any]]:
        """Lines of `log.jsonl`; a last line that was cut short is left out."""
        file = self.path / "log.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def calibration(self) -> dict[str, Any]:
        """What `calibration.json` holds; nothing before calibration."""
        file = self.path / "calibration.json"
        return read_json(file) if file.is_file() else {}


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


def image_digest(digest: bytes) -> str:
    """A short name for the content of an image: 16 digits of its SHA-256.

    Example:
        >>> image_digest(bytes(32))
        '0000000000000000'
    """
    return digest[:8].hex()


def load_weights(model: Network[Any], checkpoint: Checkpoint) -> None:
    """Put the averaged weights of a checkpoint into a model.

    Raises:
        CheckpointError: the tensors do not fit the model.
    """
    weights = prefixed(checkpoint.tensors, "average.")
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
