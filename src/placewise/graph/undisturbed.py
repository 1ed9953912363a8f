"""Lend a network, and leave it as found."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.nn.parameter import is_lazy

from placewise.errors import SettingsError

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@contextmanager
def undisturbed(model: nn.Module, seed: int = 0) -> Iterator[nn.Module]:
    """Lend a network in eval mode, and leave it as found, whatever happens.

    Put back are: the training flags of all submodules; values, devices, types, `requires_grad`
    and gradients of parameters and buffers; hooks, attributes, and the entries of dictionaries,
    lists and sets that are attributes; torch's random state (CPU and CUDA), grad mode, and the
    flags of determinism. A tensor is written to only where it has changed.

    Args:
        model: any network. Its flags are set directly; its `train` and `eval` are not called.
        seed: of torch's random state inside, for networks that draw in eval mode.

    Raises:
        SettingsError: the network has parameters without a shape.

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
    with torch.random.fork_rng(devices), torch.inference_mode(False), torch.enable_grad():
        flags = _flags()
        modules = [_Module(module) for module in model.modules()]
        tensors = [_Tensor(tensor) for tensor in (*model.parameters(), *model.buffers())]
        try:
            torch.default_generator.manual_seed(seed)
            if devices:
                torch.cuda.manual_seed_all(seed)
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
            for module in model.modules():
                module.training = False
            yield model
        finally:
            for kept_module in modules:
                kept_module.put_back()
            for kept_tensor in tensors:
                kept_tensor.put_back()
            _put_flags_back(*flags)


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
def told_modules(
    enter: Callable[[nn.Module, Any], None], leave: Callable[[nn.Module, Any, Any], None]
) -> Iterator[None]:
    """Tell which module runs: hooks on every module there is, taken away again.

    Args:
        enter: told (module, inputs) before it runs.
        leave: told (module, inputs, output) after it ran, also where it raised.

    Example:
        >>> ran: list[str] = []
        >>> with told_modules(lambda m, _: ran.append(type(m).__name__), lambda m, _, out: None):
        ...     _ = nn.Sequential(nn.ReLU())(torch.zeros(1))
        >>> ran
        ['Sequential', 'ReLU']
    """
    handles = [hooks.register_module_forward_pre_hook(enter)]
    try:
        handles.append(hooks.register_module_forward_hook(leave, always_call=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def check_shapes_known(model: nn.Module) -> None:
    """Refuse a network that gets its parameters when it first runs: it would not stay as found."""
    if any(is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        raise SettingsError(
            "the network has lazy parameters, which get their shape when it first runs, so it "
            "cannot be left as found; run it once on an image before"
        )


class _Module:
    """A submodule's attributes, and what stands in those that are containers."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.training = module, module.training
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
        if self.module.training != self.training:
            self.module.training = self.training


def _same_entries(now: Any, kept: Any) -> bool:
    """Are these the same things in the same order?"""
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
