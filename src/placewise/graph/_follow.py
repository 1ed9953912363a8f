"""From a recorded run to a graph.

Constants are computed, views are followed, and a write reaches all views. Tensors that share memory
have one `Memory`; each of them is a `Seen`, the whole of that memory or a chain of views of it. A
write through one of them changes the contents of all others, which are derived from the memory
again when they are next read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from placewise.errors import CaptureError
from placewise.graph._record import Made, Recorded, Recording, Ref
from placewise.graph.build import Builder, Part
from placewise.graph.graph import Graph
from placewise.ops import Layout, Operand, Operator, Status, Step, entry

LARGEST = 2**20
"""Elements of the largest constant that is computed; of larger ones only the shape is known."""

Content = Operand | Tensor


@dataclass(frozen=True)
class View:
    """One step from a tensor to a view of it."""

    call: Recorded
    base: int
    made: Made
    output: int


@dataclass
class Memory:
    """The memory of tensors that are views of one another.

    Attributes:
        whole: its contents, without the `late` write.
        writes: number of writes.
        late: the last write, if it went through views and the whole was not read since.
        lent: whether it is a constant that belongs to the network and must not be written to.
        layout: where the places of a constant would be, if that is known.
    """

    whole: Content
    writes: int = 0
    late: tuple[Seen, Operand, str] | None = None
    lent: bool = False
    layout: Layout | None = None

    @property
    def placed(self) -> bool:
        """Whether some of its contents depend on the image."""
        return self.late is not None or isinstance(self.whole, Operand)


@dataclass
class Seen:
    """A tensor: a chain of views of a memory; an empty chain is the whole.

    Attributes:
        memory: the memory that it shares.
        views: from the whole to the tensor.
        content: its contents when the memory had been written to `writes` times.
        writes: see `content`.
    """

    memory: Memory
    views: tuple[View, ...]
    content: Content
    writes: int = field(default=0)


def follow(
    recording: Recording, shape: tuple[int, ...], *, per_channel: bool, capture: str, why: str = ""
) -> Graph:
    """The graph of a recorded run.

    Args:
        recording: of a run on an image of this shape.
        shape: (batch, channels, *space).
        per_channel: whether to count channels apart.
        capture: how the run was found.
        why: why a better way of capture failed.

    Raises:
        CaptureError: no result of the network depends on the image.
    """
    builder = Builder(shape, per_channel=per_channel)
    run = _Run(recording, builder)
    for call in recording.calls:
        run.step(call)
    ends = [run.read(number) for number in recording.outputs]
    nodes = dict.fromkeys(end.node for end in ends if isinstance(end, Operand))
    if not nodes and any(0 in _shape(end) for end in ends):
        raise CaptureError(
            "the network returned tensors without elements: it found nothing in the image that it "
            "was run on; let it return all that it scores (a threshold of 0), or audit the part "
            "before it chooses"
        )
    if not nodes:
        raise CaptureError(
            "the network returns no tensor that torch made from the image; return tensors, alone "
            "or in tuples, lists, dictionaries or dataclasses"
        )
    return builder.graph(tuple(nodes), capture, why)


class _Run:
    """The state of a run that is followed call by call."""

    def __init__(self, recording: Recording, builder: Builder) -> None:
        self.builder = builder
        self._constants = recording.constants
        image = builder.image
        self._seen = {recording.image: Seen(Memory(image), (), image)}
        read = ((call.args, call.kwargs) for call in recording.calls)
        refs = (leaf for leaf in tree_leaves(list(read)) if isinstance(leaf, Ref))
        self._wanted = {ref.number for ref in refs} | set(recording.outputs)

    # --- reading and writing ---------------------------------------------------------------------

    def read(self, number: int) -> Content:
        """The current contents of a tensor."""
        seen = self._at(number)
        memory = seen.memory
        if seen.writes < memory.writes:
            self._settle(memory)
            content = memory.whole
            for view in seen.views:
                content = self._view(view, content)
            seen.content, seen.writes = content, memory.writes
        return seen.content

    def _at(self, number: int) -> Seen:
        if number not in self._seen:
            if number not in self._constants:
                raise CaptureError(
                    "a tensor appeared that no call of torch has made; return only results of torch"
                )
            content = _constant(self._constants[number])
            self._seen[number] = Seen(Memory(content, lent=True), (), content)
        return self._seen[number]

    def _write(self, number: int, content: Content, module: str) -> None:
        """Change the contents of a tensor, and of all tensors that share its memory."""
        seen = self._at(number)
        memory = seen.memory
        if 0 in _shape(content):
            return
        if isinstance(content, Tensor) and memory.placed:
            given = {"self": self.read(number), "value": 0}
            content = self.builder.add("fill", module, given, _shape(content))
        if not seen.views:
            memory.whole, memory.late = content, None
        elif isinstance(content, Operand):
            if memory.late is not None and memory.late[0] is not seen:
                self._settle(memory)
            memory.late = (seen, content, module)
        elif content.is_meta and isinstance(memory.whole, Tensor):
            memory.whole = memory.whole.to("meta")
        memory.writes += 1
        seen.content, seen.writes = content, memory.writes

    def _settle(self, memory: Memory) -> None:
        """Carry the last write over to the whole."""
        if memory.late is None:
            return
        seen, written, module = memory.late
        memory.late = None
        whole = memory.whole
        if isinstance(whole, Tensor):
            whole = self.builder.blank(module, whole.shape, written, memory.layout)
        at, steps, exact = whole, list[Step](), True
        for view in seen.views:
            given = self._given(view.call, {view.base: at})
            found = self.builder.follow(_name(view.call), given, view.made.shape, view.output)
            steps += found.edges[0].operator.steps
            exact &= found.status is Status.EXACT
            at = Operand(-1, found.layout)
        part = Part(Operator(tuple(steps)), at.layout, exact)
        memory.whole = self.builder.write(module, whole, part, written)

    # --- calls -----------------------------------------------------------------------------------

    def step(self, call: Recorded) -> None:
        """Follow one call."""
        if _name(call) == "copy_":
            return self._copy(call)
        given = self._given(call)
        written = _written(call)
        if not any(isinstance(leaf, Operand) for leaf in tree_leaves(given)):
            return self._calculate(call)
        if not written and _takes_shapes_alone(call):
            return self._like(call, given)
        for output, made in enumerate(call.made):
            if made is not None and self._matters(call, made, written):
                content = self._content(call, given, made, output)
                self._keep(call, made, output, content, written)
        for number in written - {made.number for made in call.made if made is not None}:
            seen = self._at(number)
            content = self.builder.side(_name(call), call.module, given, _shape(seen.content))
            self._write(number, content, call.module)
        return None

    def _content(self, call: Recorded, given: dict[str, Any], made: Made, output: int) -> Content:
        """The result of a call on operands: a node, or an empty tensor if it has no elements."""
        if 0 in made.shape:
            return torch.empty(made.shape, dtype=made.dtype)
        return self.builder.add(_name(call), call.module, given, made.shape, output)

    def _matters(self, call: Recorded, made: Made, written: set[int]) -> bool:
        """Whether a tensor is new or changed, and not a by-product that is never read."""
        if made.number in written:
            return True
        if made.number in self._seen:
            return torch.Tag.inplace_view in call.function.tags
        first = call.made[0] is made or made.base is not None
        return first or made.number in self._wanted

    def _keep(
        self, call: Recorded, made: Made, output: int, content: Content, written: set[int]
    ) -> None:
        """Keep the result of a call: a write, a view, or a new tensor."""
        if made.number in written and torch.Tag.inplace_view not in call.function.tags:
            self._write(made.number, content, call.module)
        elif made.base is not None:
            base = self._at(made.base)
            views = (*base.views, View(call, made.base, made, output))
            self._seen[made.number] = Seen(base.memory, views, content, base.memory.writes)
        else:
            self._seen[made.number] = Seen(Memory(content), (), content)

    def _copy(self, call: Recorded) -> None:
        """Copy the elements of one tensor to another."""
        target, source = call.args[0].number, call.args[1]
        content = self.read(source.number) if isinstance(source, Ref) else source
        if not isinstance(content, Operand) and not self._at(target).memory.placed:
            return self._calculate(call)
        blank = torch.empty(_shape(self._at(target).content), device="meta")
        if isinstance(content, Operand):
            given = {"self": blank, "src": content}
            content = self.builder.add("copy", call.module, given, _shape(blank))
        else:
            content = blank
        return self._write(target, content, call.module)

    def _view(self, view: View, content: Content) -> Content:
        """A view of the current contents of its base."""
        if isinstance(content, Tensor):
            found = _calculated(view.call, self._given(view.call, {view.base: content}, full=False))
            return found[view.output]
        given = self._given(view.call, {view.base: content})
        return self._content(view.call, given, view.made, view.output)

    def _given(
        self, call: Recorded, instead: dict[int, Content] | None = None, *, full: bool = True
    ) -> dict[str, Any]:
        """Arguments by name; tensors by their contents, without those that only take a result.

        Args:
            call: a recorded call.
            instead: contents to assume for some tensors.
            full: whether to fill in defaults.
        """
        known = instead or {}

        def held(leaf: Any) -> Any:
            if not isinstance(leaf, Ref):
                return leaf
            return known[leaf.number] if leaf.number in known else self.read(leaf.number)

        given = {}
        for position, argument in enumerate(call.function._schema.arguments):
            if argument.is_out:
                continue
            if position < len(call.args):
                given[argument.name] = tree_map(held, call.args[position])
            elif argument.name in call.kwargs:
                given[argument.name] = tree_map(held, call.kwargs[argument.name])
            elif full:
                given[argument.name] = argument.default_value
        return given

    # --- constants -------------------------------------------------------------------------------

    def _calculate(self, call: Recorded) -> None:
        """Follow a call that does not depend on the image."""
        written = _written(call)
        for number in written:
            self._own(self._at(number).memory)
        found = _calculated(call, self._given(call, full=False))
        for output, (made, value) in enumerate(zip(call.made, found, strict=True)):
            if made is not None and (made.number in written or made.number not in self._seen):
                self._keep(call, made, output, value, written)

    def _like(self, call: Recorded, given: dict[str, Any]) -> None:
        """Follow a call that makes a constant of the shape of an operand."""
        made = next(made for made in call.made if made is not None)
        models = [leaf for leaf in tree_leaves(given) if isinstance(leaf, Operand)]
        stand_in = {name: _stand_in(value) for name, value in self._given(call, full=False).items()}
        options = {"dtype": made.dtype, "device": torch.device("cpu")}
        (value,) = _calculated(call, stand_in | options)
        layout = next((model.layout for model in models if model.shape == made.shape), None)
        self._seen[made.number] = Seen(Memory(value, layout=layout), (), value)

    def _own(self, memory: Memory) -> None:
        """Copy a tensor of the network before it is written to."""
        if memory.lent and isinstance(memory.whole, Tensor):
            memory.whole = memory.whole.clone()
            memory.lent = False
            memory.writes += 1


def _calculated(call: Recorded, given: dict[str, Any]) -> list[Tensor]:
    """The results of a call on constants; without values if these are unknown or too many."""
    nothing = [_nothing(made) for made in call.made]
    unknown = any(isinstance(leaf, Tensor) and leaf.is_meta for leaf in tree_leaves(given))
    random = torch.Tag.nondeterministic_seeded in call.function.tags
    if unknown or random or sum(tensor.numel() for tensor in nothing) > LARGEST:
        return nothing
    if given.get("device") is not None:
        given["device"] = torch.device("cpu")
    try:
        with torch.no_grad():
            found = tree_leaves(call.function(**given))
    except Exception:
        return nothing
    pairs = zip(found, nothing, strict=True)
    return [value if isinstance(value, Tensor) else none for value, none in pairs]


def _constant(tensor: Tensor) -> Tensor:
    """A small constant on the CPU; of a large one only the shape."""
    if tensor.numel() > LARGEST or tensor.is_meta:
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    return tensor.detach().cpu()


def _nothing(made: Made | None) -> Tensor:
    """A tensor without values."""
    if made is None:
        return torch.empty(0, device="meta")
    return torch.empty(made.shape, dtype=made.dtype, device="meta")


def _stand_in(value: Any) -> Any:
    """A tensor of an operand's shape that takes no memory; other values unchanged."""
    return torch.zeros(()).expand(value.shape) if isinstance(value, Operand) else value


def _takes_shapes_alone(call: Recorded) -> bool:
    """Whether a call makes a constant, whatever its arguments."""
    line = entry(_name(call))
    return line is not None and line.role == "constant"


def _name(call: Recorded) -> str:
    return str(call.function._schema.name).removeprefix("aten::")


def _shape(content: Content) -> tuple[int, ...]:
    return tuple(content.shape)


def _written(call: Recorded) -> set[int]:
    """Numbers of the tensors that a call writes to."""
    found: set[int] = set()
    for position, argument in enumerate(call.function._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = (
                call.args[position] if position < len(call.args) else call.kwargs.get(argument.name)
            )
            found |= {leaf.number for leaf in tree_leaves(value) if isinstance(leaf, Ref)}
    return found
