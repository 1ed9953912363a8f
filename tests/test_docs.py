"""The documentation: its links lead somewhere, and it names everything that can be named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from placewise.backbones import BACKBONES
from placewise.cli import VERBS
from placewise.decoders import DECODERS
from placewise.family import Family
from placewise.formats import FORMATS
from placewise.heads import HEADS
from placewise.layers import LAYERS
from placewise.paddings import PADDINGS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FAMILIES: dict[str, Family] = {
    "backbones": BACKBONES,
    "decoders": DECODERS,
    "formats": FORMATS,
    "heads": HEADS,
    "layers": LAYERS,
    "paddings": PADDINGS,
}


def links(page: Path) -> list[str]:
    """Where the links and images of a page lead, but for those to the web."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [link for link in LINK.findall(text) if not re.match(r"\w+:", link)]


def anchors(page: Path) -> set[str]:
    """What a link behind # may name on a page: its headings, as they are written in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    words = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {word.strip().replace(" ", "-") for word in words}


def dead(page: Path) -> list[str]:
    """Links of a page that lead nowhere."""
    found = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


def test_there_are_pages_with_links() -> None:
    assert {"README.md", "train.md", "heads.md"} <= {page.name for page in PAGES}
    assert sum(len(links(page)) for page in PAGES) > 100


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert dead(page) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Some *words*\n[a](page.md#some-words) [b](#none) ![c](no.png) [d](https://e.org/f)\n"
        "```\n[g](in_code.md)\n```\n"
    )
    assert dead(page) == ["#none", "no.png"]


def test_every_page_is_linked_from_the_first_one() -> None:
    """From docs/README.md every page can be reached, and every verb is in its table."""
    seen, waiting = set(), [ROOT / "docs" / "README.md"]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        ends = ((page.parent / link.partition("#")[0]).resolve() for link in links(page))
        waiting += [
            end for end in ends if end.suffix == ".md" and end.is_file() and end not in seen
        ]
    assert {page for page in PAGES if "docs" in page.relative_to(ROOT).parts} <= seen
    table = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert all(f"| [{verb}]({verb}.md) |" in table for verb in VERBS)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_member_is_named_on_the_page_of_its_family(family: str) -> None:
    text = (ROOT / "docs" / f"{family}.md").read_text(encoding="utf-8")
    names = FAMILIES[family].names()
    assert len(names) >= 3
    assert [name for name in names if f"`{name}`" not in text] == []


@pytest.mark.parametrize("family", ["heads", "backbones"])
def test_help_of_train_names_what_can_be_chosen(family: str) -> None:
    words = re.findall(r"\w+", VERBS["train"].__doc__ or "")
    assert [name for name in FAMILIES[family].names() if name not in words] == []


@pytest.mark.parametrize("verb", ["check", "train", "evaluate"])
def test_help_of_data_tells_where_every_format_is_named(verb: str) -> None:
    assert "docs/formats.md lists them" in (VERBS[verb].__doc__ or "")
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    assert [name for name in FORMATS.names() if f"`{name}`" not in text] == []
