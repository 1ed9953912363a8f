"""Do mended copies load and run in a process that has neither their classes nor placewise?

    OMP_NUM_THREADS=1 python benchmarks/mended_files.py

The environment needs torchvision, which is not among placewise's own libraries. Weights are as torchvision
draws them. Each copy is written by `Mended.save`; another process, in which torchvision and placewise cannot
be imported, loads `mended.pt2` and compares its outputs with those of the copy. What is in the results
already is not done again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from foreign_nets import define_what_cpu_builds_lack
from placewise.files import write_text
from placewise.remedies import mend

define_what_cpu_builds_lack()
import torchvision  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "mended_files.json"
IMAGES, SIDE = 3, 64

NETWORKS: dict[str, dict[str, Any]] = {
    "resnet18": {"padding": "full", "blur": True},
    "mobilenet_v3_small": {"padding": "symmetric", "blur": True},
    "shufflenet_v2_x0_5": {"padding": "replicate"},
    "squeezenet1_1": {"padding": "circular", "blur": True},
    "mnasnet0_5": {"padding": "circular"},
    "regnet_y_400mf": {"blur": True},
}

FRESH = """
import sys, torch
for name in ("torchvision", "placewise"):
    sys.modules[name] = None
images, expected = torch.load(sys.argv[2], weights_only=True)
network = torch.export.load(sys.argv[1]).module()
print(max(float((network(x) - y).abs().max()) for x, y in ((images, expected), (images[:1], expected[:1]))))
"""


@torch.no_grad()
def one(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    begun = time.process_time()
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    mended = mend(model, (3, SIDE, SIDE), name=name, **settings)
    images = torch.rand(IMAGES, 3, SIDE, SIDE)
    with TemporaryDirectory() as folder:
        mended.save(Path(folder) / "out")
        program, pair = Path(folder) / "out" / "mended.pt2", Path(folder) / "pair.pt"
        torch.save((images, mended.model.eval()(images)), pair)
        command = [sys.executable, "-I", "-c", FRESH, str(program), str(pair)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        row = {
            "remedy": str(mended.remedy),
            "images": f"{IMAGES} × 3 × {SIDE} × {SIDE}",
            "largest difference": float(run.stdout),
            "MB": round(program.stat().st_size / 2**20, 1),
            "seconds of processor": round(time.process_time() - begun, 1),
        }
    print(name, row, flush=True)
    return row


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    done: dict[str, Any] = {}
    if RESULTS.is_file():
        done = json.loads(RESULTS.read_text(encoding="utf-8"))["networks"]
    for name, settings in NETWORKS.items():
        if name in done:
            continue
        done[name] = one(name, settings)
        content = {
            "command": "OMP_NUM_THREADS=1 python benchmarks/mended_files.py",
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "networks": done,
        }
        write_text(RESULTS, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
