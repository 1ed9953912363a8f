"""From a classifier that flattens to a fully convolutional one."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional

from placewise.errors import SettingsError
from placewise.remedies._layers import AVERAGES, CONVOLUTIONS, MAXIMA
from placewise.remedies._nodes import (
    BATCH,
    Flat,
    Tracer,
    asks_for_shape,
    flattens,
    is_mean,
    is_pointwise,
    shape_of,
)

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
ADAPTIVE_AVERAGES = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
ADAPTIVE_MAXIMA = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
ADAPTIVE_FUNCTIONS = {
    function: kind
    for short, kind in (("avg", "average"), ("max", "maximum"))
    for name in (f"adaptive_{short}_pool{axes}d" for axes in (1, 2, 3))
    for function in (getattr(functional, name), getattr(torch, name, None))
    if function is not None
}

POINTWISE_MODULES = tuple(
    getattr(nn, name)
    for name in (
        "Identity Dropout AlphaDropout ReLU ReLU6 LeakyReLU ELU SELU CELU GELU SiLU Mish Hardswish "
        "Hardsigmoid Hardtanh Tanh Sigmoid LogSigmoid Softplus Softsign"
    ).split()
)
SOFT_MODULES = (nn.Softmax, nn.LogSoftmax)


def convolutionalize(model: nn.Module, size: int | Sequence[int]) -> nn.Module:
    """Make a fully convolutional copy of a classifier that flattens, for images of any size.

    The first fully connected layer after the flattening becomes a convolution whose kernel is as
    large as the map: y = Σ_c Σ_p w(c, p)·x(c, p) + b is the same sum, whether p is a place in a
    flattened map or in a window ("Fully Convolutional Networks for Semantic Segmentation", Long et
    al., CVPR 2015). Later ones become convolutions of size 1. Adaptive pooling before the
    flattening becomes pooling over windows as large as those at this size; it is removed if that is
    one place. Adaptive pooling elsewhere, e.g. in a squeeze-and-excitation, still reads the whole
    map.

    Args:
        model: (batch, channels, *size) to (batch, classes); it is left unchanged.
        size: sides of the images that it was trained with; one number for all axes, or one each.

    Returns:
        A network from (batch, channels, *sides) to (batch, classes, *places), in the model's
        modes. At the training size there is one place, and the numbers are the model's. Dropout
        that the model calls as a function is removed.

    Raises:
        SettingsError: the network cannot be followed, or a layer cannot be replaced; the message
            names it.

    Example:
        >>> net = nn.Sequential(
        ...     nn.Conv2d(1, 4, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 6 * 6, 10)
        ... )
        >>> mapped = convolutionalize(net, 16)
        >>> mapped(torch.zeros(2, 1, 16, 16)).shape, mapped(torch.zeros(2, 1, 32, 24)).shape
        (torch.Size([2, 10, 1, 1]), torch.Size([2, 10, 9, 5]))
    """
    shape = _image_shape(model, size)
    with torch.random.fork_rng(devices=[]):
        return _Turning(_traced(model, shape)).result()


def _image_shape(model: nn.Module, size: int | Sequence[int]) -> tuple[int, ...]:
    """(channels, *sides) of an image, after the first convolution."""
    first = next((module for module in model.modules() if _convolves(module)), None)
    weight = getattr(first, "weight", None)
    if not isinstance(weight, Tensor):
        raise SettingsError(
            f"{type(model).__name__} has no convolution; convolutionalize takes a network of "
            "convolutions, then a flattening, then fully connected layers"
        )
    sides = (size,) * (weight.ndim - 2) if isinstance(size, int) else tuple(size)
    if len(sides) != weight.ndim - 2 or min(sides) < 1:
        raise SettingsError(
            f"the size is {size}; this network's images have {weight.ndim - 2} axes: give one side "
            "for all of them, or one for each"
        )
    groups = getattr(first, "groups", 1)
    return weight.shape[1] * groups, *sides


def _convolves(module: nn.Module) -> bool:
    """Whether a module has the weights of a convolution."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and 3 <= weight.ndim <= 5


