"""Commands and scripts of the documentation do what the pages say: they are run as written."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import placewise
import placewise.cli as cli
import studies.__main__ as studies_cli
from conftest import REPOSITORY
from docs_sandbox import PAGES, blocks, clear_targets, commands, furnish, words_of
from test_toy_task import TOY

COMMANDS = list(dict.fromkeys(line for page in PAGES for line in commands(page)))

NOT_RUN = {
    "torchvision:": "torchvision is not among the packages of the tests",
    "timm:": "timm is not among the packages of the tests",
    "placewise export": "takes half a minute; tests/test_export.py writes files and runs them",
    "torchrun": "starts several processes; tests/test_parallel.py does",
    "fish": "trains for a while; tests/test_poses.py goes through these verbs on drawn fish",
    "placewise label": "serves a page until Ctrl+C; tests/test_labelling_page.py opens it",
    "placewise demo": "takes minutes; tests/test_demo.py runs it with few images",
    "my_second_run": "needs another training; tests/test_predict_video.py predicts with two runs",
    "--heads": "trains many networks of full length; the plan on the page of compare is tiny here",
    "python -m studies": "measures for minutes; tests of each study run it at scale tiny",
}
"""Commands that are only parsed, by what they contain, and why."""

FIRST = {
    "placewise train my_folder --out my_run --minutes 8",
    "placewise train mnist --out digits --backbone lenet --head flatten --minutes 4",
    "placewise predict my_run new_images --out predictions",
    "placewise predict my_run clip.mp4 --out clip_predicted --video --smooth median=5",
    "placewise train my_masks --out masks_run --minutes 15",
    "placewise train my_cells --out cells_run --minutes 12",
    "placewise train my_stripes/angles.csv --plugin stripes --format stripes:AngleCsv "
    "--out stripes_run --minutes 8",
}
"""Commands of the pages that others build on: they are run first, and once."""

LONG = {
    "placewise audit my_net.py:build --size 240x320 --data my_images --out findings",
    "placewise compare plan.toml --out comparison",
    "placewise train folder_of_classes --out my_classes --head flatten --minutes 8",
    "placewise train my_folder --out my_run --resume",
}
"""Commands that take more than a few seconds even on tiny data."""

SCRIPTS = blocks(REPOSITORY / "docs" / "python.md", "python")
LONGEST = 15

RUN = [line for line in COMMANDS if not any(part in line for part in NOT_RUN)]


def run(command: str) -> None:
    """Run a command in the working folder; it must end well.

    One with a plugin runs in a process of its own: what it imports is known to all families.
    """
    words = words_of(command)
    clear_targets(words)
    if "--plugin" in words:
        subprocess.run([sys.executable, "-m", *words], check=True)
        return
    try:
        cli.main(words[1:])
    except SystemExit as ended:
        assert not ended.code, f"{command} ended with {ended.code}"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Furnished, with what the first commands of the pages write."""
    folder = furnish(tmp_path_factory.mktemp("docs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in COMMANDS:
            if command in FIRST:
                run(command)
    yield folder


@pytest.fixture
def sandbox(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy for one command, as the working folder."""
    folder = shutil.copytree(base, tmp_path / "sandbox")
    monkeypatch.chdir(folder)
    return folder


def test_there_are_commands_and_each_exception_stands_for_one() -> None:
    assert set(COMMANDS) >= FIRST | LONG
    assert len(RUN) >= 15
    assert [part for part in NOT_RUN if not any(part in line for line in COMMANDS)] == []
    assert {words_of(line)[1] for line in RUN} == set(cli.VERBS) - {"demo", "export", "label"}


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(line, marks=pytest.mark.slow if line in LONG else ())
        for line in RUN
        if line not in FIRST
    ],
)
def test_a_command_runs_as_written(command: str, sandbox: Path) -> None:
    run(command)


def test_the_first_commands_write_what_the_pages_say(base: Path) -> None:
    assert (base / "my_run" / "validation" / "report.html").is_file()
    assert (base / "digits" / "validation" / "report.html").is_file()
    assert (base / "predictions" / "predictions.csv").is_file()


# --- every command is understood ----------------------------------------------------------------


def examples() -> list[str]:
    """Commands in the help of each verb, and in that of the whole program."""
    texts = [cli.DESCRIPTION, *(inspect.getdoc(verb) or "" for verb in cli.VERBS.values())]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return [line for line in lines if re.match(r"(placewise|torchrun) .*[^:]$", line)]


@pytest.mark.parametrize("command", sorted({*COMMANDS, *examples()}))
def test_a_command_is_understood(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command line's own parser, with a verb that does nothing."""
    words, called = words_of(command), []
    if words[:3] == ["python", "-m", "studies"]:
        monkeypatch.setattr(studies_cli, "run_study", lambda *given: called.append(given))
        monkeypatch.setattr(studies_cli, "rewrite_page", lambda *given: called.append(given))
        studies_cli.main(words[3:])
    else:
        words = words[words.index("placewise") + 1 :]
        if words[0] == "VERB":
            return
        verb = cli.VERBS[words[0]]
        idle = functools.wraps(verb)(lambda *given, **named: called.append(given))
        monkeypatch.setitem(cli.VERBS, words[0], idle)
        cli.main(words)
    assert len(called) == 1


def test_help_shows_examples_of_each_verb() -> None:
    shown = {words_of(line.partition("-m ")[2] or line)[1] for line in examples()}
    assert shown == set(cli.VERBS)


def test_a_wrong_command_is_not_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", "my_folder", "--out", "my_run", "--nonsense", "3"])
    assert ended.value.code == 2


# --- pieces of a task ---------------------------------------------------------------------------


def test_pieces_of_the_example_task_stand_in_its_file() -> None:
    """Statement by statement: how they are laid out on the page does not matter."""
    pieces = blocks(REPOSITORY / "docs" / "tasks.md", "python")
    whole = ast.parse((TOY / "stripes.py").read_text("utf-8"))
    known = {ast.dump(node) for node in ast.walk(whole)}
    said = [node for piece in pieces for node in ast.parse(textwrap.dedent(piece)).body]
    assert len(pieces) >= 5 and len(said) >= len(pieces)
    assert [ast.unparse(node) for node in said if ast.dump(node) not in known] == []


# --- scripts ------------------------------------------------------------------------------------


def lines(script: str) -> int:
    return sum(bool(line.strip()) for line in script.splitlines())


def test_there_are_five_short_scripts() -> None:
    assert len(SCRIPTS) == 5
    assert max(map(lines, SCRIPTS)) <= LONGEST


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """What the scripts leave behind, one after the other in one folder."""
    folder = furnish(tmp_path_factory.mktemp("scripts"))
    names: dict[str, object] = {"folder": folder}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for script in SCRIPTS:
            space: dict[str, object] = {"__name__": "__main__"}
            exec(compile(script, "docs/python.md", "exec"), space)
            names |= space
    yield names


def test_the_script_of_the_readme_runs(written: dict[str, object]) -> None:
    """As written, but for the length of its training and the folder of its run."""
    (script,) = blocks(REPOSITORY / "README.md", "python")
    short = script.replace("max_minutes=8", "max_steps=2").replace("my_run", "short_run")
    assert short.count("short_run") == 2 and "max_steps=2" in short
    space: dict[str, object] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(written["folder"])
        exec(compile(short, "README.md", "exec"), space)
    assert space["found"].keypoints.shape == (2, 2)


def test_the_scripts_run_as_written(written: dict[str, object]) -> None:
    folder = written["folder"]
    assert written["scores"]["mean_error_px"] > 0
    assert (folder / "findings" / "report.html").is_file()
    assert "within_5_px" in (folder / "logged_run" / "log.jsonl").read_text("utf-8")
    assert written["report"].verdict


def test_a_loaded_model_knows_what_it_was_trained_on(written: dict[str, object]) -> None:
    """Scored through its model, a run's training images are no test images either."""
    folder = written["folder"]
    table = (folder / "my_folder" / "points.csv").read_text("utf-8")
    bare = re.sub(r",(train|val|test)$", ",", table, flags=re.MULTILINE)
    (folder / "my_folder" / "keypoints.csv").write_text(bare, encoding="utf-8")
    dataset = placewise.read_dataset(folder / "my_folder" / "keypoints.csv")
    assert all(sample.split is None for sample in dataset.samples)
    scores = placewise.evaluate(placewise.load_model(folder / "my_run"), dataset)
    assert (scores["split"], scores["images"]) == ("test", 4)
