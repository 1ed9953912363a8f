"""The loop: steps, validations, checkpoints, and an end that can be resumed from."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from placewise.augment import Augmentation
from placewise.checkpoint import Checkpoint
from placewise.devices import fast_memory, threads
from placewise.errors import CheckpointError, DataError, TrainingError
from placewise.family import blaming, from_file
from placewise.files import digest_of, write_bytes, write_json, write_text
from placewise.labels import Dataset, Sample
from placewise.model import Scaled
from placewise.ownership import Writer
from placewise.parallel import any_process, from_first, rank, share_batch_norms, world
from placewise.progress import Display
from placewise.report.drawing import to_png
from placewise.report.sheets import sheet
from placewise.run import Run, load_weights, prefixed
from placewise.task import Task
from placewise.tasks import build, first_model
from placewise.training.begin import fingerprint_of
from placewise.training.dataset import ScaledImages, TrainingSet
from placewise.training.order import Batch, Order, Stream
from placewise.training.progress import LOG_EVERY, Pace, Stop
from placewise.training.schedule import (
    Block,
    Clock,
    Counted,
    Recorded,
    Schedule,
    Timed,
    TimedState,
    kept_places,
    learning_rate,
)
from placewise.training.settings import settings_of
from placewise.training.step import (
    Objective,
    move_average,
    optimiser,
    shorten_gradient,
)
from placewise.training.threads import Threads, crowded, short_slices

_LOG = logging.getLogger("placewise")

SHOWN = 12
"""Images on the preview."""

Callback = Callable[[Mapping[str, Any]], None]
"""Called with every line of the log: `step`, `steps` and numbers by name."""

MetricFunction = Callable[[Sequence[Any], Sequence[Any]], Mapping[str, float]]
"""(validation samples, their predictions) to numbers by name."""

CALIBRATING, SCORING = 1.0, 1.1
"""What predicting all validation images takes, in validations of as many images: there they are
read anew, and here they are at hand, but a preview is drawn and a checkpoint saved."""

DRAWING = 2.5
"""Seconds that scores and report of the validation images take, without predicting them."""

NAMED = 20
"""Images that an error names, at most."""


class Trainer:
    """Trains one run, from its last checkpoint on.

    Args:
        task: what the run learns.
        dataset: the labels that it was begun with.
        run: the run.
        device: where to train.
        callbacks: called with every line of the log.
        metrics: more numbers for the log, from validation samples and predictions.
        clock: when its minutes began.
        writer: says whether the run's folder is still there; None where another process writes.
    """

    def __init__(
        self,
        task: Task[Any, Any],
        dataset: Dataset[Any],
        run: Run,
        device: torch.device,
        callbacks: Sequence[Callback] = (),
        metrics: Sequence[MetricFunction] = (),
        clock: Clock | None = None,
        writer: Writer | None = None,
    ) -> None:
        self.task, self.run, self.device = task.for_model(run.facts.model), run, device
        self.callbacks, self.metrics = callbacks, metrics
        self.settings = settings_of(run)
        with blaming(run.path / "run.json", "training.augmentation"):
            self.augmentation = Augmentation.of(**self.settings.augmentation)
        self.clock, self.writer = clock or Clock(), writer
        self.batch_size = self.settings.batch_size or task.batch_size
        self.dataset = _same_labels(task, dataset, run)
        by_image = {sample.image: sample for sample in self.dataset.samples}
        self.train_samples = _samples(by_image, run, "train")
        self.val_samples = _samples(by_image, run, "val")
        self.found = run.latest(_LOG.warning)
        model, given = run.facts.model, self.settings.backbone_settings
        torch.manual_seed(self.settings.seed)
        self.model = build(model if self.found else first_model(model, given)).to(device)
        if world() > 1:
            share_batch_norms(self.model)
        self.objective = Objective(self.model, self.settings.precision)
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.average.mirrors = ()  # a validation only chooses: it looks at each image once
        self.optimizer = optimiser(self.objective, self.settings)
        self.step = 0
        self.best = float("inf")
        self.window: list[float] = []
        self.summary = ""
        self.schedule = self._schedule(None)

    def note_changes(self) -> None:
        """Say that labels or images are no longer those that the run was begun with, if so."""
        digests = {s.image: self.dataset.images.digest(s.image) for s in self.dataset.samples}
        if fingerprint_of(self.task, self.dataset, digests) != self.run.facts.fingerprint:
            _LOG.warning(
                "labels or images have changed since the run was begun: it goes on with those of "
                "now"
            )
            if rank() == 0:
                self.run.remember(digests)

    def _schedule(self, state: TimedState | None) -> Schedule:
        """What the run was begun with: steps, minutes, or the places of another run."""
        settings = self.settings
        if settings.max_minutes is None or settings.max_steps:
            return Counted(settings.max_steps or 1, settings.val_interval or 1)
        if places := kept_places(self.run.path):
            return Recorded(places)
        shown = len(self.val_samples) / max(1, min(len(self.val_samples), self.task.validated))
        after = (1 + CALIBRATING * shown, 0.0)
        if self.clock.report:
            after = (1 + (CALIBRATING + SCORING) * shown, DRAWING)
        seconds = 60 * settings.max_minutes
        chooser, every = None, torch.get_num_threads()
        if self.device.type == "cpu":
            chooser = Threads(every, crowded(every))
        return Timed(seconds, self.clock, settings.val_interval, after, state, chooser)

    def train(self, display: Display) -> None:
        """Train to the last step, then calibrate; a finished run is left as it is.

        Args:
            display: shows where the training is.
        """
        fast_memory()
        short_slices()
        if self.found:
            self._restore(self.found)
            self.found = None
            _LOG.info(f"resumed at step {self.step} of {self.schedule.total(self.step)}")
        if rank() == 0:
            self._cut_log()
        follows = self.clock.report  # what else belongs to the minutes takes as many threads
        with contextlib.nullcontext() if follows else threads():
            if not self.schedule.finished(self.step):
                self._loop(display)
            if rank() == 0 and not self.run.calibration():
                self._calibrate()

    def _loop(self, display: Display) -> None:
        looked_at = self.val_samples[: self.task.validated]
        self.val_images = ScaledImages(self.dataset, looked_at, self.run.facts.model.input)
        objective = DistributedDataParallel(self.objective) if world() > 1 else self.objective
        objective.train()
        stream, pace = self._stream(), Pace(self.batch_size)
        with Stop() as stop, contextlib.closing(stream):
            last = False
            while not last:
                block = self._block()
                self._take(block, objective, stream, pace, stop)
                if block.reports:
                    self._report(block, pace, display)
                if block.validates:
                    stream.settle()
                    self._validate()
                last = block.last
                self._leave_if(stop)

    def _block(self) -> Block:
        """The next block; what the clock says to the first process holds for all."""
        if world() == 1:
            return self.schedule.block(self.step)
        told = [0.0] * len(Block.model_fields)
        if rank() == 0:
            told = [float(value) for value in self.schedule.block(self.step).model_dump().values()]
        return Block.of(from_first(told, self.device))

    def _take(
        self, block: Block, objective: torch.nn.Module, stream: Stream, pace: Pace, stop: Stop
    ) -> None:
        """The steps of a block."""
        if block.threads not in (0, torch.get_num_threads()):
            torch.set_num_threads(block.threads)
        while self.step < block.stop:
            started, busy = self.clock.now(), time.thread_time()
            rate = learning_rate(block.place(self.step), self.schedule, self.settings.learning_rate)
            self.window.append(self._one_step(objective, next(stream), rate))
            pace.step(seconds := self.clock.now() - started)
            if rank() == 0:
                self.schedule.stepped(seconds, time.thread_time() - busy)
            if self.step < block.stop:
                self._leave_if(stop)

    def _leave_if(self, stop: Stop) -> None:
        """End the program, a checkpoint written, where a signal asks for it."""
        if any_process(stop.asked, self.device):
            self._save()
            stop.leave(self.run.path, self.step)

    def _stream(self) -> Stream:
        """This process's share of the batches from the next step on."""
        shown = TrainingSet(
            self.task,
            self.dataset,
            self.train_samples,
            self.run.facts.model.input,
            self.model.input_size,
            self.augmentation,
            self.settings.seed,
        )
        order = Order(
            len(self.train_samples),
            self.batch_size,
            self.settings.seed,
            start=self.step,
            stop=None if self.schedule.by_clock else self.schedule.total(self.step),
            rank=rank(),
            world=world(),
        )
        return Stream(shown, order, self.settings.num_workers)

    def _report(self, block: Block, pace: Pace, display: Display) -> None:
        """A line in the log, and the display: mean loss and speed since the last one."""
        mean, speed = sum(self.window) / len(self.window), pace.speed()
        line: dict[str, Any] = {"step": self.step, "loss": mean, "images_per_second": speed}
        if self.schedule.by_clock:
            line |= {"place": block.ends, "threads": block.threads}
        self._log(line)
        values: dict[str, float | str] = {"loss": mean}
        if self.summary:
            values["validation"] = self.summary
        total = self.schedule.total(self.step)
        display(self.step, total, values | {"images/s": f"{speed:.1f}"})
        self.window.clear()

    def _one_step(self, objective: torch.nn.Module, batch: Batch, rate: float) -> float:
        """Loss of the step; weights, average and `step` are one further afterwards."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        *shown, indices = batch
        loss = objective(*(part.to(self.device) for part in shown))
        loss.backward()
        length = shorten_gradient(self.objective.parameters())
        value = self._mean_over_processes(loss)
        if not (np.isfinite(value) and bool(torch.isfinite(length))):
            self._not_a_number(value, float(length), indices)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        move_average(self.average, self.model, self.settings.ema_decay, self.step)
        return value

    def _mean_over_processes(self, loss: Tensor) -> float:
        value = loss.detach().clone()
        if world() > 1:
            torch.distributed.all_reduce(value)
        return float(value) / world()

    def _not_a_number(self, loss: float, length: float, indices: Tensor) -> None:
        names = [self.train_samples[int(i)].image for i in indices]
        listed = ", ".join(names[:NAMED])
        raise TrainingError(
            f"step {self.step + 1}: the loss is {loss} and the gradient's length {length}; nothing "
            f"was learnt from this step, and the checkpoints before it stand. Its images: "
            f"{listed}. Look at them with 'placewise check', or go on more gently with a new run "
            f"and --learning-rate {self.settings.learning_rate / 4:g}"
        )

    def _validate(self) -> None:
        """Score the averaged weights; keep the best or the last, draw a preview, save."""
        if rank() > 0:
            return
        begun = self.clock.now()
        samples = self.val_samples[: self.task.validated]
        found = _predicted(self.average, samples, self.val_images)
        result = self.task.validate(self.dataset, samples, found)
        more = {k: float(v) for metric in self.metrics for k, v in metric(samples, found).items()}
        self._log({**more, "step": self.step, **result.log})
        score = result.score if self.task.chooses else None
        score = float(-self.step) if score is None else score
        if score <= self.best:  # of equal ones the later, which has learnt longer
            self._still_there()
            self.best = score
            self.run.checkpoints.save_best(_tensors(average=self.average), self._facts())
        write_bytes(self.run.path / "preview.png", self._preview(samples, found))
        self.summary = result.summary
        self.schedule.validated(self.clock.now() - begun)
        self._save()

    def _preview(self, samples: Sequence[Any], found: Sequence[Any]) -> bytes:
        """A contact sheet of the first validation images, as a PNG."""
        cards = [
            self.task.preview(self.dataset, sample, self.dataset.image(sample.image), one)
            for sample, one in zip(samples[:SHOWN], found[:SHOWN], strict=True)
        ]
        captions, drawn = zip(*cards, strict=True)
        names, axes = self.task.legend(self.dataset.names), len(samples[0].size)
        return to_png(sheet(drawn, captions, names=names, axes=axes))

    def _save(self) -> None:
        if rank() == 0:
            self._still_there()
            tensors = _tensors(model=self.model, average=self.average)
            tensors |= optimizer_tensors(self.optimizer)
            self.run.checkpoints.save_step(self.step, tensors, self._facts())

    def _facts(self) -> dict[str, Any]:
        best = self.best if np.isfinite(self.best) else None
        window = list(self.window)
        facts = {"run": self.run.stamp, "step": self.step, "best": best, "window": window}
        if (clock := self.schedule.kept()) is not None:
            facts["clock"] = clock.model_dump(mode="json")
        return facts

    def _restore(self, found: Checkpoint) -> None:
        folder = self.run.checkpoints.folder
        facts = from_file(_Facts, folder, found.facts)
        load_weights(self.model, found, "model.")
        load_weights(self.average, found)
        with blaming(folder, "optimizer"):
            restore_optimizer(self.optimizer, found.tensors)
        self.step, self.window = facts.step, facts.window
        self.best = float("inf") if facts.best is None else facts.best
        self.schedule = self._schedule(facts.clock)

    def _log(self, line: Mapping[str, Any]) -> None:
        if rank() > 0:
            return
        self._still_there()
        with (self.run.path / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for callback in self.callbacks:
            callback({**line, "steps": self.schedule.total(self.step)})

    def _still_there(self) -> None:
        """Nothing is written into a folder that was removed, or that is another's by now."""
        if self.writer is not None:
            self.writer.check()

    def _cut_log(self) -> None:
        """Drop the lines after the checkpoint: those steps are taken again."""
        self._still_there()
        kept = [line for line in self.run.log() if line["step"] <= self.step]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        write_text(self.run.path / "log.jsonl", text)

    def _calibrate(self) -> None:
        """On all validation images, with the best weights, which say so from then on."""
        best = self.run.best(_LOG.warning)
        model = self.run.network(best).eval().to(self.device)
        shown = (model.prepared(*self.dataset.reading(s.image)) for s in self.val_samples)
        found = _predicted(model, self.val_samples, shown)
        calibration = self.task.calibrate(self.dataset, self.val_samples, found)
        if calibration:
            self._still_there()
            facts = {**best.facts, "calibration": digest_of(calibration)}
            self.run.checkpoints.save_best(_averages(best), facts)
            write_json(self.run.path / "calibration.json", calibration)


