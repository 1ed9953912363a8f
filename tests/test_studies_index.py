"""The stored pages: each is what its command writes, and holds the numbers of the index."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

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
