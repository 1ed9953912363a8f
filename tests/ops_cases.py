"""One or more calls of each operation of the audit's table, small enough to be taken apart.

`CASES[op]` holds calls in which a tensor that depends on the image is a `ImageArray`. What cannot
be called here is named with the reason in `NOT_CALLED`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch

from placewise.ops import Atom, Layout
from placewise.ops.rules.everything import UNFOLLOWED
from placewise.ops.rules.pointwise import ONE, SEVERAL


@dataclass(frozen=True)
class ImageArray:
    """A tensor that depends on the image.

    Attributes:
        shape: its sizes.
        places: dimensions that are places; all from the third on unless told.
        kind: "real", "unit" (between 0.1 and 0.9), "above" (between 1 and 2), "bits" (0.0 or 1.0),
            "bool", "int", "index" (0 or 1) or "complex".
    """

    shape: tuple[int, ...]
    places: tuple[int, ...] | None = None
    kind: str = "real"

    def layout(self, *, elements: bool) -> Layout:
        """Places told apart; of each element if wanted."""
        usual = range(2, len(self.shape)) if self.places is None else self.places
        places = range(len(self.shape)) if elements else usual
        return Layout(
            tuple(
                (Atom(size, dim in places),) if size != 1 else ()
                for dim, size in enumerate(self.shape)
            )
        )

    def draw(self, seed: int) -> torch.Tensor:
        """Numbers of its kind."""
        numbers = torch.Generator().manual_seed(seed)
        if self.kind == "int":
            return torch.randint(1, 6, self.shape, generator=numbers)
        if self.kind in ("bits", "bool", "index"):
            found = torch.randint(0, 2, self.shape, generator=numbers)
            return found.to({"bits": torch.float64, "bool": torch.bool}.get(self.kind, torch.int64))
        uniform = torch.rand(self.shape, generator=numbers, dtype=torch.float64)
        if self.kind == "unit":
            return 0.1 + 0.8 * uniform
        if self.kind == "above":
            return 1 + uniform
        if self.kind == "complex":
            other = torch.rand(self.shape, generator=numbers, dtype=torch.float64)
            return torch.complex(uniform - 0.5, other - 0.5)
        return 4 * uniform - 2


@dataclass(frozen=True)
class Case:
    """A call.

    Attributes:
        op: name in ATen, or with its overload ("split.Tensor").
        args: by position.
        kwargs: by name.
    """

    op: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The operation without its overload."""
        return self.op.split(".")[0]


CASES: dict[str, list[Case]] = {}


def case(op: str, *args: Any, **kwargs: Any) -> None:
    """Enter a call."""
    CASES.setdefault(op.split(".")[0], []).append(Case(op, args, kwargs))


def cases(ops: str, *args: Any, **kwargs: Any) -> None:
    """Enter the same call of several operations."""
    for op in ops.split():
        case(op, *args, **kwargs)


def weight(*shape: int, seed: int = 3) -> torch.Tensor:
    """A constant of numbers that are not zero."""
    numbers = torch.Generator().manual_seed(seed)
    return 0.5 + torch.rand(shape, generator=numbers, dtype=torch.float64)


def whole(*numbers: int) -> torch.Tensor:
    """A constant list of whole numbers."""
    return torch.tensor(numbers)


P = ImageArray
LINE, MAP, SOLID = P((1, 2, 6)), P((1, 2, 5, 4)), P((1, 1, 3, 3, 2))
SQUARE = P((2, 2, 4, 4))
TOKENS = P((1, 5, 3), (1,))
FLAT = P((1, 2, 3))
UNIT, ABOVE = replace(FLAT, kind="unit"), replace(FLAT, kind="above")
BITS = replace(FLAT, kind="bits")
WHOLE, COMPLEX = replace(FLAT, kind="int"), replace(FLAT, kind="complex")

# --- pointwise ------------------------------------------------------------------------------------

