"""From a classifier that flattens to a fully convolutional one."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional

from placewise.errors import SettingsError, first_line
from placewise.graph.noise import like_weights
from placewise.remedies._layers import AVERAGES, CONVOLUTIONS, CONVOLVE, MAXIMA
from placewise.remedies._nodes import (
    BATCH,
    REARRANGING,
    Flat,
    Tracer,
    asks_for_shape,
    called,
    flattened,
    flattens,
    is_view,
    rearranges,
    reduces,
    shape_of,
)
from placewise.remedies._places import Arranged, Probe, makers_of_maps, to_places, to_rows, windows

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

SOFT_MODULES = (nn.Softmax, nn.LogSoftmax)


def convolutionalize(model: nn.Module, size: int | Sequence[int]) -> nn.Module:
    """Make a fully convolutional copy of a classifier that flattens, for images of any size.

    The first fully connected layer after the flattening becomes a convolution whose kernel is as
    large as the map: y = Σ_c Σ_p w(c, p)·x(c, p) + b is the same sum, whether p is a place in a
    flattened map or in a window ("Fully Convolutional Networks for Semantic Segmentation", Long et
    al., CVPR 2015). Later ones become convolutions of size 1. Adaptive pooling before the
    flattening becomes pooling over windows as large as those at this size; it is removed if that is
    one place. A map that is flattened in another order than torch's, e.g. channels last, is read in
    that order, window by window. Adaptive pooling elsewhere, e.g. in a squeeze-and-excitation,
    still reads the whole map.

    Whatever else comes after the flattening runs unchanged, for each place apart: a layer norm, for
    example, takes the mean and the variance of the vector at one place. It must treat the images of
    a batch apart, which is tried on random vectors.

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
        weight = next(t for t in own.parameters())
        images = torch.zeros(BATCH, *shape, dtype=weight.dtype, device=weight.device)
        with _evaluating(own), torch.no_grad():
            traced = fx.GraphModule(own, _followed(own, images))
            ShapeProp(traced).propagate(images)
    except Exception as error:
        raise SettingsError(
            f"{type(model).__name__} cannot be followed on images of {shape} "
            f"({first_line(error)}); give the size that it was trained with, and a "
            "network whose forward does not branch on values"
        ) from error
    traced.training = model.training
    return traced


