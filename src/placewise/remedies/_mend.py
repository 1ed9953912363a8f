"""A mended copy of a network, with both audits, and its files."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from placewise import __version__
from placewise.auditing import Audit, audit
from placewise.auditing.advice import Trial
from placewise.checkpoint import load, save
from placewise.errors import CaptureError, CheckpointError, SettingsError
from placewise.files import claim_folder, write_bytes, write_json
from placewise.graph import Graph, Node, feed
from placewise.ops import Along
from placewise.paddings import PADDINGS
from placewise.remedies._effect import Effect, effect_of, probes
from placewise.remedies._exchange import Change, Exchange, Remedy, Unchanged, exchanged
from placewise.remedies._files import (
    MARK,
    PROGRAM,
    WEIGHTS,
    NotExported,
    how_to_load,
    marker,
    program_of,
    unwritable,
)
from placewise.remedies._meeting import meeting
from placewise.report.text import table
from placewise.wording import begun, number

RESULT = "mend.json"

COMPARED = (
    "max_over_corner max_over_edge corner_ratio gini unseen_pixels even uneven_layers "
    "receptive_field stride padding_share unknown"
).split()
"""Numbers of both audits in the table: those that are counted."""

IMAGE = "image"
"""Name of a change of the image's size."""

SHOWN = 40
"""Changes in the table."""

TRAIN = (
    "The weights were trained with the old layers: train the copy further before you use it. "
    "docs/mend.md shows what that does to the accuracy of trained networks."
)


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
        effect: how much the output changes before the copy is trained further.

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
    effect: Effect

    @property
    def exchanged(self) -> bool:
        """Whether any layer was changed, not only the size of the image."""
        return any(change.name != IMAGE for change in self.changes)

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
        parts.append(f"before: {self.before.verdict}\nafter: {self.after.verdict}")
        if self.changes:
            train = f" {TRAIN}" if self.exchanged else ""
            parts.append(f"{begun(self.effect.said())}.{train}")
        return "\n\n".join(parts)

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
            "effect": self.effect.to_dict(),
            "train_further": self.exchanged,
        }

    def save(self, folder: str | Path) -> Path:
        """Write mend.json, the copy as a program (mended.pt2), and its weights.

        The program loads and runs without the class of the network and without placewise. The
        weights (mended.safetensors) fit the copy alone: a strict load into the network as it was
        fails with a message that says what to do. If torch.export cannot follow the copy, or the
        weights are no plain tensors, mend.json says why there is no program, or no weights.

        Args:
            folder: a new or empty folder, or that of an earlier run, whose files are replaced.

        Returns:
            Path of mend.json, with the lines that load both files.

        Raises:
            SettingsError: the folder contains something else.
            CheckpointError: a weight is not finite.
        """
        folder = Path(folder)
        claim_folder(folder, RESULT)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = dict(self.model.state_dict())
        weights = unwritable(tensors)
        if weights:
            (folder / WEIGHTS).unlink(missing_ok=True)
        else:
            self._save_weights(folder / WEIGHTS, tensors)
        program, batches, inputs = "", False, self.before.inputs
        try:
            data, batches = program_of(self.model, self.after.shape, inputs)
            write_bytes(folder / PROGRAM, data)
        except NotExported as error:
            (folder / PROGRAM).unlink(missing_ok=True)
            program = str(error)
        shapes = self.before.shape, self.after.shape
        load = how_to_load(self.remedy, self.before.name, *shapes, batches=batches, inputs=inputs)
        if program:
            load |= {"program": [], "no_program": program}
        if weights:
            load |= {"weights": [], "no_weights": weights}
        write_json(folder / RESULT, {**self.to_dict(), "load": load})
        return folder / RESULT

    def _save_weights(self, file: Path, tensors: dict[str, Tensor]) -> None:
        if self.exchanged:
            mark = marker(self.remedy, self.before.shape, self.before.inputs)
            tensors[mark] = torch.zeros(1)
        facts = {
            "network": self.before.name,
            **vars(self.remedy),
            "image": list(self.before.shape),
            "placewise": __version__,
        }
        save(file, tensors, facts)

    def load(self, file: str | Path) -> None:
        """Load weights that `save` wrote, or that were trained further, into the copy.

        Args:
            file: mended.safetensors.

        Raises:
            CheckpointError: the file is damaged, or of another copy.
        """
        file = Path(file)
        found = load(file)
        if any(found.facts.get(key) != getattr(self.remedy, key) for key in ("padding", "blur")):
            raise CheckpointError(
                f"{file} belongs to another copy ({_said_facts(found.facts)}), and this one is of "
                f"{self.before.name}, {self.remedy}; mend the network in the same way, or choose "
                "the file of this copy"
            )
        tensors = {key: t for key, t in found.tensors.items() if not key.startswith(MARK)}
        try:
            self.model.load_state_dict(tensors)
        except RuntimeError as error:
            raise CheckpointError(
                f"the weights in {file} do not fit this network ({error}); mend the network of "
                "the class that they were saved from"
            ) from error