OF_ONE: dict[str, tuple[Any, ...]] = {
    "alpha_dropout": (FLAT, 0.5, False),
    "feature_alpha_dropout": (FLAT, 0.5, False),
    "feature_dropout": (FLAT, 0.5, False),
    "dropout": (FLAT, 0.5, True),
    "bitwise_not": (WHOLE,),
    "logical_not": (BITS,),
    "conj": (COMPLEX,),
    "_conj": (COMPLEX,),
    "_conj_physical": (COMPLEX,),
    "conj_physical": (COMPLEX,),
    "resolve_conj": (COMPLEX,),
    "imag": (COMPLEX,),
    "threshold": (FLAT, 0.5, 0.0),
    "mvlgamma": (P((1, 2, 3), kind="above"), 1),
    "polygamma.default": (1, ABOVE),
    "acosh": (ABOVE,),
    "arccosh": (ABOVE,),
    "special_modified_bessel_k0": (ABOVE,),
    "special_modified_bessel_k1": (ABOVE,),
    "special_scaled_modified_bessel_k0": (ABOVE,),
    "special_scaled_modified_bessel_k1": (ABOVE,),
    "rrelu_with_noise": (FLAT, torch.zeros(1, 2, 3, dtype=torch.float64)),
    "tril": (P((1, 1, 3, 3)), 9),
    "triu": (P((1, 1, 3, 3)), -9),
    "_to_copy": (FLAT,),
}
case("native_dropout", FLAT, 0.5, True)
case("frexp.Tensor", FLAT)
for op in ONE:
    if op != "bernoulli" and op not in {name.split(".")[0] for name in OF_ONE}:
        case(op, UNIT if op in {"angle", "erfinv", "special_erfinv"} else FLAT)
for op, args in OF_ONE.items():
    case(op, *args)

OF_SEVERAL: dict[str, tuple[Any, ...]] = {
    "addcdiv": (FLAT, P((1, 1, 3)), ABOVE),
    "addcmul": (FLAT, P((1, 1, 3)), ABOVE),
    "bitwise_and.Tensor": (WHOLE, WHOLE),
    "bitwise_or.Tensor": (WHOLE, WHOLE),
    "bitwise_xor.Tensor": (WHOLE, WHOLE),
    **{f"__{i}lshift__.Tensor": (WHOLE, WHOLE) for i in ("", "i")},
    **{f"__{i}rshift__.Tensor": (torch.full((1, 2, 3), 1000), WHOLE) for i in ("", "i")},
    "bitwise_left_shift.Tensor": (WHOLE, P((1, 1, 3), kind="int")),
    "bitwise_right_shift.Tensor": (torch.tensor(1000), WHOLE),
    "gcd": (WHOLE, WHOLE),
    "eq.Tensor": (BITS, P((1, 1, 3), kind="bits")),
    "ne.Tensor": (BITS, P((1, 1, 3), kind="bits")),
    "not_equal.Tensor": (BITS, P((1, 1, 3), kind="bits")),
    "logical_and": (BITS, P((1, 1, 3), kind="bits")),
    "logical_or": (BITS, P((1, 1, 3), kind="bits")),
    "logical_xor": (BITS, P((1, 1, 3), kind="bits")),
    "heaviside": (BITS, P((1, 1, 3), kind="bits")),
    "isclose": (BITS, P((1, 1, 3), kind="bits")),
    "lcm": (WHOLE, WHOLE),
    "ldexp.Tensor": (FLAT, P((1, 1, 3))),
    "lerp.Tensor": (FLAT, ABOVE, UNIT),
    "masked_fill.Scalar": (FLAT, replace(FLAT, kind="bool"), 3.0),
    "where.self": (replace(FLAT, kind="bool"), FLAT, P((1, 2, 1))),
    "prelu": (FLAT, weight(2)),
    "_prelu_kernel": (FLAT, weight(1, 2, 1)),
    "rsub.Tensor": (FLAT, ABOVE),
    "igamma": (ABOVE, ABOVE),
    "igammac": (ABOVE, ABOVE),
    "special_gammainc": (ABOVE, ABOVE),
    "special_gammaincc": (ABOVE, ABOVE),
    "special_zeta": (ABOVE, ABOVE),
    "complex": (FLAT, FLAT),
    "polar": (FLAT, FLAT),
    "clamp.Tensor": (FLAT, P((1, 1, 3)), ABOVE),
    "clip.Tensor": (FLAT, P((1, 1, 3)), ABOVE),
}
ORDERS = (
    "chebyshev_polynomial_t chebyshev_polynomial_u chebyshev_polynomial_v chebyshev_polynomial_w "
    "hermite_polynomial_h hermite_polynomial_he laguerre_polynomial_l legendre_polynomial_p "
    "shifted_chebyshev_polynomial_t shifted_chebyshev_polynomial_u shifted_chebyshev_polynomial_v "
    "shifted_chebyshev_polynomial_w"
).split()
OF_SEVERAL |= {f"special_{kind}": (UNIT, torch.tensor([2.0])) for kind in ORDERS}
TENSORS = "Tensor Tensor_Tensor Tensor_mode default self"
for op, args in OF_SEVERAL.items():
    case(op, *args)
for op in SEVERAL:
    if op not in CASES:
        overloads = getattr(torch.ops.aten, op).overloads()
        chosen = next(o for o in TENSORS.split() if o in overloads)
        case(f"{op}.{chosen}", ABOVE, P((1, 1, 3), kind="above"))
