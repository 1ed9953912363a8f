"""A mended copy of a network, with both audits; and the cheapest remedy that works."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from placewise import __version__
from placewise.auditing import Audit, Condition, audit
from placewise.checkpoint import save
from placewise.errors import CaptureError, SettingsError, ShapeError
from placewise.files import claim_folder, write_json
from placewise.graph import Graph, Node
from placewise.ops import Along
from placewise.paddings import PADDINGS
from placewise.remedies._exchange import Change, Exchange, Remedy, Unchanged, exchanged
from placewise.remedies._meeting import meeting
from placewise.report.text import table
from placewise.wording import number

RESULT = "mend.json"
WEIGHTS = "mended.safetensors"

COMPARED = (
    "max_over_corner max_over_edge corner_ratio gini unseen_pixels even uneven_layers "
    "receptive_field stride padding_share unknown"
).split()
"""Numbers of both audits in the table: those that are counted."""

SHOWN = 40
"""Changes in the table."""

PADDINGS_TRIED = ("symmetric", "replicate", "circular", "partial")
"""Padding rules in the order in which `recommend` tries them; the most natural border is first."""


@dataclass(frozen=True, eq=False)
class Mended:
    """A mended copy of a network.

    Attributes:
        model: the copy.
        remedy: what was asked for.
        changes: layers that were changed.
        unchanged: layers to which the remedy applies but that could not be changed, and why.
        before: audit of the network.
        after: audit of the copy.

    Example:
        >>> net = nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), nn.ReLU())
        >>> mended = mend(net, (1, 8), padding="circular")
        >>> mended.changes
        (Change(name='0', before='window 3, zeros 1', after='window 3, circular 1'),)
        >>> mended.after.scalars()["max_over_corner"]
        1.0
    """

    model: nn.Module
    remedy: Remedy
    changes: tuple[Change, ...]
    unchanged: tuple[Unchanged, ...]
    before: Audit
    after: Audit

    def table(self) -> str:
        """What was changed, what was not, and both audits in one table."""
        old, new = self.before.scalars(), self.after.scalars()
        parts = [f"{self.before.name}: {self.remedy}"]
        if self.changes:
            changes = [[one.name, one.before, one.after] for one in self.changes[:SHOWN]]
            if len(self.changes) > SHOWN:
                changes.append([f"and {len(self.changes) - SHOWN} more", "", ""])
            parts.append(table(["layer", "before", "after"], changes))
        else:
            parts.append("no layer was changed")
        if self.unchanged:
            parts.append(table(["not changed", "why"], [[o.name, o.why] for o in self.unchanged]))
        rows = [[name, _said(old[name]), _said(new[name])] for name in COMPARED]
        parts.append(table(["audit", "before", "after"], rows, numbers=[1, 2]))
        verdicts = f"before: {self.before.verdict}\nafter: {self.after.verdict}"
        return "\n\n".join([*parts, verdicts])

    def __str__(self) -> str:
        return self.table()

    def to_dict(self) -> dict[str, Any]:
        """The content of `mend.json`."""
        return {
            "placewise": __version__,
            "network": self.before.name,
            **vars(self.remedy),
            "changes": [vars(one) for one in self.changes],
            "unchanged": [vars(one) for one in self.unchanged],
            "before": _facts(self.before),
            "after": _facts(self.after),
        }

    def save(self, folder: str | Path) -> Path:
        """Write mend.json and the weights of the copy, mended.safetensors.

        Args:
            folder: a new or empty folder, or that of an earlier run, whose files are replaced.

        Returns:
            Path of mend.json.

        Raises:
            SettingsError: the folder contains something else.
            CheckpointError: a weight is not finite.
        """
        folder = Path(folder)
        claim_folder(folder, RESULT)
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"network": self.before.name, **vars(self.remedy)}
        save(folder / WEIGHTS, self.model.state_dict(), facts)
        write_json(folder / RESULT, self.to_dict())
        return folder / RESULT


def mend(
    model: nn.Module,
    shape: Sequence[int],
    *,
    in_channels: int | None = None,
    padding: str | None = None,
    blur: bool = False,
    align: bool = False,
    name: str = "",
) -> Mended:
    """Make a copy of a network that treats the border better, with the same weights.

    Padding: every padded convolution and pooling, and every padding layer, gets another rule and
    keeps its margins, so that maps keep their sizes. With `full`, however, maps grow, and with
    `valid` they shrink. Before maps of different sizes are added or joined, zeros are added around
    the smaller one, or the larger one is cut. The copy is then a graph (`torch.fx`) of the same
    layers, and dropout that the model calls as a function keeps its current mode.

    Blur: strided convolutions and maxima get a blur first; an average is a blur already.

    Align: no layer is changed; the copy is audited at the nearest stride-aligned size.

    The weights were trained with the old padding: train the copy further if its output near the
    border matters.

    Args:
        model: any network that takes one batch of images; it is left unchanged.
        shape: (channels, *space) of one image; or only (*space), if `in_channels` is given.
        in_channels: channels of the image.
        padding: member of `placewise.paddings.PADDINGS`; None keeps all rules.
        blur: whether to blur before each stride.
        align: whether to use the nearest stride-aligned size.
        name: of the network; by default its class.

    Raises:
        CaptureError: the network cannot be followed, so that it cannot be audited.
        SettingsError: it cannot be copied, or does not run with this padding rule.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 7, stride=2, padding=3), nn.MaxPool2d(3, 2, 1))
        >>> mended = mend(net, (3, 32, 32), padding="symmetric", blur=True)
        >>> mended.before.verdict.partition(";")[0]
        'The top-left corner has 2.2 times the paths of the bottom-right'
        >>> mended.after.verdict
        'Every pixel has equally many paths; 32 is stride-aligned.'
    """
    before = audit(model, shape, in_channels=in_channels, measure=False, name=name)
    return _mended(model, before, Remedy(padding, blur, align))


def _mended(model: nn.Module, before: Audit, remedy: Remedy) -> Mended:
    """`mend`, for a network whose audit is known."""
    rule = PADDINGS[remedy.padding] if remedy.padding is not None else None
    made, changes, unchanged = _changed(model, remedy)
    if rule is not None and not rule.keeps_size:
        made, met = meeting(made, grows=rule.adds_zeros)
        changes += met
    after = _audited(made, before.shape, before.name, remedy)
    known = {one.name for one in changes} | {one.name for one in unchanged}
    unchanged += _unreached(after, remedy, known)
    if remedy.align and after.counted is not None and not after.counted.alignment.aligned:
        shape = (before.shape[0], *_nearest(after))
        after = _audited(made, shape, before.name, remedy)
        changes.append(Change("image", _sides(before.shape), _sides(shape)))
    return Mended(made, remedy, tuple(changes), tuple(unchanged), before, after)


def _audited(model: nn.Module, shape: Sequence[int], name: str, remedy: Remedy) -> Audit:
    try:
        return audit(model, shape, measure=False, name=name)
    except CaptureError as error:
        why = ""
        if remedy.padding and not PADDINGS[remedy.padding].keeps_size:
            why = (
                f"; '{remedy.padding}' changes the sizes of maps, so that branches which are added "
                "or joined, and layers of a fixed size, no longer fit. 'symmetric' and 'circular' "
                "also give every pixel equally many paths, and keep sizes"
            )
        raise SettingsError(f"with {remedy} the network does not run: {error}{why}") from error


def _changed(model: nn.Module, remedy: Remedy) -> tuple[nn.Module, list[Change], list[Unchanged]]:
    """A copy with other layers, what was changed, and what could not be changed."""
    try:
        made = copy.deepcopy(model)
    except Exception as error:
        raise SettingsError(
            f"{type(model).__name__} cannot be copied ({error}), and only a copy can be mended; "
            "create a new network of its class, load the weights into it, and mend that"
        ) from error
    changes: list[Change] = []
    unchanged: list[Unchanged] = []
    done: dict[int, nn.Module] = {}
    for name, module in list(made.named_modules(remove_duplicate=False)):
        if id(module) in done:
            made = _put(made, name, done[id(module)])
        elif isinstance(found := exchanged(module, remedy), Exchange):
            done[id(module)] = found.module
            made = _put(made, name, found.module)
            changes.append(Change(name or "the network", found.before, found.after))
        elif found is not None and all(one.name != name for one in unchanged):
            unchanged.append(Unchanged(name, found))
    return made, changes, unchanged


def _put(root: nn.Module, name: str, module: nn.Module) -> nn.Module:
    """The network with another module under a name; the module itself if that is the root."""
    if not name:
        return module
    parent, _, child = name.rpartition(".")
    setattr(root.get_submodule(parent), child, module)
    return root


def _unreached(after: Audit, remedy: Remedy, known: set[str]) -> list[Unchanged]:
    """What pads or strides inside functions, where no layer can be replaced."""
    if after.counted is None:
        return []
    found: dict[str, Unchanged] = {}
    for node, what in _borders(after.counted.graph, remedy):
        inside = any(node.module == name or node.module.startswith(f"{name}.") for name in known)
        if not inside and node.module not in known:
            name = node.module or node.name
            why = f"{what} in a function, or in a layer of an unknown class"
            found.setdefault(name, Unchanged(name, why))
    return list(found.values())


def _borders(graph: Graph, remedy: Remedy) -> Iterator[tuple[Node, str]]:
    """Nodes that pad by another rule than the one asked for, and nodes that stride unblurred."""
    for node in graph.nodes:
        maps = [s.map for e in node.edges for s in e.operator.steps if isinstance(s, Along)]
        names = {one.name for one in maps if one.name.startswith("pad ")}
        ignored = "pad ignored" in names and remedy.padding in ("zeros", "partial")
        if remedy.padding and names - {f"pad {remedy.padding}"} and not ignored:
            yield node, f"it pads ({', '.join(sorted(names))})"
        strides = any(one.affine is not None and one.affine.stride > 1 for one in maps)
        if remedy.blur and strides and "avg" not in node.op and "mean" not in node.op:
            yield node, "it strides"


def _nearest(found: Audit) -> tuple[int, ...]:
    """The nearest stride-aligned size."""
    nearest = found.counted.alignment.nearest if found.counted is not None else (None,)
    sides = tuple(side for side in nearest if side is not None)
    if len(sides) < len(nearest):
        raise SettingsError(
            f"no size near {_sides(found.shape[1:])} is stride-aligned for this network; choose "
            "another remedy: with a blur, a layer is aligned if its stride divides the size"
        )
    return sides


def _facts(found: Audit) -> dict[str, Any]:
    facts = found.to_dict()
    return {name: facts[name] for name in ("input_shape", "verdict", "status", "scalars")}


def _said(value: float | bool | None) -> str:
    return str(value).lower() if isinstance(value, bool) else number(value)


def _sides(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


# --- the cheapest remedy -------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Tried:
    """One remedy that was tried.

    Attributes:
        remedy: in words.
        missed: conditions that do not hold, with the numbers, or why it is impossible.
        mended: the copy; None if it is impossible.
    """

    remedy: str
    missed: tuple[str, ...]
    mended: Mended | None

    @property
    def works(self) -> bool:
        """Whether all conditions hold."""
        return self.mended is not None and not self.missed


@dataclass(frozen=True, eq=False)
class Recommendation:
    """Which remedy meets the conditions.

    Attributes:
        conditions: as they were given.
        tried: remedies in the order of their cost, up to the first that works.
    """

    conditions: tuple[str, ...]
    tried: tuple[Tried, ...]

    @property
    def best(self) -> Mended | None:
        """The cheapest that works; None if none does."""
        return self.tried[-1].mended if self.tried[-1].works else None

    def table(self) -> str:
        """What was tried, and which conditions it missed."""
        rows = [[one.remedy, "; ".join(one.missed) or "meets all conditions"] for one in self.tried]
        found = f"{self.tried[-1].remedy} meets" if self.best else "none of these meets"
        return f"{table(['remedy', 'misses'], rows)}\n\n{found} {', '.join(self.conditions)}"

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it."""
        return {
            "placewise": __version__,
            "conditions": list(self.conditions),
            "tried": [{"remedy": one.remedy, "missed": list(one.missed)} for one in self.tried],
            "best": self.tried[-1].remedy if self.best else None,
        }


