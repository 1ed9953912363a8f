"""Is every sentence of an audit true on networks that nobody here chose or wrote?

    python benchmarks/foreign.py [--family NAME] [--again TEXT] [--limit N]

More than 120 networks of transformers, ultralytics, MONAI, segmentation_models_pytorch, torchaudio
and torchvision (detection, segmentation, video, optical flow, quantised), and those of the tests;
built from configurations with random weights, small where the usual size is huge. Each is audited
without measuring, in a process of its own with a time limit. Then, with nothing of the audit's:

- the all-ones twin (`twin.py`) where there is one: its gradient is the number of paths;
- pixels that are "never seen": their gradient is zero, and changing them changes no output;
- units of the output: what they depend on is within what the graph says they read;
- other images: a network whose operations or shapes differ from image to image is never "exact";
- the size that would be stride-aligned: the network takes it, and no layer leaves a rest there.

What is in the results already is not done again. The environment needs the libraries; they are not
among placewise's own, and those with a copyleft licence are asked and nothing more.
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import json
import logging
import multiprocessing
import os
import re
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "YOLO_OFFLINE": "true", "YOLO_VERBOSE": "false"}

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from foreign_nets import FAMILIES, define_what_cpu_builds_lack
from placewise import audit
from placewise.auditing import Audit
from placewise.auditing.paths import PER_CHANNEL, convention_of
from placewise.errors import PlacewiseError
from placewise.files import write_text
from placewise.graph import Graph, capture
from placewise.ops import EXISTS, FLOATS, Packed, Status
from twin import NoTwin, leaves, ways

RESULTS = Path(__file__).parent / "results" / "foreign.json"
LIMIT, PART = 1800, 90
"""Seconds for a network by the clock, and of processor time for one part of its check."""

LIBRARIES = """
torch torchvision torchaudio transformers timm ultralytics monai segmentation_models_pytorch
""".split()
CERTAIN = (Status.EXACT, Status.MASKED, Status.AT_MOST)
"""Claims under which nothing may be read that is not counted."""


# --- one network ----------------------------------------------------------------------------------


def report(build: Any) -> dict[str, Any]:
    """All that is found of one network."""
    torch.manual_seed(0)
    with _limited(PART):
        net, shape = build()
    net = net.eval()
    found: dict[str, Any] = {"shape": list(shape)}
    start = time.process_time()
    try:
        audited = audit(net, shape, measure=False)
    except PlacewiseError as error:
        return found | {"refused": str(error)}
    found["seconds"] = round(time.process_time() - start, 2)
    str(audited), audited.to_dict()
    if audited.counted is None:
        return found | {"refused": audited.why}
    graph = audited.counted.graph
    statuses = Counter(node.status for node in graph.nodes)
    bound = Counter(node.op for node in graph.nodes if node.status is Status.AT_MOST)
    found |= {
        "capture": graph.capture,
        "why": graph.why,
        "status": str(audited.status),
        "caveats": [str(caveat) for caveat in graph.caveats],
        "verdict": audited.verdict,
        "unknown": dict(graph.unknown),
        "bound": dict(bound) if statuses[Status.AT_MOST] else {},
        "notes": {node.op: node.note for node in graph.nodes if node.note},
        "nodes": len(graph.nodes),
    }
    for name, check in CHECKS.items():
        try:
            with _limited(PART):
                found[name] = check(net, shape, audited)
        except _Late:
            found[name] = {"not tried": f"more than {PART} s"}
        except Exception as error:
            found[name] = {"not tried": f"{type(error).__name__}: {error}"[:300]}
    return found


def twin(net: nn.Module, shape: tuple[int, ...], audited: Audit) -> dict[str, Any]:
    """Counts of every channel's every place against the gradient of the twin."""
    try:
        expected = ways(_copied(net), shape)
    except NoTwin as error:
        return {"exists": False, "why": str(error)}
    except Exception as error:
        return {"exists": False, "why": f"{type(error).__name__}: {error}"[:200]}
    graph = capture(net, shape, per_channel=True)
    number = graph.outputs[0]
    if convention_of(graph) != PER_CHANNEL:
        return {"exists": False, "why": "rows of its matrices of attention count as one"}
    seed = {number: graph.ones(number, FLOATS, value=1.0)}
    counted = graph.to_image(seed, FLOATS).whole()[0]
    scale = max(float(expected.max()), 1e-300)
    apart = float(np.abs(counted - expected).max()) / scale
    above = bool((counted >= expected * (1 - 1e-9)).all())
    caveats = {graph.nodes[n].status for n in graph.ancestors([number])}
    loose = {Status.AT_MOST, Status.GUESSED} & caveats
    agrees = above if loose else apart < 1e-6
    return {
        "exists": True,
        "agrees": bool(agrees),
        "equal": apart < 1e-6,
        "apart": apart,
        "largest": f"{expected.max():.3g}",
    }