case("add.Tensor", P((1, 3, 4, 2)), P((1, 1, 1, 2)))
case("add.Tensor", P((2, 3, 2, 2)), P((2, 3, 1, 1)))
case("mul.Tensor", P((4, 3)), P((2, 4, 3), (1,)))
case("mul.Tensor", P((1, 4, 3, 3), ()), P((1, 4, 3, 3)))
cases("mul.Tensor multiply.Tensor", ABOVE, P((1, 1, 3), kind="above"))
case("to.dtype", FLAT, torch.float32)
case("to.other", FLAT, ABOVE)
case("type_as", FLAT, ABOVE)
case("copy", torch.zeros(1, 2, 3, dtype=torch.float64), P((1, 1, 3)))
case("copy", FLAT, torch.zeros(3, dtype=torch.float64))
case("fill.Scalar", FLAT, 2.0)
case("fill.Tensor", FLAT, P(()))
case("zero", FLAT)
cases("zeros_like ones_like rand_like randn_like", FLAT)
case("randint_like", FLAT, 5)
case("full_like", FLAT, 2.0)
cases("new_zeros new_ones", FLAT, [2, 3])
case("new_full", FLAT, [2, 3], 1.0)

# --- windows --------------------------------------------------------------------------------------

NO_BIAS = None
for stride, padding, dilation in ((1, 0, 1), (2, 1, 1), (1, 2, 2), (3, 1, 1)):
    case("conv1d", LINE, weight(3, 2, 3), NO_BIAS, [stride], [padding], [dilation])
case("conv1d", P((2, 8), (1,)), weight(3, 2, 3))
case("conv1d.padding", LINE, weight(3, 2, 4), NO_BIAS, [1], "same", [1])
case("conv1d.padding", LINE, weight(3, 2, 2), NO_BIAS, [2], "valid", [1])
case("conv2d", MAP, weight(3, 2, 3, 2), weight(3), [2, 1], [1, 0], [1, 2])
case("conv2d", P((2, 4, 4, 3)), weight(8, 1, 3, 3), NO_BIAS, [1, 1], [1, 1], [1, 1], 4)
case("conv2d", P((1, 4, 3, 3)), weight(6, 2, 2, 2), NO_BIAS, [1, 1], [1, 0], [1, 1], 2)
case("conv2d", MAP, weight(3, 2, 1, 1))
case("conv2d", MAP, weight(3, 2, 1, 1), NO_BIAS, [2, 2])
case("conv2d", MAP, P((3, 2, 2, 2), ()))
case("conv2d.padding", MAP, weight(1, 2, 2, 3), NO_BIAS, [1, 1], "same", [1, 2])
case("conv3d", SOLID, weight(2, 1, 2, 3, 1), NO_BIAS, [1, 2, 1], [1, 1, 0])
for stride, padding, more in ((1, 0, 0), (2, 1, 1), (3, 0, 2), (2, 2, 0)):
    settings = ([stride], [padding], [more])
    case("conv_transpose1d", LINE, weight(2, 3, 4), NO_BIAS, *settings)
case("conv_transpose1d", P((1, 4, 4)), weight(4, 3, 3), NO_BIAS, [2], [1], [1], 2, [2])
case("conv_transpose2d", P((1, 2, 3, 2)), weight(2, 2, 3, 2), NO_BIAS, [2, 1], [1, 0], [1, 0])
case("conv_transpose3d", SOLID, weight(1, 2, 2, 1, 2), NO_BIAS, [2, 1, 1])
LONG = ([2, 1], [1, 1], [1, 1])
for op in ("convolution", "convolution_overrideable", "_convolution"):
    flags = (False, False, False, False) if op == "_convolution" else ()
    for turned, out in ((False, weight(2, 1, 3, 3)), (True, weight(2, 1, 3, 3))):
        if op != "convolution_overrideable":
            settings = (*LONG, turned, [1, 0] if turned else [0, 0], 2)
            case(op if flags == () else f"{op}.default", SQUARE, out, NO_BIAS, *settings, *flags)
case(
    "mkldnn_convolution",
    P((1, 2, 4, 3)),
    weight(2, 2, 3, 3).float(),
    NO_BIAS,
    [1, 1],
    [2, 1],
    [1, 1],
    1,
)
case("thnn_conv2d", MAP, weight(3, 2, 3, 3), [3, 3], NO_BIAS, [1, 1], [1, 1])
case("_slow_conv2d_forward", MAP, weight(3, 2, 3, 3), [3, 3], NO_BIAS, [1, 2], [1, 1])
case("slow_conv3d", SOLID, weight(2, 1, 2, 2, 2), [2, 2, 2])
case("slow_conv3d_forward", SOLID, weight(2, 1, 2, 2, 2), [2, 2, 2], NO_BIAS, [1, 1, 1], [1, 0, 0])
case("slow_conv_dilated2d", MAP, weight(2, 2, 2, 2), [2, 2], NO_BIAS, [1, 1], [1, 0], [2, 1])
case("slow_conv_dilated3d", SOLID, weight(2, 1, 2, 2, 1), [2, 2, 1])
case("slow_conv_transpose2d", MAP, weight(2, 2, 3, 2), [3, 2], NO_BIAS, [2, 1], [1, 0], [1, 0])
case("slow_conv_transpose3d", SOLID, weight(1, 2, 2, 2, 2), [2, 2, 2])

