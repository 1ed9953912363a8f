"""Quantised layers: to place, what their counterparts in floating point are.

Fake quantisation rounds each number where it is. Quantised convolutions and linear layers keep
their weights and settings in one packed object, from which they are read off. What is quantised by
the range of the tensor itself ("dynamic") reads its smallest and its largest number besides; the
outcome says so, as that of a normalisation does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from placewise.ops.rules.arguments import values
from placewise.ops.rules.contractions import Factor, batch, contraction
from placewise.ops.rules.dense import along_one
from placewise.ops.rules.everything import everything
from placewise.ops.rules.joins import concatenation
from placewise.ops.rules.norms import by_channel, by_group, by_layer
from placewise.ops.rules.pointwise import broadcasting, together
from placewise.ops.rules.windows import Kernel, convolved
from placewise.ops.table import Call, Operand, Outcome, Status, rule

ROUNDING = """
_fake_quantize_learnable_per_channel_affine _fake_quantize_learnable_per_tensor_affine
_fake_quantize_per_tensor_affine_cachemask_tensor_qparams dequantize
fake_quantize_per_channel_affine fake_quantize_per_channel_affine_cachemask
fake_quantize_per_tensor_affine fake_quantize_per_tensor_affine_cachemask int_repr
quantize_per_channel quantize_per_tensor
""".split()
"""To a grid of numbers, and back."""

BY_RANGE = """
_fused_moving_avg_obs_fq_helper _fused_moving_avg_obs_fq_helper_functional
fused_moving_avg_obs_fake_quant quantize_per_tensor_dynamic
""".split()
"""The same, in steps that the range of the tensor sets."""

POINTWISE = """
add add_relu add_scalar add_scalar_relu celu dropout elu hardswish leaky_relu mul mul_relu
mul_scalar mul_scalar_relu relu6 sigmoid threshold
""".split()


@rule("pointwise", *ROUNDING)
def rounding(call: Call) -> Outcome:
    """Each number where it is; a list of tensors gives one result for each."""
    listed = call.get("tensors")
    tensor = call.operand if listed is None else listed[call.output]
    others = [o for o in call.operands if o is not tensor]
    if not isinstance(tensor, Operand) or (others and listed is None):
        return everything(call)
    return _rounded(call, tensor, by_product=call.output > 0 and listed is None)


def _rounded(call: Call, tensor: Operand, *, by_product: bool) -> Outcome:
    """Place by place; a mask of what was cut off, as a by-product, may read less."""
    found = broadcasting(call, [tensor])
    return replace(found, status=Status.AT_MOST) if by_product else found


@rule("pointwise", *BY_RANGE)
def rounding_by_range(call: Call) -> Outcome:
    """Each number where it is, in steps that all numbers set, unless that is turned off."""
    tensor = call.operand
    found = _rounded(call, tensor, by_product=call.output > 0)
    observes = call.get("observer_on")
    flags = None if isinstance(observes, Operand | None) else values(observes)
    off = flags is not None and not flags.any()
    return found if off else ranged(call, found)


def ranged(call: Call, found: Outcome) -> Outcome:
    """An outcome that reads the smallest and the largest number of the first operand besides."""
    if not call.operand.layout.places:
        return found
    return replace(found.at_best(Status.AT_LEAST), global_statistics=True)


def _quantised(*names: str) -> list[str]:
    return [f"quantized::{name}" for name in names]


@rule("pointwise", *_quantised(*POINTWISE))
def pointwise(call: Call) -> Outcome:
    """Operands at the same place."""
    return broadcasting(call, call.operands)


CONVOLUTIONS = _quantised(
    *(f"conv{space}d{end}" for space in (1, 2, 3) for end in ("", "_relu", "_dynamic")),
    *(f"conv_transpose{space}d{end}" for space in (1, 2, 3) for end in ("", "_dynamic")),
    "conv2d_add",
    "conv2d_add_relu",
)


@rule("window", *CONVOLUTIONS)
def convolution(call: Call) -> Outcome:
    """A convolution whose kernel and settings are packed into one object."""
    tensor, packed = call["qx"], call.get("packed_weight", "weight")
    if not isinstance(tensor, Operand):
        return everything(call)
    space = len(call.shape) - 2

    def last(numbers: Sequence[Any]) -> list[int]:
        return [int(number) for number in list(numbers)[-space:]]

    sizes = tuple(last(packed.unpack()[0].shape))
    kernel = Kernel(sizes, last(packed.stride()), last(packed.dilation()), packed.groups(), 1)
    given: dict[str, Any] = {"qx": tensor, "padding": last(packed.padding())}
    if turned := bool(packed.transpose()):
        given["output_padding"] = last(packed.output_padding())
    routes = [(tensor, convolved(replace(call, given=given), kernel, turned=turned))]
    added = call.get("qaccum")
    if isinstance(added, Operand):
        routes.append((added, call.route(added).broadcast(call.shape)))
    found = together(call, routes)
    return ranged(call, found) if "dynamic" in call.op else found


LINEAR = """
linear linear_dynamic linear_dynamic_fp16 linear_leaky_relu linear_relu linear_relu_dynamic
linear_relu_dynamic_fp16 linear_tanh linear_with_input_q_dq_qweight_dq_output_fp32
linear_with_input_q_dq_qweight_dq_relu_output_fp32
""".split()


@rule("contraction", *_quantised(*LINEAR))
def linear(call: Call) -> Outcome:
    """All of the last dimension is read."""
    lead = batch(len(call.operand.shape) - 1)
    found = contraction(call, [Factor(call.operand, (*lead, "i"))], (*lead, "o"))
    by_range = "dynamic" in call.op and "fp16" not in call.op
    return ranged(call, found) if by_range else found


@rule("contraction", *_quantised("matmul"))
def product(call: Call) -> Outcome:
    """A matrix product of two quantised tensors."""
    lead = batch(len(call.shape) - 2)
    factors = [Factor(call["qa"], (*lead, "i", "k")), Factor(call["qb"], (*lead, "k", "j"))]
    return contraction(call, factors, (*lead, "i", "j"))


@rule("concatenate", *_quantised("cat", "cat_relu"))
def joining(call: Call) -> Outcome:
    """Concatenation."""
    given = {"tensors": call["qx"], "dim": call["dim"]}
    return concatenation(replace(call, op="cat", given=given))


NORMS = {
    "batch_norm": by_channel,
    "group_norm": by_group,
    "instance_norm": by_channel,
    "layer_norm": by_layer,
    "softmax": along_one,
}
"""Operations whose arguments have the names of their counterparts."""


BATCH_NORMS = [
    f"batch_norm{space}{end}" for space in ("", "1d", "2d", "3d") for end in ("", "_relu")
]


@rule("dense", *_quantised("softmax"))
@rule("pointwise", *_quantised(*BATCH_NORMS, "group_norm", "instance_norm", "layer_norm"))
def as_its_counterpart(call: Call) -> Outcome:
    """What the operation of the same name does to numbers that are not quantised."""
    name = next(name for name in NORMS if name in call.op)
    fresh = {"use_input_stats": True} if name == "instance_norm" else {}
    return NORMS[name](replace(call, given=call.given | fresh))
