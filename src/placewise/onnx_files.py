"""Write a network as a file of ONNX, with what has to be known of it as metadata.

Nothing else in placewise knows how torch writes such files. It needs the packages onnx and
onnxscript; running the file needs neither them nor placewise.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from placewise.errors import SettingsError, first_line
from placewise.files import replacing
from placewise.geometry import Size

NEEDS = ("onnx", "onnxscript")
"""Packages that writing needs."""

MOST = 2**31 - 1
"""Bytes of a file of ONNX, at most: what is larger is written in several files."""

FIXED = ("Constraints violated", "conflicts between user-specified ranges")
"""How torch says that a side, or the number of images, cannot be free."""


def able() -> bool:
    """Whether files of ONNX can be written here."""
    return all(find_spec(name) is not None for name in NEEDS)


@dataclass(frozen=True)
class Written:
    """A module as a program of ONNX, which is not a file yet.

    Attributes:
        program: torch's own.
        smallest: sides of the smallest images that it takes, along each axis.
    """

    program: Any
    smallest: Size

    def save(self, file: Path, metadata: Mapping[str, str]) -> None:
        """Write or replace a file, which carries metadata: texts by name."""
        self.program.model.metadata_props.update(metadata)
        with replacing(file) as part:
            self.program.save(part)


def as_onnx(
    module: nn.Module, example: Tensor, *, free: Mapping[int, Any], outputs: Sequence[str]
) -> Written:
    """A module of one tensor as a program of ONNX, whose input is called `images`.

    Args:
        module: in eval mode.
        example: what it takes; its values do not matter.
        free: axes of the tensor that may have any length, as `torch.export.Dim`.
        outputs: names of what it returns, in order.

    Raises:
        SettingsError: a package is missing, or the weights are too many for one file.
        UnwritableError: the module holds what ONNX cannot say.
    """
    if not able():
        raise SettingsError(
            'this needs the packages onnx and onnxscript; run: pip install "placewise[onnx]"'
        )
    weights = sum(one.nbytes for one in module.state_dict().values())
    if weights > MOST:
        raise SettingsError(f"the network has {weights:,} bytes of weights; a file holds {MOST:,}")
    try:
        with hushed("torch.onnx"), hushed("onnxscript"), torch.no_grad():
            # Followed here and not by torch.onnx, which takes fixed sizes where free ones fail.
            traced = torch.export.export(
                module,
                (example,),
                dynamic_shapes=(dict(free),),
                prefer_deferred_runtime_asserts_over_guards=True,
            )
            program = torch.onnx.export(
                traced,
                dynamo=True,
                verbose=False,
                input_names=["images"],
                output_names=list(outputs),
            )
    except Exception as error:  # whatever torch says of operations that it cannot write
        raise UnwritableError(_reason(error)) from error
    if program is None:
        raise UnwritableError("torch gave no file")
    return Written(program, _smallest(traced))


class UnwritableError(Exception):
    """Why torch cannot write a module; whoever knows what users call the module says so."""


def metadata_in(file: Path) -> dict[str, str]:
    """What a file carries beside its network: texts by name; none where onnx is missing."""
    if find_spec("onnx") is None:
        return {}
    onnx: Any = import_module("onnx")
    return {one.key: one.value for one in onnx.load(file).metadata_props}


def _smallest(traced: torch.export.ExportedProgram) -> Size:
    """The least that torch found each free side to be, and the fixed ones."""
    (images,) = (
        node.meta["val"]
        for node in traced.graph.find_nodes(op="placeholder")
        if node.name in traced.graph_signature.user_inputs
    )
    bounds = traced.range_constraints
    least = {symbol: bounds[symbol].lower for symbol in bounds if symbol.is_symbol}
    return tuple(
        side if isinstance(side, int) else int(side.node.expr.xreplace(least))
        for side in images.shape[2:]
    )


def _reason(error: BaseException) -> str:
    """The innermost cause in a line: torch wraps it into pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    if any(words in str(error) for words in FIXED):
        return "torch can follow it only for one size of the images, or one number of them"
    return first_line(error)


@contextmanager
def hushed(logger: str) -> Iterator[None]:
    """A library's words on what it tries are not meant for users.

    Args:
        logger: whose lines are left out, but for errors; empty: that of all.
    """
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
