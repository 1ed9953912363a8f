"""One writer for a folder, and what it says where its folder is gone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from placewise.errors import SettingsError
from placewise.formats import read_dataset
from placewise.ownership import alone, writing
from placewise.training import train

HOLD = """
import sys, time
from pathlib import Path
from placewise.ownership import writing
with writing(Path(sys.argv[1]), "run.json"):
    print("held", flush=True)
    time.sleep(60)
"""

QUICK: dict[str, Any] = {
    "precision": "float32",
    "backbone_settings": {"width": 16, "depth": 1},
    "batch_size": 4,
    "max_steps": 30,
    "val_interval": 5,
    "quiet": True,
}


def test_of_two_processes_the_second_is_refused_and_a_killed_one_leaves_no_lock(
    squares: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        before = {path: path.read_bytes() for path in out.iterdir()}
        with pytest.raises(SettingsError, match=rf"already: process {holder.pid} on .*; wait for"):
            train(read_dataset(squares), out, **QUICK)
        assert {path: path.read_bytes() for path in out.iterdir()} == before
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with writing(out, "run.json") as writer:
            assert writer.there
    assert list(out.iterdir()) == []


def test_a_folder_that_was_made_for_nothing_is_removed_again(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writing(tmp_path / "new", "run.json"):
        raise ZeroDivisionError
    (tmp_path / "old").mkdir()
    with writing(tmp_path / "old", "run.json"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_nor_if_it_is_removed_before_the_first_step(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*given: object) -> tuple[str, float]:
        shutil.rmtree(tmp_path / "run")
        return "float32", 0.1

    monkeypatch.setattr(sys.modules["placewise.training.begin"], "_measure", measure)
    with pytest.raises(SettingsError, match="run was removed or replaced while"):
        train(read_dataset(squares), tmp_path / "run", **QUICK)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("replaced", [False, True])
def test_a_folder_that_is_removed_ends_in_one_line_and_is_not_made_again(
    squares: Path, tmp_path: Path, replaced: bool
) -> None:
    """Nor is anything written into another folder that has its name by now."""
    out = tmp_path / "run"

    def remove(line: Mapping[str, Any]) -> None:
        if line["step"] == 10 and "loss" in line:
            shutil.rmtree(out)
            if replaced:
                out.mkdir()
                (out / "mine.txt").touch()

    with pytest.raises(SettingsError, match="run was removed or replaced while") as error:
        train(read_dataset(squares), out, callbacks=[remove], **QUICK)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "mine.txt"] * replaced


def test_whoever_wants_to_be_alone_waits_for_another_process(tmp_path: Path) -> None:
    """And not for one that was killed."""
    hold = "import sys, time; from pathlib import Path; from placewise.ownership import alone\n"
    hold += "with alone(Path(sys.argv[1])):\n    print('in', flush=True)\n    time.sleep(60)"
    words = [sys.executable, "-c", hold, str(tmp_path / ".lock")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "in\n"
        after: list[str] = []

        def enter() -> None:
            with alone(tmp_path / ".lock"):
                after.append("entered")

        waiting = threading.Thread(target=enter)
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive() and not after
        holder.kill()
        waiting.join(30)
    assert after == ["entered"]
