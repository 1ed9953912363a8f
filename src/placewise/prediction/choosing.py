"""Which engine predicts: the fastest at hand that says what torch says in float32.

```
RUN/engines/network-….onnx        the network as a file, for engines that run files
RUN/engines/network-…-int8-….onnx the same in 8 bits, made for the images that are predicted
RUN/engines/choice-….json         what was measured on this machine, and what was chosen
```

All are made anew where weights, versions or the machine are others. Where the run's folder cannot
be written to, they live in a temporary folder, and are gone with the process.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import platform
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from placewise.devices import threads
from placewise.engines import ENGINES, INT8, Engine, Plain, write_int8, write_network
from placewise.errors import CheckpointError, PlacewiseError, SettingsError, ShapeError, first_line
from placewise.files import digest_of, make_folder, read_json, remove, write_json
from placewise.model import BATCH, Network
from placewise.ownership import alone
from placewise.parallel import from_first
from placewise.run import Run

AUTO = "auto"

LITTLE, MUCH = 4.0, 30.0
"""Seconds that torch in float32 would take for all images: with less than LITTLE nothing else is
tried, with less than MUCH no file is written for engines that need one."""

ENGINES_FOLDER = "engines"
"""Of a run: what engines need, and which was chosen."""

FEW = 16
"""Images below which not even that is measured."""

NEAR = {"float32": 1e-4, "bfloat16": 0.05, INT8: 0.2}
"""Distance at which an engine still says what torch says in float32; see `distance`."""

LEARNT_FROM = 16
"""Images that the steps of 8 bits are made for, at most."""

COMPARED = 4
"""Images of which one is shown to an engine and to torch, at most."""

FASTER = 1.2
"""Times as fast as torch in float32 that an engine has to be: else nobody's digits change."""

TRIES = 3
"""Timings of an engine, of which the shortest counts."""

UNFIT = (PlacewiseError, RuntimeError, ValueError, TypeError, OSError)
"""What is raised where an engine cannot be made, or differs from torch."""

_LOG = logging.getLogger("placewise")


@dataclass(frozen=True)
class Choice:
    """An engine and what it computes in.

    Attributes:
        engine: member of `ENGINES`.
        precision: one of its precisions.

    Example:
        >>> Choice("openvino", "float32").shown
        'openvino in float32'
    """

    engine: str = "torch"
    precision: str = "float32"

    @property
    def shown(self) -> str:
        """In words."""
        return f"{self.engine} in {self.precision}"


