"""Studies: questions with measured answers, each a page that one command writes anew.

```
NAME.py or NAME/    a study: measures, and says what holds
NAME.md             the text of its page, in which every number is a place to be filled
_page.py            text + numbers + figures -> the files of the page
_figures.py         what the figures share
_material.py        images, sounds and trained weights
_runs.py            many runs: on several processes, and kept
_wiring/            wiring that is learnt, for the studies and benchmarks of proximity
```

No number of a page is typed by hand: the text holds no digit, and `NAME.json` holds all that the
page says.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from placewise import __version__
from placewise.family import Family
from studies._page import check_place, rewrite, write_page

Scale = Literal["tiny", "small", "full"]

__all__ = ["STUDIES", "Findings", "Options", "Scale", "Study", "rewrite_page", "run_study"]


@dataclass(frozen=True)
class Options:
    """How a study is to be run.

    Attributes:
        scale: "small" takes minutes on two cores, "full" longer; "tiny" is for trying out.
        seed: everything that is drawn follows from it.
        data: folder that holds folders of data sets; None: what needs none.
        runs: folder in which finished runs are kept, so that a study that was ended goes on; None:
            nothing is kept. Studies whose runs take seconds keep none.
        n_jobs: processes for studies of many runs; None: one for each core.
        quiet: print nothing.

    Example:
        >>> Options(seed=3).scale
        'small'
    """

    scale: Scale = "small"
    seed: int = 0
    data: Path | None = None
    runs: Path | None = None
    n_jobs: int | None = None
    quiet: bool = False

    def tell(self, words: str) -> None:
        """Say what is being done."""
        if not self.quiet:
            print(words, flush=True)


@dataclass(frozen=True)
class Findings:
    """What a study found.

    Attributes:
        numbers: all that the page says: dictionaries, lists, words and numbers; exact counts as
            words, since JSON's numbers end at 2^53 for many readers. A dictionary with `header`
            and `rows` is a table.
        figures: name -> bytes of a PNG.

    Example:
        >>> Findings({"ways": "59049"}).figures
        {}
    """

    numbers: dict[str, Any]
    figures: dict[str, bytes] = field(default_factory=dict)


class Study(ABC):
    """A question, and how it is answered by measuring."""

    @abstractmethod
    def run(self, options: Options) -> Findings:
        """Measure everything that the page says."""


STUDIES = Family("study", Study, "studies")


def run_study(name: str, out: Path, options: Options) -> Path:
    """Run a study and write its page.

    Args:
        name: of the study.
        out: folder for NAME.md, NAME.json and the folder NAME of figures. Nothing there is
            replaced but a former page of this study.
        options: how it is to be run.

    Returns:
        Path of the page.

    Raises:
        SettingsError: there is no such study, something else stands in the way, or what the study
            needs is missing.

    Example:
        >>> run_study("edge", Path("pages"), Options())
        Traceback (most recent call last):
        placewise.errors.SettingsError: no study is named 'edge'; ... Did you mean 'edges'?
    """
    study = STUDIES[name]()
    check_place(out, name)
    found = study.run(options)
    given = " --data FOLDER" if options.data else ""
    about = {
        "study": name,
        "placewise": __version__,
        "command": f"python -m studies {name} --scale {options.scale} --seed {options.seed}{given}",
        "record": f"{name}.json",
        "scale": options.scale,
        "seed": options.seed,
    }
    return write_page(out, name, _template(name), {**about, **found.numbers}, found.figures)


def rewrite_page(name: str, out: Path) -> Path:
    """Write the page of a study again with its present text; nothing is measured.

    Args:
        name: of the study.
        out: folder that holds NAME.json, the numbers of the page.

    Returns:
        Path of the page.

    Raises:
        SettingsError: there is no such study, or the text asks for a number that was not measured.
        CheckpointError: NAME.json is missing or damaged.

    Example:
        >>> rewrite_page("edges", Path("nowhere"))
        Traceback (most recent call last):
        placewise.errors.CheckpointError: nowhere/edges.json cannot be read: ...
    """
    _ = STUDIES[name]
    return rewrite(out, name, _template(name))


def _template(name: str) -> str:
    """The text of a study's page, with a place for each number."""
    return files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8")
