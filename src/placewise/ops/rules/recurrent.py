"""Recurrent networks in one call: each moment reads what came before it."""

from __future__ import annotations

from placewise.ops.route import Route
from placewise.ops.rules.dense import before
from placewise.ops.rules.everything import everything
from placewise.ops.rules.pointwise import together
from placewise.ops.rules.quantised import ranged
from placewise.ops.table import Call, Operand, Outcome, Status, rule


@rule(
    "recurrent",
    *"gru lstm mkldnn_rnn_layer quantized_gru quantized_lstm rnn_relu rnn_tanh".split(),
)
def recurrent(call: Call) -> Outcome:
    """Each moment reads those before it, or all if the network runs in both directions.

    The state after the last moment, of each layer and direction, reads all moments. So does what
    several layers write in both directions.
    """
    operand = call.get("input")
    if not isinstance(operand, Operand) or not len(operand.shape) == len(call.shape) == 3:
        return everything(call)
    time = 1 if call.get("batch_first", default=False) else 0
    both = bool(call.get("bidirectional", default=False) or call.get("reverse", default=False))
    route = call.route(operand).reduce(2)
    if call.output > 0:
        route.reduce(time).view((1, operand.shape[1 - time], 1)).spread(0, call.shape[0])
    else:
        route = route.dense(time) if both else before(route, time)
    routes = [(operand, route.spread(2, call.shape[2]))]
    for state in call.operands:
        if state is not operand:
            routes.append((state, _from_start(call, state, time)))
    found = together(call, routes)
    if call.op.startswith("quantized"):
        found = ranged(call, found)
    blurred = both and call.per_channel and call.output == 0
    return found.at_best(Status.AT_MOST) if blurred else found


def _from_start(call: Call, state: Operand, time: int) -> Route:
    """A first state (layers, batch, units), which every moment reads."""
    route = call.route(state).reduce(0).reduce(2)
    if call.output == 0 and time == 1:
        route.view((state.shape[1], 1, 1))
    for dim, size in enumerate(call.shape):
        if route.layout.shape[dim] != size:
            route.spread(dim, size)
    return route


@rule("recurrent", "gru_cell", "lstm_cell", "rnn_relu_cell", "rnn_tanh_cell")
def cell(call: Call) -> Outcome:
    """One moment: all units of the input and of the state; of a memory, the own unit."""
    last = len(call.shape) - 1
    memory = call["hx"][1] if isinstance(call["hx"], list | tuple) else None
    routes = []
    for operand in call.operands:
        route = call.route(operand)
        if operand is not memory:
            route.reduce(last).spread(last, call.shape[last])
        routes.append((operand, route))
    return together(call, routes)


@rule(
    "recurrent",
    *(f"quantized::quantized_{name}_cell_dynamic" for name in "gru lstm rnn_relu rnn_tanh".split()),
)
def quantised_cell(call: Call) -> Outcome:
    """One moment, in steps that the range of the input sets."""
    return ranged(call, cell(call))