def unseen(net: nn.Module, shape: tuple[int, ...], audited: Audit) -> dict[str, Any]:
    """Pixels of which the graph says that no path leads to any output."""
    graph = _graph(audited)
    seeds = {n: graph.ones(n, EXISTS) for n in graph.outputs}
    seen = graph.to_image(seeds, EXISTS).whole()[0]
    blind = np.broadcast_to(~seen.any(0), tuple(shape[1:]))
    found: dict[str, Any] = {"pixels": int(blind.sum()), "claimed": _claims(graph)}
    if not blind.any() or not found["claimed"]:
        return found
    mask = torch.tensor(np.array(blind))
    image = _image(shape)
    other = torch.where(mask, image + 3 * torch.randn(image.shape), image)
    with torch.no_grad():
        first, second = _outputs(net, image), _outputs(net, other)
    same = [torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(first, second, strict=True)]
    return found | {"true": all(same)}


def units(net: nn.Module, shape: tuple[int, ...], audited: Audit) -> dict[str, Any]:
    """What single units of the first output depend on is within what they are said to read."""
    graph = _graph(audited)
    if not _claims(graph):
        return {"claimed": False}
    number = graph.outputs[0]
    layout = graph.nodes[number].layout
    image = _image(shape).requires_grad_()
    output = next(o for o in _outputs(net, image))
    if tuple(output.shape) != layout.shape:
        return {"claimed": True, "true": False, "shape": [*output.shape], "said": [*layout.shape]}
    if not output.requires_grad:
        return {"claimed": True, "tried": 0}
    tried, outside = 0, 0
    for unit in sorted({0, output.numel() // 2, output.numel() - 1}):
        seed = EXISTS.filled(layout.grid)
        seed[_place(layout, unit)] = True
        claimed = graph.to_image({number: Packed.of(seed)}, EXISTS).whole()[0].any(0)
        (slope,) = torch.autograd.grad(
            output.flatten()[unit].real, image, retain_graph=True, allow_unused=True
        )
        if slope is not None and slope.isfinite().all():
            felt = slope[0].abs().amax(0)
            tried += 1
            read = (felt > 1e-6 * felt.max()).numpy()
            outside += int((read & ~np.broadcast_to(claimed, read.shape)).sum())
    return {"claimed": True, "tried": tried, "outside": outside, "true": not outside}


def dependent(net: nn.Module, shape: tuple[int, ...], audited: Audit) -> dict[str, Any]:
    """Whether what runs differs from image to image, and the audit says so."""
    graph = _graph(audited)
    images = [_image(shape), _image(shape, 1) * 4 - 2, torch.zeros(1, *shape), _image(shape, 2) * 9]
    _run(net, images[0])
    runs = [_run(net, image) for image in images]
    differs = any(run != runs[0] for run in runs)
    said = graph.status in (Status.ONE_RUN, Status.GUESSED)
    return {"differs": differs, "said": said, "true": said or not differs}


def advised(net: nn.Module, shape: tuple[int, ...], audited: Audit) -> dict[str, Any]:
    """The size that the verdict recommends: taken by the network, and aligned there."""
    text = re.search(r"(\d+(?: × \d+)*) would be (?:stride-)?aligned", audited.verdict)
    if text is None:
        return {"size": None}
    sides = [int(side) for side in text[1].split(" × ")]
    if len(sides) == 1:
        sides *= len(shape) - 1
    size = (shape[0], *sides)
    found: dict[str, Any] = {"size": sides, "taken": False, "true": False}
    rests: list[str] = []
    handles = [m.register_forward_hook(_rest(rests, n)) for n, m in net.named_modules()]
    try:
        with torch.no_grad():
            net(_image(size))
    except Exception as error:
        return found | {"why": f"{type(error).__name__}: {error}"[:200]}
    finally:
        for handle in handles:
            handle.remove()
    found |= {"taken": True, "rests": rests[:5]}
    there = audit(net, size, measure=False).counted
    aligned = there is not None and there.alignment.aligned
    return found | {"true": aligned and not rests, "aligned by the audit there": aligned}


CHECKS = {
    "twin": twin,
    "unseen": unseen,
    "units": units,
    "dependent": dependent,
    "advised": advised,
}


# --- tools ----------------------------------------------------------------------------------------


class _Late(Exception):
    """A check took too long."""


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def late(number: int, frame: object) -> None:
        raise _Late

    signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _copied(net: nn.Module) -> nn.Module:
    return copy.deepcopy(net)


def _graph(audited: Audit) -> Graph:
    assert audited.counted is not None
    return audited.counted.graph


def _claims(graph: Graph) -> bool:
    """Whether the graph claims that nothing else is read."""
    return graph.status in CERTAIN and not any(
        caveat in (Status.AT_LEAST, Status.ONE_RUN, Status.GUESSED) for caveat in graph.caveats
    )


def _image(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.rand(1, *shape, generator=torch.Generator().manual_seed(seed))


def _outputs(net: nn.Module, image: Tensor) -> list[Tensor]:
    torch.manual_seed(0)
    return leaves(net(image))


def _place(layout: Any, unit: int) -> tuple[int, ...]:
    """The place on the grid of one element of a tensor."""
    found = []
    for dim, index in zip(layout.dims, np.unravel_index(unit, layout.shape), strict=True):
        sizes = [atom.size for atom in dim]
        parts = np.unravel_index(index, sizes) if sizes else ()
        kept = [(p, a.size) for p, a in zip(parts, dim, strict=True) if a.place]
        places = [size for _, size in kept]
        found.append(int(np.ravel_multi_index([p for p, _ in kept], places)) if kept else 0)
    return tuple(found)


class _Log(TorchDispatchMode):
    """The operations of a run, with the shapes that they give."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        several = result if isinstance(result, list | tuple) else [result]
        self.calls.append((str(func), *(tuple(t.shape) for t in several if isinstance(t, Tensor))))
        return result


def _run(net: nn.Module, image: Tensor) -> list[Any]:
    log = _Log()
    torch.manual_seed(0)
    with torch.inference_mode(), log:
        net(image)
    return log.calls


def _rest(rests: list[str], name: str) -> Any:
    """A hook that notes what a layer of windows leaves unread at the end of an axis."""

    def look(module: nn.Module, given: Any, result: Any) -> None:
        if isinstance(module, nn.MaxPool2d | nn.MaxPool1d | nn.MaxPool3d) and module.ceil_mode:
            return
        windows = isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        pools = isinstance(module, nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d)
        if not (windows or pools) or not given or not isinstance(given[0], Tensor):
            return
        space = int(type(module).__name__[-2]) if type(module).__name__[-2].isdigit() else 0

        def each(value: Any) -> tuple[int, ...]:
            return tuple(value) if isinstance(value, tuple | list) else (value,) * space

        if isinstance(module.padding, str) or not space:
            return
        settings = (module.kernel_size, module.stride, module.padding, module.dilation)
        sides = given[0].shape[-space:]
        for n, k, s, p, d in zip(sides, *map(each, settings), strict=True):
            if s > 1 and n > 1 and (n + 2 * p - d * (k - 1) - 1) % s:
                rests.append(f"{name}: {n}")

    return look


# --- all of them ----------------------------------------------------------------------------------


def _child(build: Any, end: Connection) -> None:
    warnings.simplefilter("ignore")
    logging.disable()
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    try:
        found = report(build)
    except _Late:
        found = {"not built": f"more than {PART} s"}
    except Exception as error:
        text = traceback.format_exc()
        built = "in report" in text and "audit(net" not in text and "build()" in text
        kind = "not built" if built else "crash"
        found = {
            kind: f"{type(error).__name__}: {error}"[:600],
            "where": text.strip().split("\n")[-7:],
        }
    end.send(json.dumps(found))
    end.close()


def apart(build: Any) -> dict[str, Any]:
    """The report of a network from a process of its own."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    child = fork.Process(target=_child, args=(build, theirs))
    child.start()
    theirs.close()
    found: dict[str, Any] = {"crash": f"more than {LIMIT} s"}
    if ours.poll(LIMIT):
        with suppress(EOFError):
            found = {"crash": "the process ended"}
            found = json.loads(ours.recv())
    child.join(10)
    if child.is_alive():
        child.kill()
    return found


def summary(models: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for family in (*FAMILIES, "all"):
        of = [m for name, m in models.items() if family in ("all", name.split(":")[0])]
        of = [m for m in of if "not built" not in m]
        if not of:
            continue
        done = [m for m in of if "status" in m]
        unknown: Counter[str] = Counter()
        for model in done:
            unknown.update(model["unknown"].keys())
        found[family] = {
            "networks": len(of),
            "audited": len(done),
            "refused": sum("refused" in m for m in of),
            "crashes": sum("crash" in m for m in of),
            "status": dict(Counter(m["status"] for m in done).most_common()),
            "unknown": dict(unknown.most_common()),
            "twins": sum(bool(_of(m, "twin", "exists")) for m in done),
            "twins equal": sum(bool(_of(m, "twin", "equal")) for m in done),
            "twins that agree": sum(bool(_of(m, "twin", "agrees")) for m in done),
            "false exact": sum(_false(m) for m in done),
            "units tried": sum(_of(m, "units", "tried") or 0 for m in done),
            "with unseen pixels": sum(bool(_of(m, "unseen", "pixels")) for m in done),
            "advised": sum(bool(_of(m, "advised", "size")) for m in done),
            "advised and taken": sum(bool(_of(m, "advised", "taken")) for m in done),
            "advised and true": sum(bool(_of(m, "advised", "true")) for m in done),
        }
    return found


def _of(model: dict[str, Any], check: str, name: str) -> Any:
    return model.get(check, {}).get(name)


def _false(model: dict[str, Any]) -> bool:
    """Whether some check found what contradicts the audit's claim to be certain."""
    return any(_of(model, name, "true") is False for name in ("unseen", "units", "dependent"))


def known() -> dict[str, Any]:
    """The networks that were done already."""
    if not RESULTS.is_file():
        return {}
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))["models"]
    return found


def keep(name: str, found: dict[str, Any]) -> None:
    """Add a network to the results, which another run may have written to meanwhile."""
    models = dict(sorted((known() | {name: found}).items()))
    content = {
        "command": "python benchmarks/foreign.py",
        "versions": versions(),
        "summary": summary(models),
        "models": models,
    }
    write_text(RESULTS, json.dumps(content, indent=1) + "\n")


def versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--family", choices=list(FAMILIES))
    parser.add_argument("--limit", type=int, help="networks of each family")
    parser.add_argument("--again", help="do networks whose name holds this once more")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.family != "tests":
        define_what_cpu_builds_lack()
    audit(nn.Conv2d(3, 4, 3), (3, 8, 8), measure=False)  # so that no child imports what it needs
    for family in [given.family] if given.family else list(FAMILIES):
        for number, (short, build) in enumerate(FAMILIES[family]()):
            name = f"{family}:{short}"
            again = given.again is not None and given.again in name
            if number == given.limit:
                break
            if given.again is not None and not again:
                continue
            if name in known() and not again:
                continue
            found = apart(build)
            keep(name, found)
            told = {k: v for k, v in found.items() if k not in ("why", "nodes", "shape") and v}
            print(name, json.dumps(told)[:600], flush=True)
    print(json.dumps(summary(known()).get("all"), indent=1))


if __name__ == "__main__":
    sys.exit(main())
