"""Do other tools read what placewise writes? SLEAP, DeepLabCut's HDF5 and NWB, by their own readers.

    python benchmarks/peers/formats_oracle.py write FOLDER          where placewise is installed
    python -m venv peers && peers/bin/pip install sleap-io pandas tables pynwb ndx-pose movement
    peers/bin/python benchmarks/peers/formats_oracle.py check FOLDER

`write` draws labels (two animals on some of 20 images) and predictions (40 frames of one animal, with
scores) from a fixed seed and writes each as .slp, DeepLabCut's .h5 and .nwb, with the numbers
themselves in truth.npz. `check` reads the files with sleap-io, pandas (as DeepLabCut does), pynwb and
movement, prints the largest difference of each in pixels, and leaves FOLDER/oracle.json. NaN has to be
where it was.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

NAMES = ("nose", "left_ear", "right_ear", "tail")
LABELS, FRAMES, ANIMALS = 20, 40, 2
SIZE = (48, 64)


def drawn() -> dict[str, np.ndarray]:
    """Places of labels (images, animals, keypoints, 2), and of predictions with their scores."""
    rng = np.random.default_rng(0)
    labels = rng.uniform(-0.5, 47.5, (LABELS, ANIMALS, len(NAMES), 2))
    labels[rng.random(labels.shape[:3]) < 0.2] = np.nan
    labels[:, :, 0] = rng.uniform(0, 47, (LABELS, ANIMALS, 2))  # an animal has a place
    labels[::3, 1] = np.nan  # and on every third image there is one
    labels[0, 0, 0], labels[1, 0, 0] = (0, 0), (SIZE[1] - 1, SIZE[0] - 1)
    predictions = rng.uniform(-0.5, 47.5, (FRAMES, 1, len(NAMES), 2))
    return {"labels": labels, "predictions": predictions, "scores": rng.random((FRAMES, 1, 4))}


def write(folder: Path) -> None:
    from PIL import Image

    import placewise as pw
    from placewise.labels import KeypointDataset, KeypointSample, Visibility

    folder.mkdir(parents=True, exist_ok=True)
    truth = drawn()
    np.savez(folder / "truth.npz", **truth)
    pairs, joints = (("left_ear", "right_ear"),), (("nose", "left_ear"), ("nose", "right_ear"))
    for what in ("labels", "predictions"):
        samples = []
        for number, places in enumerate(truth[what]):
            name = f"{what}_{number:03d}.png"
            Image.new("L", SIZE[::-1], number).save(folder / name)
            kept = places[np.isfinite(places).all(-1).any(-1)]
            seen = np.isfinite(kept).all(-1)
            states = np.where(seen, Visibility.VISIBLE, Visibility.UNLABELLED).astype(np.int8)
            scores = truth["scores"][number] if what == "predictions" else None
            samples.append(KeypointSample(name, SIZE, kept, states, scores=scores))
        dataset = KeypointDataset(folder, NAMES, tuple(samples), pairs, joints)
        for ending, kind in ((".slp", "slp"), (".h5", "deeplabcut_h5"), (".nwb", "nwb")):
            path = folder / f"{what}{ending}"
            pw.write_dataset(dataset, path, kind, overwrite=True, lossy=True)


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference; infinite where shapes or missing places differ."""
    if found.shape != wanted.shape or not np.array_equal(np.isnan(found), np.isnan(wanted)):
        return float("inf")
    return float(np.nanmax(np.abs(found - wanted)))


def filled(images: list[list[np.ndarray]], animals: int) -> np.ndarray:
    """Lists of animals of each image as one array, with NaN where there is none."""
    found = np.full((len(images), animals, len(NAMES), 2), np.nan)
    for number, listed in enumerate(images):
        for i, places in enumerate(listed):
            found[number, i] = places
    return found


