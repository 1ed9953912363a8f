"""The command line as a user meets it: real processes, real files."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from placewise import __version__
from placewise.cli import VERBS, main
from placewise.cli._words import parse_settings
from placewise.errors import PlacewiseError

DOCS = Path(__file__).resolve().parents[1] / "docs"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "placewise", *words], capture_output=True, text=True, timeout=300
    )


def test_help_names_every_verb_and_how_to_begin() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in VERBS)
    assert "placewise train my_folder --out my_run" in done.stdout


def test_help_of_all_verbs_fits_on_a_screen_and_a_half(capsys) -> None:
    """It says of each verb what it does; the rest is in the verb's own help, each flag in a row."""
    with pytest.raises(SystemExit):
        main(["--help"])
    assert len(capsys.readouterr().out.splitlines()) < 60
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    told = capsys.readouterr().out
    assert "placewise train [-h] [TRAIN OPTIONS] DATA" in told and "None}" not in told
    lines = [line.strip("│ ") for line in told.splitlines()]
    assert not any(re.fullmatch(r"[\w, ]{,30},", line) for line in lines)  # filled to the end


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_examples_and_a_page(verb: str, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert f"placewise {verb}" in capsys.readouterr().out
    page = (DOCS / f"{verb}.md").read_text(encoding="utf-8")
    assert f"placewise {verb}" in page
    assert f"({verb}.md)" in (DOCS / "README.md").read_text(encoding="utf-8")


def test_every_flag_says_what_it_is(capsys) -> None:
    for verb, function in VERBS.items():
        with pytest.raises(SystemExit):
            main([verb, "--help"])
        told = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
        described = re.findall(r"^ +(\w+): (.+)", function.__doc__ or "", re.MULTILINE)
        assert [name for name, _ in described] == list(inspect.signature(function).parameters)
        for name, words in described:
            assert words.rstrip(".")[:20] in told, f"{verb} {name}"


def test_version(capsys) -> None:
    main(["--version"])
    assert capsys.readouterr().out.strip() == f"placewise {__version__}"


def test_errors_are_one_message_and_exit_code_2(tmp_path: Path) -> None:
    for words in (
        ["check", str(tmp_path / "nowhere")],
        ["evaluate", str(tmp_path), str(tmp_path)],
        ["train", str(tmp_path), "--out", str(tmp_path / "run")],
    ):
        done = run(*words)
        assert done.returncode == 2, words
        assert done.stderr.startswith("placewise: ")
        assert "Traceback" not in done.stderr


def test_an_unknown_flag_is_refused() -> None:
    done = run("train", "somewhere", "--outt", "x")
    assert done.returncode == 2
    assert "--outt" in done.stderr + done.stdout


def test_settings_are_numbers_words_and_lists() -> None:
    found = parse_settings(["sigma=2", "loss=mse", "flip=true", "scale=[0.9, 1.1]", "a-b=x=y"])
    assert found == {"sigma": 2, "loss": "mse", "flip": True, "scale": [0.9, 1.1], "a_b": "x=y"}
    with pytest.raises(PlacewiseError, match="KEY=VALUE"):
        parse_settings(["sigma"])


def test_the_main_job_from_folder_to_keypoints(squares: Path, tmp_path: Path) -> None:
    """check, convert, train, evaluate, predict, one after the other."""
    out = tmp_path / "run"
    checked = run("check", str(squares))
    assert checked.returncode == 0 and "light" in checked.stdout
    other = tmp_path / "coco.json"
    converted = run("convert", str(squares), str(other))
    assert converted.returncode == 0 and other.is_file()
    flags = ["--steps", "12", "--width", "16", "--precision", "float32"]
    trained = run("train", str(squares), "--out", str(out), *flags)
    assert trained.returncode == 0, trained.stderr
    assert "12 of 12 steps" in trained.stderr
    assert "mean error" in trained.stdout
    scored = run("evaluate", str(out), str(squares))
    assert scored.returncode == 0, scored.stderr
    assert "8 test images" in scored.stdout
    keypoints = run(
        "predict", str(out), str(squares / "images"), "--out", str(tmp_path / "keypoints")
    )
    assert keypoints.returncode == 0, keypoints.stderr
    assert (tmp_path / "keypoints" / "predictions.csv").is_file()


PLUGIN = '''
from placewise.heads.heatmap import Heatmap


class MyHead(Heatmap):
    """A head of the user's own."""
'''


def test_a_head_of_the_users_own(squares: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "my_heads.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    flags = ["--steps", "4", "--width", "16", "--precision", "float32"]
    own = ["--head", "my_heads:MyHead"]
    without = run("train", str(squares), "--out", "one", *flags, *own)
    assert without.returncode == 2 and "--plugin my_heads" in without.stderr
    trained = run("train", str(squares), "--out", "two", *flags, *own, "--plugin", "my_heads")
    assert trained.returncode == 0, trained.stderr
    opened = run("evaluate", "two", str(squares))
    assert opened.returncode == 2 and "--plugin my_heads" in opened.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        pytest.param(["--version"], marks=pytest.mark.slow),
        pytest.param(["audit", "--help"], marks=pytest.mark.slow),
        pytest.param(["audit", "no_such.py:net"], marks=pytest.mark.slow),
        ["show", "lenet+flatten", "--size", "32", "--no-paths"],
    ],
)
def test_a_reader_that_leaves_early_is_no_error(words: list[str]) -> None:
    """As `placewise audit … | head -1`: the pipe is closed before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "placewise", *words]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=300)
    both = subprocess.run(command, stdout=writing, stderr=writing, timeout=300)
    os.close(writing)
    refused = words[1:] == ["no_such.py:net"]
    assert done.returncode == (2 if refused else 0)
    assert done.stderr.startswith("placewise: ") if refused else not done.stderr, done.stderr
    assert both.returncode == done.returncode


def test_what_is_left_to_say_to_a_closed_pipe_stops_nothing(tmp_path: Path) -> None:
    """The audit goes on, is written whole, and its exit code is that of the condition."""
    reading, writing = os.pipe()
    os.close(reading)
    (tmp_path / "net.py").write_text("from torch import nn\n\nnet = nn.AvgPool2d(2)\n", "utf-8")
    words = ["audit", "net.py:net", "--size", "8", "--in-channels", "1", "--no-measure"]
    command = [sys.executable, "-m", "placewise", *words, "--out", "o", "--fail-if", "gini<2"]
    done = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=300, cwd=tmp_path
    )
    os.close(writing)
    assert done.returncode == 1 and done.stderr == "gini is 0: --fail-if gini<2\n", done.stderr
    assert (tmp_path / "o" / "report.html").is_file()