def _followed(model: nn.Module, images: Tensor) -> fx.Graph:
    """The network as a graph.

    Layers that cannot be followed stay whole if they make a map from a map: what is looked for
    comes after them.
    """
    try:
        return Tracer().trace(model)
    except Exception:  # torch.fx can fail with any error
        return Tracer(makers_of_maps(model, images)).trace(model)


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
        self.image = shape_of(next(one for one in net.graph.nodes if one.op == "placeholder"))

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
        before = flattened(node)
        if kind := reduces(node):
            window = shape_of(before)[2:]
            family = AVERAGES if kind == "average" else MAXIMA
            before = self._pooled_before(node, before, _pooling(family, window, (1,) * len(window)))
        else:
            self._pool_windows(before)
            before = flattened(node)
            chain = self._rearranged(node)
            if (order := self._order(chain)) is not None:
                before = self._arranged(node, chain, order)
                flat = Flat(len(order), (1,) * len(shape_of(chain[0])[2:]))
        node.replace_all_uses_with(before)
        self.flat[before] = flat

    def _rearranged(self, node: fx.Node) -> list[fx.Node]:
        """The map of which a node is the flattened form, and all nodes from it to this one.

        They put its numbers in another order, or change each by one rule. The map is the first
        whose channels come first: on a larger image all of its other dimensions are larger.
        """
        found = [node]
        while rearranges(found[0]) or self._pointwise(found[0]):
            found.insert(0, next(one for one in found[0].all_input_nodes if shape_of(one)))
        if not any(called(one) in REARRANGING.split() for one in self.net.graph.nodes):
            return found
        larger = self._larger()
        for number, one in enumerate(found[:-1]):
            pairs = zip(shape_of(one)[1:], larger.get(one, ())[1:], strict=False)
            grows = [size != more for size, more in pairs]
            if len(grows) > 1 and grows == [False] + [True] * (len(grows) - 1):
                return found[number:]
        if larger.get(found[0], shape_of(found[0])) != shape_of(found[0]):
            raise self._refuse(
                node,
                "the channels of the map that it flattens do not come first; let the layer that "
                "makes the map give (batch, channels, *sides)",
            )
        return found

    def _larger(self) -> dict[fx.Node, tuple[int, ...]]:
        """Shapes of the nodes that can run on images with sides of twice the length."""
        run = fx.Interpreter(self.net, garbage_collect_values=False)
        sides = [2 * side for side in self.image[2:]]
        images = like_weights(self.net, torch.zeros(BATCH, self.image[1], *sides))
        with _evaluating(self.net), torch.no_grad(), suppress(Exception):
            run.run(images)  # it ends where a flattened map does not fit
        return {n: tuple(value.shape) for n, value in run.env.items() if isinstance(value, Tensor)}

    def _pointwise(self, node: fx.Node) -> bool:
        """Whether it changes each number of one tensor by one rule, e.g. an activation."""
        read = [one for one in node.all_input_nodes if one.op != "get_attr"]
        if node.op == "placeholder" or len(read) != 1 or shape_of(read[0]) != shape_of(node):
            return False
        with _evaluating(self.net):
            return Probe(self.net, node, {read[0]: shape_of(node)[1:]}).pointwise()

    def _order(self, chain: Sequence[fx.Node]) -> Tensor | None:
        """Where each number of a vector is in the flattened map; None if in torch's order."""
        first, shape = chain[0], shape_of(chain[0])
        usual = torch.arange(math.prod(shape[1:]))
        own = fx.Interpreter(self.net)
        own.env[first] = usual.view(1, *shape[1:]).repeat(BATCH, *(1 for _ in shape[1:]))

        def held(node: fx.Node) -> Any:
            if node not in own.env:
                inside = node in chain or not shape_of(node)
                for read in node.all_input_nodes if inside else ():
                    held(read)
                found = own.run_node(node) if inside else torch.zeros(shape_of(node))
                own.env[node] = found
            return own.env[node]

        for node in chain[1:]:
            own.env[node] = held(node) if rearranges(node) else held(node.all_input_nodes[0])
        found = held(chain[-1])
        return None if all(torch.equal(row, usual) for row in found) else found[0]

    def _arranged(self, node: fx.Node, chain: Sequence[fx.Node], order: Tensor) -> fx.Node:
        """Windows of a map as vectors in another order than torch's."""
        graph, made = self.net.graph, chain[0]
        name = f"{node.name}_arranged"
        self.net.add_submodule(name, Arranged(shape_of(made)[2:], order))
        with graph.inserting_before(node):
            for one in chain[1:]:
                if not rearranges(one):
                    moved = graph.node_copy(one)
                    moved.replace_input_with(one.all_input_nodes[0], made)
                    made = moved
            return graph.call_module(name, (made,))

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
            self._check_output(node)
        elif isinstance(module, nn.Linear) and flat.vector == 1:
            self._exchange(node, flat, _convolution(module, flat))
            self.flat[node] = Flat(module.out_features, (1,) * len(flat.sides))
        elif isinstance(module, nn.BatchNorm1d) and max(flat.sides) == 1 == flat.vector:
            self._exchange(node, flat, _norm(module, len(flat.sides)))
            self.flat[node] = flat
        elif isinstance(module, SOFT_MODULES) and max(flat.sides) == 1 == flat.vector:
            module.dim = 1
            self.flat[node] = flat
        elif self._repeats(node, read):
            node.replace_all_uses_with(read)
        elif node.target is functional.linear and max(flat.sides) > 1:
            self._convolve(node, read, flat)
        elif not asks_for_shape(node):
            self._by_place(node)

    def _check_output(self, node: fx.Node) -> None:
        if any(max(self.flat[one].sides) > 1 for one in node.all_input_nodes if one in self.flat):
            raise SettingsError(
                "the flattened map itself is an output, so that there are no classes; end the "
                "network with a fully connected layer"
            )

    def _repeats(self, node: fx.Node, read: fx.Node) -> bool:
        """Whether a node flattens what is flat already."""
        flat = self.flat[read]
        size = flat.channels * math.prod(flat.sides)
        return is_view(node) and flat.vector == 1 and shape_of(node) == (BATCH, size)

    def _convolve(self, node: fx.Node, read: fx.Node, flat: Flat) -> None:
        """Make a convolution of a fully connected layer that is called as a function."""
        given = dict(zip(("input", "weight", "bias"), node.args, strict=False)) | node.kwargs
        weight = cast(fx.Node, given["weight"])
        features = shape_of(node)[-1]
        graph = self.net.graph
        with graph.inserting_before(node):
            shape = (features, flat.channels, *flat.sides)
            kernel = graph.call_method("reshape", (weight, shape))
            convolve = CONVOLVE[len(flat.sides) - 1]
            made = graph.call_function(convolve, (read, kernel, given.get("bias")))
        self._put(node, made, Flat(features, (1,) * len(flat.sides)))

    def _by_place(self, node: fx.Node) -> None:
        """Let a node run as it is: on all numbers alike, or on the vector of each place apart."""
        flats = {one: self.flat[one] for one in node.all_input_nodes if one in self.flat}
        others = [one for one in node.all_input_nodes if one not in flats and one.op != "get_attr"]
        if others or not shape_of(node)[1:]:
            raise self._refuse(
                node,
                "after the flattening it also reads something that is not flattened, or it gives "
                "no vector for each image; remove it, or move it before the flattening",
            )
        shapes = {one: _vector(one, flat) for one, flat in flats.items()}
        with _evaluating(self.net):
            probe = Probe(self.net, node, shapes)
            if not probe.by_row():
                raise self._refuse(
                    node,
                    "after the flattening it mixes the images of a batch, so that it cannot run on "
                    "each place apart; remove it, or move it before the flattening",
                )
            pointwise = len(set(flats.values())) == 1 and probe.pointwise()
        if pointwise:
            self.flat[node] = next(iter(flats.values()))
        else:
            self._run_on_rows(node, flats)

    def _run_on_rows(self, node: fx.Node, flats: dict[fx.Node, Flat]) -> None:
        """Make rows of the places before a node, and places of the rows after it."""
        graph, axes = self.net.graph, len(next(iter(flats.values())).sides)
        rows: dict[fx.Node, fx.Node] = {}
        with graph.inserting_before(node):
            for read, flat in flats.items():
                maps = read
                if max(flat.sides) > 1:
                    maps = graph.call_function(windows, (read, flat.sides))
                rows[read] = graph.call_function(to_rows, (maps, axes))
        with graph.inserting_after(node):
            placed = graph.call_function(to_places, (node, maps, axes))
        shape = shape_of(node)
        flat = Flat(shape[1], (1,) * axes, len(shape) - 1)
        self._put(node, placed, flat, erase=False)
        placed.args = (node, maps, axes)
        node.args = fx.map_arg(node.args, lambda one: rows.get(one, one))
        node.kwargs = fx.map_arg(node.kwargs, lambda one: rows.get(one, one))

    def _put(self, node: fx.Node, made: fx.Node, flat: Flat, *, erase: bool = True) -> None:
        """Let others read a new node instead."""
        made.meta = dict(node.meta)
        node.replace_all_uses_with(made)
        if erase:
            self.net.graph.erase_node(node)
        self.flat[made] = flat

    def _exchange(self, node: fx.Node, flat: Flat, made: nn.Module) -> None:
        """Replace a module by another under the same name."""
        name = str(node.target)
        if self.turned.setdefault(name, flat) != flat:
            raise self._refuse(node, "it is used on maps of different sizes; use two layers")
        parent, _, child = name.rpartition(".")
        setattr(self.net.get_submodule(parent), child, made)


def _vector(node: fx.Node, flat: Flat) -> tuple[int, ...]:
    """Shape of the vector that a flattened map was, without the batch."""
    if flat.vector > 1:
        return shape_of(node)[1:]
    return (flat.channels * math.prod(flat.sides),)


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
