"""How many networks of others the audit can follow: torchvision, timm, segmentation_models_pytorch.

    python benchmarks/coverage.py [--family torchvision|timm|smp] [--limit N]

All classifiers and segmenters of torchvision, 200 models of timm drawn with a fixed seed, and every
decoder of segmentation_models_pytorch, without weights, at the size that they were made for. Each is
captured by torch.export and, to compare, by a recorded run. What is in the results already is not
done again. The environment needs the three libraries; they are not among placewise's own.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import random
import resource
import statistics
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

import foreign_nets
from placewise.auditing.paths import count_paths
from placewise.graph import Graph, capture
from placewise.ops import Status

RESULTS = Path(__file__).parent / "results" / "coverage.json"
DRAWN, SEED = 200, 0
LARGE = 300_000_000
"""Parameters from which on a network is built without memory, so that few gigabytes do."""

Built = tuple[nn.Module, tuple[int, ...]]
Build = Callable[..., Built]
Case = tuple[str, Build]
"""A name, and how to build the network and its image's shape."""


def torchvision_cases() -> Iterator[Case]:
    from torchvision import models

    for package in (models, models.segmentation):
        for name in sorted(models.list_models(module=package)):

            def build(name: str = name, package: Any = package) -> Built:
                transforms = models.get_model_weights(name).DEFAULT.transforms()
                size = getattr(transforms, "crop_size", None) or [520]
                settings: dict[str, Any] = {"weights": None}
                if name in ("googlenet", "inception_v3"):
                    settings["init_weights"] = False
                if name.startswith("vit_"):
                    settings["image_size"] = size[0]
                if package is models.segmentation:
                    settings["weights_backbone"] = None
                return models.get_model(name, **settings), (3, size[0], size[0])

            yield f"torchvision:{name}", build


def timm_cases() -> Iterator[Case]:
    import timm

    for name in random.Random(SEED).sample(sorted(timm.list_models()), DRAWN):

        def build(name: str = name) -> Built:
            model = timm.create_model(name, pretrained=False)
            return model, tuple(model.pretrained_cfg["input_size"])

        yield f"timm:{name}", build


def smp_cases() -> Iterator[Case]:
    for name, build in foreign_nets.smp_cases(256):
        yield f"smp:{name}", build


FAMILIES = {"torchvision": torchvision_cases, "timm": timm_cases, "smp": smp_cases}


DRAWS = "normal_ trunc_normal_ uniform_ xavier_normal_ xavier_uniform_ kaiming_normal_ kaiming_uniform_ orthogonal_ sparse_".split()


@contextlib.contextmanager
def without_drawing() -> Iterator[None]:
    """Building without the time that random weights take: all of them are 0.01."""
    kept = {name: getattr(nn.init, name) for name in DRAWS}
    try:
        for name in DRAWS:
            setattr(nn.init, name, lambda tensor, *args, **settings: tensor.detach().fill_(0.01))
        yield
    finally:
        for name, function in kept.items():
            setattr(nn.init, name, function)


def built(
    build: Build,
) -> tuple[nn.Module, tuple[int, ...], str]:
    """The network, its shape, and where it was built."""
    with contextlib.suppress(Exception), torch.device("meta"):
        model, shape = build()
        if sum(p.numel() for p in model.parameters()) > LARGE:
            return model, shape, "meta"
    with without_drawing():
        return *build(), "cpu"


def ways(graph: Graph) -> int:
    """From the whole image to the first output."""
    return int(count_paths(graph, graph.outputs[0]).total)


def measured(build: Build) -> dict[str, Any]:
    start = time.perf_counter()
    model, shape, device = built(build)
    ready = time.perf_counter()
    graph = capture(model, shape)
    captured = time.perf_counter()
    total = ways(graph)
    counted = time.perf_counter()
    recorded = capture(model, shape, how="recorded")
    again = time.perf_counter()
    bound = Counter(node.op for node in graph.nodes if node.status is Status.AT_MOST)
    notes = {node.op: node.note for node in graph.nodes if node.note}
    return {
        "shape": shape,
        "built": device,
        "capture": graph.capture,
        "why": graph.why,
        "status": str(graph.status),
        "nodes": len(graph.nodes),
        "unknown": dict(graph.unknown),
        "bound": dict(bound),
        "notes": notes,
        "ways": str(total),
        "recorded_alike": ways(recorded) == total and len(recorded.nodes) == len(graph.nodes),
        "seconds": {
            "build": round(ready - start, 2),
            "capture": round(captured - ready, 2),
            "count": round(counted - captured, 3),
            "record": round(again - counted, 2),
        },
    }


def attempted(build: Build) -> dict[str, Any]:
    """What was measured, or what went wrong: not captured is one thing, a crash another."""
    try:
        return measured(build)
    except ValueError as error:
        kind = "not captured" if type(error).__name__ == "CaptureError" else "crash"
        return {"failed": kind, "error": str(error)}
    except Exception as error:
        return {
            "failed": "crash",
            "error": f"{type(error).__name__}: {error}"[:1000],
            "where": traceback.format_exc().strip().split("\n")[-3:],
        }


def summary(models: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for family in (*FAMILIES, "all"):
        of = [m for name, m in models.items() if family in ("all", name.split(":")[0])]
        if not of:
            continue
        done = [m for m in of if "failed" not in m]
        unknown: Counter[str] = Counter()
        for model in done:
            unknown.update(model["unknown"].keys())
        found[family] = {
            "models": len(of),
            "captured": len(done),
            "captured_share": round(len(done) / len(of), 4),
            "crashes": sum(m.get("failed") == "crash" for m in of),
            "by": dict(Counter(m["capture"] for m in done)),
            "status": dict(Counter(m["status"] for m in done)),
            "shares": {
                k: round(v / len(of), 4) for k, v in Counter(m["status"] for m in done).items()
            },
            "recorded_alike": sum(m["recorded_alike"] for m in done),
            "unknown": dict(unknown.most_common()),
            "median_seconds": {
                k: statistics.median(m["seconds"][k] for m in done)
                for k in ("capture", "record", "count")
            }
            if done
            else {},
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--family", choices=list(FAMILIES))
    parser.add_argument("--limit", type=int, help="models of each family")
    parser.add_argument("--again", default="", help="do models whose name holds this once more")
    given = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    foreign_nets.define_what_cpu_builds_lack()
    models: dict[str, Any] = {}
    if RESULTS.is_file():
        models = json.loads(RESULTS.read_text(encoding="utf-8"))["models"]
    for family in [given.family] if given.family else list(FAMILIES):
        for number, (name, build) in enumerate(FAMILIES[family]()):
            if number == given.limit:
                break
            if name in models and not (given.again and given.again in name):
                continue
            models[name] = attempted(build)
            gc.collect()
            text = json.dumps({"summary": summary(models), "models": models}, indent=1)
            RESULTS.write_text(text + "\n", encoding="utf-8")
            short = {
                k: models[name].get(k) for k in ("failed", "error", "status", "unknown", "why")
            }
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(name, {k: v for k, v in short.items() if v}, f"{peak} MB", flush=True)
    print(json.dumps(summary(models), indent=1))


if __name__ == "__main__":
    sys.exit(main())
