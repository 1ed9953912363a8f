"""How long a structural audit of ResNet-50 takes, beside two other ways to ask less.

    python benchmarks/audit_speed.py [--rounds 5]

By turns in one process: our capture (both ways), the counting of paths alone, and the whole
structural audit; the gradient of the full network with all weights 1, in double precision, which
gives counts that are not exact; and TorchLens' receptive fields of all layers, if it is installed.
The first audit is timed in a process of its own, where nothing has been imported but torch and the
network; so is an audit of ResNet-18 with all that is measured, in seconds of the processor, because
the clock depends on what else runs. Other seconds are by the clock; ratios are within a round.
Needs torchvision.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models import resnet50

from placewise.auditing import audit
from placewise.graph import capture
from placewise.ops import COUNTS

RESULTS = Path(__file__).parent / "results" / "audit_speed.json"
SHAPE = (3, 224, 224)
FIRST = """
import time
import torch
from torchvision.models import resnet50
net = resnet50()
start = time.perf_counter()
from placewise.auditing import audit
audit(net, (3, 224, 224), measure=False)
print(time.perf_counter() - start)
"""

MEASURED = """
import resource
import torch
from torchvision.models import resnet18
torch.set_num_threads(2)
net = resnet18()
def worked():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
before = worked()
from placewise.auditing import audit
audit(net, (3, 224, 224))
print(worked() - before, worked())
"""


def ones(net: nn.Module) -> nn.Module:
    """The network with all weights 1, sums in the place of maxima, and nothing else."""
    net = copy.deepcopy(net).double().eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter.fill_(1)
    for module in list(net.modules()):
        for child, part in list(module.named_children()):
            if isinstance(part, nn.BatchNorm2d | nn.ReLU):
                setattr(module, child, nn.Identity())
            elif isinstance(part, nn.MaxPool2d):
                setattr(module, child, nn.AvgPool2d(3, 2, 1, divisor_override=1))
            elif isinstance(part, nn.AdaptiveAvgPool2d):
                setattr(module, child, nn.AvgPool2d(7, divisor_override=1))
    return net


def gradient(net: nn.Module) -> float:
    x = torch.zeros(1, *SHAPE, dtype=torch.float64, requires_grad=True)
    return float(torch.autograd.grad(net(x).sum(), x)[0].sum())


def lens(net: nn.Module) -> Callable[[], Any] | None:
    try:
        import torchlens
    except ImportError:
        return None
    image = torch.rand(1, *SHAPE)

    def fields() -> Any:
        trace = torchlens.trace(net, image)
        return trace.modules["layer4"].receptive_field.size

    return fields


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    first, measured = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for code in (FIRST, MEASURED)
    )
    of_audit, of_process = map(float, measured.stdout.split())
    net = resnet50().eval()
    graph, twin = capture(net, SHAPE), ones(net)
    seed = {graph.outputs[0]: graph.ones(graph.outputs[0], COUNTS)}
    steps: dict[str, Callable[[], Any]] = {
        "audit, structural": lambda: audit(net, SHAPE, measure=False),
        "capture by torch.export": lambda: capture(net, SHAPE, how="export"),
        "capture by recording": lambda: capture(net, SHAPE, how="recorded"),
        "counting paths": lambda: graph.to_image(seed, COUNTS),
        "gradient of the all-ones network": lambda: gradient(twin),
    }
    fields = lens(net)
    if fields is not None:
        steps["TorchLens, receptive fields"] = fields
    clock: dict[str, list[float]] = {name: [] for name in steps}
    busy: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(1 + rounds):
        for name, step in steps.items():
            begun, worked = time.perf_counter(), time.process_time()
            step()
            if number:  # the first round warms up
                clock[name].append(time.perf_counter() - begun)
                busy[name].append(time.process_time() - worked)

    def ratio(one: str, other: str) -> float:
        return round(
            statistics.median(a / b for a, b in zip(clock[one], clock[other], strict=True)), 2
        )

    content = {
        "command": "python benchmarks/audit_speed.py",
        "network": f"ResNet-50 at {SHAPE[1]}, {len(graph.nodes)} operations",
        "first_audit_seconds": round(float(first.stdout), 2),
        "with_measuring": {
            "network": "ResNet-18 at 224, on noise",
            "processor_seconds": round(of_audit, 1),
            "processor_seconds_of_the_process": round(of_process, 1),
            "threads": 2,
        },
        "median_seconds": {n: round(statistics.median(s), 3) for n, s in clock.items()},
        "median_processor_seconds": {n: round(statistics.median(s), 3) for n, s in busy.items()},
        "seconds": {name: [round(s, 3) for s in each] for name, each in clock.items()},
        "times_as_long_as_counting": {n: ratio(n, "counting paths") for n in steps},
        "times_as_long_as_the_audit": {n: ratio(n, "audit, structural") for n in steps},
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
    }
    RESULTS.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
