"""Ultralytics YOLO11n-pose (AGPL-3.0, run in an environment of its own), trained from scratch.

Its own recipe with three settings for small data: an optimiser step for each batch (`nbs`; by default
gradients of 64 images are added up, which would be 1.5 steps an epoch), images kept in memory, and
its schedule laid over the minutes (`time`). Labels count shares of the sides from the image's
corner, and so do predictions: half a pixel is taken off. One detection an image is kept, however
sure: a place is asked of everyone. The variant `bf16` trains with its `amp="bf16"`, which is faster
on processors that have it; its losses then compute coordinates in bfloat16 too.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import job as jobs
import numpy as np

os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")
os.environ.setdefault("YOLO_CONFIG_DIR", str(Path.cwd()))

WHOLE = jobs.with_torchvision()

import torchvision  # noqa: E402
from ultralytics import YOLO  # noqa: E402  # reads the environment when imported
from ultralytics.utils.nms import TorchNMS  # noqa: E402

if not WHOLE:  # its own suppression of boxes, which it takes where there is no torchvision
    torchvision.ops.nms = TorchNMS.nms

WAYS = ("torch, 1 at once", "torch, 8 at once", "openvino, 1 at once")
WEIGHTS = "network.pt"


def side(job: jobs.Job) -> int:
    """Of the square that the scaled image fits into, in steps of the network's stride."""
    return 32 * math.ceil(max(job.scaled()) / 32)


def train(job: jobs.Job) -> dict[str, object]:
    clock, model = jobs.Clock(job.seconds), YOLO("yolo11n-pose.yaml", task="pose")
    seen: list[object] = []
    model.add_callback("on_train_start", lambda trainer: (clock.start(), seen.append(trainer)))
    model.add_callback("on_train_batch_end", lambda trainer: clock.saw(trainer.batch_size))
    settings = {"nbs": job.batch, "cache": "ram", "amp": job.variant or False, "imgsz": side(job)}
    model.train(
        data=str(job.data / "data.yaml"),
        epochs=10_000,
        time=job.minutes / 60,
        batch=job.batch,
        pretrained=False,
        workers=0,
        val=False,
        plots=False,
        patience=0,
        device="cpu",
        seed=job.seed,
        project=str(job.folder),
        name="runs",
        exist_ok=True,
        **settings,
    )
    trainer = seen[0]
    last_batch = len(job.train) % job.batch or job.batch  # the others of an epoch are full
    clock.images -= (job.batch - last_batch) * (
        clock.images // (job.batch * len(trainer.train_loader))
    )
    Path(trainer.last).replace(job.folder / WEIGHTS)
    return {
        **clock.facts(),
        "network": "yolo11n-pose",
        "input": [side(job)] * 2,
        "settings": settings,
    }


def exported(job: jobs.Job) -> Path:
    """The network for OpenVINO, which has one size."""
    size = [32 * math.ceil(length / 32) for length in job.scaled()]
    sized = job.folder / f"network_{size[0]}x{size[1]}.pt"
    made = sized.with_name(f"{sized.stem}_openvino_model")
    if not made.is_dir():
        shutil.copy(job.folder / WEIGHTS, sized)
        YOLO(sized, task="pose").export(format="openvino", imgsz=size)
    return made


def load(job: jobs.Job, way: str) -> jobs.Predictor:
    weights = job.folder / WEIGHTS
    if way.startswith("openvino"):
        weights = exported(job)
    model, batch = YOLO(weights, task="pose"), 8 if "8 at once" in way else 1

    def predict(files: Sequence[Path]) -> jobs.Places:
        places = np.full((len(files), len(job.points), 3), np.nan)
        found = model.predict(
            [str(file) for file in files],
            stream=True,
            batch=batch,
            imgsz=side(job),
            conf=1e-4,
            max_det=1,
            device="cpu",
            verbose=False,
        )
        for place, result in zip(places, found, strict=True):
            if len(result.boxes):
                place[:] = result.keypoints.data[0].numpy()
        places[..., :2] -= 0.5
        return places

    return predict


if __name__ == "__main__":
    jobs.main(train, load, WAYS, ("ultralytics-opencv-headless", "torch", "torchvision"))
