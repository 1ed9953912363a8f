"""The all-ones twin of a network: its gradient is the number of paths, by automatic differentiation.

The network runs under a mode in which every function counts: weights are 1, biases 0, activations
and normalisations the identity, pooling and softmax sums, a product of two maps their sum. The
gradient of the summed output by the image is then the number of ways from each pixel. Nothing of
placewise takes part in it. A function that has no such form ends it with `NoTwin`: what is not
known to be linear is not guessed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

UNCHANGED = """
__get__ __getitem__ __len__ __bool__ __set__ size dim numel ndimension is_contiguous stride
storage_offset element_size is_floating_point is_complex get_device requires_grad_ view reshape
view_as reshape_as permute transpose t T mT swapaxes swapdims moveaxis movedim flatten unflatten
squeeze unsqueeze contiguous expand expand_as broadcast_to repeat tile cat concat concatenate stack
hstack vstack chunk split tensor_split unbind narrow select index_select roll flip pixel_shuffle
pixel_unshuffle channel_shuffle sum add iadd radd clone unfold fold rot90 repeat_interleave diff
cumsum native_channel_shuffle
""".split()
"""Linear, with ones for weights, or about the shape."""

IDENTITY = """
relu relu6 leaky_relu elu gelu selu celu silu mish sigmoid logsigmoid tanh hardswish hardsigmoid
hardtanh softplus prelu rrelu threshold abs exp log sqrt square pow rsqrt reciprocal neg sin cos erf
clamp clamp_min clamp_max clip batch_norm instance_norm layer_norm group_norm rms_norm dropout
dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout float double half type log1p
nan_to_num rpow
""".split()

LIKENESS = """
to type_as zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty new_tensor
""".split()
"""Of a second tensor, or of the only one, no more than the shape and the type is read."""

NORMS = "batch_norm instance_norm layer_norm group_norm rms_norm".split()

PRODUCTS = "mul rmul imul multiply div rdiv truediv rtruediv itruediv sub rsub isub maximum minimum".split()

LARGEST = 1e280
"""Larger counts may have overflowed on the way."""


class NoTwin(Exception):
    """The network does something that has no all-ones form here."""


def ways(net: nn.Module, shape: Sequence[int]) -> NDArray[np.float64]:
    """(channels, *space): ways from each value of the image to the first output.

    Args:
        net: a copy, which is changed.
        shape: (channels, *space).

    Raises:
        NoTwin: there is none.
    """
    net = net.double().eval().requires_grad_(False)
    image = torch.zeros(1, *shape, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad(), AllOnes():
        found = net(image)
    first = next((leaf for leaf in leaves(found)), None)
    if first is None or not first.requires_grad:
        raise NoTwin("its first output has no gradient")
    first.sum().backward()
    if image.grad is None:
        raise NoTwin("no gradient reaches the image")
    counts = np.asarray(image.grad[0].numpy())
    if not np.isfinite(counts).all() or counts.max() > LARGEST:
        raise NoTwin("its counts are too large for double precision")
    return counts


def leaves(found: Any) -> list[Tensor]:
    """The tensors of an output, in order."""
    if isinstance(found, dict):
        found = list(found.values())
    if isinstance(found, list | tuple):
        return [leaf for part in found for leaf in leaves(part)]
    return [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]


class AllOnes(TorchFunctionMode):
    """Every function counts."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = tree_leaves((args, kwargs))
        depends = [leaf for leaf in given if isinstance(leaf, Tensor) and leaf.requires_grad]
        if not depends:
            return func(*args, **kwargs)
        name = func.__name__
        in_place = name.endswith("_") and not name.startswith("__")
        plain = name.strip("_")
        if name in UNCHANGED or plain in UNCHANGED:
            return func(*args, **kwargs)
        x, rest = args[0], args[1:]
        if plain in LIKENESS:
            models = [a.detach() if isinstance(a, Tensor) else a for a in rest]
            kept = plain in ("to", "type_as") and isinstance(x, Tensor) and x.requires_grad
            return x.clone() if kept else func(x.detach(), *models, **kwargs)
        if plain in IDENTITY:
            if x is not depends[0] or len(depends) > 1:
                raise NoTwin(f"{name} of several maps")
            if any(isinstance(v, Tensor) and v.dim() > x.dim() for v in rest):
                raise NoTwin(f"{name} that broadcasts")
            fresh = plain in NORMS and bool(kwargs.get("training"))
            return x if in_place or (kwargs.get("inplace") and not fresh) else x.clone()
        if plain in PRODUCTS:
            return product(plain, x, rest[0])
        one = TWINS.get(plain)
        if one is None:
            raise NoTwin(f"{name} has no twin")
        return one(func, args, kwargs)


