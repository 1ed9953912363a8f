"""The page of a study: a text with places to be filled, its numbers, its figures.

```
{{growth.layers}}                          a number or words, found by their path in the numbers
{{growth.table}}                           a table, if a header and rows stand there
{{figures.growth}}                         where the figure is, to be shown
{{if trained.real}} … {{else}} … {{end}}   one text or the other
```
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from placewise.errors import CheckpointError, SettingsError
from placewise.files import read_json, write_bytes, write_json, write_text

CHOICE = re.compile(
    r"\{\{if ([\w.]+)\}\}\n?(.*?)(?:\{\{else\}\}\n?(.*?))?\{\{end\}\}\n?", re.DOTALL
)
PLACE = re.compile(r"\{\{([\w.]+)\}\}")


def check_place(out: Path, name: str) -> None:
    """Refuse to write where something else than a former page of the same study stands.

    Args:
        out: folder of the page.
        name: of the study.

    Raises:
        SettingsError: a file that the page would replace is not of a former page.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "edges.md").write_text("mine")
        ...     check_place(Path(folder), "edges")
        Traceback (most recent call last):
        placewise.errors.SettingsError: ...edges.md is in the way: ...
    """
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out} is a file; --out must name a folder, new or old")
    former = _former(out, name)
    figures = out / name
    there = [out / f"{name}.md", out / f"{name}.json", *_inside(figures)]
    for path in there:
        known = path.relative_to(out).as_posix() in former
        if path.exists() and not (known and path.is_file()):
            raise SettingsError(
                f"{path} is in the way: it is not of a former page of this study, and nothing "
                "else is replaced; move it, or name another folder with --out"
            )


def write_page(
    out: Path, name: str, template: str, numbers: Mapping[str, Any], figures: Mapping[str, bytes]
) -> Path:
    r"""Write NAME.md, NAME.json and NAME/FIGURE.png, in place of a former page.

    Args:
        out: folder of the page; it is made where it is missing.
        name: of the study.
        template: text of the page.
        numbers: what the text is filled with.
        figures: name -> bytes of a PNG.

    Returns:
        Path of the page.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     page = write_page(Path(folder), "ways", "{{n}} ways\n", {"n": "59049"}, {})
        ...     print(page.read_text(encoding="utf-8"))
        <!-- written by `python -m studies ways`: changes made here are lost -->
        <BLANKLINE>
        59,049 ways
    """
    places = {figure: f"{name}/{figure}.png" for figure in figures}
    content = {**numbers, "figures": places}
    text = fill(template, content)
    former = _former(out, name)
    (out / name).mkdir(parents=True, exist_ok=True)
    for figure, place in places.items():
        write_bytes(out / place, figures[figure])
    write_json(out / f"{name}.json", {**content, "files": [f"{name}.md", *places.values()]})
    write_text(out / f"{name}.md", _page(name, text))
    for path in _inside(out / name):
        place = path.relative_to(out).as_posix()
        if place in former and place not in places.values():
            path.unlink()
    return out / f"{name}.md"


def rewrite(out: Path, name: str, template: str) -> Path:
    """Write NAME.md again from NAME.json: the text may be new, the numbers and figures stay.

    Args:
        out: folder of the page.
        name: of the study.
        template: text of the page.

    Returns:
        Path of the page.

    Raises:
        CheckpointError: NAME.json is missing or damaged.
        SettingsError: NAME.md belongs to no page of the study, or the text asks for a number that
            the record lacks.
    """
    content = read_json(out / f"{name}.json")
    check_place(out, name)
    write_text(out / f"{name}.md", _page(name, fill(template, content)))
    return out / f"{name}.md"


def _page(name: str, text: str) -> str:
    """A page, marked as written by its command."""
    return f"<!-- written by `python -m studies {name}`: changes made here are lost -->\n\n{text}"


def fill(template: str, numbers: Mapping[str, Any]) -> str:
    """A text with its places filled.

    Example:
        >>> numbers = {"ways": {"middle": "59049", "share": 0.293}, "data": None}
        >>> fill("{{ways.middle}} and {{ways.share}}{{if data}}!{{else}}?{{end}}", numbers)
        '59,049 and 0.293?'
    """
    chosen = CHOICE.sub(lambda m: m[2] if find(numbers, m[1]) else m[3] or "", template)
    return PLACE.sub(lambda m: shown(find(numbers, m[1])), chosen)


def find(numbers: Mapping[str, Any], path: str) -> Any:
    """What stands at a path such as "growth.layers".

    Raises:
        SettingsError: nothing stands there.

    Example:
        >>> find({"growth": {"layers": 10}}, "growth.layers")
        10
    """
    found: Any = numbers
    for key in path.split("."):
        if not isinstance(found, Mapping) or key not in found:
            raise SettingsError(f"the page asks for '{path}', and the study has no '{key}' there")
        found = found[key]
    return found


def shown(value: Any) -> str:
    """A number with commas between thousands, a table as Markdown, words as they are.

    Example:
        >>> shown("1208925819614629174706176"), shown(0.25), shown(None)
        ('1,208,925,819,614,629,174,706,176', '0.25', '–')
        >>> print(shown({"header": ["rule", "ways"], "rows": [["zeros", "17303"]]}))
        | rule | ways |
        |---|--:|
        | zeros | 17,303 |
    """
    if isinstance(value, Mapping):
        return _table(value["header"], value["rows"])
    if value is None:
        return "–"
    if isinstance(value, str):
        return f"{int(value):,}" if value.isdecimal() else value
    return f"{value:,.15g}"


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    cells = [[shown(cell).replace("|", "\\|") for cell in row] for row in rows]
    lines = [[*header], *cells]
    rule = [
        "--:" if all(_is_number(row[column]) for row in rows) else "---"
        for column in range(len(header))
    ]
    text = [f"| {' | '.join(line)} |" for line in lines]
    text.insert(1, f"|{'|'.join(rule)}|")
    return "\n".join(text)


def _is_number(cell: Any) -> bool:
    return cell is None or isinstance(cell, int | float) or str(cell).isdecimal()


def _inside(folder: Path) -> list[Path]:
    """All that is in a folder; the folder itself where it is something else."""
    if folder.is_dir():
        return sorted(folder.iterdir())
    return [folder]


def _former(out: Path, name: str) -> set[str]:
    """Files of a former page, relative to its folder; none where there is no such page."""
    record = out / f"{name}.json"
    try:
        content = read_json(record)
    except CheckpointError:
        return set()
    if content.get("study") != name:
        return set()
    return {record.name, *map(str, content.get("files", []))}
