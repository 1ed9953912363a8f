"""Each place reads the same place of its operands, which are broadcast against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

from placewise.ops.layout import Layout, joined
from placewise.ops.route import Route
from placewise.ops.rules.everything import constant, everything
from placewise.ops.table import Call, Operand, Outcome, Status, outcome, rule

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
special_sinc special_spherical_bessel_j0 sqrt square tan tanh threshold tril triu trunc
""".split()
"""Of one operand; what else they take are settings."""

SEVERAL = """
_add_relu _prelu_kernel add addcdiv addcmul arctan2 atan2 bitwise_and bitwise_left_shift
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
        >>> gate, feature = Layout.picture((1, 4, 1, 1)), Layout.picture((1, 4, 8, 8))
        >>> given = {"self": Operand(0, gate), "other": Operand(1, feature)}
        >>> found = pointwise(Call("mul", given, (1, 4, 8, 8), 0, False))
        >>> found.layout.grid, len(found.edges)
        ((1, 1, 8, 8), 2)
    """
    if call.op == "where" and call.get("self") is None:
        return everything(call)
    return broadcasting(call, call.operands)


@rule("pointwise", "native_dropout", "frexp")
def paired(call: Call) -> Outcome:
    """Pointwise, with a second output that may say less: a mask, an exponent."""
    found = pointwise(call)
    return replace(found, status=Status.BOUND) if call.output > 0 else found


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
