"""All branches of a palm tree together beside a loop over them.

    OMP_NUM_THREADS=1 python benchmarks/palm_tree.py

Forward and backward of the head in one process on one thread, by turns: its grouped layers, and a
loop over its classes, each with locally connected layers of its own and copies of the weights. What
is counted is the thread's own time on the processor; ratios are taken within a round and their
median is given, with the quartiles.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch
from torch import nn

from placewise.devices import fast_memory
from placewise.heads.palm_tree import PalmTree
from placewise.layers.local import LocallyConnected

RESULTS = Path(__file__).parent / "results" / "palm_tree.json"
ROUNDS = 21
CASES = (
    ("6@5×5, 3 units, 10 classes, the exact net", 6, 10, (5, 5), 3, 128),
    ("6@5×5, 3 units, 10 classes, one image", 6, 10, (5, 5), 3, 1),
    ("64@8×8, 3 units, 10 classes", 64, 10, (8, 8), 3, 64),
    ("64@8×8, 16 units, 10 classes", 64, 10, (8, 8), 16, 64),
    ("64@8×8, 3 units, 100 classes", 64, 100, (8, 8), 3, 64),
    ("32@14×14, 8 units, 10 classes", 32, 10, (14, 14), 8, 64),
)
"""What is timed: channels, classes, size, units at each place, batch."""


class Loop(nn.Module):
    """A branch for each class, one after the other."""

    def __init__(self, head: PalmTree, classes: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branch(head, k, classes) for k in range(classes))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.cat([own(maps) for own in self.branches], 1)


def branch(head: PalmTree, k: int, classes: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for sheet in [*head.sheets, head.out]:
        own = sheet.out_channels // classes
        one = LocallyConnected(
            sheet.in_channels // sheet.groups,
            own,
            sheet.input_size,
            sheet.windows.kernel_size,
            stride=sheet.windows.stride,
            padding="clamped" if sheet.clamped else "valid",
        )
        one.weight.data.copy_(sheet.weight[:, k * own : (k + 1) * own])
        one.bias.data.copy_(sheet.bias[k * own : (k + 1) * own])
        parts += [one, nn.ReLU()]
    return nn.Sequential(*parts[:-1], nn.Flatten())


def spent(head: nn.Module, maps: torch.Tensor, seed: torch.Tensor) -> float:
    """Milliseconds forward and backward."""
    for value in (maps, *head.parameters()):
        value.grad = None
    begun = time.thread_time()
    head(maps).backward(seed)
    return 1e3 * (time.thread_time() - begun)


def case(channels: int, classes: int, size: tuple[int, ...], hidden: int, batch: int) -> dict:
    head = PalmTree(channels, classes, size, hidden=hidden)
    loop = Loop(head, classes)
    maps = torch.randn(batch, channels, *size, requires_grad=True)
    seed = torch.randn(batch, classes)
    with torch.no_grad():
        logits = head(maps)
        apart = ((logits - loop(maps)).abs().max() / logits.abs().max()).item()
    times: dict[str, list[float]] = {"together": [], "loop": []}
    for number in range(1 + ROUNDS):
        for name, one in (("together", head), ("loop", loop)):
            taken = spent(one, maps, seed)
            if number:  # the first round warms up
                times[name].append(taken)
    ratios = [a / b for a, b in zip(times["loop"], times["together"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "batch": batch,
        "parameters": sum(p.numel() for p in head.parameters()),
        "median_ms": {name: round(statistics.median(each), 2) for name, each in times.items()},
        "loop_to_together": round(middle, 2),
        "quartiles": [round(low, 2), round(high, 2)],
        "largest_difference_over_largest_logit": float(f"{apart:.2g}"),
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    fast_memory()
    content = {
        "command": "OMP_NUM_THREADS=1 python benchmarks/palm_tree.py",
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, one thread",
        "torch": torch.__version__,
        "cases": {name: case(*given) for name, *given in CASES},
    }
    text = json.dumps(content, indent=2, ensure_ascii=False)
    RESULTS.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
