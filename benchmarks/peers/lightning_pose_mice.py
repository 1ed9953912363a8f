"""Lightning Pose's heatmap tracker (resnet18), trained from scratch by its `train`.

The settings of its `config_default.yaml`, with what random first weights and few minutes need: the
backbone learns from the first epoch (it is frozen for 20 by default), and the rate is halved where
its schedule halves it, at 1/2, 2/3 and 5/6 of the length, by the clock. Images are scaled to 256 × 256:
it takes multiples of 128. By default it holds out 5 % of the images; so does it here. Places are
scaled by the ratio of the sides both ways, so they count as they are labelled. Its bfloat16 is not
measured: `predict_frame` of this version ends in an error there.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import job as jobs
import numpy as np

jobs.with_torchvision()

import cv2  # noqa: E402
import lightning.pytorch as lightning  # noqa: E402
from lightning_pose import train as trainer_of_lightning_pose  # noqa: E402
from lightning_pose.api import Model  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402

WAYS = ("torch", "onnxruntime")
HALVED = 1 / 2, 2 / 3, 5 / 6


def side(job: jobs.Job) -> int:
    """Of the square that images are scaled to: 256 for 320 × 240 pixels."""
    return 128 * round(math.sqrt(job.pixels) / 128)


class Timer(lightning.Callback):
    """Lowers the rate and ends the training by the clock, and keeps the last state."""

    def __init__(self, clock: jobs.Clock) -> None:
        self.clock, self.halved = clock, 0

    def on_train_batch_start(self, *_: object) -> None:
        self.clock.start()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: object, outputs: object, batch: dict, index: int
    ) -> None:
        trainer.should_stop |= self.clock.saw(len(batch["images"]))
        while self.halved < len(HALVED) and self.clock.share >= HALVED[self.halved]:
            self.halved += 1
            for group in trainer.optimizers[0].param_groups:
                group["lr"] /= 2

    def on_fit_end(self, trainer: lightning.Trainer, module: object) -> None:
        (best,) = Path.cwd().glob("tb_logs/**/*.ckpt")
        trainer.save_checkpoint(best)


def configuration(job: jobs.Job) -> dict[str, object]:
    return {
        "data": {
            "image_orig_dims": {"height": job.height, "width": job.width},
            "image_resize_dims": {"height": side(job), "width": side(job)},
            "data_dir": str(job.data),
            "video_dir": str(job.data),
            "csv_file": "CollectedData.csv",
            "downsample_factor": 2,
            "num_keypoints": len(job.points),
            "keypoint_names": list(job.points),
            "mirrored_column_matches": None,
            "columns_for_singleview_pca": None,
        },
        "training": {
            "imgaug": "dlc",
            "train_batch_size": job.batch,
            "val_batch_size": 8,
            "test_batch_size": 8,
            "train_prob": 0.95,
            "val_prob": 0.05,
            "train_frames": 1,
            "num_gpus": 1,
            "num_workers": 0,
            "unfreezing_epoch": 0,
            "min_epochs": 1,
            "max_epochs": 10_000,
            "log_every_n_steps": 10,
            "check_val_every_n_epoch": 5,
            "rng_seed_data_pt": job.seed,
            "rng_seed_model_pt": job.seed,
            "lr_scheduler": "multisteplr",
            "lr_scheduler_params": {"multisteplr": {"milestones": [9_999], "gamma": 0.5}},
        },
        "model": {
            "losses_to_use": [],
            "backbone": "resnet18",
            "backbone_pretrained": False,
            "model_type": "heatmap",
            "heatmap_loss_type": "mse",
            "model_name": "network",
            "checkpoint": None,
        },
        "dali": {"general": {"seed": 0}},
        "losses": {},
        "eval": {"predict_vids_after_training": False},
    }


def train(job: jobs.Job) -> dict[str, object]:
    clock, callbacks = jobs.Clock(job.seconds), trainer_of_lightning_pose.get_callbacks
    trainer_of_lightning_pose.get_callbacks = lambda *args, **named: [
        *callbacks(*args, **named),
        Timer(clock),
    ]
    config = OmegaConf.create(configuration(job))
    trainer_of_lightning_pose.train(config, job.folder / "network", skip_evaluation=True)
    settings = {"unfreezing_epoch": 0, "halved_at": [round(share, 3) for share in HALVED]}
    return {**clock.facts(), "network": "resnet18", "input": [side(job)] * 2, "settings": settings}


def of_side(job: jobs.Job) -> Path:
    """The folder of the network for images of the side that is asked."""
    network = job.folder / "network"
    held = OmegaConf.load(network / "config.yaml")
    if held.data.image_resize_dims.height == side(job):
        return network
    other = job.folder / f"network-{side(job)}"
    shutil.copytree(network, other, ignore=shutil.ignore_patterns("*.onnx*"), dirs_exist_ok=True)
    held.data.image_resize_dims = {"height": side(job), "width": side(job)}
    OmegaConf.save(held, other / "config.yaml")
    return other


def load(job: jobs.Job, way: str) -> jobs.Predictor:
    folder = of_side(job)
    if way == "onnxruntime":
        if not list(folder.rglob("*.onnx")):
            Model.from_dir(folder).export("onnx", "fp32")
        model = Model.from_dir(folder, runtime="onnx", onnx_precision="fp32")
    else:
        model = Model.from_dir(folder, precision="fp32")

    def predict(files: Sequence[Path]) -> jobs.Places:
        places = np.empty((len(files), len(job.points), 3))
        for place, file in zip(places, files, strict=True):
            found = model.predict_frame(cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB))
            place[:] = np.column_stack([found["keypoints"], found["confidence"]])
        return places

    return predict


if __name__ == "__main__":
    jobs.main(train, load, WAYS, ("lightning-pose", "lightning", "torch", "torchvision"))