def by_sleap_io(folder: Path, what: str) -> np.ndarray:
    import sleap_io

    labels = sleap_io.load_slp(str(folder / f"{what}.slp"))
    assert tuple(labels.skeletons[0].node_names) == NAMES
    assert len(labels.skeletons[0].edges) == 2
    assert len(labels.skeletons[0].symmetries) == 1
    assert labels[3].image.shape[:2] == SIZE
    assert int(labels[3].image[0, 0, 0]) == 3
    images = [[one.numpy() for one in frame.instances] for frame in labels.labeled_frames]
    return filled(images, ANIMALS if what == "labels" else 1)


def by_pandas(folder: Path, what: str) -> np.ndarray:
    import pandas

    table = pandas.read_hdf(folder / f"{what}.h5")
    levels = ["scorer", "bodyparts", "coords"]
    levels[1:1] = ["individuals"] if what == "labels" else []
    assert list(table.columns.names) == levels
    coords = 2 if what == "labels" else 3
    return table.to_numpy().reshape(len(table), -1, len(NAMES), coords)[..., :2]


def by_pynwb(folder: Path, what: str) -> np.ndarray:
    """Valid by the schema, and the same numbers; importing ndx_pose registers its types."""
    import ndx_pose  # noqa: F401
    import pynwb

    path = str(folder / f"{what}.nwb")
    faults = pynwb.validate(path=path)
    assert not faults, faults
    with pynwb.NWBHDF5IO(path, "r") as file:
        module = file.read().processing["behavior"]
        assert tuple(module["Skeletons"]["skeleton"].nodes[:]) == NAMES
        if what == "predictions":
            pose = module["PoseEstimation"]
            series = [pose.pose_estimation_series[name].data[:] for name in NAMES]
            return np.stack(series, 1)[:, None]
        frames = module["PoseTraining"].training_frames.training_frames
        order = sorted(frames, key=lambda name: int(name.rpartition("_")[2]))
        images = []
        for name in order:
            instances = frames[name].skeleton_instances.skeleton_instances
            images.append([instances[one].node_locations[:] for one in sorted(instances)])
        return filled(images, ANIMALS)


def by_movement(kind: str) -> Callable[[Path, str], np.ndarray]:
    def read(folder: Path, what: str) -> np.ndarray:
        from movement.io import load_poses

        reader = {
            "slp": load_poses.from_sleap_file,
            "h5": load_poses.from_dlc_file,
            "nwb": load_poses.from_nwb_file,
        }[kind]
        found = reader(folder / f"{what}.{kind}")
        position = found.position.sel(keypoints=list(NAMES))
        ordered = position.transpose("time", "individuals", "keypoints", "space")
        return ordered.to_numpy()

    return read


READERS: dict[str, tuple[Callable[[Path, str], np.ndarray], tuple[str, ...]]] = {
    "sleap-io: .slp": (by_sleap_io, ("labels", "predictions")),
    "pandas: .h5": (by_pandas, ("labels", "predictions")),
    "pynwb + ndx-pose: .nwb": (by_pynwb, ("labels", "predictions")),
    "movement: .slp": (by_movement("slp"), ("predictions",)),
    "movement: .h5": (by_movement("h5"), ("predictions",)),
    "movement: .nwb": (by_movement("nwb"), ("predictions",)),
}


def check(folder: Path) -> None:
    warnings.simplefilter("ignore")
    truth = np.load(folder / "truth.npz")
    found: dict[str, object] = {}
    for name, (read, parts) in READERS.items():
        for what in parts:
            try:
                away: float | str = difference(read(folder, what), truth[what])
            except Exception as error:  # each reader raises kinds of its own
                away = f"{type(error).__name__}: {error}"[:300]
            print(f"{name:24} {what:12} {away}")
            found[f"{name}, {what}"] = away
    tools = ("sleap-io", "pandas", "tables", "pynwb", "ndx-pose", "movement", "h5py")
    found["versions"] = {tool: importlib.metadata.version(tool) for tool in tools}
    (folder / "oracle.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("step", choices=("write", "check"))
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    (write if given.step == "write" else check)(given.folder)


if __name__ == "__main__":
    main()