def mend(
    model: nn.Module,
    shape: Sequence[int] | None = None,
    *,
    in_channels: int | None = None,
    example: object = None,
    padding: str | None = None,
    blur: bool = False,
    align: bool = False,
    name: str = "",
    images: Tensor | None = None,
) -> Mended:
    """Make a copy of a network that treats the border better, with the same weights.

    Padding: every padded convolution and pooling, and every padding layer, gets another rule and
    keeps its margins, so that maps keep their sizes. With `full`, however, maps grow, and with
    `valid` they shrink. Before maps of different sizes are added or joined, zeros are added around
    the smaller one, or the larger one is cut. The copy is then a graph (`torch.fx`) of the same
    layers, and dropout that the model calls as a function keeps its current mode.

    Blur: strided convolutions and maxima get a blur first; an average is a blur already.

    Align: no layer is changed; the copy is audited at the nearest stride-aligned size that the
    network accepts and at which the corners are no less equal than before.

    The weights were trained with the old layers, and the output changes, by as much as `effect`
    says: train the copy further before you use it.

    Args:
        model: any network; it is left unchanged, and the copy takes the same inputs.
        shape: (channels, *space) of one image; or only (*space), if `in_channels` is given; may be
            left out if there is an example.
        in_channels: channels of the image.
        example: of what the network takes, if that is no batch of images; as in `audit`.
        padding: member of `placewise.paddings.PADDINGS`; None keeps all rules.
        blur: whether to blur before each stride.
        align: whether to use the nearest stride-aligned size.
        name: of the network; by default its class.
        images: (N, channels, *space) on which the outputs of both are compared; None: noise.

    Raises:
        CaptureError: the network cannot be followed, so that it cannot be audited.
        SettingsError: it cannot be copied, does not run with this padding rule, or no other size
            is better.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 7, stride=2, padding=3), nn.MaxPool2d(3, 2, 1))
        >>> mended = mend(net, (3, 32, 32), padding="symmetric", blur=True)
        >>> mended.before.verdict.partition(";")[0]
        'To the output (8 × 8): the top-left corner has 2.2 times the paths of the bottom-right'
        >>> mended.after.verdict
        'To the output (8 × 8): every pixel has equally many paths; 32 is stride-aligned.'
    """
    before = audit(model, shape, in_channels=in_channels, example=example, measure=False, name=name)
    return mended(model, before, Remedy(padding, blur, align), images)


def mended(model: nn.Module, before: Audit, remedy: Remedy, images: Tensor | None) -> Mended:
    """`mend`, for a network whose audit is known."""
    made, changes, unchanged = changed(model, remedy)
    one = feed(made, before.inputs)
    after = _audited(one, before.shape, before.name, remedy)
    known = {one.name for one in changes} | {one.name for one in unchanged}
    unchanged += _unreached(after, remedy, known)
    if remedy.align and after.counted is not None and not after.counted.alignment.aligned:
        shape = (before.shape[0], *_advised(after))
        after = _audited(one, shape, before.name, remedy)
        changes.append(Change(IMAGE, _sides(before.shape), _sides(shape)))
    tried, source = probes(model, before.shape, images)
    effect = effect_of(feed(model, before.inputs), one, tried, source, after.shape[1:])
    return Mended(made, remedy, tuple(changes), tuple(unchanged), before, after, effect)


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


def changed(model: nn.Module, remedy: Remedy) -> tuple[nn.Module, list[Change], list[Unchanged]]:
    """A copy with other layers, what was changed, and what could not be changed."""
    rule = PADDINGS[remedy.padding] if remedy.padding is not None else None
    made, changes, unchanged = _exchanged(model, remedy)
    if rule is not None and not rule.keeps_size:
        made, met = meeting(made, grows=rule.adds_zeros)
        changes += met
    return made, changes, unchanged


def _exchanged(model: nn.Module, remedy: Remedy) -> tuple[nn.Module, list[Change], list[Unchanged]]:
    """A copy with other layers."""
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


def _advised(found: Audit) -> tuple[int, ...]:
    """The stride-aligned size that was tried on the network."""
    advice, own = found.counted and found.counted.advice, _sides(found.shape[1:])
    if advice and advice.size is not None:
        return advice.size
    trials = advice.trials if advice else ()
    why = "; ".join(f"{_sides(one.size)}: {one.refused or _uneven(one)}" for one in trials)
    tried = f" (tried: {why})" if why else ""
    raise SettingsError(
        f"no size near {own} is better for this network{tried}; keep {own}, or choose another "
        "remedy: with --blur, a layer is aligned if its stride divides the size"
    )


def _uneven(trial: Trial) -> str:
    """Why a size that the network accepts is not recommended."""
    if trial.misaligned:
        return f"{trial.misaligned} layers are misaligned there"
    return "the corners are less equal there"


def _facts(found: Audit) -> dict[str, Any]:
    facts = found.to_dict()
    return {name: facts[name] for name in ("input_shape", "verdict", "status", "scalars")}


def _said_facts(facts: Mapping[str, Any]) -> str:
    """Which copy weights belong to, in words."""
    remedy = Remedy(facts.get("padding"), bool(facts.get("blur")), bool(facts.get("align")))
    return f"{facts.get('network')}, {remedy}, image {_sides(facts.get('image') or ())}"


def _said(value: float | bool | None) -> str:
    return str(value).lower() if isinstance(value, bool) else number(value)


def _sides(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))
