"""A mended copy of a network, and the audit before and after."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from placewise import __version__
from placewise.auditing import Audit, audit
from placewise.auditing.evenness import Evenness
from placewise.checkpoint import save
from placewise.errors import CaptureError, SettingsError
from placewise.files import claim_folder, write_json
from placewise.graph import Graph, Node
from placewise.ops import Along
from placewise.paddings import PADDINGS
from placewise.remedies._exchange import Change, Exchange, Left, Plan, exchanged
from placewise.remedies._meeting import meeting
from placewise.report.text import table
from placewise.wording import number

RESULT = "remedy.json"
WEIGHTS = "mended.safetensors"

TOLD = (
    "max_over_corner max_over_edge corner_ratio gini unseen_pixels even uneven_layers "
    "receptive_field stride padding_share unknown"
).split()
"""Numbers of an audit that are set side by side: those that are counted."""

SHOWN = 40
"""Changes in the table."""


@dataclass(frozen=True, eq=False)
class Mended:
    """A mended copy of a network.

    Attributes:
        model: the copy.
        plan: what was asked for.
        changes: layers that are other than they were.
        left: layers that should be, but are as they were, and why.
        before: audit of the network as it was.
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
    plan: Plan
    changes: tuple[Change, ...]
    left: tuple[Left, ...]
    before: Audit
    after: Audit

    def table(self) -> str:
        """What was changed, what was left, and both audits side by side."""
        old, new = self.before.scalars(), self.after.scalars()
        rows = [[name, _said(old[name]), _said(new[name])] for name in TOLD]
        parts = [f"{self.before.name}: {self.plan}"]
        if self.changes:
            parts.append(table(["layer", "before", "after"], _changes(self.changes)))
        else:
            parts.append("no layer was changed")
        if self.left:
            rows_left = [[one.name, one.why] for one in self.left]
            parts.append(table(["left as it was", "why"], rows_left))
        parts.append(table(["audit", "before", "after"], rows, numbers=[1, 2]))
        verdicts = f"before: {self.before.verdict}\nafter: {self.after.verdict}"
        return "\n\n".join([*parts, verdicts])

    def __str__(self) -> str:
        return self.table()

    def to_dict(self) -> dict[str, Any]:
        """What `remedy.json` holds."""
        return {
            "placewise": __version__,
            "network": self.before.name,
            "padding": self.plan.padding,
            "blur": self.plan.blur,
            "changes": [vars(change) for change in self.changes],
            "left": [vars(left) for left in self.left],
            "before": _facts(self.before),
            "after": _facts(self.after),
        }

    def save(self, folder: Path | str) -> Path:
        """Write remedy.json and the weights of the copy, mended.safetensors.

        Args:
            folder: new, empty, or that of a former remedy, whose files are replaced.

        Returns:
            Path of remedy.json.

        Raises:
            SettingsError: the folder holds something else.
            CheckpointError: a weight is not finite.
        """
        folder = Path(folder)
        claim_folder(folder, RESULT)
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"network": self.before.name, "padding": self.plan.padding, "blur": self.plan.blur}
        save(folder / WEIGHTS, self.model.state_dict(), facts)
        write_json(folder / RESULT, self.to_dict())
        return folder / RESULT


def mend(
    model: nn.Module,
    shape: Sequence[int],
    *,
    padding: str | None = None,
    blur: bool = False,
    even: bool = False,
    name: str = "",
) -> Mended:
    """A copy of a network that keeps place better, its weights kept.

    Padding: every padded convolution and pooling, and every padding layer, gets another rule and
    keeps its margins, so that maps keep their sizes; but with `full` maps grow and with `valid`
    they shrink. There what is added or joined is made one size, by zeros about the smaller maps or
    by a cut of the larger; the copy is then a graph (`torch.fx`) of the same layers, and dropout
    that the model calls as a function stays as it was called in this mode. Blur: what strides
    (convolutions and maxima; an average is a blur already) is blurred first. Even: no layer is
    changed; the copy is audited at the even size nearest to this one. Weights of another padding
    were trained with the old one: train on for a while where the answer near the border counts.

    Args:
        model: any network that takes one batch of images; left as found.
        shape: (channels, *space) of an image.
        padding: member of `PADDINGS`; None leaves all as they are.
        blur: whether to blur before each stride.
        even: whether to go to the nearest even size.
        name: of the network; that of its class by default.

    Raises:
        CaptureError: the network cannot be followed, so that nothing can be said of it.
        SettingsError: it cannot be copied, or does not run with the rule that is asked for.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 7, stride=2, padding=3), nn.MaxPool2d(3, 2, 1))
        >>> mended = mend(net, (3, 32, 32), padding="symmetric", blur=True)
        >>> mended.before.verdict
        'The top-left corner has 2.2 times the paths of the bottom-right; 33 would be even.'
        >>> mended.after.verdict
        'Every pixel has equally many paths; 32 is even.'
    """
    before = audit(model, shape, measure=False, name=name)
    return mended_from(model, before, Plan(padding, blur), even=even)


