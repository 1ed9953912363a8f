"""Record what an exported program runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import HigherOrderOperator
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from placewise.errors import CaptureError
from placewise.graph._record import Recorder, Recording


def record_program(program: ExportedProgram, image: Tensor) -> Recording:
    """Run an exported program once, on shapes alone, and write down what it does.

    Args:
        program: with one image as its input.
        image: (batch, channels, *space).

    Raises:
        CaptureError: it takes several images, or goes different ways by values.
    """
    recorder = Recorder()
    with ExitStack() as active:
        active.enter_context(torch.inference_mode())
        mode = active.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        shown = mode.from_tensor(image)
        number = recorder.begin(shown)
        given = [
            shown if value is image else _fake(value, recorder, mode)
            for value in _inputs(program, image)
        ]
        with recorder:
            outputs = _Rerun(program.graph_module, recorder).run(*given)
        kinds = [spec.kind for spec in program.graph_signature.output_specs]
        found = tuple(
            recorder.number(output)
            for output, kind in zip(outputs, kinds, strict=True)
            if kind is OutputKind.USER_OUTPUT and isinstance(output, Tensor)
        )
    return Recording(number, tuple(recorder.calls), recorder.constants, found)


def images_of(program: ExportedProgram) -> list[Tensor]:
    """The tensors that a program asks its user for, without values."""
    asked = set(program.graph_signature.user_inputs)
    nodes = [node for node in program.graph.nodes if node.op == "placeholder"]
    values = [node.meta.get("val") for node in nodes if node.name in asked]
    return [value for value in values if isinstance(value, Tensor)]


def _inputs(program: ExportedProgram, image: Tensor) -> Iterator[Any]:
    """What a program takes, in its order: what it holds, and the image."""
    if len(images_of(program)) != 1:
        raise CaptureError(
            f"the program takes {len(images_of(program))} tensors; it has to take one image "
            "alone: export a module that makes the others itself"
        )
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            constant = getattr(spec.arg, "value", None)
            yield image if type(spec.arg).__name__ == "TensorArgument" else constant
        elif spec.target in program.state_dict:
            yield program.state_dict[spec.target]
        else:
            yield program.constants.get(spec.target)


def _fake(value: Any, recorder: Recorder, mode: FakeTensorMode) -> Any:
    """A tensor of the program without its values, which the recorder knows."""
    if not isinstance(value, Tensor):
        return value
    fake = mode.from_tensor(value)
    recorder.number(fake, value)
    return fake


class _Rerun(fx.Interpreter):
    """Runs a graph, node by node, and tells the recorder which submodule each is of."""

    def __init__(self, module: fx.GraphModule, recorder: Recorder) -> None:
        super().__init__(module)
        self._recorder = recorder

    def run_node(self, n: fx.Node) -> Any:
        stack = n.meta.get("nn_module_stack")
        if stack:
            path = str(list(stack.values())[-1][0])
            self._recorder.module = path.removeprefix("L['self']").removeprefix(".")
        return super().run_node(n)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not isinstance(target, HigherOrderOperator):
            return super().call_function(target, args, kwargs)
        graphs = [n for n, value in enumerate(args) if isinstance(value, fx.GraphModule)]
        if len(graphs) != 1 or "wrap" not in str(target):
            raise CaptureError(
                f"the program holds the operation '{target}', which goes different ways by "
                "values or runs functions of its own; these are not followed"
            )
        inner = _Rerun(args[graphs[0]], self._recorder)
        with torch.autocast(*args[:3]) if "autocast" in str(target) else nullcontext():
            return inner.run(*args[graphs[0] + 1 :])
