"""Show a network layer by layer, with its maps, its filters and what each layer costs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram, unflatten

from placewise import __version__
from placewise.auditing.memory import check_memory
from placewise.display._drawing import drawing
from placewise.display._rows import Row, cells, header, maps_of, plain, rows_of
from placewise.display.costs import products
from placewise.errors import CaptureError
from placewise.files import claim_folder, write_bytes, write_json
from placewise.graph import Graph, Inputs, capture, capture_program, fed, feed, taken, uncompiled
from placewise.report import text
from placewise.report.spoken import said
from placewise.report.style import LIGHT
from placewise.wording import PIXELS_OF, enumerated

__all__ = ["Row", "Shown", "show"]

RESULT = "show.json"


@dataclass(frozen=True, eq=False, repr=False)
class Shown:
    """A network layer by layer.

    Attributes:
        name: of the network.
        shape: (channels, *space) of the image.
        rows: its layers in the order in which they run.
        uncounted: operations that multiply and whose products are not counted.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 3, 5), nn.ReLU(), nn.MaxPool2d(2))
        >>> shown = show(net, (1, 32, 32))
        >>> shown
        Shown(Sequential at 1@32×32: 78 parameters, 58,800 multiply-adds)
        >>> [(row.type, row.shape, row.filters) for row in shown.rows]
        [('convolution', (3, 28, 28), '3 of 5×5×1'), ('pooling', (3, 14, 14), '2×2')]
    """

    name: str
    shape: tuple[int, ...]
    rows: tuple[Row, ...]
    uncounted: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """Products of a run on one image, including those with padding."""
        return sum(row.multiply_adds for row in self.rows)

    def shares(self, type: str) -> tuple[float, float]:
        """Share of all parameters and of all multiply-adds in layers of one type.

        Args:
            type: see `Row.type`.
        """
        own = [row for row in self.rows if row.type == type]
        parameters = sum(row.parameters for row in own) / max(1, self.parameters)
        return parameters, sum(row.multiply_adds for row in own) / max(1, self.multiply_adds)

    def __repr__(self) -> str:
        return f"Shown({self.name} at {maps_of(self.shape)}: {self._costs()})"

    def __str__(self) -> str:
        return self.table()

    def table(self) -> str:
        """A line for each layer, then the total cost."""
        with_paths = any(row.paths is not None for row in self.rows)
        axes = len(self.shape) - 1
        columns = header(axes, with_paths and axes in (1, 2, 3))
        lines = [cells(row, with_paths)[: len(columns)] for row in self.rows]
        body = text.table(columns, lines, range(4, len(columns)))
        return f"{self.name} at {maps_of(self.shape)}\n\n{body}\n\n{self._summary()}"

    def to_dict(self) -> dict[str, Any]:
        """The content of `show.json`."""
        return {
            "placewise": __version__,
            "network": self.name,
            "input_shape": list(self.shape),
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "not_counted": list(self.uncounted),
            "layers": [plain(row) for row in self.rows],
        }

    def figure(self) -> bytes:
        """The network as a row of volumes: the bytes of a PNG."""
        return drawing(self.shape, self.rows, LIGHT)

    def save(self, folder: str | Path) -> None:
        """Write show.json and volumes.png.

        Args:
            folder: a new or empty folder, or that of an earlier run, whose files are replaced.

        Raises:
            SettingsError: the folder contains something else.
        """
        folder = Path(folder)
        claim_folder(folder, RESULT)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / RESULT, self.to_dict())
        write_bytes(folder / "volumes.png", self.figure())

    def _costs(self) -> str:
        return f"{self.parameters:,} parameters, {self.multiply_adds:,} multiply-adds"

    def _summary(self) -> str:
        lines = [f"{self._costs()} for one image."]
        if self.uncounted:
            lines.append(f"The products of {enumerated(self.uncounted)} are not counted.")
        for type_ in ("fully connected", "locally connected", "proximity"):
            parameters, multiply_adds = self.shares(type_)
            if parameters or multiply_adds:
                lines.append(
                    f"{type_.capitalize()} layers have {100 * parameters:.0f} % of the parameters "
                    f"and {100 * multiply_adds:.0f} % of the multiply-adds."
                )
        return "\n".join(said(lines, PIXELS_OF.get(len(self.shape) - 1, "px")))


def show(
    model: nn.Module | ExportedProgram,
    shape: Sequence[int] | None = None,
    *,
    in_channels: int | None = None,
    example: object = None,
    name: str = "",
    paths: bool = True,
) -> Shown:
    """Show a network layer by layer: shapes, filters, costs, receptive fields and paths.

    Multiply-adds are counted in a run on an empty image, as torch multiplies. Layers that use each
    weight once (locally connected, proximity) count their weights. Parameters of a module that
    contains several layers are counted at the first of them. The network is left unchanged.

    Args:
        model: any network, or an exported program.
        shape: (channels, *space) of one image; or only (*space), if `in_channels` is given; may be
            left out if there is an example.
        in_channels: channels of the image.
        example: of what the network takes, if that is not one batch (N, channels, *space), see
            `placewise.audit`.
        name: of the network; by default its class.
        paths: whether to count paths from the image's middle, edges and corners to each layer,
            which takes most of the time.

    Raises:
        CaptureError: the network cannot be followed.
        SettingsError: it does not run on such an image.

    Example:
        >>> print(show(nn.Conv1d(1, 2, 3), (1, 8), paths=False).table())
        Conv1d at 1@8
        <BLANKLINE>
        layer  what    maps  filters   parameters  multiply-adds  field samples  stride
        ───────────────────────────────────────────────────────────────────────────────
        –      Conv1d  2@6   2 of 3×1           8             36              3       1
        <BLANKLINE>
        8 parameters, 36 multiply-adds for one recording.
    """
    given, shape, inputs = fed(model, shape, in_channels, example)
    if isinstance(given, ExportedProgram):
        graph, network = capture_program(given, shape), _modules(given)
    else:
        graph, network = _captured(given, shape, inputs)
    floats = [p for p in network.parameters() if p.is_floating_point()]
    image = torch.zeros(1, *shape).to(floats[0] if floats else torch.float32)
    if paths:
        check_memory(graph)
    found = products(network, image)
    counted = [one for one in found if one.type != "not counted"]
    uncounted = dict.fromkeys(one.filters for one in found if one.type == "not counted")
    rows = rows_of(graph, network, counted, paths=paths)
    return Shown(name or type(model).__name__, shape, rows, tuple(uncounted))


def _captured(
    model: nn.Module, shape: tuple[int, ...], inputs: Inputs | None
) -> tuple[Graph, nn.Module]:
    """The graph of a network, and the network in the order of dimensions that it takes."""
    try:
        return capture(model, shape), uncompiled(model)
    except CaptureError:
        found = taken(model, shape) if inputs is None else None
        if found is None:
            raise
    network = feed(model, found)
    return capture(network, shape), network


def _modules(program: ExportedProgram) -> nn.Module:
    """The submodules from which a program was made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch warns about its own code
        return unflatten(program)