for op in ("max_pool1d", "max_pool1d_with_indices"):
    case(op, LINE, [3], [2], [1], [1], False)
    case(op, LINE, [2], [3], [1], [2], True)
for op in ("max_pool2d", "max_pool2d_with_indices"):
    case(op, MAP, [3, 2], [2, 1], [1, 0])
    case(op, P((1, 1, 6, 5)), [2, 2], [], [0, 0], [1, 1], True)
    case(op, P((1, 1, 5, 5)), [2, 2], [2, 2], [1, 1], [1, 1], True)
for op in ("max_pool3d", "max_pool3d_with_indices"):
    case(op, SOLID, [2, 2, 2], [1, 2, 2], [1, 0, 1])
for padded in (True, False):
    case("avg_pool1d", LINE, [3], [2], [1], True, padded)
    case("avg_pool2d", MAP, [3, 2], [2, 2], [1, 1], False, padded)
    case("avg_pool3d", SOLID, [2, 2, 1], [1, 1, 1], [1, 1, 0], True, padded)
for length in (1, 3, 4, 6, 9):
    cases("adaptive_avg_pool1d adaptive_max_pool1d", LINE, [length])
cases("adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d", MAP, [3, 4])
cases("adaptive_avg_pool3d _adaptive_avg_pool3d adaptive_max_pool3d", SOLID, [2, 1, 2])
case("im2col", MAP, [2, 3], [1, 1], [1, 1], [2, 1])
case("im2col", P((1, 2, 7, 3)), [3, 1], [2, 1], [0, 0], [1, 1])
case("col2im", P((1, 12, 9)), [4, 5], [2, 3], [1, 1], [0, 0], [1, 1])
case("col2im", P((1, 8, 9)), [4, 4], [2, 2], [1, 1], [1, 1], [2, 2])
case("unfold", LINE, 2, 3, 2)
case("unfold", MAP, -2, 2, 1)

# --- pads, rolls, flips ---------------------------------------------------------------------------

for mode in ("constant", "reflect", "replicate", "circular"):
    case("pad", LINE, [2, 1], mode)
    case("pad", MAP, [1, 0, 2, 3], mode)
case("pad", MAP, [0, 0, 0, 0, 1, 2])
case("pad", MAP, [1, -2, -1, 0], "constant", float("-inf"))
case("_pad_enum", LINE, [1, 2], 3)
case("constant_pad_nd", MAP, [1, 0, 0, 2, 1, 0], 3.0)
case("reflection_pad1d", LINE, [5, 2])
case("reflection_pad2d", MAP, [1, 3, 4, 0])
case("reflection_pad3d", SOLID, [1, 1, 0, 2, 1, 1])
case("replication_pad1d", LINE, [3, 9])
case("replication_pad2d", MAP, [1, -1, 4, 0])
case("replication_pad3d", SOLID, [1, 1, 0, 3, 1, 1])
case("_pad_circular", MAP, [2, 4, 1, 5])
case("roll", MAP, [2], [2])
case("roll", MAP, [1, -2, 3], [3, 2, 1])
case("roll", P((1, 1, 2, 3)), [2])
case("flip", MAP, [2])
case("flip", MAP, [1, 3])
case("fliplr", P((3, 4), (0, 1)))
case("flipud", P((3, 4), (0, 1)))

# --- contractions ---------------------------------------------------------------------------------

