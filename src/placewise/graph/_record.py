"""Record what a network or an exported program runs: each ATen call, its tensors by number."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._decomp import decomposition_table
from torch._ops import HigherOrderOperator
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from placewise.errors import CaptureError
from placewise.ops import entry
from placewise.undisturbed import running_modules


@dataclass(frozen=True)
class Ref:
    """A tensor of the run, by number."""

    number: int


@dataclass(frozen=True)
class Made:
    """A tensor that a call returns.

    Attributes:
        number: of the tensor; that of an argument if the call returns its argument.
        base: number of the argument whose memory it shares; None if it has its own.
        shape: its sizes.
        dtype: its type.
    """

    number: int
    base: int | None
    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Recorded:
    """One ATen call.

    Attributes:
        function: the overload that was called.
        args: positional arguments, tensors as `Ref`.
        kwargs: keyword arguments.
        made: the tensors that it returns; None for a result that is no tensor.
        module: dotted path of the submodule that runs it.
    """

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    made: tuple[Made | None, ...]
    module: str


@dataclass(frozen=True)
class Recording:
    """One run of a network.

    Attributes:
        image: number of the image.
        calls: in the order in which they ran.
        constants: the network's own tensors, by number.
        outputs: numbers of the tensors that it returns.
    """

    image: int
    calls: tuple[Recorded, ...]
    constants: Mapping[int, Tensor]
    outputs: tuple[int, ...]


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records every ATen call while it is active.

    Under inference mode calls arrive as the network makes them ("conv2d"), not yet decomposed.
    Those that the table of rules lacks are taken apart as torch composes them, so that only what
    nothing explains remains unknown.

    Attributes:
        calls: in the order in which they ran.
        constants: tensors that no call has made, by number.
        path: names of the submodules that run, innermost last.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Recorded] = []
        self.constants: dict[int, Tensor] = {}
        self.path = [""]
        self._numbers = WeakTensorKeyDictionary()
        self._count = 0
        self._memories: dict[int, int | None] = {}
        self._makers: dict[int, tuple[Recorded, int]] = {}
        self._written: set[int | None] = {None}

    def number(self, tensor: Tensor, stands_for: Tensor | None = None) -> int:
        """The number of a tensor; a tensor that no call has made is a constant.

        Args:
            tensor: any tensor.
            stands_for: the tensor with the values, if this one has none.
        """
        if tensor not in self._numbers:
            number = self.begin(tensor)
            if stands_for is not None or not isinstance(tensor, FakeTensor):
                self.constants[number] = tensor if stands_for is None else stands_for
        return int(self._numbers[tensor])

    def begin(self, tensor: Tensor) -> int:
        """A number for a new tensor that is no constant."""
        self._numbers[tensor] = self._count
        self._memories[self._count] = _memory(tensor)
        self._count += 1
        return self._count - 1

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = NotImplemented
        if any(isinstance(leaf, Tensor) for leaf in tree_leaves((args, kwargs))):
            if not known(func):
                result = self._in_parts(func, args, kwargs)
            elif func in STRIDED:
                result = self._in_order(func, args, kwargs)
        if func is ASKS and isinstance(args[0], FakeTensor):
            with suppress(LookupError), unset_fake_temporarily():
                return self._value(self.number(args[0])).item()
        return self._whole(func, args, kwargs) if result is NotImplemented else result

    def _whole(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation and record it."""
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        memories = {_memory(tensor): self.number(tensor) for tensor in reversed(read)}
        given, named = tree_map(self._by_number, (args, kwargs))
        if func in STRIDED and not _in_one_piece(args[0]):
            given, named = given[:3], {"storage_offset": -1}
        result = func(*args, **kwargs)
        made = tuple(self._made(leaf, memories) for leaf in tree_leaves(result))
        if func._schema.is_mutable:
            self._written |= {_memory(tensor) for tensor in read}
        if any(made) or func._schema.is_mutable:
            call = Recorded(func, given, named, made, self.path[-1])
            self.calls.append(call)
            self._makers |= {one.number: (call, n) for n, one in enumerate(made) if one}
        return result

    def _value(self, number: int) -> Tensor:
        """A tensor that depends on nothing but what the network holds, computed.

        Raises:
            LookupError: it depends on the image or on chance, or was written to.
        """
        if self._memories[number] in self._written:
            raise LookupError
        if number in self.constants:
            return self.constants[number]
        call, output = self._makers[number]
        if torch.Tag.nondeterministic_seeded in call.function.tags:
            raise LookupError

        def held(leaf: Any) -> Any:
            return self._value(leaf.number) if isinstance(leaf, Ref) else leaf

        args, kwargs = tree_map(held, (call.args, call.kwargs))
        found: Tensor = tree_leaves(call.function(*args, **kwargs))[output]
        return found

    def _in_parts(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation as torch composes it of others, and record those.

        What torch has in Python for its compilers is used only if all of its parts are known.
        Where an operation cannot be taken apart, nothing of the attempt is kept.

        Returns:
            What the operation returns; `NotImplemented` if it cannot be taken apart.
        """
        before = len(self.calls)
        with suppress(Exception):
            composite = func._can_decompose()
            parts = func.decompose if composite else decomposition_table[func]
            if composite or not func._schema.is_mutable:
                with self:
                    result = parts(*args, **kwargs)
                if composite or all(known(call.function) for call in self.calls[before:]):
                    return result
        del self.calls[before:]
        return NotImplemented

    def _in_order(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`as_strided` of a tensor whose dimensions lie in memory in another order: put them so."""
        source = args[0]
        order = sorted(range(source.dim()), key=source.stride, reverse=True)
        if _in_one_piece(source) or not _in_one_piece(source.permute(order)):
            return NotImplemented
        with self:
            return func(source.permute(order), *args[1:], **kwargs)

    def _by_number(self, leaf: Any) -> Any:
        return Ref(self.number(leaf)) if isinstance(leaf, Tensor) else leaf

    def _made(self, leaf: Any, memories: Mapping[int | None, int]) -> Made | None:
        if not isinstance(leaf, Tensor):
            return None
        memory = _memory(leaf)
        base = None if memory is None else memories.get(memory)
        number = self.number(leaf) if leaf in self._numbers else self.begin(leaf)
        return Made(number, base, tuple(leaf.shape), leaf.dtype)


ASKS = torch.ops.aten._local_scalar_dense.default
"""What `.item()` and conditions ask a tensor for."""

LIKENESS = "expand_as reshape_as to.other type_as view_as".split()
"""Calls that read no more than the shape or the type of a second tensor; their parts say so."""


def known(func: Any) -> bool:
    """Whether the table of rules has an operation."""
    name = str(func._schema.name).removeprefix("aten::")
    overload = f"{name}.{func._schema.overload_name}".removesuffix(".")
    return entry(name) is not None and overload not in LIKENESS


STRIDED = (torch.ops.aten.as_strided.default, torch.ops.aten.as_strided_copy.default)
"""They read the memory of a tensor; if it is no piece of its own, an offset of −1 says so."""


def _in_one_piece(tensor: Tensor) -> bool:
    """Whether a tensor is all of its memory, in the order of its dimensions."""
    held = tensor.untyped_storage().nbytes() // max(1, tensor.element_size())
    return tensor.is_contiguous() and tensor.storage_offset() == 0 and held == tensor.numel()


def _memory(tensor: Tensor) -> int | None:
    """What a tensor and its views have in common."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except RuntimeError:
        return None


def record(model: nn.Module, image: Tensor, *, values: bool) -> Recording:
    """Run a network once and record what it does.

    Args:
        model: a network inside `undisturbed`.
        image: (batch, channels, *space).
        values: whether to compute values; if not, only shapes are found, and whatever asks for a
            value raises an error, unless the network holds it or makes it of what it holds.
    """
    recorder = Recorder()
    with ExitStack() as active:
        active.enter_context(torch.inference_mode())
        active.enter_context(whole_attention())
        active.enter_context(running_modules(model, recorder.path))
        if values:
            run: Callable[..., Any] = model
            shown = image.clone()
        else:
            mode = active.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
            run = _without_values(model, recorder, mode)
            shown = mode.from_tensor(image)
        number = recorder.begin(shown)
        with recorder:
            outputs = run(shown)
        found = tuple(recorder.number(tensor) for tensor in tensors_of(outputs))
    return Recording(number, tuple(recorder.calls), recorder.constants, found)


def _without_values(
    model: nn.Module, recorder: Recorder, mode: FakeTensorMode
) -> Callable[[Tensor], Any]:
    """The network on tensors with a shape and no memory."""
    state: dict[str, Tensor] = {}
    named = model.named_parameters(remove_duplicate=False)
    for name, tensor in (*named, *model.named_buffers(remove_duplicate=False)):
        state[name] = mode.from_tensor(tensor)
        recorder.number(state[name], tensor)
    return lambda shown: torch.func.functional_call(model, state, (shown,))


@contextmanager
def whole_attention() -> Iterator[None]:
    """Turn off torch's kernels that run a whole encoder layer in one call."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def tensors_of(output: object) -> Iterator[Tensor]:
    """The tensors of a network's output, in the order of its entries, however they are nested."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for entry in output.values():
            yield from tensors_of(entry)
    elif isinstance(output, tuple | list):
        for entry in output:
            yield from tensors_of(entry)
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        for field in dataclasses.fields(output):
            yield from tensors_of(getattr(output, field.name))


# --- exported programs ---------------------------------------------------------------------------


def record_program(program: ExportedProgram, image: Tensor) -> Recording:
    """Run an exported program once, on shapes only, and record what it does.

    Args:
        program: with one image as its input.
        image: (batch, channels, *space).

    Raises:
        CaptureError: it takes several images, or branches on values.
    """
    recorder = Recorder()
    with ExitStack() as active:
        active.enter_context(torch.inference_mode())
        mode = active.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        shown = mode.from_tensor(image)
        number = recorder.begin(shown)
        given = [
            shown if value is image else _fake(value, recorder, mode)
            for value in _inputs(program, image)
        ]
        with recorder:
            outputs = _Rerun(program.graph_module, recorder).run(*given)
        kinds = [spec.kind for spec in program.graph_signature.output_specs]
        found = tuple(
            recorder.number(output)
            for output, kind in zip(outputs, kinds, strict=True)
            if kind is OutputKind.USER_OUTPUT and isinstance(output, Tensor)
        )
    return Recording(number, tuple(recorder.calls), recorder.constants, found)


def image_of(program: ExportedProgram) -> Tensor:
    """The one tensor that a program takes from its user, without values.

    Raises:
        CaptureError: it takes another number of tensors.
    """
    asked = set(program.graph_signature.user_inputs)
    nodes = [node for node in program.graph.nodes if node.op == "placeholder"]
    values = [node.meta.get("val") for node in nodes if node.name in asked]
    found = [value for value in values if isinstance(value, Tensor)]
    if len(found) != 1:
        raise CaptureError(
            f"the program takes {len(found)} tensors; it must take one image only: export a "
            "module that makes the others itself"
        )
    return found[0]


def _inputs(program: ExportedProgram, image: Tensor) -> Iterator[Any]:
    """The arguments of a program in order: its own tensors, and the image."""
    image_of(program)
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            constant = getattr(spec.arg, "value", None)
            yield image if type(spec.arg).__name__ == "TensorArgument" else constant
        elif spec.target in program.state_dict:
            yield program.state_dict[spec.target]
        else:
            yield program.constants.get(spec.target)


def _fake(value: Any, recorder: Recorder, mode: FakeTensorMode) -> Any:
    """A tensor of the program without its values; the recorder keeps those."""
    if not isinstance(value, Tensor):
        return value
    fake = mode.from_tensor(value)
    recorder.number(fake, value)
    return fake


class _Rerun(fx.Interpreter):
    """Runs a graph node by node, and lets the recorder know the submodule of each."""

    def __init__(self, module: fx.GraphModule, recorder: Recorder) -> None:
        super().__init__(module)
        self._recorder = recorder

    def run_node(self, n: fx.Node) -> Any:
        stack = n.meta.get("nn_module_stack")
        if stack:
            path = str(list(stack.values())[-1][0])
            self._recorder.path[-1] = path.removeprefix("L['self']").removeprefix(".")
        return super().run_node(n)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not isinstance(target, HigherOrderOperator):
            return super().call_function(target, args, kwargs)
        graphs = [n for n, value in enumerate(args) if isinstance(value, fx.GraphModule)]
        if len(graphs) != 1 or "wrap" not in str(target):
            raise CaptureError(
                f"the program contains the operation '{target}', which branches on values or "
                "calls functions of its own; placewise cannot follow these"
            )
        inner = _Rerun(args[graphs[0]], self._recorder)
        with torch.autocast(*args[:3]) if "autocast" in str(target) else nullcontext():
            return inner.run(*args[graphs[0] + 1 :])