def mended_from(model: nn.Module, before: Audit, plan: Plan, *, even: bool = False) -> Mended:
    """The same, of a network whose audit is known."""
    if plan.padding is not None:
        PADDINGS[plan.padding]
    made, changes, left = _changed(model, plan)
    if plan.padding is not None and not PADDINGS[plan.padding].keeps_size:
        made, met = meeting(made, grows=PADDINGS[plan.padding].adds_zeros)
        changes += met
    shape = before.shape
    after = _audited(made, shape, before.name, plan)
    left += _unreached(after, plan, {one.name for one in changes} | {one.name for one in left})
    if even and after.counted is not None and not after.counted.evenness.even:
        shape = (shape[0], *_nearest(after.counted.evenness))
        after = _audited(made, shape, before.name, plan)
        changes.append(Change("image", _sides(before.shape), _sides(shape)))
    return Mended(made, plan, tuple(changes), tuple(left), before, after)


def _audited(model: nn.Module, shape: Sequence[int], name: str, plan: Plan) -> Audit:
    try:
        return audit(model, shape, measure=False, name=name)
    except CaptureError as error:
        why = ""
        if plan.padding and not PADDINGS[plan.padding].keeps_size:
            why = (
                f"; '{plan.padding}' changes the sizes of maps, so that branches which are added "
                "or joined, and layers of a fixed size, no longer fit. 'symmetric' and 'circular' "
                "give every pixel equally many paths too, and keep sizes"
            )
        raise SettingsError(f"with {plan} the network does not run: {error}{why}") from error


def _changed(model: nn.Module, plan: Plan) -> tuple[nn.Module, list[Change], list[Left]]:
    """A copy with other layers, what was changed, and what was not."""
    try:
        made = copy.deepcopy(model)
    except Exception as error:
        raise SettingsError(
            f"{type(model).__name__} cannot be copied ({error}); only a copy is mended, never the "
            "network itself: make it from its own class, and load its weights"
        ) from error
    changes: list[Change] = []
    left: list[Left] = []
    done: dict[int, nn.Module] = {}
    for name, module in list(made.named_modules(remove_duplicate=False)):
        if id(module) in done:
            made = _put(made, name, done[id(module)])
        elif isinstance(found := exchanged(module, plan), Exchange):
            done[id(module)] = found.module
            made = _put(made, name, found.module)
            changes.append(Change(name or "the network", found.before, found.after))
        elif found is not None and all(one.name != name for one in left):
            left.append(Left(name, found))
    return made, changes, left


def _put(root: nn.Module, name: str, module: nn.Module) -> nn.Module:
    """The network with another module at a place; the module itself where that is the root."""
    if not name:
        return module
    parent, _, child = name.rpartition(".")
    setattr(root.get_submodule(parent), child, module)
    return root


def _unreached(after: Audit, plan: Plan, known: set[str]) -> list[Left]:
    """What pads or strides within functions, where no layer can be exchanged."""
    if after.counted is None:
        return []
    found: dict[str, Left] = {}
    for node, what in _borders(after.counted.graph, plan):
        inside = any(node.module == name or node.module.startswith(f"{name}.") for name in known)
        if not inside and node.module not in known:
            name = node.module or node.name
            found.setdefault(name, Left(name, f"{what} in a function or a layer of its own kind"))
    return list(found.values())


def _borders(graph: Graph, plan: Plan) -> Iterator[tuple[Node, str]]:
    """Nodes that pad by another rule than the one asked for, and nodes that stride unblurred."""
    for node in graph.nodes:
        maps = [s.map for e in node.edges for s in e.operator.steps if isinstance(s, Along)]
        names = {one.name for one in maps if one.name.startswith("pad ")}
        ignored = "pad ignored" in names and plan.padding in ("zeros", "partial")
        if plan.padding and names - {f"pad {plan.padding}"} and not ignored:
            yield node, f"it pads ({', '.join(sorted(names))})"
        strides = any(one.affine is not None and one.affine.stride > 1 for one in maps)
        if plan.blur and strides and "avg" not in node.op and "mean" not in node.op:
            yield node, "it strides"


def _nearest(found: Evenness) -> tuple[int, ...]:
    """The nearest even size along each axis, the larger one of two."""
    sides = []
    for side, pair in zip(found.size, found.nearest_even, strict=True):
        known = [size for size in pair if size]
        if not known:
            raise SettingsError(
                f"no size near {_sides(found.size)} is even for this network; choose another "
                "remedy: blur makes layers that stride even where the stride divides the size"
            )
        sides.append(min(known, key=lambda size: (abs(size - side), -size)))
    return tuple(sides)


def _facts(found: Audit) -> dict[str, Any]:
    facts = found.to_dict()
    return {name: facts[name] for name in ("input_shape", "verdict", "status", "scalars")}


def _changes(changes: Sequence[Change]) -> list[list[str]]:
    rows = [[one.name, one.before, one.after] for one in changes[:SHOWN]]
    if len(changes) > SHOWN:
        rows.append([f"and {len(changes) - SHOWN} more", "", ""])
    return rows


def _said(value: float | bool | None) -> str:
    return str(value).lower() if isinstance(value, bool) else number(value)


def _sides(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))
