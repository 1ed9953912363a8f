"""Each place reads the same place of its operands, which are broadcast against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np
import torch

from placewise.ops.algebra import Grid
from placewise.ops.layout import Layout, joined
from placewise.ops.route import Operator, Route, Scale
from placewise.ops.rules.arguments import values
from placewise.ops.rules.everything import constant, everything
from placewise.ops.table import Call, Edge, Operand, Outcome, Status, outcome, rule

SMALL = 1000
"""Largest window, in places, whose shares are recognised."""

ONE = """
_conj _conj_physical _to_copy abs absolute acos acosh alias alpha_dropout angle arccos arccosh
arcsin arcsinh arctan arctanh asin asinh atan atanh bernoulli bitwise_not ceil celu clone
conj conj_physical contiguous cos cosh deg2rad detach digamma dropout elu erf erfc erfinv exp exp2
expm1 feature_alpha_dropout feature_dropout fix floor frac gelu hardshrink hardsigmoid
hardswish hardtanh i0 imag isfinite isinf isnan isneginf isposinf leaky_relu lgamma lift_fresh
lift_fresh_copy log log10 log1p log2 log_sigmoid log_sigmoid_forward logical_not logit mish
mvlgamma nan_to_num neg negative polygamma positive rad2deg real reciprocal relu
relu6 resolve_conj resolve_neg round rrelu rrelu_with_noise rsqrt selu sgn sigmoid sign signbit
silu sin sinc sinh softplus softshrink special_airy_ai special_bessel_j0 special_bessel_j1
special_bessel_y0 special_bessel_y1 special_entr special_erf special_erfc special_erfcx
special_erfinv special_exp2 special_expit special_expm1 special_i0 special_i0e special_i1
special_i1e special_log1p special_log_ndtr special_logit special_modified_bessel_i0
special_modified_bessel_i1 special_modified_bessel_k0 special_modified_bessel_k1 special_ndtr
special_ndtri special_psi special_scaled_modified_bessel_k0 special_scaled_modified_bessel_k1
special_sinc special_spherical_bessel_j0 sqrt square tan tanh threshold trunc
""".split()
"""Of one operand; what else they take are settings."""

SEVERAL = """
__ilshift__ __irshift__ __lshift__ __rshift__ _add_relu _prelu_kernel add addcdiv addcmul arctan2
atan2 bitwise_and bitwise_left_shift
bitwise_or bitwise_right_shift bitwise_xor clamp clamp_max clamp_min clip complex copysign div
divide eq float_power floor_divide fmax fmin fmod gcd ge greater greater_equal gt heaviside hypot
igamma igammac isclose lcm ldexp le lerp less less_equal logaddexp logaddexp2 logical_and
logical_or logical_xor lt masked_fill maximum minimum mul multiply ne nextafter not_equal polar pow
prelu remainder rsub special_chebyshev_polynomial_t special_chebyshev_polynomial_u
special_chebyshev_polynomial_v special_chebyshev_polynomial_w special_gammainc special_gammaincc
special_hermite_polynomial_h special_hermite_polynomial_he special_laguerre_polynomial_l
special_legendre_polynomial_p special_shifted_chebyshev_polynomial_t
special_shifted_chebyshev_polynomial_u special_shifted_chebyshev_polynomial_v
special_shifted_chebyshev_polynomial_w special_xlog1py special_xlogy special_zeta sub subtract
true_divide where xlogy
""".split()
"""Of several operands, some of which may be constants."""


@rule("pointwise", *ONE, *SEVERAL)
def pointwise(call: Call) -> Outcome:
    """Operands are broadcast against each other; each keeps its place.

    Example:
        >>> gate, feature = Layout.image((1, 4, 1, 1)), Layout.image((1, 4, 8, 8))
        >>> given = {"self": Operand(0, gate), "other": Operand(1, feature)}
        >>> found = pointwise(Call("mul", given, (1, 4, 8, 8), 0, False))
        >>> found.layout.grid, len(found.edges)
        ((1, 1, 8, 8), 2)
    """
    if call.op == "where" and call.get("self") is None:
        return everything(call)
    return broadcasting(call, call.operands)


@rule("pointwise", "mul", "multiply")
def multiplied(call: Call) -> Outcome:
    """Pointwise; the shares of windows that lie within a map are weights, booleans are a mask."""
    found = pointwise(call)
    constants = [f for f in (call["self"], call["other"]) if not isinstance(f, Operand)]
    if any(getattr(f, "dtype", None) is torch.bool and hides(f) for f in constants):
        return found.at_best(Status.MASKED)
    factors = shares(constants[0], found.layout) if constants else None
    if factors is None:
        return found
    edge = found.edges[0]
    operator = Operator((*edge.operator.steps, Scale(factors)))
    return replace(found, edges=(Edge(edge.source, operator),))


@rule("pointwise", "add", "masked_fill", "where")
def chosen(call: Call) -> Outcome:
    """Pointwise; a constant mask that hides places is not followed, and is said to be ignored."""
    found = pointwise(call)
    constants = [given for given in call.given.values() if hasattr(given, "is_meta")]
    return found.at_best(Status.MASKED) if any(map(hides, constants)) else found


@rule("pointwise", "tril", "triu")
def triangular(call: Call) -> Outcome:
    """Pointwise; half of a matrix is hidden, as by a mask."""
    found = pointwise(call)
    placed = any(atom.place for dim in found.layout.dims[-2:] for atom in dim)
    return found.at_best(Status.MASKED) if placed else found


HIDDEN = -100
"""What is added to hide a place from a softmax, or less."""


def hides(mask: Any) -> bool:
    """Whether a constant hides some places and not others: a mask of booleans, or of -inf.

    Example:
        >>> import torch
        >>> hides(torch.tensor([0.0, -torch.inf])), hides(torch.tensor([True, False]))
        (True, True)
        >>> hides(torch.zeros(2)), hides(torch.tensor([0.3, -2.0]))
        (False, False)
    """
    numbers = values(mask)
    if numbers is None or numbers.size < 2 or numbers.dtype.kind not in "bf":
        return False
    low = ~numbers if numbers.dtype.kind == "b" else numbers <= HIDDEN
    return bool(low.any() and not low.all())


def shares(constant: Any, layout: Layout) -> Grid | None:
    """Weights of places as fractions, where a constant is such; else None.

    A partial convolution multiplies each place by k/valid, of the k places of its window those that
    lie within the map: ratios of small numbers that are never below 1 and not all alike. All other
    constants are weights, and path counts take weights for 1; so are whole numbers without a 1
    among them, as the strides of a detector's maps are.

    Args:
        constant: what a map is multiplied by.
        layout: of the product.

    Example:
        >>> import torch
        >>> line = Layout.image((1, 2, 4))
        >>> [str(f) for f in shares(torch.tensor([1.5, 1.0, 1.0, 1.5]), line).ravel()]
        ['3/2', '1', '1', '3/2']
        >>> shares(torch.tensor([0.1, 0.9, 0.9, 0.1]), line) is None
        True
        >>> shares(torch.tensor([8.0, 8.0, 16.0, 32.0]), line) is None
        True
    """
    numbers = values(constant) if hasattr(constant, "shape") else None
    if numbers is None or numbers.dtype.kind != "f" or numbers.size < 2:
        return None
    numbers = numbers.reshape((1,) * (len(layout.dims) - numbers.ndim) + numbers.shape)
    sides = zip(numbers.shape, layout.grid, layout.shape, strict=True)
    if any(side not in (1, grid) or (side > 1 and grid != size) for side, grid, size in sides):
        return None
    distinct, where = np.unique(numbers, return_inverse=True)
    if len(distinct) < 2 or distinct[0] < 1 or not np.isfinite(distinct).all():
        return None
    ratios = [Fraction(float(number)).limit_denominator(SMALL) for number in distinct]
    if distinct[0] > 1 and all(ratio.denominator == 1 for ratio in ratios):
        return None
    if not np.allclose(distinct, [float(ratio) for ratio in ratios], rtol=1e-6, atol=0):
        return None
    return np.array(ratios, dtype=object)[where.reshape(numbers.shape)]


@rule("pointwise", "native_dropout", "frexp")
def paired(call: Call) -> Outcome:
    """Pointwise, with a second output that may say less: a mask, an exponent."""
    found = pointwise(call)
    return replace(found, status=Status.AT_MOST) if call.output > 0 else found


@rule("pointwise", "to", "type_as")
def casting(call: Call) -> Outcome:
    """Another type, perhaps that of a second tensor, of which no more is read."""
    tensor = call["self"]
    return broadcasting(call, [tensor]) if isinstance(tensor, Operand) else constant(call)


@rule("pointwise", "copy")
def copying(call: Call) -> Outcome:
    """The second tensor alone is read."""
    source = call["src"]
    return broadcasting(call, [source]) if isinstance(source, Operand) else constant(call)


def broadcasting(call: Call, operands: Sequence[Operand]) -> Outcome:
    """The outcome of operands that are read at the same place alone."""
    return together(call, [(o, call.route(o).broadcast(call.shape)) for o in operands])


def together(call: Call, routes: Sequence[tuple[Operand, Route]]) -> Outcome:
    """The outcome of routes whose dimensions are equal or 1: each place reads its own."""
    target = common([route for _, route in routes], call)
    for _, route in routes:
        route.like(target)
    return outcome(routes)


def common(routes: Sequence[Route], call: Call) -> Layout:
    """Of each dimension of a call's result the finest layout that tensors of its size have."""
    dims = []
    for dim, size in enumerate(call.shape):
        full = [r.layout.dims[dim] for r in routes if r.layout.shape[dim] == size]
        dims.append(reduce(joined, full) if full else call.plain(size))
    return Layout(tuple(dims))