def product(name: str, x: Any, other: Any) -> Any:
    """Of two maps their sum; of a map and a constant the map, as large as the product."""
    maps = [v for v in (x, other) if isinstance(v, Tensor) and v.requires_grad]
    if len(maps) == 2:
        return x + other
    constant = other if maps[0] is x else x
    found = maps[0]
    if isinstance(constant, Tensor):
        found = found + torch.zeros_like(constant, dtype=found.dtype)
    return x.copy_(found) if name.startswith("i") and isinstance(x, Tensor) else found.clone()


# --- functions ------------------------------------------------------------------------------------


def along(x: Tensor, dim: int, matrix: Tensor) -> Tensor:
    """A matrix (written, read) along one dimension."""
    return torch.tensordot(x, matrix.to(x.dtype), ([dim], [1])).movedim(-1, dim)


def convolved(func: Any, args: Any, kwargs: Any) -> Tensor:
    names = ["input", "weight", "bias", "stride", "padding", "dilation", "groups"]
    if "transpose" in func.__name__:
        names = [*names[:5], "output_padding", "groups", "dilation"]
    given = dict(zip(names, args, strict=False)) | kwargs
    if given["weight"].requires_grad:
        raise NoTwin("a kernel that depends on the image")
    return func(**given | {"weight": torch.ones_like(given["weight"]), "bias": None})


def linear(func: Any, args: Any, kwargs: Any) -> Tensor:
    x, weight = (*args, *kwargs.values())[:2]
    if weight.requires_grad:
        raise NoTwin("a weight that depends on the image")
    return functional.linear(x, torch.ones_like(weight))


def pooled(func: Any, args: Any, kwargs: Any) -> Any:
    """Sums of those places of each window that exist."""
    name = func.__name__
    more = ["dilation"] if "max" in name else []
    names = ["input", "kernel_size", "stride", "padding", *more]
    given = dict(zip(names, args, strict=False)) | kwargs
    if given.get("return_indices"):
        raise NoTwin("a pool that gives its indices")
    x = given["input"]
    space = int(name.split("pool")[1][0])
    written = func(*[a.detach() if isinstance(a, Tensor) else a for a in args], **kwargs).shape

    def each(value: Any) -> tuple[int, ...]:
        several = tuple(value) if isinstance(value, tuple | list) else (value,) * space
        return several * space if len(several) == 1 else several

    size = each(given["kernel_size"])
    stride = each(given["stride"]) if given.get("stride") else size
    padding, dilation = each(given.get("padding", 0)), each(given.get("dilation", 1))
    for axis in range(space):
        dim = x.dim() - space + axis
        matrix = torch.zeros(written[dim], x.shape[dim])
        for j in range(written[dim]):
            for t in range(size[axis]):
                i = j * stride[axis] - padding[axis] + t * dilation[axis]
                if 0 <= i < x.shape[dim]:
                    matrix[j, i] += 1
        x = along(x, dim, matrix)
    return x


