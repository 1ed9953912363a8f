"""Write a trained run as one file of ONNX that answers by itself: images in, keypoints out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from placewise import __version__
from placewise.engines import SMALLEST, Plain, example_size, free_axes, unwritable
from placewise.errors import SettingsError
from placewise.files import digest_of
from placewise.geometry import PIXEL_CONVENTION, Size
from placewise.model import Network
from placewise.onnx_files import UnwritableError, Written, as_onnx
from placewise.paddings import PADDINGS
from placewise.run import Run

__all__ = ["export"]

KEYS = ("scale", "size", "channels", "mean", "std", "fit", "white", "normalise", "pitch")
"""What the metadata say of how an image is brought to the network."""


def export(run: str | Path | Run, onnx: str | Path, *, overwrite: bool = False) -> dict[str, str]:
    """Write the best model of a run as one file of ONNX.

    The file takes a batch of images of any size, in 0..1 at the network's scale. Normalisation,
    padding, the network, and what is read off its maps are inside, so that keypoints or
    probabilities come out; of tasks whose answers are more than tensors, the maps do, and the
    metadata say so. See docs/export.md.

    Args:
        run: a trained run, or its folder.
        onnx: the file to write.
        overwrite: replace the file where it is there.

    Returns:
        The metadata, as the file carries them: texts by name.

    Raises:
        SettingsError: the file is there, or its folder is not; a package is missing, or the model
            holds what ONNX cannot say.

    Example:
        >>> export("my_run", "model.onnx")["names"]  # doctest: +SKIP
        '["nose", "tail"]'
    """
    run, file = run if isinstance(run, Run) else Run.open(run), Path(onnx)
    if file.suffix.lower() != ".onnx":
        raise SettingsError(
            f"got {file} as the file; its name must end in .onnx, so that programs know it"
        )
    if file.exists() and not overwrite:
        raise SettingsError(f"{file} is there already; add --overwrite, or name another file")
    if not file.parent.is_dir():
        raise SettingsError(f"there is no folder {file.parent}; make it, or name a file elsewhere")
    model = run.model()
    written = whole_as_onnx(model)
    metadata = metadata_of(model, run, written.smallest)
    written.save(file, metadata)
    return metadata


def whole_as_onnx(model: Network[Any]) -> Written:
    """A network with all that is before and after it: images of any size in, answers out.

    Args:
        model: in eval mode, on the CPU.

    Raises:
        SettingsError: a package is missing, or the model holds what ONNX cannot say.
    """
    graph = _Graph(model).eval()
    odd = [side - 1 - axis for axis, side in enumerate(example_size(model))]
    size = tuple(odd) if model.head.any_size else model.input_size
    images = torch.zeros(2, model.input.channels, *size)
    try:
        return as_onnx(graph, images, free=free_axes(model, 1), outputs=list(model.answers))
    except UnwritableError as error:
        raise unwritable(model, error) from error


def metadata_of(model: Network[Any], run: Run, smallest: Size) -> dict[str, str]:
    """What a file carries beside the network, as texts by name; all but `placewise` are JSON."""
    view = model.input.model_dump(mode="json")
    facts: dict[str, Any] = {
        "task": run.facts.model.task,
        "names": list(model.names),
        "skeleton": [list(pair) for pair in run.facts.model.skeleton],
        "pixel_convention": PIXEL_CONVENTION,
        "axes": model.input.axes,
        "any_size": model.head.any_size,
        "multiple": model.multiple,
        SMALLEST: list(smallest),
        "answers": dict(model.answers),
        "input": {key: view[key] for key in KEYS},
        "spectrogram": view["spectrogram"],
        "run": run.stamp,
    }
    texts = {key: json.dumps(value) for key, value in facts.items()}
    return {"placewise": __version__, **texts, "sha256": digest_of(texts)}


class _Graph(nn.Module):
    """Padding, normalisation, network and reading, of images of any size.

    Args:
        network: the network.

    Raises:
        SettingsError: its padding rule cannot be part of a file.
    """

    def __init__(self, network: Network[Any]) -> None:
        super().__init__()
        self.network = network
        self.plain = Plain(network)
        rule = network.padding
        if network.head.any_size and not hasattr(rule, "source"):
            raise SettingsError(
                f"images are padded by the rule '{PADDINGS.name_of(type(rule))}', which cannot be "
                "part of a file; build the model with padding='replicate', which can"
            )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """What is read off the raw output; see `Network.read`."""
        size = tuple(images.shape[2:])
        if self.network.head.any_size:
            images = self._padded(images)
        found = self.network.read(self.plain(images), size)
        return tuple(found[name] for name in self.network.answers)

    def _padded(self, images: Tensor) -> Tensor:
        """Padded to a multiple; every place is looked up, so that one graph serves every size."""
        source: Any = self.network.padding
        margins = self.network.margins(tuple(images.shape[2:]))
        for axis, (before, after) in enumerate(margins, 2):
            length = images.shape[axis]
            places = torch.arange(length + before + after, device=images.device) - before
            images = images.index_select(axis, source.source(places, length))
        return images