@dataclass(frozen=True)
class Lanes:
    """How many batches are computed at once, and with how many threads each.

    Example:
        >>> Lanes.of(2, batches=9), Lanes.of(16, batches=9), Lanes.of(16, batches=1)
        (Lanes(calls=2, threads=1), Lanes(calls=4, threads=4), Lanes(calls=1, threads=16))
    """

    calls: int
    threads: int

    @classmethod
    def of(cls, threads: int, batches: int) -> Lanes:
        """Lanes for so many threads in all, and no more of them than batches."""
        calls = max(1, min(4, max(2, threads // 2), threads, batches))
        return cls(calls, threads // calls)


def check_asked(engine: str, precision: str, device: torch.device) -> None:
    """Refuse an engine that cannot be used, before anything is read.

    Raises:
        SettingsError: names what can be used.

    Example:
        >>> check_asked("onnxruntime", "bfloat16", torch.device("cpu"))
        Traceback (most recent call last):
        placewise.errors.SettingsError: the engine 'onnxruntime' computes in float32; ...
    """
    precisions = sorted({one for name in ENGINES.names() for one in ENGINES[name].precisions})
    if precision not in (AUTO, *precisions):
        raise SettingsError(f"got the precision '{precision}'; use auto, {', '.join(precisions)}")
    if engine == AUTO and precision == INT8:
        engine = next(name for name in ENGINES.names() if INT8 in ENGINES[name].precisions)
    if engine == AUTO:
        return
    member = ENGINES[engine]
    if precision not in (AUTO, *member.precisions):
        raise SettingsError(
            f"the engine '{engine}' computes in {' or '.join(member.precisions)}; leave "
            f"--precision {precision} out, or name another engine"
        )
    if device.type != "cpu" and member.from_file:
        raise SettingsError(
            f"the engine '{engine}' runs on the CPU, and the device is {device}; add --device cpu, "
            "or use --engine torch"
        )
    member.check(engine)


def lanes_of(device: torch.device, images: int) -> Lanes:
    """Lanes for a prediction of so many images; a GPU computes one batch at a time."""
    batches = -(-images // BATCH) if device.type == "cpu" else 1
    return Lanes.of(torch.get_num_threads(), batches)


def of_first(choice: Choice) -> Choice:
    """What the first of several processes has chosen; alone, the choice itself."""
    able = [Choice(name, one) for name in ENGINES.names() for one in ENGINES[name].precisions]
    (number,) = from_first([able.index(choice)], torch.device("cpu"))
    return able[int(number)]


class Chooser:
    """Finds, makes and holds to account the engine for one prediction.

    Args:
        run: the run.
        model: its model, on its device.
        lanes: how it will be called.
        images: gives padded images as they will come, one by one, each time that it is called.

    Attributes:
        first: the first of the images, or of those that fit the network once that was tried; None
            where there is none.
    """

    def __init__(
        self,
        run: Run,
        model: Network[Any],
        lanes: Lanes,
        images: Callable[[], Iterable[Tensor]],
    ) -> None:
        self.run, self.model, self.lanes, self._images = run, model, lanes, images
        self.first = next(iter(images()), None)
        self._folder: Path | None = None
        self._ready: dict[Choice, Engine] = {}

    def make(self, choice: Choice) -> Engine:
        """The engine of a choice, which was not held against torch yet.

        Raises:
            SettingsError: it cannot be made here.
        """
        member: Any = ENGINES[choice.engine]
        member.check(choice.engine)
        rest = choice.precision, self.lanes.threads, self.lanes.calls
        made: Engine
        if not member.from_file:
            made = member(self.model, None, *rest)
            return made
        with alone(self._home() / ".lock"):  # another would remove the file before it is read
            file = self._int8() if choice.precision == INT8 else self._file()
            made = member(self.model, file, *rest)
        return made

    def held(self, choice: Choice) -> Engine:
        """The engine of a choice, after it has said what torch says.

        Args:
            choice: the engine and its precision.

        Raises:
            SettingsError: it cannot be made, or says something else.
        """
        if choice in self._ready:
            return self._ready[choice]
        engine, own = self.make(choice), choice == Choice()  # torch's own modules
        shown = self._shown() if own else self._liveliest
        away, near = distance(engine, self.model, shown, 1 if own else 2), NEAR[choice.precision]
        if not away <= near:
            raise SettingsError(
                f"{choice.shown} differs from torch in float32 by {away:.2g} of what the network "
                f"says, and {near} is allowed; use another --engine or --precision"
            )
        return engine

    def choose(self, engine: str, precision: str, count: int) -> Choice:
        """What to predict with.

        Args:
            engine: a member of `ENGINES`, or auto.
            precision: one of its precisions, or auto.
            count: images in all.
        """
        asked = list(_asked(engine, precision))
        if len(asked) == 1:
            return asked[0]
        if self.model.mean.device.type != "cpu" or count < FEW:
            return asked[0]
        with threads(self.lanes.threads):
            return self._chosen(asked, count, whole=engine == precision == AUTO)

    def _chosen(self, asked: list[Choice], count: int, *, whole: bool) -> Choice:
        """The fastest, as far as looking for it is worth it; each is timed as it will be called."""
        first = asked[0]
        expected = self._expected(count)
        if expected <= LITTLE:
            return first
        kept = self._kept()
        if kept in asked and self._agrees(kept):
            return kept
        if expected <= MUCH:
            asked = [one for one in asked if not ENGINES[one.engine].from_file]
        seconds = dict(self._measured(asked)) if len(asked) > 1 else {}
        if not seconds:
            return first
        chosen = min(seconds, key=lambda one: seconds[one])
        if seconds.get(first, math.inf) < FASTER * seconds[chosen]:
            chosen = first
        self._keep(chosen, seconds, whole=whole and expected > MUCH)
        return chosen

    def _shown(self) -> Tensor:
        """The first image.

        Raises:
            SettingsError: there is none.
        """
        if self.first is None:
            raise SettingsError("no image can be read, so no engine can be tried; name images")
        return self.first

    @cached_property
    def _liveliest(self) -> Tensor:
        """Of a few images the one with most contrast: a blank one leaves little to agree on.

        Raises:
            SettingsError: there is none.
        """
        few = islice(self._images(), COMPARED)
        return max(few, key=lambda image: float(image.std()), default=self._shown())

    def _agrees(self, choice: Choice) -> bool:
        """Whether what was chosen before says what torch says on these images too."""
        try:
            self._ready[choice] = self.held(choice)
        except UNFIT as error:
            _LOG.warning(f"{choice.shown} is not used: {first_line(error)}")
        return choice in self._ready

    def _expected(self, count: int) -> float:
        """Seconds that torch in float32 would take for so many images; 0 where none fits it."""
        for images in islice(self._images(), LEARNT_FROM):
            started = time.perf_counter()
            with contextlib.suppress(ShapeError), torch.inference_mode():
                self.model.head(self.model.features(images))
                self.first = images
                return (time.perf_counter() - started) * count / self.lanes.calls
        return 0.0

    def _measured(self, asked: list[Choice]) -> Iterator[tuple[Choice, float]]:
        """Seconds for an image, of each choice that can be used."""
        images = self._shown()
        for choice in asked:
            try:
                engine = self.held(choice)
                shortest = min(_seconds(engine, images) for _ in range(TRIES))
            except UNFIT as error:
                _LOG.warning(f"{choice.shown} is not used: {first_line(error)}")
                continue
            yield choice, shortest

    # --- what is kept beside the run -----------------------------------------------------------

    def _home(self) -> Path:
        """The folder for files: the run's own, or a temporary one."""
        if self._folder is None:
            self._folder = self.run.path / ENGINES_FOLDER
            try:
                make_folder(self._folder)
                with tempfile.TemporaryFile(dir=self._folder):
                    pass
            except (OSError, SettingsError):
                self._folder = Path(tempfile.mkdtemp(prefix="placewise-"))
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    def _file(self) -> Path:
        """The network as a file, written where it is not there or not whole."""
        model = self.run.model() if self.model.mean.device.type != "cpu" else self.model
        name = f"network-{self._weights()}"
        return self._written(name, "network-", lambda file: write_network(model, file))

    def _int8(self) -> Path:
        """The same in 8 bits, made for the first of the images."""
        digest = hashlib.sha256()
        for image in islice(self._images(), LEARNT_FROM):
            digest.update(image.cpu().contiguous().numpy().tobytes())
        network, made = self._file(), f"-int8-{digest.hexdigest()[:16]}"

        def write(file: Path) -> None:
            write_int8(network, islice(self._images(), LEARNT_FROM), file)

        return self._written(f"{network.stem}{made}", f"{network.stem}-int8-", write)

    def _written(self, name: str, kind: str, write: Callable[[Path], None]) -> Path:
        """A file beside the run, written where it is not there or not whole; its kind is gone."""
        file, facts = self._home() / f"{name}.onnx", self._home() / f"{name}.json"
        if _whole(file, facts):
            return file
        _LOG.info("the network is written for other engines, once; this takes some seconds")
        write(file)
        write_json(facts, {"file": file.name, "content": _content(file)})
        for other in self._home().glob(f"{kind}*"):
            if not other.name.startswith(name):
                remove(other)
        return file

    def _weights(self) -> str:
        """What the network is made of."""
        tensors = Plain(self.model).state_dict()
        digest = hashlib.sha256()
        for name, one in tensors.items():
            digest.update(f"{name} {tuple(one.shape)} {one.dtype}".encode())
            digest.update(one.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        parts = [digest.hexdigest(), self.run.stamp, _version("torch"), _version("placewise")]
        return digest_of(parts)[:16]

    def _choice_file(self) -> str:
        return f"choice-{digest_of(_machine(self.lanes))[:16]}.json"

    def _kept(self) -> Choice | None:
        """What was chosen on this machine for these weights; None where nothing was."""
        file = self.run.path / ENGINES_FOLDER / self._choice_file()
        try:
            content = read_json(file) if file.is_file() else {}
            choice = Choice(str(content["engine"]), str(content["precision"]))
            same = content["weights"] == self._weights()
            member = ENGINES[choice.engine]
        except (CheckpointError, SettingsError, LookupError):
            return None
        fits = choice.precision in member.precisions and member.there()
        return choice if same and fits else None

    def _keep(self, chosen: Choice, seconds: Mapping[Choice, float], *, whole: bool) -> None:
        """Keep what was chosen, where all engines took part."""
        speeds = {one.shown: round(1 / value, 2) for one, value in seconds.items()}
        _LOG.info(
            f"{chosen.shown} is the fastest here: "
            + ", ".join(f"{name} {value:.3g} images/s" for name, value in speeds.items())
        )
        if not whole:
            return
        content: dict[str, Any] = {
            "engine": chosen.engine,
            "precision": chosen.precision,
            "weights": self._weights(),
            "images_per_second": speeds,
            "machine": _machine(self.lanes),
        }
        write_json(self._home() / self._choice_file(), content)


def _asked(engine: str, precision: str) -> Iterator[Choice]:
    """What can be meant, torch in float32 first where that is among it."""
    first = ["torch", *(name for name in ENGINES.names() if name != "torch")]
    for name in first if engine == AUTO else [engine]:
        member = ENGINES[name]
        if engine != AUTO or member.there():
            for one in member.precisions:
                if precision == one or (precision == AUTO and one != INT8):
                    yield Choice(name, one)


@torch.inference_mode()
def distance(engine: Engine, model: Network[Any], batch: Tensor, sizes: int = 2) -> float:
    """How far an engine is from torch in float32: root mean square, as a share of the spread.

    The same is asked of the largest difference at a tenth of it, so that a single wrong border or
    corner is seen. Images are of sizes that differ from those of the batch, where the head takes
    such.

    Args:
        engine: the engine.
        model: what it stands for.
        batch: (batch, channels, *size) padded images.
        sizes: on how many sizes they are compared.
    """
    worst = 0.0
    for images in _unseen(batch, model, sizes):
        expected = model.head(model.features(images)).float().cpu()
        found = engine(images).float().cpu()
        if found.shape != expected.shape:
            return math.inf
        spread = float((expected - expected.mean()).square().mean().sqrt()) or 1.0
        off = (found - expected).double()
        square, largest = float(off.square().mean().sqrt()), float(off.abs().max())
        worst = max(worst, square / spread, largest / spread / 10)
    return worst if math.isfinite(worst) else math.inf


def _unseen(batch: Tensor, model: Network[Any], sizes: int) -> Iterator[Tensor]:
    """Images of other sizes, made of an image: repeated, and cut elsewhere."""
    image = batch[:1]
    if not model.head.any_size:
        yield image.flip(-1)
        return
    for extra in range(1, sizes + 1):
        sides = [
            side + (axis + extra) % 3 * model.multiple for axis, side in enumerate(model.input_size)
        ]
        times = [-(-side // had) for side, had in zip(sides, image.shape[2:], strict=True)]
        whole = image.repeat(1, 1, *times)
        for axis, side in enumerate(sides, 2):
            whole = whole.narrow(axis, 0, side)
        yield whole.contiguous()


def _seconds(engine: Engine, images: Tensor) -> float:
    started = time.perf_counter()
    engine(images)
    return time.perf_counter() - started


def _whole(file: Path, facts: Path) -> bool:
    """Whether a file is there and holds what was once written."""
    try:
        return file.is_file() and read_json(facts).get("content") == _content(file)
    except (CheckpointError, OSError):
        return False


def _content(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def _machine(lanes: Lanes) -> dict[str, Any]:
    """What the speed of an engine depends on, beside the network."""
    packages = [member.package for name in ENGINES.names() if (member := ENGINES[name]).package]
    return {
        "machine": platform.machine(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "lanes": [lanes.calls, lanes.threads],
        "torch": _version("torch"),
        **{name: _version(name) for name in packages if name},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
