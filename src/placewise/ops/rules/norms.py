"""Normalisations: path counts take them for the identity.

A mean and a variance over places make each place depend on all of them a little. One graph cannot
say both that and the identity, so the graph has the identity, and the outcome says
`global_statistics`: what is found then holds of all but these two numbers of each channel.
"""

from __future__ import annotations

from collections.abc import Sequence

from placewise.ops.layout import Atom
from placewise.ops.route import Route
from placewise.ops.rules.everything import everything
from placewise.ops.table import Call, Edge, Operand, Outcome, Status, alone, rule


@rule(
    "pointwise",
    *"""
    _batch_norm_impl_index _batch_norm_no_update _batch_norm_with_update _native_batch_norm_legit
    _native_batch_norm_legit_no_training batch_norm cudnn_batch_norm instance_norm miopen_batch_norm
    native_batch_norm
    """.split(),
)
def by_channel(call: Call) -> Outcome:
    """With the statistics that the network holds, pointwise; else over batch and places."""
    fresh = call.get("training", "train", "use_input_stats", default="update" in call.op)
    rank = len(call.operand.shape)
    return normalised(call, [0, *range(2, rank)] if fresh else [])


@rule("pointwise", "group_norm", "native_group_norm")
def by_group(call: Call) -> Outcome:
    """Over the channels of each group and all places."""
    return normalised(call, range(1, len(call.operand.shape)))


@rule("pointwise", "_fused_rms_norm", "layer_norm", "native_layer_norm", "rms_norm")
def by_layer(call: Call) -> Outcome:
    """Over the last dimensions, which are channels more often than not."""
    rank = len(call.operand.shape)
    return normalised(call, range(rank - len(call["normalized_shape"]), rank))


def normalised(call: Call, dims: Sequence[int]) -> Outcome:
    """The identity; more is read than that if places are among what is averaged.

    Args:
        call: of a normalisation.
        dims: of its operand, over which it averages.
    """
    if call.output > 0:
        return everything(call)
    route = call.route()
    over = [atom for dim in dims for atom in route.layout.dims[dim] if atom.place]
    found = alone(call, route, Status.AT_LEAST if over else Status.EXACT)
    edges = list(found.edges)
    for other in call.operands[1:]:
        edges.append(Edge(other.node, _settings(call, other).like(found.layout).operator()))
    statistics = any(_of_image(atom, call) for atom in over)
    return Outcome(found.layout, tuple(edges), found.status, statistics)


def _settings(call: Call, other: Operand) -> Route:
    """Scales and shifts that depend on the image: of each channel, or of the last dimensions."""
    route = call.route(other)
    if "normalized_shape" not in call.given:
        route.view((*other.shape, *[1] * (len(call.shape) - 2)))
    return route.broadcast(call.shape)


def _of_image(atom: Atom, call: Call) -> bool:
    """Whether a place is one of the image's axes; channels that count apart have none."""
    return not call.per_channel or atom.axis is not None
