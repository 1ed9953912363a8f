"""ONNX Runtime, on the CPU; needs the package onnxruntime."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from placewise.engines import FileEngine
from placewise.model import Network

ERRORS_ONLY = 3
"""Its level of words."""


class Onnxruntime(FileEngine):
    """A network that was written as a file, image by image.

    One image at a time is as fast as several, and what is found on an image does not depend on the
    others of its batch.
    """

    package = "onnxruntime"

    def __init__(
        self, network: Network[Any], file: Path, precision: str, threads: int, calls: int
    ) -> None:
        super().__init__(network, file, precision, threads, calls)
        runtime: Any = import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = ERRORS_ONLY
        options.enable_cpu_mem_arena = False  # else memory grows with every new size
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = runtime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )

    def run(self, images: Tensor) -> Tensor:
        """See `FileEngine.run`."""
        given = images.float().contiguous().numpy()
        found = [self._session.run(None, {"images": one[None]})[0] for one in given]
        return torch.cat([torch.from_numpy(one) for one in found])