def _traced(model: nn.Module, shape: tuple[int, ...]) -> fx.GraphModule:
    """A copy of the network as a graph whose nodes know their shapes."""
    try:
        own = copy.deepcopy(model)
        with _evaluating(own), torch.no_grad():
            traced = fx.GraphModule(own, Tracer().trace(own))
            weight = next(t for t in own.parameters())
            images = torch.zeros(BATCH, *shape, dtype=weight.dtype, device=weight.device)
            ShapeProp(traced).propagate(images)
    except Exception as error:
        first = str(error).strip().split("\n")[0]
        raise SettingsError(
            f"{type(model).__name__} cannot be followed on images of {shape} "
            f"({type(error).__name__}: {first}); give the size that it was trained with, and a "
            "network whose forward does not branch on values"
        ) from error
    traced.training = model.training
    return traced


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


class _Turning:
    """Makes a traced network convolutional, node by node, in the order in which they run."""

    def __init__(self, net: fx.GraphModule) -> None:
        self.net = net
        self.flat: dict[fx.Node, Flat] = {}
        self.turned: dict[str, Flat] = {}
        self.pooled: set[str] = set()

    def result(self) -> fx.GraphModule:
        """The convolutional network.

        Raises:
            SettingsError: see `convolutionalize`.
        """
        for node in list(self.net.graph.nodes):
            read = [one for one in node.all_input_nodes if one in self.flat]
            if read:
                self._turn(node, read[0])
            elif flat := flattens(node):
                self._drop_flattening(node, flat)
        if not self.flat:
            raise SettingsError(
                "the network flattens no map, so that there is nothing to replace; it may be fully "
                "convolutional already, or not be made of convolutions"
            )
        self.net.graph.eliminate_dead_code()
        called = {node.target for node in self.net.graph.nodes if node.op == "call_module"}
        for name in self.pooled - called:
            self.net.delete_submodule(name)
        self.net.graph.lint()
        self.net.recompile()
        return self.net

    def _module(self, node: fx.Node) -> nn.Module | None:
        if node.op != "call_module":
            return None
        return self.net.get_submodule(str(node.target))

    def _refuse(self, node: fx.Node, why: str) -> SettingsError:
        module = self._module(node)
        name = f"{node.target} ({type(module).__name__})" if module is not None else node.name
        return SettingsError(f"{name} cannot be made convolutional: {why}")

    def _drop_flattening(self, node: fx.Node, flat: Flat) -> None:
        """Keep the map, pooled over windows instead of over shares of the map."""
        before = node.all_input_nodes[0]
        if is_mean(node):
            windows = shape_of(before)[2:]
            before = self._pooled_before(
                node, before, _pooling(AVERAGES, windows, (1,) * len(windows))
            )
        else:
            self._pool_windows(before)
            before = node.all_input_nodes[0]
        node.replace_all_uses_with(before)
        self.flat[before] = flat

    def _pool_windows(self, node: fx.Node) -> None:
        """Replace the adaptive pooling that makes the flattened map, if there is one."""
        while node.op != "placeholder":
            if kind := self._adaptive(node):
                self._turn_pooling(node, kind)
                return
            inputs = [one for one in node.all_input_nodes if one.op != "get_attr"]
            if len(inputs) != 1 or len(inputs[0].users) > 1 or not self._keeps_place(node):
                return
            node = inputs[0]

    def _keeps_place(self, node: fx.Node) -> bool:
        """Whether it treats all places alike, so that pooling can come after it."""
        module = self._module(node)
        if isinstance(module, CONVOLUTIONS):
            return max(module.kernel_size) == 1
        before, after = shape_of(node.all_input_nodes[0]), shape_of(node)
        return before[2:] == after[2:] or math.prod(before) == math.prod(after)

    def _adaptive(self, node: fx.Node) -> str | None:
        module = self._module(node)
        if isinstance(module, ADAPTIVE_AVERAGES):
            return "average"
        if isinstance(module, ADAPTIVE_MAXIMA):
            return "maximum"
        function = cast(Any, node.target) if node.op == "call_function" else None
        return ADAPTIVE_FUNCTIONS.get(function)

    def _turn_pooling(self, node: fx.Node, kind: str) -> None:
        before = node.all_input_nodes[0]
        read, written = shape_of(before)[2:], shape_of(node)[2:]
        if any(n % m for n, m in zip(read, written, strict=True)):
            raise self._refuse(
                node,
                f"it pools {read} places to {written}, over windows of unequal size; choose an "
                "image size at which the second number divides the first",
            )
        if node.op == "call_module":
            self.pooled.add(str(node.target))
        window = tuple(n // m for n, m in zip(read, written, strict=True))
        if max(window) == 1:
            node.replace_all_uses_with(before)
            return
        stride = tuple(w if m > 1 else 1 for w, m in zip(window, written, strict=True))
        family = AVERAGES if kind == "average" else MAXIMA
        made = _pooling(family, window, stride)
        node.replace_all_uses_with(self._pooled_before(node, before, made))

    def _pooled_before(self, node: fx.Node, before: fx.Node, pooling: nn.Module) -> fx.Node:
        """Add a pooling that reads what the node reads."""
        name = f"{node.name}_windows"
        self.net.add_submodule(name, pooling)
        with self.net.graph.inserting_before(node):
            pooled = self.net.graph.call_module(name, (before,))
        pooled.meta = dict(node.meta)
        return pooled

    def _turn(self, node: fx.Node, read: fx.Node) -> None:
        """Replace one node that reads a flattened map."""
        flat, module = self.flat[read], self._module(node)
        if node.op == "output":
            if max(flat.sides) > 1:
                raise SettingsError(
                    "the flattened map itself is an output, so that there are no classes; end the "
                    "network with a fully connected layer"
                )
        elif isinstance(module, nn.Linear):
            self._exchange(node, flat, _convolution(module, flat))
            self.flat[node] = Flat(module.out_features, (1,) * len(flat.sides))
        elif isinstance(module, nn.BatchNorm1d) and max(flat.sides) == 1:
            self._exchange(node, flat, _norm(module, len(flat.sides)))
            self.flat[node] = flat
        elif isinstance(module, SOFT_MODULES) and max(flat.sides) == 1:
            module.dim = 1
            self.flat[node] = flat
        elif isinstance(module, nn.Flatten) or flattens(node):
            node.replace_all_uses_with(read)
        elif isinstance(module, POINTWISE_MODULES) or is_pointwise(node):
            self.flat[node] = flat
        elif not asks_for_shape(node):
            raise self._refuse(
                node,
                "after the flattening, only fully connected layers, batch normalisation, dropout "
                "and activations are possible; remove it, or move it before the flattening",
            )

    def _exchange(self, node: fx.Node, flat: Flat, made: nn.Module) -> None:
        """Replace a module by another under the same name."""
        name = str(node.target)
        if self.turned.setdefault(name, flat) != flat:
            raise self._refuse(node, "it is used on maps of different sizes; use two layers")
        parent, _, child = name.rpartition(".")
        setattr(self.net.get_submodule(parent), child, made)


def _pooling(family: Sequence[Any], window: Sequence[int], stride: Sequence[int]) -> nn.Module:
    made: nn.Module = family[len(window) - 1](tuple(window), tuple(stride))
    return made


def _convolution(linear: nn.Linear, flat: Flat) -> nn.Module:
    """A convolution with the weights of a fully connected layer."""
    made = CONVOLUTIONS[len(flat.sides) - 1](
        flat.channels,
        linear.out_features,
        flat.sides,  # type: ignore[arg-type]
        bias=linear.bias is not None,
        device="meta",
    )
    shape = (linear.out_features, flat.channels, *flat.sides)
    made.weight = _own(linear.weight, shape)
    if linear.bias is not None:
        made.bias = _own(linear.bias, linear.bias.shape)
    made.training = linear.training
    return made


def _own(values: Tensor, shape: Sequence[int]) -> nn.Parameter:
    return nn.Parameter(values.detach().reshape(shape).clone(), values.requires_grad)


def _norm(norm: nn.BatchNorm1d, axes: int) -> nn.Module:
    """The same normalisation for maps."""
    settings = (norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    made = NORMS[axes - 1](norm.num_features, *settings, device="meta")
    for name, tensor in (*norm.named_parameters(), *norm.named_buffers()):
        setattr(made, name, tensor)
    made.training = norm.training
    return made
