"""Write a network as a file of ONNX, with what has to be known of it as metadata.

Nothing else in placewise knows how torch writes such files. It needs the packages onnx and
onnxscript; running the file needs neither them nor placewise.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from placewise.errors import SettingsError, first_line
from placewise.files import replacing

NEEDS = ("onnx", "onnxscript")
"""Packages that writing needs."""

MOST = 2**31 - 1
"""Bytes of a file of ONNX, at most: what is larger is written in several files."""


def able() -> bool:
    """Whether files of ONNX can be written here."""
    return all(find_spec(name) is not None for name in NEEDS)


def write_onnx(
    module: nn.Module,
    example: Tensor,
    file: Path,
    *,
    free: Mapping[int, Any],
    outputs: Sequence[str],
    metadata: Mapping[str, str],
    what: str,
) -> None:
    """Write a module of one tensor as one file, whose input is called `images`.

    Args:
        module: in eval mode.
        example: what it takes; its values do not matter.
        file: the file to write or replace.
        free: axes of the tensor that may have any length, as `torch.export.Dim`.
        outputs: names of what it returns, in order.
        metadata: texts that the file carries, by name.
        what: the module is called in messages.

    Raises:
        SettingsError: a package is missing, or the module holds what ONNX cannot say.
    """
    if not able():
        raise SettingsError(
            'this needs the packages onnx and onnxscript; run: pip install "placewise[onnx]"'
        )
    weights = sum(one.nbytes for one in module.state_dict().values())
    if weights > MOST:
        raise SettingsError(f"{what} has {weights:,} bytes of weights; one file holds {MOST:,}")
    try:
        with hushed("torch.onnx"), torch.no_grad():
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
        raise SettingsError(f"{what} cannot be written as ONNX: {_reason(error)}") from error
    if program is None:
        raise SettingsError(f"{what} cannot be written as ONNX: torch gave no file")
    program.model.metadata_props.update(metadata)
    with replacing(file) as part:
        program.save(part)


def _reason(error: BaseException) -> str:
    """The innermost cause in a line: torch wraps it into pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
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
