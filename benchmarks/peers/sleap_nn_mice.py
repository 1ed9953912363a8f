"""sleap-nn's U-Net for single animals, trained from scratch through its Python interface.

The settings of its sample configuration `single_instance_unet_medium_rf`, at the same scale as the others, with a
learning rate of 1e-3 (the default of its `train`; 1e-4 of the sample leaves most maps empty after so
few steps) and images kept in memory. Places in .slp and those it predicts count from the centre of
the first pixel. By default it leaves out places whose map is below 0.2; here none is left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import job as jobs
import numpy as np

jobs.with_torchvision()

import lightning  # noqa: E402
import sleap_io  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from sleap_nn.export.cli import export  # noqa: E402
from sleap_nn.inference import Predictor  # noqa: E402
from sleap_nn.training.model_trainer import ModelTrainer  # noqa: E402

WAYS = ("torch, 8 at once", "torch, 1 at once", "onnxruntime, 8 at once")
RATE, LOWEST = 1e-3, -1e3
WATCHED = 8
"""Training images whose loss its schedule of the rate looks at."""


class Timer(lightning.Callback):
    """Ends the training when the clock says so."""

    def __init__(self, clock: jobs.Clock, batch: int) -> None:
        self.clock, self.batch = clock, batch

    def on_train_batch_start(self, trainer: object, *_: object) -> None:
        self.clock.start()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: object, outputs: object, batch: dict, index: int
    ) -> None:
        trainer.should_stop |= self.clock.saw(len(batch["image"]))


class Timed(ModelTrainer):
    """Its trainer, with our clock among its callbacks."""

    timer: Timer

    def _setup_loggers_callbacks(self, *args: object, **named: object) -> tuple[list, list]:
        loggers, callbacks = super()._setup_loggers_callbacks(*args, **named)
        return loggers, [*callbacks, self.timer]


def scale(job: jobs.Job) -> float:
    return job.scaled()[1] / job.width


def configuration(job: jobs.Job) -> dict[str, object]:
    unet = {
        "in_channels": 1, "kernel_size": 3, "filters": 16, "filters_rate": 2.0, "max_stride": 16,
        "middle_block": True, "up_interpolate": True, "convs_per_block": 2, "output_stride": 2,
    }  # fmt: skip
    geometric = {"rotation_min": -15.0, "rotation_max": 15.0, "scale_min": 0.9, "scale_max": 1.1, "affine_p": 1.0}  # fmt: skip
    plateau = {"threshold": 1e-8, "threshold_mode": "abs", "cooldown": 3, "patience": 5, "factor": 0.5, "min_lr": 1e-8}  # fmt: skip
    loader = {"batch_size": job.batch, "num_workers": 0}
    return {
        "data_config": {
            "train_labels_path": [str(job.data / "labels.slp")],
            "data_pipeline_fw": "torch_dataset_cache_img_memory",
            "preprocessing": {"ensure_grayscale": True, "scale": scale(job)},
            "use_augmentations_train": True,
            "augmentation_config": {"geometric": geometric},
        },
        "model_config": {
            "backbone_config": {"unet": unet},
            "head_configs": {"single_instance": {"confmaps": {"sigma": 2.5, "output_stride": 2}}},
        },
        "trainer_config": {
            "train_data_loader": {**loader, "shuffle": True},
            "val_data_loader": {**loader, "shuffle": False},
            "trainer_accelerator": "cpu",
            "trainer_devices": 1,
            "enable_progress_bar": False,
            "visualize_preds_during_training": False,
            "max_epochs": 10_000,
            "seed": job.seed,
            "save_ckpt": False,
            "ckpt_dir": str(job.folder),
            "run_name": "network",
            "optimizer_name": "Adam",
            "optimizer": {"lr": RATE},
            "lr_scheduler": {"reduce_lr_on_plateau": plateau},
        },
    }


def train(job: jobs.Job) -> dict[str, object]:
    labels = sleap_io.load_slp(str(job.data / "labels.slp"))
    few = labels.extract(list(range(WATCHED)), copy=True)
    clock, config = jobs.Clock(job.seconds), OmegaConf.create(configuration(job))
    trainer = Timed.get_model_trainer_from_config(config, train_labels=[labels], val_labels=[few])
    trainer.timer = Timer(clock, job.batch)
    trainer.train()
    trainer.trainer.save_checkpoint(job.folder / "network" / "best.ckpt")
    settings = {"learning_rate": RATE, "scale": scale(job)}
    size = job.scaled()
    return {**clock.facts(), "network": "unet medium_rf", "input": size, "settings": settings}


def of_scale(job: jobs.Job) -> Path:
    """The folder of the network for as many pixels as are asked: its scale is a setting of it."""
    network = job.folder / "network"
    held = OmegaConf.load(network / "training_config.yaml")
    if held.data_config.preprocessing.scale == scale(job):
        return network
    other = job.folder / f"network-{job.pixels}"
    shutil.copytree(network, other, dirs_exist_ok=True)
    held.data_config.preprocessing.scale = scale(job)
    OmegaConf.save(held, other / "training_config.yaml")
    return other


def load(job: jobs.Job, way: str) -> jobs.Predictor:
    network = of_scale(job)
    exported = network.with_name(f"{network.name}-exported")
    batch = 8 if "8 at once" in way else 1
    if way.startswith("onnxruntime"):
        if not exported.is_dir():
            words = [network, "--output", exported, "--peak-threshold", LOWEST]
            export.main([str(word) for word in words], standalone_mode=False)
        predictor = Predictor.from_export_dir(
            exported, runtime="onnx", device="cpu", batch_size=batch
        )
    else:
        predictor = Predictor.from_model_paths(
            [str(network)], device="cpu", batch_size=batch, peak_threshold=LOWEST
        )

    def predict(files: Sequence[Path]) -> jobs.Places:
        video = sleap_io.Video.from_filename([str(file) for file in files])
        places = np.full((len(files), len(job.points), 3), np.nan)
        for frame in predictor.predict(video):
            for found in frame.instances:
                order = [found.skeleton.node_names.index(point) for point in job.points]
                places[frame.frame_idx] = found.numpy(scores=True)[order]
        return places

    return predict


if __name__ == "__main__":
    jobs.main(train, load, WAYS, ("sleap-nn", "sleap-io", "lightning", "torch"))