case("linear", TOKENS, weight(4, 3), weight(4))
case("linear", P((1, 3, 5), (2,)), weight(4, 5))
case("linear", TOKENS, weight(3))
case("linear", TOKENS, P((4, 3), ()))
case("matmul", TOKENS, weight(3, 4))
case("matmul", weight(2, 5), TOKENS)
case("matmul", P((1, 2, 4, 3)), P((1, 2, 3, 4), (3,)))
case("matmul", P((4, 3), (0,)), P((2, 3, 5), (0,)))
case("matmul", P((3,), ()), P((2, 3, 5), (2,)))
case("matmul", P((2, 4, 3), (1,)), P((3,), ()))
case("mm", P((4, 3), (0,)), weight(3, 2))
case("mm", P((4, 3), (1,)), P((3, 2), (0,)))
case("bmm", P((2, 4, 3), (0, 1)), P((2, 3, 5), (0, 2)))
case("bmm", P((2, 4, 3), (0, 1)), weight(2, 3, 5))
case("mv", P((4, 3), (0,)), weight(3))
case("dot", P((4,), (0,)), P((4,), (0,)))
case("inner", P((4, 3), (0,)), P((2, 3), ()))
case("addmm", weight(2), P((4, 3), (0,)), weight(3, 2))
case("addmm", P((4, 2), (0,)), P((4, 3), (0,)), weight(3, 2))
case("_addmm_activation", weight(2), P((4, 3), (0,)), weight(3, 2))
case("addmv", P((4,), (0,)), P((4, 3), (0,)), weight(3))
case("baddbmm", P((2, 4, 5), (0, 1, 2)), P((2, 4, 3), (0, 1)), P((2, 3, 5), (0, 2)))
case("addbmm", weight(4, 5), P((2, 4, 3), (0, 1)), P((2, 3, 5), ()))
case("tensordot", MAP, weight(3, 2, 5), [1, 2], [1, 2])
case("cdist", P((1, 4, 3), (1,)), P((1, 5, 3), (1,)))
case("_cdist_forward", P((1, 4, 3), (1,)), weight(1, 5, 3), 2.0, None)
case("bilinear", P((4, 3), (0,)), P((4, 2), (0,)), weight(5, 3, 2))
case("einsum", "bchw,cd->bdhw", [MAP, weight(2, 3)])
case("einsum", "bcij,bcik->bijk", [MAP, MAP])
case("einsum", "b...c,cd", [P((1, 3, 2, 2), (1, 2)), weight(2, 3)])
case("einsum", "ii->i", [P((3, 3), (0,))])
HEADS = P((1, 2, 4, 3))
case("scaled_dot_product_attention", HEADS, HEADS, HEADS)
case("scaled_dot_product_attention", HEADS, P((1, 2, 5, 3)), P((1, 2, 5, 2)), weight(4, 5))
case("scaled_dot_product_attention", HEADS, HEADS, HEADS, None, 0.0, True)
case("scaled_dot_product_attention", HEADS, P((1, 2, 5, 3)), P((1, 2, 5, 3)), None, 0.0, True)
case("scaled_dot_product_attention", HEADS, weight(1, 2, 5, 3), HEADS.__class__((1, 2, 5, 3)))
case("scaled_dot_product_attention", weight(1, 2, 4, 3), HEADS, HEADS, P((4, 4), (0, 1)))
case("_scaled_dot_product_flash_attention_for_cpu", HEADS, HEADS, HEADS)
case("_scaled_dot_product_attention_math", HEADS, HEADS, HEADS)

# --- resizes --------------------------------------------------------------------------------------

for size in (1, 3, 6, 7, 12, 13):
    cases("upsample_nearest1d _upsample_nearest_exact1d", LINE, [size])
    for aligned in (True, False):
        case("upsample_linear1d", LINE, [size], aligned)
case("upsample_nearest1d.vec", LINE, None, [1.7])
case("upsample_linear1d.vec", LINE, None, False, [1.7])
case("upsample_linear1d.vec", LINE, None, False, [0.4])
cases("upsample_nearest2d _upsample_nearest_exact2d", MAP, [7, 2])
cases("upsample_nearest3d _upsample_nearest_exact3d", SOLID, [2, 5, 4])
for aligned in (True, False):
    case("upsample_bilinear2d", MAP, [10, 3], aligned)
    case("upsample_bicubic2d", MAP, [10, 3], aligned)
    case("upsample_trilinear3d", SOLID, [2, 6, 3], aligned)
    cases("_upsample_bilinear2d_aa _upsample_bicubic2d_aa", P((1, 1, 7, 4)), [3, 9], aligned)
case("_upsample_bilinear2d_aa", P((1, 1, 8, 6)), [4, 2], False)
cases("grid_sampler", MAP, P((1, 3, 2, 2), (1, 2), "unit"), 0, 0, False)
case("grid_sampler_2d", MAP, weight(1, 3, 2, 2) - 1, 0, 0, False)
case("grid_sampler_3d", SOLID, P((1, 2, 1, 2, 3), (1, 2, 3), "unit"), 0, 0, False)

# --- joins and slices -----------------------------------------------------------------------------

for op in ("cat", "concat", "concatenate"):
    case(op, [MAP, P((1, 3, 5, 4))], 1)
    case(op, [MAP, weight(1, 2, 2, 4), P((1, 2, 1, 4))], 2)
