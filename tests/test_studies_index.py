"""The stored pages: each is what its command writes, and holds the numbers of the index."""

from __future__ import annotations

import ast
import re
import shutil
from itertools import chain
from pathlib import Path

import pytest

import studies
from placewise.files import read_json
from studies import STUDIES, rewrite_page

PAGES = Path(__file__).parents[1] / "docs" / "studies"
NUMBER = re.compile(r"-?\d[\d,.]*(?:e-\d+)?(?: \[[^]]*\])?")


def rows() -> list[tuple[str, str, str]]:
    """(answer, numbers, name of the study) of each row."""
    text = (PAGES / "README.md").read_text(encoding="utf-8")
    cells = [
        line.strip("| ").split(" | ") for line in text.splitlines() if "python -m studies" in line
    ]
    found = []
    for _, answer, numbers, command in cells:
        name = re.match(r"\[(\w+)\]\((\w+)\.md\): `python -m studies (\w+)[^`]*`$", command)
        assert name is not None and len(set(name.groups())) == 1, command
        found.append((answer, numbers, name[1]))
    return found


def test_each_study_answers_a_question_and_has_its_page() -> None:
    assert {name for _, _, name in rows()} == set(STUDIES.names())
    for name in STUDIES.names():
        assert (PAGES / f"{name}.md").is_file()
        assert (PAGES / f"{name}.json").is_file()


@pytest.mark.parametrize("name", STUDIES.names())
def test_each_stored_page_is_what_its_command_writes(name: str, tmp_path: Path) -> None:
    """The text of the study filled with the stored numbers; the record itself is checksummed."""
    shutil.copytree(PAGES, tmp_path / "pages")
    before = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert rewrite_page(name, tmp_path / "pages").read_text(encoding="utf-8") == before


def texts_of(name: str) -> list[tuple[re.Pattern[str], int]]:
    """Texts in the code of a study, numbers left open, each with how many letters are fixed."""
    home = Path(studies.__file__).parent
    files = [*home.glob(f"{name}.py"), *home.glob(f"{name}/*.py"), *home.glob("_*.py")]
    found = []
    for node in chain.from_iterable(ast.walk(ast.parse(f.read_text("utf-8"))) for f in files):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        if all(isinstance(part, ast.Constant | ast.FormattedValue) for part in parts):
            fixed = [str(p.value) if isinstance(p, ast.Constant) else None for p in parts]
            pattern = "".join(".*" if text is None else re.escape(text) for text in fixed)
            found.append((re.compile(pattern), sum(len(text or "") for text in fixed)))
    return found


def unknown(texts: list[str], name: str, share: float) -> list[str]:
    """Those that no text in the code gives, a share of their letters being fixed there."""
    known = texts_of(name)
    return [
        text
        for text in texts
        if not any(k.fullmatch(text) and fixed >= share * len(text) for k, fixed in known)
    ]


@pytest.mark.parametrize("name", STUDIES.names())
def test_stored_texts_are_those_of_the_code(name: str) -> None:
    """Claims and the reasons of their verdicts, so that a new run writes the same page."""
    stored = read_json(PAGES / f"{name}.json")["claims"].values()
    stored = [one for one in stored if isinstance(one, dict) and "claim" in one]
    assert len(stored) >= 4
    assert unknown([one["claim"] for one in stored], name, 0.6) == []
    assert unknown([one["said"].split(": ")[0] for one in stored], name, 0.3) == []
    assert unknown(["It is so."], name, 0.6) == ["It is so."]


@pytest.mark.parametrize("name", STUDIES.names())
def test_every_figure_of_a_stored_page_is_there(name: str) -> None:
    places = read_json(PAGES / f"{name}.json")["figures"].values()
    assert places
    assert [place for place in places if not (PAGES / place).is_file()] == []


@pytest.mark.parametrize("name", STUDIES.names())
def test_every_number_of_the_index_stands_on_its_page(name: str) -> None:
    page = re.sub(r"\s+", " ", (PAGES / f"{name}.md").read_text(encoding="utf-8"))
    numbers = [n.rstrip(",.") for _, told, of in rows() if of == name for n in NUMBER.findall(told)]
    assert len(numbers) >= 3
    assert [number for number in numbers if number not in page] == []


def test_each_answer_is_two_sentences_at_most() -> None:
    answers = [answer for answer, _, _ in rows()]
    assert len(answers) > 10
    assert [a for a in answers if len(re.findall(r"[.?!](?: |$)", a)) > 2] == []