def adaptive(func: Any, args: Any, kwargs: Any) -> Tensor:
    x = args[0]
    space = int(func.__name__.split("pool")[1][0])
    written = func(x.detach(), *args[1:], **kwargs).shape
    for dim in range(x.dim() - space, x.dim()):
        count, length = written[dim], x.shape[dim]
        matrix = torch.zeros(count, length)
        for j in range(count):
            matrix[j, j * length // count : math.ceil((j + 1) * length / count)] = 1
        x = along(x, dim, matrix)
    return x


def resized(func: Any, args: Any, kwargs: Any) -> Tensor:
    """Where an impulse at one place is not zero after the resize, the place is read."""
    names = ["input", "size", "scale_factor", "mode", "align_corners"]
    given = dict(zip(names, args, strict=False)) | kwargs
    if given.get("antialias") or given.get("recompute_scale_factor"):
        raise NoTwin("a resize with antialiasing")
    x = given.pop("input")
    written = func(x.detach(), **given).shape[2:]
    settings = {k: given[k] for k in ("mode", "align_corners") if given.get(k) is not None}
    if given.get("scale_factor") is not None and settings.get("align_corners") is not True:
        exact = [w / s for w, s in zip(written, x.shape[2:], strict=True)]
        if any(e != int(e) and 1 / e != int(1 / e) for e in exact):
            raise NoTwin("a resize by a factor that is no whole number")
    for axis, (count, length) in enumerate(zip(written, x.shape[2:], strict=True)):
        sides = [1] * len(written)
        sides[axis] = length
        impulses = torch.eye(length, dtype=torch.float64).view(length, 1, *sides)
        sides[axis] = count
        seen = functional.interpolate(impulses, tuple(sides), **settings).view(length, count)
        x = along(x, 2 + axis, (seen.T.abs() > 1e-12).double())
    return x


def padded(func: Any, args: Any, kwargs: Any) -> Tensor:
    given = dict(zip(["input", "pad", "mode", "value"], args, strict=False)) | kwargs
    return func(**given)


def reduced(func: Any, args: Any, kwargs: Any) -> Any:
    x, *rest = args
    dim = kwargs.get("dim", kwargs.get("axis", rest[0] if rest else None))
    if isinstance(dim, Tensor):
        raise NoTwin("a maximum of two maps")
    keep = kwargs.get("keepdim", rest[1] if len(rest) > 1 else False)
    found = x.sum() if dim is None else x.sum(dim, keepdim=keep)
    if func.__name__ in ("max", "min") and dim is not None:
        return getattr(torch.return_types, func.__name__)((found, x.detach().argmax(dim, keep)))
    return found


def normed(func: Any, args: Any, kwargs: Any) -> Tensor:
    given = dict(zip(["x", "ord", "dim", "keepdim"], args, strict=False)) | kwargs
    x, dim = args[0], given.get("dim")
    return x.sum() if dim is None else x.sum(dim, keepdim=given.get("keepdim", False))


def normalised(func: Any, args: Any, kwargs: Any) -> Tensor:
    """A map over its own norm."""
    given = dict(zip(["x", "p", "dim"], args, strict=False)) | kwargs
    return args[0] + args[0].sum(given.get("dim", 1), keepdim=True)


def softmaxed(func: Any, args: Any, kwargs: Any) -> Tensor:
    x = args[0]
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    if dim is None:
        raise NoTwin("a softmax without a dimension")
    return x.sum(dim, keepdim=True).expand_as(x)


def multiplied(func: Any, args: Any, kwargs: Any) -> Tensor:
    """Sums over k of a[i, k] + b[k, j]; a constant factor counts 1."""
    first, second = args[:2]
    if func.__name__ == "__rmatmul__":
        first, second = second, first
    found = 0
    if first.requires_grad:
        found = found + first @ torch.ones_like(second, dtype=first.dtype)
    if second.requires_grad:
        found = found + torch.ones_like(first, dtype=second.dtype) @ second
    return found


def einsum(func: Any, args: Any, kwargs: Any) -> Tensor:
    equation, *tensors = args
    if len(tensors) == 1 and isinstance(tensors[0], list | tuple):
        tensors = list(tensors[0])
    found = 0
    for n, tensor in enumerate(tensors):
        if tensor.requires_grad:
            ones = [torch.ones_like(t, dtype=tensor.dtype) for t in tensors]
            found = found + func(equation, *ones[:n], tensor, *ones[n + 1 :])
    return found


def added(func: Any, args: Any, kwargs: Any) -> Tensor:
    """A matrix product and what is added to it."""
    extra, first, second = args[:3]
    found = multiplied(func, (first, second), {})
    return found + extra if extra.requires_grad else found


def attended(func: Any, args: Any, kwargs: Any) -> Tensor:
    """Attention as one operation: its query, and all keys and values, once each."""
    names = ["query", "key", "value", "attn_mask", "dropout_p", "is_causal"]
    given = dict(zip(names, args, strict=False)) | kwargs
    mask = given.get("attn_mask")
    if given.get("is_causal"):
        raise NoTwin("causal attention")
    if mask is not None and (mask.requires_grad or mask.dtype == torch.bool or mask.min() < -50):
        raise NoTwin("attention with a mask")
    q, k, v = (given[name] for name in names[:3])
    if len({t.shape[:-2] for t in (q, k, v)}) > 1:
        raise NoTwin("attention whose heads share keys")
    found = q.new_zeros(*q.shape[:-1], v.shape[-1])
    if q.requires_grad:
        found = found + q.sum(-1, keepdim=True)
    if k.requires_grad:
        found = found + k.sum((-2, -1), keepdim=True)
    return found + v.sum(-2, keepdim=True) if v.requires_grad else found


TWINS: dict[str, Callable[..., Any]] = {
    **{f"conv{turned}{space}d": convolved for turned in ("", "_transpose") for space in (1, 2, 3)},
    "linear": linear,
    **{f"{kind}_pool{space}d": pooled for kind in ("max", "avg") for space in (1, 2, 3)},
    **{f"adaptive_{kind}_pool{space}d": adaptive for kind in ("max", "avg") for space in (1, 2, 3)},
    "interpolate": resized,
    "upsample": resized,
    "pad": padded,
    **dict.fromkeys(("mean", "amax", "amin", "max", "min"), reduced),
    **dict.fromkeys(("norm", "vector_norm", "linalg_vector_norm"), normed),
    "normalize": normalised,
    "softmax": softmaxed,
    "log_softmax": softmaxed,
    **dict.fromkeys(("matmul", "bmm", "mm", "rmatmul"), multiplied),
    **dict.fromkeys(("addmm", "baddbmm"), added),
    "einsum": einsum,
    "scaled_dot_product_attention": attended,
}
