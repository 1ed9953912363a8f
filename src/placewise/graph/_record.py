"""Record what a network runs: each call of ATen, its tensors by number."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from placewise.graph.undisturbed import told_modules


@dataclass(frozen=True)
class Ref:
    """A tensor of the run, by number."""

    number: int


@dataclass(frozen=True)
class Made:
    """A tensor that a call gives.

    Attributes:
        number: of the tensor; that of an argument where the call gives that back.
        base: number of the argument whose memory it shares; None where it has its own.
        shape: its sizes.
        dtype: its type.
    """

    number: int
    base: int | None
    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Recorded:
    """One call of ATen.

    Attributes:
        function: the overload that was called.
        args: its arguments, tensors as `Ref`.
        kwargs: the rest of them.
        made: the tensors that it gives; None for what is no tensor.
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
        constants: what the network holds, by number.
        outputs: numbers of the tensors that it gives.
    """

    image: int
    calls: tuple[Recorded, ...]
    constants: Mapping[int, Tensor]
    outputs: tuple[int, ...]


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down every call of ATen while it is active.

    Under inference mode calls arrive as the network makes them ("conv2d"), not yet taken apart.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Recorded] = []
        self.constants: dict[int, Tensor] = {}
        self.module = ""
        self._numbers = WeakTensorKeyDictionary()
        self._count = 0

    def number(self, tensor: Tensor, stands_for: Tensor | None = None) -> int:
        """The number of a tensor; one that no call has made is a constant.

        Args:
            tensor: one that is alive.
            stands_for: the tensor with the values, where this one has none.
        """
        if tensor not in self._numbers:
            number = self.begin(tensor)
            if stands_for is not None or not isinstance(tensor, FakeTensor):
                self.constants[number] = tensor if stands_for is None else stands_for
        return int(self._numbers[tensor])

    def begin(self, tensor: Tensor) -> int:
        """A number for a tensor that is new and no constant."""
        self._numbers[tensor] = self._count
        self._count += 1
        return self._count - 1

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        memories = {_memory(tensor): self.number(tensor) for tensor in reversed(read)}
        given, named = tree_map(self._by_number, (args, kwargs))
        result = func(*args, **kwargs)
        made = tuple(self._made(leaf, memories) for leaf in tree_leaves(result))
        if any(made) or func._schema.is_mutable:
            self.calls.append(Recorded(func, given, named, made, self.module))
        return result

    def _by_number(self, leaf: Any) -> Any:
        return Ref(self.number(leaf)) if isinstance(leaf, Tensor) else leaf

    def _made(self, leaf: Any, memories: Mapping[int | None, int]) -> Made | None:
        if not isinstance(leaf, Tensor):
            return None
        memory = _memory(leaf)
        base = None if memory is None else memories.get(memory)
        number = self.number(leaf) if leaf in self._numbers else self.begin(leaf)
        return Made(number, base, tuple(leaf.shape), leaf.dtype)


def _memory(tensor: Tensor) -> int | None:
    """What two tensors have in common of which one is a view of the other."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except RuntimeError:
        return None


def record(model: nn.Module, image: Tensor, *, values: bool) -> Recording:
    """Run a network once and write down what it does.

    Args:
        model: a network that `undisturbed` lends.
        image: (batch, channels, *space).
        values: whether to calculate; else only shapes are found, and whatever asks for a value
            raises an error.
    """
    recorder = Recorder()
    with ExitStack() as active:
        active.enter_context(torch.inference_mode())
        active.enter_context(whole_attention())
        active.enter_context(_told_modules(model, recorder))
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
    """The network on tensors that have a shape and no memory."""
    state: dict[str, Tensor] = {}
    named = model.named_parameters(remove_duplicate=False)
    for name, tensor in (*named, *model.named_buffers(remove_duplicate=False)):
        state[name] = mode.from_tensor(tensor)
        recorder.number(state[name], tensor)
    return lambda shown: torch.func.functional_call(model, state, (shown,))


@contextmanager
def whole_attention() -> Iterator[None]:
    """Without torch's kernels that run a whole encoder layer in one call."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _told_modules(model: nn.Module, recorder: Recorder) -> Iterator[None]:
    """Tell the recorder which submodule runs."""
    names = {id(module): name for name, module in model.named_modules()}
    path = [""]

    def enter(module: nn.Module, _inputs: Any) -> None:
        path.append(names.get(id(module), path[-1]))
        recorder.module = path[-1]

    def leave(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        if len(path) > 1:
            path.pop()
        recorder.module = path[-1]

    with told_modules(enter, leave):
        yield


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