case("cat", [MAP, P((1, 2, 5, 4), ())], 3)
case("cat", [P((0,), ()), LINE, LINE, weight(1, 2, 6)], -2)
case("stack", [LINE, LINE, weight(1, 2, 6)], 2)
case("stack", [LINE, P((1, 2, 6), ())], 1)
case("slice", MAP, 2, 1, 4)
case("slice", MAP, -1, None, None, 2)
case("slice", MAP, 1, 0, 1)
case("slice", MAP, 2, -3, 2**63 - 1)
case("slice_copy", MAP, 2, 1, 4)
case("narrow", MAP, 2, -4, 3)
case("narrow_copy", MAP, 3, 1, 2)
cases("select.int select_copy.int", MAP, 2, -1)
case("select.int", MAP, 1, 0)
cases("split.Tensor split_copy.Tensor unsafe_split.Tensor", MAP, 2, 2)
cases("split_with_sizes split_with_sizes_copy unsafe_split_with_sizes", MAP, [1, 3, 1], 2)
case("split_with_sizes", P((1, 5, 3)), [2, 3], 1)
cases("chunk unsafe_chunk", MAP, 3, 2)
case("tensor_split.sections", MAP, 3, 2)
case("tensor_split.indices", MAP, [1, -1], 2)
case("tensor_split.tensor_indices_or_sections", MAP, torch.tensor(2), 3)
case("hsplit.int", MAP, 2)
case("vsplit.int", SQUARE, 2)
case("dsplit.array", MAP, [2])
cases("unbind.int unbind_copy.int", MAP, 2)
case("unbind.int", P((3, 2), ()))
case("glu", MAP, 1)
case("glu", MAP)
case("index_select", MAP, 2, whole(4, 0, 0))
case("index_select", MAP, 1, whole(1))
case("embedding", weight(6, 3), P((2, 4), (1,), "int"))
for op in ("index.Tensor", "_unsafe_index.Tensor"):
    case(op, MAP, [None, None, whole(3, -1, 0)])
    case(op, MAP, [None, None, whole(3, 1).reshape(2, 1), whole(0, 2)])
case("index.Tensor", MAP, [None, whole(1, 0), None, whole(0, 2)])
case("index.Tensor", MAP, [None, None, torch.tensor([True, False, False, True, True])])
case("index.Tensor", P((1, 3, 2)), [None, P((2,), (), "index")])
for op in ("diagonal", "diagonal_copy"):
    case(op, P((1, 3, 4, 5)), 1, 2, 3)
    case(op, P((3, 4), (0, 1)), -1)
case("slice_scatter", MAP, P((1, 2, 2, 4)), 2, 1, 5, 2)
case("slice_scatter", MAP, weight(1, 2, 5, 1), 3, 2, 3)
case("slice_scatter", weight(1, 2, 5, 4), P((1, 2, 5, 2)), 3, 1, 3)
case("select_scatter", MAP, P((1, 2, 4), (2,)), 2, -2)
for op in ("index_put", "_unsafe_index_put"):
    case(op, MAP, [None, None, whole(3, 1)], P((2, 4), (0, 1)))
    case(op, MAP, [None, None, whole(3, 1)], P((1,), ()), True)
case("index_put", MAP, [None, None, whole(3, 3)], P((1,), ()))
case("index_put", MAP, [None, None, whole(3)], weight(1))
case("index_fill.int_Scalar", MAP, 2, whole(4, 0), 2.0)

BAG = (whole(3, 0, 3, 1, 2), whole(0, 2, 2))
case("embedding_bag", P((4, 2), (0,)), *BAG)
case("embedding_bag.padding_idx", P((4, 2), (0,)), *BAG, False, 0, False, None, False, None)

# --- shapes ---------------------------------------------------------------------------------------

cases("view reshape _unsafe_view view_copy", MAP, [1, 2, 20])
case("view", P((1, 6, 4)), [2, 3, 2, 2])
case("view", P((1, 3, 4)), [1, 4, 3])
case("view", P((2, 4, 3)), [2, 3, 2, 2])
case("_reshape_alias", MAP, [1, 40], [40, 1])
case("_reshape_copy", MAP, [2, 20])
case("flatten.using_ints", MAP, 2)
case("unflatten.int", P((1, 6, 4)), 1, [2, 3])
case("ravel", MAP)
cases("squeeze.dim squeeze_copy.dim", MAP, 0)
cases("unsqueeze unsqueeze_copy", MAP, 2)
case("view_as", MAP, weight(2, 20))
case("reshape_as", MAP, P((2, 20)))
case("view_as_real", P((1, 2, 3), kind="complex"))
case("view_as_complex", P((1, 3, 4, 2), (1, 2)))
cases("permute permute_copy", MAP, [0, 3, 1, 2])
cases("transpose.int transpose_copy.int", MAP, 1, -1)
case("swapaxes", MAP, 1, 2)
case("swapdims", MAP, 3, 2)
cases("t t_copy", P((3, 4), (0,)))
cases("adjoint mT", MAP)
case("numpy_T", MAP)
case("movedim.intlist", MAP, [1, 0], [3, 2])
case("moveaxis.int", MAP, 1, -1)
cases("expand expand_copy", P((1, 2, 1, 3)), [4, 2, 5, 3])
case("expand", P((2, 1), (0,)), [3, 2, 4])
case("expand_as", P((1, 2, 1, 3)), weight(1, 2, 4, 3))
case("broadcast_to", P((1, 2, 1, 3)), [1, 2, 4, 3])
cases("repeat tile", LINE, [2, 3, 2])
case("repeat_interleave.self_int", LINE, 2, 2)
case("repeat_interleave.self_int", LINE, 2)
case("repeat_interleave.self_Tensor", P((1, 2, 3)), whole(1, 2, 1), 2)
case("pixel_shuffle", P((1, 8, 2, 3)), 2)
case("pixel_unshuffle", P((1, 2, 4, 6)), 2)
case("channel_shuffle", P((1, 6, 2, 2)), 3)
case("native_channel_shuffle", P((1, 6, 2, 2)), 2)

