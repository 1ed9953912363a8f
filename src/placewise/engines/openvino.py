"""OpenVINO, on the CPU; needs the package openvino."""

from __future__ import annotations

import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from placewise.engines import INT8, FileEngine
from placewise.errors import SettingsError
from placewise.model import Network

HINTS = {"float32": "f32", "bfloat16": "bf16", INT8: "f32"}
"""What it computes in where the file does not say otherwise."""


class Openvino(FileEngine):
    """A network that was written as a file, image by image.

    One image at a time is as fast as several, and what is found on an image does not depend on the
    others of its batch.
    """

    package = "openvino"
    precisions = ("float32", "bfloat16", INT8)

    def __init__(
        self, network: Network[Any], file: Path, precision: str, threads: int, calls: int
    ) -> None:
        super().__init__(network, file, precision, threads, calls)
        core: Any = import_module("openvino").Core()
        options = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": threads * calls,
            "NUM_STREAMS": calls,
        }
        try:
            self._compiled = core.compile_model(core.read_model(str(file)), "CPU", options)
        except RuntimeError as error:
            raise SettingsError(
                f"OpenVINO cannot read this network ({_reason(error)}); use --engine onnxruntime, "
                "or --engine torch"
            ) from error
        self._own = threading.local()

    def run(self, images: Tensor) -> Tensor:
        """See `FileEngine.run`."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        given, found = images.float().contiguous().numpy(), []
        for one in given:
            result = self._own.request.infer({0: one[None]}, share_inputs=True)
            found.append(torch.from_numpy(result[0]))
        return torch.cat(found)


def _reason(error: RuntimeError) -> str:
    """What it does not know, among the lines that it writes about everything that follows."""
    lines = [line.strip() for line in str(error).splitlines()]
    unknown = [line for line in lines if line.startswith("Unsupported")]
    return (unknown or lines or [""])[0]
