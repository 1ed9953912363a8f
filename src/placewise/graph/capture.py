"""Any network to a graph: by torch.export, or else by a recorded run."""

from __future__ import annotations

import inspect
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Literal

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram, export

from placewise.errors import CaptureError, PlacewiseError, SettingsError
from placewise.graph._follow import follow
from placewise.graph._program import images_of, record_program
from placewise.graph._record import Recording, record, whole_attention
from placewise.graph.graph import Graph
from placewise.graph.undisturbed import check_shapes_known, undisturbed

How = Literal["auto", "export", "recorded"]

Way = tuple[str, str, Callable[[], Recording]]
"""What it is called, what the graph then says of itself, and how to do it."""


def capture(
    model: nn.Module,
    shape: Sequence[int] | Tensor,
    *,
    channels: bool = False,
    how: How = "auto",
) -> Graph:
    """The graph of what each tensor of a network reads, for images of one size.

    torch.export comes first, which runs on shapes alone. Where it fails, a run of the network is
    recorded, on shapes alone too; where that fails, on numbers: then the graph is of one run, and
    what the network does outside of torch or chooses by values is not in it. The network runs in
    eval mode and stays as found.

    Args:
        model: any network that takes one image.
        shape: (channels, *space), with 1 to 3 axes of space; or an example (batch, channels,
            *space), which is shown to the network where it has to run on numbers.
        channels: whether channels are told apart, not only places.
        how: "export" or "recorded" to try one way alone.

    Raises:
        CaptureError: no way of capture works; the message says what failed in each.
        SettingsError: the shape is none, or the network cannot be left as found.

    Example:
        >>> graph = capture(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()), (3, 32, 32))
        >>> [(node.op, node.module, node.layout.grid) for node in graph.nodes]
        [('image', '', (1, 1, 32, 32)),
         ('conv2d', '0', (1, 1, 32, 32)),
         ('relu', '1', (1, 1, 32, 32))]
        >>> graph.capture, graph.outputs
        ('export', (2,))
    """
    if how not in ("auto", "export", "recorded"):
        raise SettingsError(f"no way of capture is named '{how}'; use auto, export or recorded")
    model = getattr(model, "_orig_mod", model)
    check_shapes_known(model)
    _takes_one_image(model)
    image = _image(model, shape)
    ways: list[Way] = [
        ("torch.export", "export", lambda: _exported(model, image)),
        ("recording on shapes", "recorded", lambda: record(model, image, values=False)),
        ("recording on numbers", "recorded", lambda: record(model, image, values=True)),
    ]
    chosen = [way for way in ways if how in ("auto", way[1])]
    return _first_that_works(model, chosen, tuple(image.shape), channels)


def capture_program(
    program: ExportedProgram, shape: Sequence[int] | None = None, *, channels: bool = False
) -> Graph:
    """The graph of an exported program.

    Args:
        program: with one image as its input, e.g. from `torch.export.load`.
        shape: (channels, *space) of the image; needed where the program leaves it open.
        channels: whether channels are told apart.

    Raises:
        CaptureError: it takes several tensors, or holds what cannot be followed.
        SettingsError: the program is of another shape, or of none in particular.

    Example:
        >>> program = torch.export.export(nn.Conv1d(2, 1, 3), (torch.zeros(1, 2, 8),))
        >>> capture_program(program).nodes[1].layout.grid
        (1, 1, 6)
    """
    asked = images_of(program)
    if len(asked) != 1:
        raise CaptureError(
            f"the program takes {len(asked)} tensors; it has to take one image alone: export a "
            "module that makes the others itself"
        )
    sizes = _sizes(asked[0], shape)
    image = torch.zeros(sizes, dtype=asked[0].dtype)
    with _quiet():
        recording = record_program(program, image)
    return follow(recording, sizes, channels=channels, capture="export")


def _first_that_works(
    model: nn.Module, ways: Sequence[Way], shape: tuple[int, ...], channels: bool
) -> Graph:
    failed: list[str] = []
    for name, kind, way in ways:
        try:
            with undisturbed(model), _quiet():
                recording = way()
            return follow(recording, shape, channels=channels, capture=kind, why="; ".join(failed))
        except Exception as error:
            failed.append(f"{name}: {_first_line(error)}")
    raise CaptureError(
        f"the network cannot be followed on an image of shape {shape[1:]}. {'. '.join(failed)}. "
        "Give an image that it takes, or mend what failed; otherwise only what is measured from "
        "outside can be said of it"
    )


def _exported(model: nn.Module, image: Tensor) -> Recording:
    with whole_attention(), redirect_stderr(io.StringIO()):  # it prints graphs when it fails
        program = export(model, (image,), strict=False)
    return record_program(program, image)


def _first_line(error: Exception) -> str:
    text = str(error).strip().split("\n")[0].rstrip(".")
    return text if isinstance(error, PlacewiseError) else f"{type(error).__name__}: {text}"


def _takes_one_image(model: nn.Module) -> None:
    """Refuse a network that needs more than an image."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return
    needed = [
        p.name
        for p in parameters
        if p.default is p.empty
        and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    if len(needed) > 1:
        raise CaptureError(
            f"the network's forward needs {', '.join(needed)}, but is audited on one image; wrap "
            "it in a module that takes the image and makes the rest"
        )


def _image(model: nn.Module, shape: Sequence[int] | Tensor) -> Tensor:
    """An image of this shape as the network would take it, or the example that was given."""
    if isinstance(shape, Tensor):
        _check(tuple(shape.shape[1:]))
        return shape.detach()
    _check(shape)
    tensor = next((t for t in model.parameters() if t.is_floating_point()), torch.empty(0))
    generator = torch.Generator().manual_seed(0)
    image = torch.rand((1, *shape), generator=generator)
    return image.to(tensor.device, tensor.dtype)


def _check(shape: Sequence[int]) -> None:
    if not 2 <= len(shape) <= 4 or min(shape) < 1:
        raise SettingsError(
            f"an image of shape {tuple(shape)} cannot be; give (channels, length), (channels, "
            "height, width) or (channels, depth, height, width), without a batch"
        )


def _sizes(asked: Tensor, shape: Sequence[int] | None) -> tuple[int, ...]:
    """The sizes of a program's image, with its batch."""
    fixed = tuple(int(n) if isinstance(n, int) else None for n in asked.shape)
    if shape is None:
        if None in fixed[1:]:
            raise SettingsError(
                f"the program takes images of any size {fixed[1:]}; say for which shape "
                "(channels, *space) it is to be audited"
            )
        shape = tuple(n for n in fixed[1:] if n is not None)
    _check(shape)
    batch = fixed[0] or 1
    same = len(fixed) == len(shape) + 1 and all(
        have in (None, want) for have, want in zip(fixed[1:], shape, strict=True)
    )
    if not same:
        raise SettingsError(
            f"the program was exported for images of shape {fixed[1:]}, not {tuple(shape)}; "
            "export it for that shape, or audit it for its own"
        )
    return (batch, *shape)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings and log lines of a run that nobody asked for."""
    disabled = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable()
        try:
            yield
        finally:
            logging.disable(disabled)