# --- reductions and the rest ----------------------------------------------------------------------

cases("amax amin sum.dim_IntList mean.dim", MAP, [2, 3])
cases("amax amin", MAP, [1], True)
cases("sum mean prod max min argmax argmin median nanmedian norm", P((1, 2, 3, 2)))
for op in ("max.dim", "min.dim", "median.dim", "nanmedian.dim", "prod.dim_int", "argmax", "argmin"):
    case(op, MAP, 2)
case("mode", P((1, 2, 3, 3)), 2)
case("kthvalue", MAP, 3, 3)
FEW = P((1, 1, 3, 2), kind="bits")
cases("all any", P((1, 1, 2), kind="bits"))
cases("all.dim any.dim", FEW, 3)
case("count_nonzero", FEW)
case("count_nonzero.dim_IntList", FEW, [2])
case("max.other", FLAT, P((1, 1, 3)))
case("min.other", FLAT, P((1, 1, 3)))
case("aminmax", MAP, dim=2)
case("logsumexp", MAP, [3])
case("nansum", MAP, [3])
case("nanmean", MAP, [3])
case("linalg_vector_norm", MAP, 2, [3])
case("norm.ScalarOpt_dim", MAP, 2, [2], True)
cases(
    "std.correction var.correction std_mean.correction var_mean.correction", MAP, [2], correction=0
)
cases("quantile.scalar nanquantile.scalar", LINE, 0.3, 2)
case("quantile", LINE, torch.tensor([0.2, 0.8], dtype=torch.float64), 2)
cases("softmax.int log_softmax.int", MAP, 2)
cases("_softmax _log_softmax", MAP, 2, False)
case("softmax.int", MAP, 1)
case("_safe_softmax", MAP, 3)
cases("sort argsort", MAP, 2)
case("msort", P((4, 3), (0, 1)))
case("topk", MAP, 3, 2)
cases("cumsum cumprod cummax cummin logcumsumexp", MAP, 2)
case("cumsum", MAP, 1)
case("fft_fft", LINE)
case("fft_ifft", LINE, None, 2)
case("fft_rfft", LINE)
case("fft_irfft", P((1, 2, 4), kind="complex"))
case("fft_hfft", P((1, 2, 4), kind="complex"))
case("fft_ihfft", LINE)
cases("fft_fft2 fft_ifft2 fft_rfft2", P((1, 1, 3, 4)))
case("fft_irfft2", P((1, 1, 3, 3), kind="complex"))
cases("fft_fftn fft_ifftn fft_rfftn", P((1, 1, 3, 4)), None, [2, 3])
case("fft_irfftn", P((1, 1, 3, 3), kind="complex"), [3, 4])
case("_fft_c2c", COMPLEX, [2], 0, True)
case("_fft_r2c", LINE, [2], 0, True)
case("_fft_c2r", P((1, 2, 4), kind="complex"), [2], 0, 6)
STATE = [torch.zeros(1, 2, 2, dtype=torch.float64)]
SERIES = P((4, 2, 3), (0,))
CELL = {"lstm": 8, "gru": 6, "rnn_tanh": 2, "rnn_relu": 2}
for op, rows in CELL.items():
    state = STATE * 2 if op == "lstm" else STATE[0]
    cell = [weight(rows, 3) / 4, weight(rows, 2, seed=4) / 4]
    case(f"{op}.input", SERIES, state, cell, False, 1, 0.0, False, False, False)
    both = [torch.zeros(2, 2, 2, dtype=torch.float64)]
    state = both * 2 if op == "lstm" else both[0]
    case(f"{op}.input", P((2, 4, 3), (1,)), state, cell * 2, False, 1, 0.0, False, True, True)

