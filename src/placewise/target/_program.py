"""Exported programs from a file, without running anything but operators of torch.

Torch's own reader of these archives unpickles objects, loads compiled libraries and looks functions
up by name. Therefore an archive is checked first: it may contain only tensors, and a graph of
operators with sizes.
"""

from __future__ import annotations

import io
import json
import operator
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.pt2_archive import PT2ArchiveReader

from placewise.errors import SettingsError

ARITHMETIC = "add sub mul floordiv truediv mod pow neg getitem eq ne lt le gt ge and_ or_ not_ pos"
"""Functions of the module `operator` that graphs use on sizes and lists."""

EXPRESSION = re.compile(r"(?:[A-Z]\w*\(|positive=|integer=|True|False|'\w+'|[-\d(), ])*")
"""Sizes that are not fixed, as sympy writes them: Mul(Integer(2), Symbol('s0', integer=True))."""

CARRIERS = ("data/aotinductor", "custom_obj", "opaque_obj")
"""Records that contain compiled libraries or pickled objects."""


def read_program(path: Path) -> tuple[ExportedProgram, tuple[int, ...]]:
    """Read a file of `torch.export.save`.

    Args:
        path: the file.

    Returns:
        The program, and the shape (channels, *space) of the image for which it was exported.

    Raises:
        SettingsError: the file is not an exported program, was written by another version of
            torch, or contains something that would be executed when it is read.
    """
    data = path.read_bytes()
    if faults := _carried(path, data):
        raise SettingsError(
            f"{path} contains {faults[0]}, which torch would execute when it reads the file; "
            "placewise reads only programs of tensors and operators: give the network itself, as "
            "file.py:function, if you trust its source"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.load(io.BytesIO(data))
        except Exception as error:
            raise _unread(path, error) from error
    inputs: tuple[object, ...] = (program.example_inputs or ((),))[0]
    if len(inputs) != 1 or not isinstance(inputs[0], torch.Tensor):
        raise SettingsError(
            f"{path} is a program of {len(inputs)} inputs; it must take one tensor, the image: "
            "wrap the network in a module that does, and export it again"
        )
    return program, tuple(inputs[0].shape[1:])


def _carried(path: Path, data: bytes) -> list[str]:
    """What an archive contains that is neither a tensor, an operator nor a size."""
    try:
        if "version" in zipfile.ZipFile(io.BytesIO(data)).namelist():
            return ["a program in the format of torch 2.7 or older"]
        reader = PT2ArchiveReader(io.BytesIO(data))
        found = [name for name in reader.get_file_names() if name.startswith(CARRIERS[0])]
        texts = [n for n in reader.get_file_names() if n.endswith(".json")]
        for name in texts:
            found += _faults(json.loads(reader.read_bytes(name)))
        for name in reader.get_file_names():
            if name.endswith(".pt") and (samples := reader.read_bytes(name)):
                torch.load(io.BytesIO(samples), weights_only=True)
        return found
    except Exception as error:
        raise _unread(path, error) from error


def _faults(content: object) -> Iterator[str]:
    """What is not allowed in a JSON record, in words."""
    if isinstance(content, list):
        for value in content:
            yield from _faults(value)
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        yield from _faults(value)
        if key in ("target", "as_operator") and isinstance(value, str) and not _is_operator(value):
            yield f"a call of '{value}'"
        if key == "expr_str" and not EXPRESSION.fullmatch(value):
            yield f"the expression '{value}'"
        if key == "use_pickle" and value is not False:
            yield "a pickled tensor"
        if key == "path_name" and value.startswith(CARRIERS):
            yield "a pickled object"


def _is_operator(target: str) -> bool:
    """Whether a name is that of an operator of torch, or arithmetic on sizes."""
    first, *names = target.split(".")
    if first == "_operator":
        return len(names) == 1 and names[0] in ARITHMETIC.split() and hasattr(operator, names[0])
    found: Any = torch
    for name in names:
        found = getattr(found, name, None)
    kinds = (torch._ops.OperatorBase, torch._ops.OpOverloadPacket)
    return first == "torch" and names[:1] == ["ops"] and isinstance(found, kinds)


def _unread(path: Path, error: Exception) -> SettingsError:
    reason = (" ".join(str(error).split()) or type(error).__name__)[:200]
    return SettingsError(
        f"{path} cannot be read as an exported program ({reason}); give a complete file that "
        "torch.export.save wrote with this version of torch or a similar one: export it again"
    )
