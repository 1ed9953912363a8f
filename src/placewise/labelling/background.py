"""Training from the page: `placewise train` as a process of its own, on a copy of the labels."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from placewise.errors import PlacewiseError, SettingsError
from placewise.files import make_folder
from placewise.formats import write_dataset
from placewise.labels import KeypointDataset
from placewise.run import Run

LEAST = 5
"""Labelled images from which on a training can begin."""

KIND = 10
"""How much a training gives way to what else runs, as `nice` counts it."""


class Training:
    """One training at a time, each in a new folder.

    Args:
        folder: where the runs are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.run: Path | None = None
        self._reported = True

    @property
    def going(self) -> bool:
        """Whether a training is going on."""
        return self._process is not None and self._process.poll() is None

    def start(self, labels: KeypointDataset, minutes: float) -> None:
        """Begin to train on labels as they are now.

        Args:
            labels: the labels; a copy is kept beside the run.
            minutes: length of the training.

        Raises:
            SettingsError: one is going on, or too little is labelled.
        """
        if self.going:
            raise SettingsError("a training is going on; wait for it, or stop it")
        known = sum(bool(sample.located.any()) for sample in labels.samples)
        if known < LEAST:
            raise SettingsError(f"{known} images are labelled; label at least {LEAST}, better 20")
        make_folder(self.folder)
        number = 1 + max((_number(path) for path in self.folder.iterdir()), default=0)
        self.run = self.folder / f"{number:03d}"
        copy = self.folder / f"{number:03d}-labels.json"
        write_dataset(labels, copy, "coco")
        words = ["train", str(copy), "--root", str(labels.root), "--out", str(self.run)]
        words += ["--task", labels.task, "--format", "coco", "--minutes", f"{minutes:g}"]
        log = self.folder / f"{number:03d}-training.log"
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "placewise", *words],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self._reported = False
        if sys.platform != "win32":
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._process.pid, KIND)

    def stop(self) -> None:
        """End the training that is going on, if there is one."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def finished(self) -> Path | None:
        """The run of a training that has ended well, told once; else None."""
        if self._reported or self.going or self._process is None:
            return None
        self._reported = True
        return self.run if self._process.returncode == 0 else None

    def state(self) -> dict[str, Any]:
        """What the page shows: `state`, and `share` of the steps or `error`."""
        if self._process is None or self.run is None:
            return {"state": "idle"}
        name = f"{self.folder.name}/{self.run.name}"
        if self.going:
            return {"state": "running", "run": name, "share": _share(self.run)}
        if self._process.returncode == 0:
            return {"state": "done", "run": name}
        if self._process.returncode < 0:
            return {"state": "stopped", "run": name}
        return {"state": "failed", "run": name, "error": self._said()}

    def _said(self) -> str:
        """The last line that a training has said."""
        log = self.folder / f"{self.run.name if self.run else ''}-training.log"
        text = log.read_bytes()[-4000:].decode("utf-8", "replace") if log.is_file() else ""
        lines = [line for line in text.splitlines() if line.strip()]
        return lines[-1].removeprefix("placewise: ")[:500] if lines else ""


def _share(run: Path) -> float | None:
    """Share of the training that is done; None before the first line of its log."""
    try:
        opened = Run.open(run)
        steps, log = opened.facts.training.get("max_steps"), opened.log()
        if not log:
            return None
        places = [float(line["place"]) for line in log if line.get("place") is not None]
        return min(1.0, places[-1] if places else log[-1]["step"] / (steps or 1))
    except PlacewiseError:
        return None


def _number(path: Path) -> int:
    """The number that a file or folder of a training begins with; 0 where it has none."""
    start = path.name[:3]
    return int(start) if start.isdecimal() else 0
