"""DeepLabCut 3 (PyTorch), resnet_50 with its heatmap head, trained from scratch by its `train`.

Its default settings, with what random first weights and small images need: images are scaled first
(the augmentation crops to the scaled size instead of 448 × 448), and the rate falls to 1e-4 and 1e-5
after 3/4 and 9/10 of the time (by default after 90 and 120 of 200 epochs, of which 8 minutes allow 12).
Labels are COCO's file as `placewise convert` writes it, and its loader takes the numbers as they are;
scaled by the ratio of the sides and back, places count as they are labelled.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import job as jobs
import numpy as np

jobs.with_torchvision()

import timm  # noqa: E402
import torch  # noqa: E402
from deeplabcut.pose_estimation_pytorch.apis import training  # noqa: E402
from deeplabcut.pose_estimation_pytorch.apis.utils import get_pose_inference_runner  # noqa: E402
from deeplabcut.pose_estimation_pytorch.config import PoseConfig  # noqa: E402
from deeplabcut.pose_estimation_pytorch.data.cocoloader import COCOLoader  # noqa: E402
from deeplabcut.pose_estimation_pytorch.task import Task  # noqa: E402

WAYS = ("float32, 8 at once", "float32, 1 at once", "autocast, 8 at once")
RATES = {3 / 4: 1e-4, 9 / 10: 1e-5}
WATCHED = 8
"""Training images that it evaluates itself on: nothing is chosen by them."""

CONFIG, WEIGHTS = "pytorch_config.yaml", "snapshot.pt"


class TimeIsUp(Exception):
    """Ends its loop over epochs."""


def untrained(*args: object, **named: object) -> torch.nn.Module:
    return _create_model(*args, **{**named, "pretrained": False})


_create_model, timm.create_model = timm.create_model, untrained


def annotations(job: jobs.Job) -> None:
    """Its loader wants absolute paths, and a file of images to evaluate on."""
    said = json.loads((job.data / "coco.json").read_text(encoding="utf-8"))
    for image in said["images"]:
        image["file_name"] = str(job.data / image["file_name"])
    few = [image["id"] for image in said["images"][:WATCHED]]
    watched = {
        **said,
        "images": said["images"][:WATCHED],
        "annotations": [one for one in said["annotations"] if one["image_id"] in few],
    }
    folder = job.folder / "annotations"
    folder.mkdir(exist_ok=True)
    (folder / "train.json").write_text(json.dumps(said), encoding="utf-8")
    (folder / "test.json").write_text(json.dumps(watched), encoding="utf-8")


def configuration(job: jobs.Job) -> PoseConfig:
    height, width = job.scaled(16)
    project = {
        "project_path": str(job.folder),
        "multianimalproject": False,
        "bodyparts": list(job.points),
    }
    config = PoseConfig.build(
        project, job.folder / CONFIG, top_down=False, multi_animal=False, net_type="resnet_50"
    ).to_dict()
    resize = {"height": height, "width": width, "keep_ratio": False}
    for part in ("train", "inference"):
        config["data"][part]["resize"] = resize
    config["data"]["train"]["crop_sampling"].update(height=height, width=width)
    config["train_settings"].update(batch_size=job.batch, epochs=10_000, seed=job.seed)
    config["runner"].update(eval_interval=10_000)
    config["runner"]["snapshots"]["save_epochs"] = 10_000
    config["runner"]["scheduler"] = None
    config["device"] = "cpu"
    made = PoseConfig.from_dict(config)
    made.to_yaml(job.folder / CONFIG, overwrite=True)
    return made


def train(job: jobs.Job) -> dict[str, object]:
    clock, config, build = (
        jobs.Clock(job.seconds),
        configuration(job),
        training.build_training_runner,
    )
    annotations(job)
    held = []

    def timed(*args: object, **named: object) -> object:
        runner = build(*args, **named)
        step = runner.step
        held.append(runner)

        def counted(batch: dict, mode: str = "train") -> dict:
            if mode != "train":
                return step(batch, mode)
            clock.start()
            for share, rate in RATES.items():
                if clock.share >= share:
                    for group in runner.optimizer.param_groups:
                        group["lr"] = rate
            found = step(batch, mode)
            if clock.saw(len(batch["image"])):
                raise TimeIsUp
            return found

        runner.step = counted
        return runner

    training.build_training_runner = timed
    loader = COCOLoader(job.folder, job.folder / CONFIG)
    try:
        training.train(loader, config, Task.BOTTOM_UP, device="cpu")
    except TimeIsUp:
        torch.save(held[0].state_dict(), job.folder / WEIGHTS)
    settings = {"rates": {f"{share:g}": rate for share, rate in RATES.items()}}
    return {**clock.facts(), "network": "resnet_50", "input": job.scaled(16), "settings": settings}


def load(job: jobs.Job, way: str) -> jobs.Predictor:
    config = configuration(job)
    runner = get_pose_inference_runner(
        config,
        job.folder / WEIGHTS,
        batch_size=8 if "8 at once" in way else 1,
        device="cpu",
        inference_cfg={"autocast": {"enabled": way.startswith("autocast")}},
    )

    def predict(files: Sequence[Path]) -> jobs.Places:
        found = runner.inference([str(file) for file in files])
        return np.stack([one["bodyparts"][0] for one in found])

    return predict


if __name__ == "__main__":
    jobs.main(train, load, WAYS, ("deeplabcut", "timm", "torch", "torchvision"))
