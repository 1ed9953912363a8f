"""Run a network and leave it as it was; know which of its modules runs."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.nn.parameter import is_lazy

from placewise.errors import SettingsError

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@contextmanager
def undisturbed(model: nn.Module, seed: int = 0) -> Iterator[nn.Module]:
    """Give a network in eval mode, and restore it afterwards, whatever happens.

    This restores the training flags of all submodules; values, devices, types, `requires_grad`
    and gradients of parameters and buffers; hooks, attributes, and the entries of dictionaries,
    lists and sets that are attributes; torch's random state (CPU and CUDA), grad mode, and the
    flags of determinism. A tensor is written to only if it has changed. Inside the block, parts
    that torch.compile has wrapped run uncompiled.

    Args:
        model: any network. Its flags are set directly; its `train` and `eval` are not called.
        seed: of torch's random state inside the block, for networks that draw in eval mode.

    Raises:
        SettingsError: the network has lazy parameters.

    Example:
        >>> net = nn.Sequential(nn.BatchNorm1d(1), nn.Dropout())
        >>> with undisturbed(net):
        ...     net.training, net[1].training
        (False, False)
        >>> net.training, net[1].training
        (True, True)
    """
    check_shapes_known(model)
    devices = range(torch.cuda.device_count()) if _cuda_runs() else ()
    with (
        torch.random.fork_rng(devices),
        torch.inference_mode(False),
        torch.enable_grad(),
        _uncompiled_parts(),
    ):
        flags = _flags()
        modules = [_Module(module) for module in model.modules()]
        tensors = [_Tensor(tensor) for tensor in (*model.parameters(), *model.buffers())]
        try:
            torch.default_generator.manual_seed(seed)
            if devices:
                torch.cuda.manual_seed_all(seed)
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
            for kept in modules:
                if kept.training is not None:
                    kept.module.training = False
            yield model
        finally:
            for kept_module in modules:
                kept_module.put_back()
            for kept_tensor in tensors:
                kept_tensor.put_back()
            _put_flags_back(*flags)


def uncompiled(model: Any) -> Any:
    """The network that torch.compile has wrapped; any other is returned as it is.

    Example:
        >>> net = nn.ReLU()
        >>> uncompiled(torch.compile(net, backend="eager")) is net, uncompiled(net) is net
        (True, True)
    """
    return getattr(model, "_orig_mod", model)


def _uncompiled_parts() -> AbstractContextManager[Any]:
    """Run functions and submodules of the network that torch.compile wraps as they were before."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and to load it takes a second
        return nullcontext()
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


def _cuda_runs() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _flags() -> tuple[bool, bool, bool, bool]:
    return (
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _put_flags_back(deterministic: bool, benchmark: bool, exact: bool, warning: bool) -> None:
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = deterministic, benchmark
    torch.use_deterministic_algorithms(exact, warn_only=warning)


@contextmanager
def running_modules(
    model: nn.Module, path: list[str], entered: Callable[[nn.Module], None] | None = None
) -> Iterator[None]:
    """Keep track of which submodule runs, with hooks that are removed at the end.

    Args:
        model: any network.
        path: gets the dotted name of each submodule that runs, innermost last. A module that is
            not the network's own has the name of the one that calls it.
        entered: called with each module before it runs.

    Example:
        >>> net, path, seen = nn.Sequential(nn.ReLU()), [""], []
        >>> with running_modules(net, path, lambda module: seen.append(path[-1])):
        ...     _ = net(torch.zeros(1))
        >>> seen, path
        (['', '0'], [''])
    """
    names = {id(module): name for name, module in model.named_modules()}

    def enter(module: nn.Module, _inputs: Any) -> None:
        path.append(names.get(id(module), path[-1]))
        if entered is not None:
            entered(module)

    def leave(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        if len(path) > 1:
            path.pop()

    handles = [hooks.register_module_forward_pre_hook(enter)]
    try:
        handles.append(hooks.register_module_forward_hook(leave, always_call=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def lacks_values(model: nn.Module) -> bool:
    """Whether some parameters or buffers are on the meta device and have a shape alone.

    Example:
        >>> lacks_values(nn.Linear(2, 3)), lacks_values(nn.Linear(2, 3, device="meta"))
        (False, True)
    """
    return any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))


def check_shapes_known(model: nn.Module) -> None:
    """Refuse a network whose parameters get their shape in the first run, which would change it."""
    if any(is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        raise SettingsError(
            "the network has lazy parameters, which get their shape in the first run, so that it "
            "could not be left unchanged; run it once on an image first"
        )


class _Module:
    """A submodule's attributes, and the contents of those that are containers.

    A program that TorchScript froze is always in eval mode and has no flag of it.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.training: bool | None = getattr(module, "training", None)
        self.attributes = dict(vars(module))
        self.contents = [
            (value, type(value)(value) if type(value) in (list, set) else dict(value))
            for value in self.attributes.values()
            if isinstance(value, dict) or type(value) in (list, set)
        ]

    def put_back(self) -> None:
        now = vars(self.module)
        for name in now.keys() - self.attributes.keys():
            del now[name]
        now.update(self.attributes)
        for container, kept in self.contents:
            if not _same_entries(container, kept):
                container.clear()
                (container.extend if isinstance(container, list) else container.update)(kept)
        if self.training is not None and self.module.training != self.training:
            self.module.training = self.training


def _same_entries(now: Any, kept: Any) -> bool:
    """Whether these are the same objects in the same order."""
    if len(now) != len(kept) or not all(map(operator.is_, now, kept)):
        return False
    return not isinstance(kept, dict) or all(map(operator.is_, now.values(), kept.values()))


class _Tensor:
    """A parameter or a buffer: its memory, its values, and those of its gradient."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.memory = tensor, tensor.detach()
        self.values, self.requires_grad = self.memory.clone(), tensor.requires_grad
        self.grad = _Tensor(tensor.grad) if tensor.is_leaf and tensor.grad is not None else None

    def put_back(self) -> None:
        tensor, memory = self.tensor, self.memory
        if (tensor.data_ptr(), tensor.dtype) != (memory.data_ptr(), memory.dtype):
            tensor.data = memory
        if not memory.is_meta and not _same_bits(memory, self.values):
            memory.copy_(self.values)
        if tensor.requires_grad != self.requires_grad:
            tensor.requires_grad_(self.requires_grad)
        if self.grad is not None:
            self.grad.put_back()
        grad = self.grad.tensor if self.grad is not None else None
        if tensor.is_leaf and tensor.grad is not grad:
            tensor.grad = grad


def _same_bits(first: Tensor, second: Tensor) -> bool:
    if first.is_floating_point():
        integers = _INTEGERS[first.element_size()]
        first, second = first.view(integers), second.view(integers)
    return torch.equal(first, second)