# --- normalisations -------------------------------------------------------------------------------

STATISTICS = (weight(2), weight(2), weight(2), weight(2))
for fresh in (False, True):
    cases("batch_norm", MAP, *STATISTICS, fresh, 0.1, 1e-5, False)
    cases("native_batch_norm _native_batch_norm_legit", MAP, *STATISTICS, fresh, 0.1, 1e-5)
    case("_batch_norm_impl_index", MAP, *STATISTICS, fresh, 0.1, 1e-5, False)
    case("instance_norm", MAP, *STATISTICS, fresh, 0.1, 1e-5, False)
case("_native_batch_norm_legit.no_stats", MAP, None, None, True, 0.1, 1e-5)
case("_native_batch_norm_legit_no_training", MAP, *STATISTICS, 0.1, 1e-5)
cases("_batch_norm_with_update _batch_norm_no_update", MAP, *STATISTICS, 0.1, 1e-5)
case("batch_norm", MAP, P((2,), ()), None, weight(2), weight(2), False, 0.1, 1e-5, False)
case("group_norm", P((1, 4, 3, 2)), 2)
case("native_group_norm", P((1, 4, 3, 2)), None, None, 1, 4, 6, 2, 1e-5)
for op in ("layer_norm", "native_layer_norm"):
    case(op, TOKENS, [3], weight(3), None, 1e-5)
    case(op, P((1, 2, 3)), [2, 3], None, None, 1e-5)
cases("rms_norm _fused_rms_norm", TOKENS, [3], weight(3), 1e-5)

# --- what cannot be followed ----------------------------------------------------------------------

UNFOLLOWED_CASES: dict[str, tuple[Any, ...]] = {
    "fractional_max_pool2d": (SQUARE, [2, 2], [2, 2], weight(2, 2, 2) - 0.6),
    "fractional_max_pool3d": (P((1, 1, 3, 3, 3)), [2, 2, 2], [1, 1, 1], weight(1, 1, 3) - 0.6),
    "histc": (P((5,), (0,)), 3, -2, 2),
    "linalg_det": (P((1, 3, 3)),),
    "linalg_eigh": (P((1, 3, 3)),),
    "linalg_inv": (P((1, 3, 3)),),
    "linalg_qr": (P((1, 3, 3)),),
    "linalg_solve": (P((1, 3, 3)), P((1, 3, 2))),
    "linalg_svd": (P((1, 3, 2)),),
    "masked_scatter": (FLAT, torch.tensor([True, False, True]), P((4,), (0,))),
    "max_unpool2d": (P((1, 1, 2, 2)), whole(0, 3, 9, 11).reshape(1, 1, 2, 2), [4, 4]),
    "max_unpool3d": (
        P((1, 1, 1, 2, 2)),
        whole(0, 3, 9, 11).reshape(1, 1, 1, 2, 2),
        [2, 4, 4],
        [2, 2, 2],
        [0, 0, 0],
    ),
    "renorm": (MAP, 2, 1, 0.5),
}
for op, args in UNFOLLOWED_CASES.items():
    case(op, *args)

ELSEWHERE = """
_conv_depthwise2d _native_multi_head_attention _nnpack_spatial_convolution
_scaled_dot_product_attention_math_for_mps _scaled_dot_product_cudnn_attention
_scaled_dot_product_efficient_attention _scaled_dot_product_flash_attention
_scaled_dot_product_fused_attention_overrideable _transformer_encoder_layer_fwd conv_depthwise3d
convolution_overrideable cudnn_batch_norm cudnn_convolution cudnn_convolution_add_relu
cudnn_convolution_relu cudnn_convolution_transpose cudnn_grid_sampler miopen_batch_norm
miopen_convolution miopen_convolution_transpose miopen_depthwise_convolution
mkldnn_adaptive_avg_pool2d mkldnn_linear mkldnn_max_pool2d mkldnn_max_pool3d mkldnn_rnn_layer
""".split()

NOT_CALLED = {
    "linalg_cholesky": "wants a positive matrix, which small changes do not keep",
    "nonzero": "how many it gives depends on the numbers",
    "bernoulli": "random: most changes of a probability change nothing",
    "empty_like": "holds no numbers yet",
    "new_empty": "holds no numbers yet",
    "new_empty_strided": "holds no numbers yet",
    "_trilinear": "only called by bilinear, which is called here",
}
"""Entries of the table that no case calls, and why."""

NOT_CALLED |= dict.fromkeys([op for op in UNFOLLOWED if "::" in op], "of another library")
NOT_CALLED |= dict.fromkeys(ELSEWHERE, "of another device or build; its rule is called otherwise")
