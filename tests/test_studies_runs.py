"""Runs of a study: done once, kept, on any number of processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import REPOSITORY
from placewise.errors import SettingsError
from placewise.files import read_json, write_json
from studies import Options
from studies._runs import Run, run_each


def doubled(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves a mark for each time it is done."""
    marks = Path(settings["marks"])
    (marks / f"{settings['n']}-{time.monotonic_ns()}").touch()
    return {"twice": 2 * settings["n"], "threads": torch.get_num_threads()}


def runs(folder: Path, count: int = 4) -> list[Run]:
    marks = folder / "marks"
    marks.mkdir(exist_ok=True)
    return [Run(f"some/{n}", {"n": n, "marks": str(marks)}) for n in range(count)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_run_is_done_once_with_one_thread(tmp_path: Path, jobs: int) -> None:
    asked = runs(tmp_path)
    options = Options(runs=tmp_path / "kept", n_jobs=jobs, quiet=True)
    for _ in range(2):
        found = run_each(doubled, asked, options)
        assert [one["twice"] for one in found] == [0, 2, 4, 6]
        assert {one["threads"] for one in found} == {1}
    assert len(list((tmp_path / "marks").iterdir())) == 4


def test_a_run_that_is_missing_is_done_and_no_other(tmp_path: Path) -> None:
    options = Options(runs=tmp_path / "kept", n_jobs=1, quiet=True)
    asked = runs(tmp_path)
    run_each(doubled, asked, options)
    (tmp_path / "kept" / "some" / "2.json").unlink()
    run_each(doubled, asked, options)
    marks = sorted(path.name[0] for path in (tmp_path / "marks").iterdir())
    assert marks == ["0", "1", "2", "2", "3"]


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    for _ in range(2):
        run_each(doubled, runs(tmp_path, 1), Options(n_jobs=1, quiet=True))
    assert len(list((tmp_path / "marks").iterdir())) == 2


@pytest.mark.parametrize("change", ["settings", "version"])
def test_what_was_kept_of_other_runs_is_refused(tmp_path: Path, change: str) -> None:
    options = Options(runs=tmp_path / "kept", n_jobs=1, quiet=True)
    asked = runs(tmp_path, 1)
    run_each(doubled, asked, options)
    if change == "settings":
        asked = [Run(asked[0].name, {**asked[0].settings, "n": 7})]
    else:
        file = tmp_path / "kept" / "some" / "0.json"
        kept = {key: value for key, value in read_json(file).items() if key != "sha256"}
        write_json(file, {**kept, "of": {**kept["of"], "placewise": "0"}})
    with pytest.raises(SettingsError, match="of other settings, or of another version"):
        run_each(doubled, asked, options)
    assert len(list((tmp_path / "marks").iterdir())) == 1


@pytest.mark.slow  # tests/test_compare_killed.py kills the sweep that studies run by
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a thing of POSIX")
def test_a_study_that_is_killed_goes_on(tmp_path: Path) -> None:
    """Real processes, real SIGKILL: the second study keeps what the first one had."""
    kept, out = tmp_path / "kept", tmp_path / "pages"
    words = ["proximity", "--scale", "tiny", "--n-jobs", "1", "--quiet"]
    command = [sys.executable, "-m", "studies", *words, "--runs", str(kept), "--out", str(out)]
    first = subprocess.Popen(command, cwd=REPOSITORY)
    until = time.monotonic() + 300
    while first.poll() is None and len(list(kept.rglob("*.json"))) < 5:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert first.poll() is None, "it had ended before it could be killed"
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = {path: path.stat().st_mtime_ns for path in kept.rglob("*.json")}
    assert len(before) >= 5 and not (out / "proximity.md").exists()
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=300)
    assert (out / "proximity.md").is_file()
    after = {path: path.stat().st_mtime_ns for path in kept.rglob("*.json")}
    assert len(after) > len(before)
    assert {path: after[path] for path in before} == before