def recommend(
    model: nn.Module,
    shape: Sequence[int],
    conditions: Sequence[str],
    *,
    in_channels: int | None = None,
    name: str = "",
) -> Recommendation:
    """Try remedies, the cheapest first, until one meets all conditions.

    The order is by cost: nothing; an aligned size (a few pixels); another padding rule (no time,
    but the weights were trained with the old one), alone and at an aligned size; blur (a filter
    before each stride, and fine details are lost); blur with a padding rule.

    Args:
        model: any network that takes one batch of images; it is left unchanged.
        shape: (channels, *space) of one image; or only (*space), if `in_channels` is given.
        conditions: what must hold, e.g. "max_over_corner<2" or "even==true", for numbers that
            are counted; see `placewise.auditing.SCALARS`.
        in_channels: channels of the image.
        name: of the network.

    Raises:
        CaptureError: the network cannot be followed.
        SettingsError: a condition cannot be read, or is about a number that is measured.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 7, stride=2, padding=3), nn.Conv2d(4, 4, 3))
        >>> recommend(net, (3, 32, 32), ["even==true"]).tried[-1].remedy
        'aligned size'
    """
    wanted = [Condition.parse(condition) for condition in conditions]
    if not wanted:
        raise SettingsError('no condition was given; say what must hold, e.g. "max_over_corner<2"')
    before = audit(model, shape, in_channels=in_channels, measure=False, name=name)
    tried: list[Tried] = []
    for remedy in _by_cost():
        if remedy.align and tried[-1].mended and tried[-1].mended.after.scalars()["even"]:
            continue
        tried.append(_tried(model, before, remedy, wanted))
        if tried[-1].works:
            break
    return Recommendation(tuple(map(str, wanted)), tuple(tried))


def _by_cost() -> Iterator[Remedy]:
    """Remedies, the cheapest first."""
    for blur in (False, True):
        for padding in (None, *PADDINGS_TRIED):
            for align in (False, True):
                yield Remedy(padding, blur, align)


def _tried(model: nn.Module, before: Audit, remedy: Remedy, wanted: Sequence[Condition]) -> Tried:
    try:
        mended = _mended(model, before, remedy)
    except (SettingsError, ShapeError) as error:
        return Tried(str(remedy), (str(error),), None)
    scalars = mended.after.scalars()
    missed = [condition.said(scalars) for condition in wanted if not condition.holds(scalars)]
    return Tried(str(remedy), tuple(missed), mended)
