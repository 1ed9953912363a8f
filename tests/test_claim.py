"""Whose folder it is: nothing is ever written over something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from placewise.errors import SettingsError
from placewise.files import claim_folder, make_folder, write_json

RESULT = "found.json"


def new(folder: Path) -> None:
    """There is no folder yet."""


def empty(folder: Path) -> None:
    folder.mkdir()


def killed(folder: Path) -> None:
    """A result was begun, and ended before its first file was whole."""
    folder.mkdir()
    (folder / f".{RESULT}.12-ab.tmp").touch()


def former(folder: Path) -> None:
    folder.mkdir()
    write_json(folder / RESULT, {})
    (folder / "report.html").touch()


def foreign(folder: Path) -> None:
    folder.mkdir()
    (folder / "mine.txt").touch()


def hidden(folder: Path) -> None:
    folder.mkdir()
    (folder / ".git").mkdir()


def a_file(folder: Path) -> None:
    folder.touch()


ALLOWED = {
    None: {new, empty, killed, former},
    True: {new, empty, killed, former},
    False: {new, empty, killed},
}


@pytest.mark.parametrize("make", [new, empty, killed, former, foreign, hidden, a_file])
@pytest.mark.parametrize("resume", ALLOWED)
def test_only_a_new_folder_or_one_of_the_same_kind(tmp_path: Path, make, resume) -> None:
    folder = tmp_path / "out"
    make(folder)
    before = sorted(tmp_path.rglob("*"))
    if make in ALLOWED[resume]:
        claim_folder(folder, RESULT, resume=resume)
    else:
        with pytest.raises(SettingsError, match=r"out .*; .*name a new") as error:
            claim_folder(folder, RESULT, resume=resume)
        assert ("--resume" in str(error.value)) == (make is former)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("make", [killed, former, foreign, a_file])
def test_without_a_result_the_folder_must_be_empty(tmp_path: Path, make) -> None:
    make(tmp_path / "out")
    with pytest.raises(SettingsError, match="name a new"):
        claim_folder(tmp_path / "out", "")


@pytest.mark.parametrize("path", ["a_file/out", "n" * 300, f"{'n' * 300}/out"])
def test_a_folder_that_cannot_be_made_is_refused_before_any_work(tmp_path: Path, path: str) -> None:
    (tmp_path / "a_file").touch()
    for refuse in (lambda out: claim_folder(out, RESULT), make_folder):
        with pytest.raises(SettingsError, match=r"name (a new|another)"):
            refuse(tmp_path / path)
    assert [one.name for one in tmp_path.iterdir()] == ["a_file"]
