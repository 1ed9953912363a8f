"""The index of studies: every number stands on the page that it names, every page is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from placewise.studies import STUDIES

PAGES = Path(__file__).parents[1] / "docs" / "studies"
NUMBER = re.compile(r"-?\d[\d,.]*(?:e-\d+)?(?: \[[^]]*\])?")


def rows() -> list[tuple[str, str, str]]:
    """(answer, numbers, name of the study) of each row."""
    text = (PAGES / "README.md").read_text(encoding="utf-8")
    cells = [
        line.strip("| ").split(" | ") for line in text.splitlines() if "placewise study" in line
    ]
    found = []
    for _, answer, numbers, command in cells:
        name = re.match(r"\[(\w+)\]\((\w+)\.md\): `placewise study (\w+)[^`]*`$", command)
        assert name is not None and len(set(name.groups())) == 1, command
        found.append((answer, numbers, name[1]))
    return found


def test_each_study_answers_a_question_and_has_its_page() -> None:
    assert {name for _, _, name in rows()} == set(STUDIES.names())
    for name in STUDIES.names():
        assert (PAGES / f"{name}.md").is_file()
        assert (PAGES / f"{name}.json").is_file()


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
