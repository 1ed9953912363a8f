"""Files of a mended copy: a program that runs anywhere, and weights that only the copy takes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, ShapesCollection, export
from torch.utils._pytree import tree_leaves

from placewise.errors import first_line
from placewise.files import read_json
from placewise.graph import Inputs
from placewise.graph.noise import noise
from placewise.remedies._exchange import Remedy
from placewise.undisturbed import lacks_values, undisturbed

PROGRAM = "mended.pt2"
WEIGHTS = "mended.safetensors"

NO_PROGRAM = "The copy could not be written as a program"
NO_WEIGHTS = "The weights could not be written"

MARK = "of a mended copy: "
"""Beginning of the name of `marker`."""

TOLERANCE = 1e-6
"""Largest difference of a program's output from the copy's, relative to the largest output."""


class NotExported(Exception):
    """Why there is no program of a copy."""


def program_of(
    model: nn.Module, shape: Sequence[int], inputs: Inputs | None = None
) -> tuple[bytes, bool]:
    """The copy as an exported program, which runs without its class and without placewise.

    The program is read back and compared with the copy before it is given.

    Args:
        model: the copy.
        shape: (channels, *space) of one image; the program takes this size alone.
        inputs: what the copy takes, and the program too; None: (N, channels, *space).

    Returns:
        The file, and whether it takes batches of any size.

    Raises:
        NotExported: torch.export cannot follow the copy, or the program gives other numbers.
    """
    if lacks_values(model):
        raise NotExported("its weights have no values: they are on the meta device")
    images = noise(model, shape, 2)
    one, two = (_given(batch, inputs) for batch in (images[:1], images))
    failed: Exception | None = None
    for given, dims in ((two, _growing(one, two)), (one, None)):
        try:
            with undisturbed(model), warnings.catch_warnings(), redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")
                data = _written(export(model, *given, dynamic_shapes=dims, strict=False))
                _compare(model, data, [given, one])
        except NotExported:
            raise
        except Exception as error:  # torch.export can fail with any error
            failed = error
        else:
            return data, dims is not None
    raise NotExported(f"torch.export: {first_line(failed)}") from failed


Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def _given(images: Tensor, inputs: Inputs | None) -> Arguments:
    """Arguments of a network for a batch of images."""
    return ((images,), {}) if inputs is None else inputs.given(images)


def _growing(one: Arguments, two: Arguments) -> Any:
    """The arguments that are longer for two images than for one, with the dimension that is."""
    found = ShapesCollection()  # type: ignore[no-untyped-call]
    for short, long in zip(tree_leaves(one), tree_leaves(two), strict=True):
        if isinstance(long, Tensor) and short.shape != long.shape:
            found[long] = {0: Dim.DYNAMIC}
    return found


def _written(program: ExportedProgram) -> bytes:
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue()


def _compare(model: nn.Module, data: bytes, batches: Sequence[Arguments]) -> None:
    again = torch.export.load(io.BytesIO(data)).module()
    for args, kwargs in batches:
        with torch.no_grad():
            pairs = zip(
                _tensors(model(*args, **kwargs)), _tensors(again(*args, **kwargs)), strict=True
            )
            for own, read in ((a.double(), b.double()) for a, b in pairs):
                most = float(own.abs().max()) if own.numel() else 0.0
                if not torch.allclose(own, read, 0, TOLERANCE * max(1.0, most), equal_nan=True):
                    raise NotExported("the exported program gives other numbers than the copy")


def _tensors(output: object) -> list[Tensor]:
    tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
    return [torch.view_as_real(one) if one.is_complex() else one for one in tensors]


def unwritable(state: Mapping[str, object]) -> str:
    """Why the weights of a network cannot be written as plain tensors; empty if they can.

    Example:
        >>> unwritable({"weight": torch.ones(2)})
        ''
        >>> unwritable({"weight": torch.ones(2, device="meta")})
        "'weight' has no values: it is on the meta device"
    """
    for name, held in state.items():
        if not isinstance(held, Tensor) or held.is_quantized or held.layout != torch.strided:
            kind = held.dtype if isinstance(held, Tensor) else type(held).__name__
            return f"'{name}' ({kind}) is no plain tensor, as in quantised networks"
        if held.is_meta:
            return f"'{name}' has no values: it is on the meta device"
    return ""


def call_of(remedy: Remedy, shape: Sequence[int], inputs: Inputs | None = None) -> str:
    """The call that makes the copy again.

    Example:
        >>> call_of(Remedy("circular", True), (3, 32, 32))
        "placewise.mend(network, (3, 32, 32), padding='circular', blur=True)"
    """
    settings = ["example=example"] if inputs is not None and inputs.read else []
    settings += [f"padding={remedy.padding!r}"] if remedy.padding is not None else []
    settings += ["blur=True"] * remedy.blur + ["align=True"] * remedy.align
    return f"placewise.mend({', '.join(['network', str(tuple(shape)), *settings])})"


def marker(remedy: Remedy, shape: Sequence[int], inputs: Inputs | None = None) -> str:
    """A name among the weights that no network has, so that only the copy takes them.

    A strict load into the network as it was fails, and its message contains this name.

    Example:
        >>> marker(Remedy("circular"), (3, 8, 8)).partition(";")[0]
        "of a mended copy: placewise.mend(network, (3, 8, 8), padding='circular')"
    """
    return f"{MARK}{call_of(remedy, shape, inputs)}; not for the network as it was, see mend.json"


def how_to_load(
    remedy: Remedy,
    name: str,
    before: Sequence[int],
    after: Sequence[int],
    *,
    batches: bool,
    inputs: Inputs | None = None,
) -> dict[str, Any]:
    """The lines of Python that load the two files.

    Args:
        remedy: what was done.
        name: of the network.
        before: shape of the image for which the copy was made.
        after: shape of the image that the copy takes.
        batches: whether the program takes batches of any size.
        inputs: what the network takes; None: (N, channels, *space).
    """
    return {
        "program": [
            "import torch",
            f'network = torch.export.load("{PROGRAM}").module()',
            _call_said(after, inputs, "batch" if batches else "1"),
        ],
        "weights": [
            "import placewise",
            f"mended = {call_of(remedy, before, inputs)}  # network: {name}, as it was",
            f'mended.load("{WEIGHTS}")  # the copy is mended.model',
        ],
    }


def _call_said(shape: Sequence[int], inputs: Inputs | None, batch: str) -> str:
    """The line that runs a program.

    Example:
        >>> _call_said((1, 401), Inputs.alone((1, 401), "none"), "batch")
        'outputs = network(images)  # images: (batch, 401)'
    """
    args, kwargs = _given(torch.empty(1, *shape), inputs)
    leaves = tree_leaves((args, kwargs))
    own = leaves[inputs.image if inputs is not None else 0]
    sides = ", ".join([batch, *map(str, own.shape[1:])])
    if len(leaves) == len(args) == 1:
        return f"outputs = network(images)  # images: ({sides})"
    return f"outputs = network(*args, **kwargs)  # as in the example; the images: ({sides})"


def loading_said(path: Path) -> str:
    """The lines that load a copy, for the console.

    Args:
        path: of a mend.json that `Mended.save` wrote.
    """
    found = read_json(path)["load"]
    parts = [
        "\n".join([f"{title}:", *(f"    {line}" for line in found[key])])
        for title, key in (
            (f"{PROGRAM} runs without the network's class and without placewise", "program"),
            (f"{WEIGHTS}, to train the copy further", "weights"),
        )
        if found[key]
    ]
    for key, what in (("weights", NO_WEIGHTS), ("program", NO_PROGRAM)):
        if f"no_{key}" in found:
            parts.insert(0, f"{what}: {found[f'no_{key}']}")
    return "\n\n".join(parts)
