"""What the tests share: a small folder of labelled images that a net learns in seconds."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in two processes: one core for each

import numpy as np
import pytest
import torch
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]

WHOLE = """
audit_report check classes cli cli_audit compare compare_killed demo docs_commands
evaluate_content gpu hostile_runs labelling_page labelling_trouble location_toy parallel predict
predict_resume predict_video report resume studies studies_colours studies_convergence
studies_flattening studies_keypoints studies_proximity studies_runs studies_signals studies_sizes
studies_vessels tasks toy_task train training_python
""".split()
"""Modules whose tests train networks, start other processes, or open a browser."""

EXHAUSTIVE = """
audit audit_effective audit_paths audit_position audit_sensitivity audit_shift flatten_order
backbones convolutionalize graph graph_oracle layers layers_local ops_axes ops_borders ops_contract
ops_rules proximity proximity_placement proximity_rewiring remedies show statistics target
""".split()
"""Modules of single parts that take longer than one waits while working."""


LONGEST = """
train cli_audit cli compare_killed docs_commands toy_task remedies compare hostile_runs studies_runs
predict_resume studies report predict formats_dialects classes training_python
""".split()
"""Modules that take longest, which begin: at the end no process waits for another."""


def pytest_report_header() -> str:
    """Which placewise is tested: that of src, or an installed one."""
    import placewise

    return f"placewise: {Path(placewise.__file__).parent}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their module: `unit`, and of these `quick` what does not take long.

    A module runs in one process, so what its tests share is made once; the longest begin.
    """
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(_module(item), len(LONGEST)))
    for item in items:
        module = _module(item)
        slow = item.get_closest_marker("slow") is not None
        if module not in WHOLE:
            item.add_marker("unit")
        if module not in WHOLE + EXHAUSTIVE and not slow:
            item.add_marker("quick")


def _module(item: pytest.Item) -> str:
    return item.path.stem.removeprefix("test_")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no GPU here")


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; tests that want it are skipped where it is missing."""
    folder = Path(os.environ.get("PLACEWISE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "openfield_mouse" / "points.csv").is_file():
        pytest.skip(f"no real data in {folder}; set PLACEWISE_DATA to the folder that holds them")
    return folder


def draw_squares(folder: Path, count: int, *, seed: int = 0, sizes: bool = False) -> Path:
    """Images with a bright and a dark square on noise; every fourth lacks the dark one.

    `light` and `dark` are the squares' centres; where `dark` is missing it is labelled absent,
    and on the last image it is not labelled.
    """
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    rows = ["image,point,x,y,state,split"]
    for number in range(count):
        high, wide = (40 + 8 * (number % 3), 56 - 8 * (number % 2)) if sizes else (48, 56)
        image = rng.normal(110, 8, (high, wide)).clip(0, 255)
        split = "test" if number % 5 == 4 else "val" if number % 5 == 3 else "train"
        name = f"images/{number:03d}.png"
        for point, value in (("light", 230), ("dark", 20)):
            x, y = int(rng.integers(5, wide - 5)), int(rng.integers(5, high - 5))
            if point == "dark" and number == count - 1:
                rows.append(f"{name},{point},,,unlabelled,{split}")
            elif point == "dark" and number % 4 == 3:
                rows.append(f"{name},{point},,,absent,{split}")
            else:
                image[y - 3 : y + 4, x - 3 : x + 4] = value
                rows.append(f"{name},{point},{x},{y},visible,{split}")
        Image.fromarray(image.astype(np.uint8)).save(folder / name)
    (folder / "points.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def blob(size: tuple[int, ...], place: np.ndarray, sigma: float = 2.0) -> np.ndarray:
    """A Gaussian about a place (x, y, …): (*size, 1) float32."""
    grids = np.meshgrid(*(np.arange(side) for side in size), indexing="ij")[::-1]
    away = sum((grid - x) ** 2 for grid, x in zip(grids, place, strict=True))
    return np.exp(-away / (2 * sigma**2))[..., None].astype(np.float32)


def write_signals(folder: Path) -> None:
    """Ten recordings with a peak each, which is labelled; the folder is there."""
    rng, rows = np.random.default_rng(0), ["recording,split,keypoint,x"]
    for k, split in enumerate(["train"] * 6 + ["val"] * 2 + ["test"] * 2):
        length = int(rng.integers(150, 190))
        place = rng.uniform(40, length - 40)
        values = blob((length,), np.array([place]), 4.0) * 900 + rng.normal(0, 20, (length, 1))
        np.savez(folder / f"r{k}.npz", signal=values, fs=250)
        rows.append(f"r{k}.npz,{split},peak,{place:.3f}")
    (folder / "points.csv").write_text("\n".join(rows) + "\n")


def write_volumes(folder: Path) -> None:
    """Ten volumes with a bright ball each, whose middle is labelled; the folder is there."""
    rng, rows = np.random.default_rng(0), ["volume,split,keypoint,x,y,z"]
    for k, split in enumerate(["train"] * 6 + ["val"] * 2 + ["test"] * 2):
        place = rng.uniform(5, 11, 3)
        values = blob((16, 17, 18), place) * 4000 + rng.normal(0, 90, (16, 17, 18, 1))
        np.savez(folder / f"v{k}.npz", volume=values[..., 0], spacing_mm=(2.0, 1.0, 1.0))
        rows.append(f"v{k}.npz,{split},peak,{','.join(f'{x:.3f}' for x in place)}")
    (folder / "points.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 labelled images of one size; read it, do not write to it."""
    return draw_squares(tmp_path_factory.mktemp("squares"), 40)
