"""Attention in one call, whichever library computes it."""

from __future__ import annotations

from collections.abc import Sequence

from placewise.ops.route import Route
from placewise.ops.rules.dense import before
from placewise.ops.rules.everything import everything
from placewise.ops.rules.pointwise import hides, together
from placewise.ops.table import Call, Operand, Outcome, Status, outcome, rule


@rule(
    "attention",
    *"""
    _scaled_dot_product_attention_math _scaled_dot_product_attention_math_for_mps
    _scaled_dot_product_cudnn_attention _scaled_dot_product_efficient_attention
    _scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu
    _scaled_dot_product_fused_attention_overrideable scaled_dot_product_attention
    """.split(),
)
def attention(call: Call) -> Outcome:
    """Each token reads its own query, and all keys and values; those before it where causal."""
    if call.output > 0:
        return everything(call)
    channel = len(call.shape) - 1
    token = channel - 1
    summed = {"query": [channel], "key": [token, channel], "value": [token]}
    routes: list[tuple[Operand, Route]] = []
    for name, gone in summed.items():
        if isinstance(call[name], Operand):
            route = _heads(call.route(call[name]), call.shape)
            causal = call.get("is_causal", default=False) and token in gone
            for dim in gone:
                if not (causal and dim == token and _causal(route, dim, call.shape[dim])):
                    route.reduce(dim)
            routes.append((call[name], route))
    mask = call.get("attn_mask", "attn_bias")
    if isinstance(mask, Operand):
        routes.append((mask, call.route(mask).broadcast(call.shape).reduce(channel)))
    found = together(call, routes)
    return found.at_best(Status.MASKED) if mask is not None and hides(mask) else found


def _heads(route: Route, shape: Sequence[int]) -> Route:
    """Heads of keys and values that several queries share: taken for channels."""
    for dim in range(len(shape) - 2):
        if route.layout.shape[dim] not in (1, shape[dim]):
            route.reduce(dim)
    return route


def _causal(route: Route, dim: int, queries: int) -> bool:
    """Read only what comes before; a bound where there are more or fewer keys than queries."""
    same = route.layout.shape[dim] == queries
    if same:
        before(route, dim)
    route.bound |= not same
    return same


@rule("attention", "_native_multi_head_attention", "_transformer_encoder_layer_fwd")
def tokens(call: Call) -> Outcome:
    """Each token of (batch, tokens, channels) reads all tokens."""
    if call.output > 0 or any(operand.shape != call.shape for operand in call.operands):
        return everything(call)
    return outcome(
        [(o, call.route(o).dense(1).reduce(2).spread(2, call.shape[2])) for o in call.operands]
    )
