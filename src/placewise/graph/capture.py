"""From any network to its graph: by torch.export, or by recording a run."""

from __future__ import annotations

import inspect
import io
import logging
import operator
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram, export

from placewise.errors import CaptureError, PlacewiseError, SettingsError, first_line, own_line
from placewise.graph._follow import follow
from placewise.graph._record import Recording, image_of, record, record_program, whole_attention
from placewise.graph.graph import Graph
from placewise.graph.noise import noise
from placewise.undisturbed import check_shapes_known, uncompiled, undisturbed

How = Literal["auto", "export", "recorded"]

EXAMPLE = "--input file.py:example on the command line, example=... from Python"
"""How a network is given anything but one image."""

Attempt = tuple[str, str, Callable[[], Recording]]
"""Its name in messages, the value of `Graph.capture`, and a function that tries it."""


def capture(
    model: nn.Module,
    shape: Sequence[int] | Tensor,
    *,
    per_channel: bool = False,
    how: How = "auto",
) -> Graph:
    """Find what each tensor of a network reads, for images of one size.

    The first attempt is torch.export, which runs on shapes only. If it fails, a run of the network
    is recorded, again on shapes only. If that fails too, a run on numbers is recorded: the graph
    then describes this one run, without what the network does outside of torch or chooses by
    values. The network runs in eval mode and is left unchanged.

    Args:
        model: any network that takes one image.
        shape: (channels, *space), with 1 to 3 axes of space; or an example (batch, channels,
            *space), which the network gets if it has to run on numbers.
        per_channel: whether to count channels apart, not only places.
        how: "export" or "recorded" to try only that.

    Raises:
        CaptureError: every attempt failed; the message says why each of them did.
        SettingsError: the shape is not that of an image, or the network has lazy parameters.

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
        raise SettingsError(f"how is '{how}'; use auto, export or recorded")
    model = uncompiled(model)
    if not isinstance(model, nn.Module):
        raise SettingsError(
            f"the network is a {type(model).__name__}; give a torch.nn.Module, or a program from "
            "torch.export"
        )
    check_shapes_known(model)
    _takes_one_image(model)
    image = _image(model, shape)
    attempts: list[Attempt] = [
        ("torch.export", "export", lambda: _exported(model, image)),
        ("recording on shapes", "recorded", lambda: record(model, image, values=False)),
        ("recording on numbers", "run", lambda: record(model, image, values=True)),
    ]
    export = {"auto": [True, False], "export": [True], "recorded": [False]}[how]
    chosen = [attempt for attempt in attempts if (attempt[1] == "export") in export]
    return _first_that_works(model, chosen, tuple(image.shape), per_channel)


def capture_program(
    program: ExportedProgram, shape: Sequence[int] | None = None, *, per_channel: bool = False
) -> Graph:
    """Find what each tensor of an exported program reads.

    Args:
        program: takes one image, e.g. from `torch.export.load`.
        shape: (channels, *space) of the image; needed if the program leaves it open.
        per_channel: whether to count channels apart.

    Raises:
        CaptureError: the program takes several tensors, or cannot be followed.
        SettingsError: the program is for another shape, or needs one to be chosen.

    Example:
        >>> program = torch.export.export(nn.Conv1d(2, 1, 3), (torch.zeros(1, 2, 8),))
        >>> capture_program(program).nodes[1].layout.grid
        (1, 1, 6)
    """
    asked = image_of(program)
    sizes = _sizes(asked, shape)
    image = torch.zeros(sizes, dtype=asked.dtype)
    with _quiet():
        recording = record_program(program, image)
    return follow(recording, sizes, per_channel=per_channel, capture="export")


def _first_that_works(
    model: nn.Module, attempts: Sequence[Attempt], shape: tuple[int, ...], per_channel: bool
) -> Graph:
    failed: list[str] = []
    for name, capture, attempt in attempts:
        try:
            with undisturbed(model), _quiet():
                recording = attempt()
            why = "; ".join(failed)
            return follow(recording, shape, per_channel=per_channel, capture=capture, why=why)
        except Exception as error:
            failed.append(f"{name}: {_said(error)}")
    what = {1: "a recording", 2: "an image", 3: "a volume"}[len(shape) - 2]
    raise CaptureError(
        f"the network cannot be followed on {what} of shape {shape[1:]}. {'. '.join(failed)}. "
        "Give a size and channels that the network takes, or an example of what it takes "
        f"({EXAMPLE}), or repair what failed; without that, the network can only be measured from "
        "outside"
    )


def _exported(model: nn.Module, image: Tensor) -> Recording:
    with whole_attention(), redirect_stderr(io.StringIO()):  # it prints graphs when it fails
        program = export(model, (image,), strict=False)
    return record_program(program, image)


def _said(error: Exception) -> str:
    """What an error says, and where in the user's code it arose."""
    where = "" if isinstance(error, PlacewiseError) else own_line(error)
    return first_line(error) + (f" (at {where})" if where else "")


def _takes_one_image(model: nn.Module) -> None:
    """Refuse a network that needs more than one image."""
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
            f"the network's forward needs {', '.join(needed)}, but an audit gives it one image; "
            f"give an example of all inputs ({EXAMPLE}), of which all but the image are constants"
        )


def _image(model: nn.Module, shape: Sequence[int] | Tensor) -> Tensor:
    """An image of this shape in the network's type, or the example that was given."""
    if isinstance(shape, Tensor):
        image_shape(shape.shape[1:])
        return shape.detach()
    return noise(model, image_shape(shape))


def image_shape(shape: Any, in_channels: int | None = None) -> tuple[int, ...]:
    """The shape (channels, *space) of one image, checked.

    Args:
        shape: (channels, *space); or (*space), if the channels are given apart.
        in_channels: number of channels.

    Raises:
        SettingsError: these are not 2 to 4 whole numbers above 0.

    Example:
        >>> image_shape([3, 32, 32]), image_shape((32, 32), 1)
        ((3, 32, 32), (1, 32, 32))
    """
    try:
        given = shape if in_channels is None else (in_channels, *shape)
        found = tuple(operator.index(side) for side in given)
    except TypeError:
        found = ()
    if not 2 <= len(found) <= 4 or min(found) < 1:
        raise SettingsError(
            f"the shape of the image is {shape!r}; give (channels, length), (channels, height, "
            "width) or (channels, depth, height, width), without a batch"
        )
    return found


def _sizes(asked: Tensor, shape: Sequence[int] | None) -> tuple[int, ...]:
    """The sizes of a program's image, with its batch."""
    fixed = tuple(int(n) if isinstance(n, int) else None for n in asked.shape)
    if shape is None:
        if None in fixed[1:]:
            raise SettingsError(
                f"the program takes images of several sizes {fixed[1:]}; give the shape "
                "(channels, *space) to audit it for"
            )
        shape = tuple(n for n in fixed[1:] if n is not None)
    shape = image_shape(shape)
    batch = fixed[0] or 1
    same = len(fixed) == len(shape) + 1 and all(
        have in (None, want) for have, want in zip(fixed[1:], shape, strict=True)
    )
    if not same:
        raise SettingsError(
            f"the program was exported for images of shape {fixed[1:]}, not {tuple(shape)}; "
            "export it for that shape, or audit it for its own shape"
        )
    return (batch, *shape)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings and log lines."""
    disabled = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable()
        try:
            yield
        finally:
            logging.disable(disabled)
