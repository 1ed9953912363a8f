"""A network in whole numbers of 8 bits, from one in float32 and images as it will see them.

Each channel of a convolution's weights, and each map between layers, gets a step so that its
largest values on those images are the largest of 8 bits (Jacob et al. 2018). ONNX Runtime writes
the file; whatever runs ONNX reads it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from placewise.errors import SettingsError, first_line
from placewise.files import replacing
from placewise.onnx_files import hushed

ROUNDED = ("Conv", "Add", "Relu", "Resize")
"""Operations between which maps stay in 8 bits; the rest is a few values for each place."""

NEEDS = ("onnx", "onnxruntime")
"""Packages that writing needs."""


def write_int8(network: Path, images: Iterable[Tensor], file: Path) -> None:
    """Write the network in 8 bits.

    Args:
        network: file of the network in float32, whose input is called `images`.
        images: (1, channels, *size) each, as the network sees them; their sizes may differ.
        file: the file to write or replace.

    Raises:
        SettingsError: a package is missing, or the network cannot be written so.
    """
    if not all(find_spec(name) for name in NEEDS):
        raise SettingsError(
            'int8 needs the packages onnx and onnxruntime; run: pip install "placewise[fast]"'
        )
    quantization: Any = import_module("onnxruntime.quantization")

    class Shown(quantization.CalibrationDataReader):  # type: ignore[misc]
        """The images, one after the other."""

        def __init__(self) -> None:
            self.left = iter(images)

        def get_next(self) -> dict[str, Any] | None:
            one = next(self.left, None)
            return None if one is None else {"images": one.float().contiguous().numpy()}

    try:
        with tempfile.TemporaryDirectory() as folder, hushed(""), replacing(file) as part:
            folded = str(Path(folder, "folded.onnx"))
            quantization.shape_inference.quant_pre_process(
                str(network), folded, skip_symbolic_shape=True
            )
            quantization.quantize_static(
                folded,
                str(part),
                Shown(),
                op_types_to_quantize=list(ROUNDED),
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
    except Exception as error:  # whatever it says of operations that it does not know
        why = first_line(error)
        raise SettingsError(f"the network cannot be written in int8: {why}") from error