class _Facts(BaseModel):
    """What a checkpoint says of the training, beside its tensors."""

    step: int = Field(ge=0, le=10**9)
    best: float | None = Field(allow_inf_nan=False)
    window: list[float] = Field(max_length=LOG_EVERY)
    clock: TimedState | None = None


def _averages(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The averaged weights of a checkpoint, under their names there."""
    return {k: v for k, v in checkpoint.tensors.items() if k.startswith("average.")}


def _predicted(model: Any, samples: Sequence[Any], shown: Iterable[Scaled]) -> list[Any]:
    """Predictions for samples whose images are at the network's scale, one after the other."""
    return [
        one
        for sample, scaled in zip(samples, shown, strict=True)
        for one in model.predict_scaled(scaled[None], [sample.size], [sample.image])
    ]


def _same_labels(task: Task[Any, Any], dataset: Dataset[Any], run: Run) -> Dataset[Any]:
    """The labels that the run was begun with: names are looked up, whatever their order.

    Raises:
        DataError: they have other names.
    """
    names = run.facts.model.names
    added = [name for name in dataset.names if name not in names]
    if added:
        raise DataError(
            f"the labels hold {', '.join(added)}, which the run was not begun with; it has "
            f"{', '.join(names)}: resume with its own labels, or begin a new run"
        )
    return task.usable(run.counted_as_then(dataset)).ordered(names)


def _samples(by_image: Mapping[str, Sample], run: Run, split: str) -> tuple[Sample, ...]:
    """The samples that the run says belong to a split.

    Raises:
        DataError: the labels lack some of them.
    """
    missing = [image for image in run.facts.split[split] if image not in by_image]
    if missing:
        raise DataError(
            f"the run was begun with images that the labels no longer have: "
            f"{', '.join(missing[:NAMED])}; resume with the labels it was begun with "
            f"({run.facts.data})"
        )
    return tuple(by_image[image] for image in run.facts.split[split])


def _tensors(**modules: torch.nn.Module) -> dict[str, Tensor]:
    """State of modules under their prefixes."""
    return {
        f"{prefix}.{name}": value
        for prefix, module in modules.items()
        for name, value in module.state_dict().items()
    }


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """State of the optimiser as named tensors."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{name}": torch.as_tensor(value)
        for index, values in state.items()
        for name, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave.

    Raises:
        CheckpointError: a tensor belongs to no parameter, or is of another shape.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in prefixed(tensors, "optimizer.").items():
        index, _, field = name.partition(".")
        number = int(index) if re.fullmatch("[0-9]{1,9}", index) else len(parameters)
        able = number < len(parameters) and field in ("step", "exp_avg", "exp_avg_sq")
        shape = () if field == "step" or not able else parameters[number].shape
        if not able or value.shape != shape or (field == "step" and not value >= 1):
            raise CheckpointError(
                f"the tensor {name!r:.200} of shape {tuple(value.shape)} is of no parameter; put "
                "back the checkpoints that the training wrote"
            )
        if shape:  # one call for all weights takes them as they lie in memory
            value = torch.empty_like(parameters[number], device="cpu").copy_(value)
        state.setdefault(number, {})[field] = value
    if any(len(fields) != 3 for fields in state.values()):
        raise CheckpointError(
            "some parameters lack a part; put back the checkpoints that the training wrote"
        )
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
