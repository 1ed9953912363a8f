"""Steps know the contract and no task: nothing outside of the tasks asks which one it is."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import placewise
from placewise import heads, labels
from placewise.heads import HEADS
from placewise.tasks import TASKS

PACKAGE = Path(placewise.__file__).parent
OWN = ("tasks", "formats", "labels", "heads")
"""Where a task may be named: its folder, its formats, labels and heads."""


def names_of_one_task() -> set[str]:
    """Public classes that belong to one task: of its folder, and labels and heads that name it."""
    found = set()
    for task in TASKS.names():
        package = importlib.import_module(f"placewise.tasks.{task}")
        files = pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
        modules = [package, *(importlib.import_module(file.name) for file in files)]
        found |= {
            name
            for module in modules
            for name, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == module.__name__
        }
    for module, contract in ((labels, labels.Dataset), (heads, heads.Head)):
        named = [value for value in vars(module).values() if isinstance(value, type)]
        of_task = {
            value for value in named if issubclass(value, contract) and value is not contract
        }
        found |= {value.__name__ for value in of_task}
        found |= {f"{name.removesuffix('Dataset')}Sample" for name in found if "Dataset" in name}
    return {name for name in found if not name.startswith("_")}


TASK_NAMES = set(TASKS.names())
CLASSES = names_of_one_task()


def switches(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and code of every question which task something belongs to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            parts = [part for argument in node.args[1:] for part in ast.walk(argument)]
            asked = {part.id for part in parts if isinstance(part, ast.Name)}
            asked |= {part.attr for part in parts if isinstance(part, ast.Attribute)}
            found = bool(asked & CLASSES)
        elif isinstance(node, ast.Compare | ast.MatchValue):
            values = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
            found = bool(values & TASK_NAMES)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module = f"{getattr(node, 'module', None) or ''}."
            names = {(module + alias.name).removeprefix(".") for alias in node.names}
            found = any(of_one_task(name) for name in names)
        else:
            found = isinstance(node, ast.Constant) and of_one_task(str(node.value))
        if found:
            yield getattr(node, "lineno", 0), ast.unparse(node)


def of_one_task(name: str) -> bool:
    """Whether the dotted name of a module is that of one task, or lies in it."""
    parts = name.split(".")
    return parts[:2] == ["placewise", "tasks"] and bool(TASK_NAMES & {*parts[2:3]})


def files() -> list[Path]:
    found = [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] not in OWN and path != PACKAGE / "__init__.py"
    ]
    assert len(found) > 100
    return found


def test_no_step_asks_which_task_it_has() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {code}"
        for path in files()
        for line, code in switches(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_the_names_of_every_task_are_known() -> None:
    """Those of tasks to come too: what the families define is looked for, not a list."""
    assert {"keypoints", "classes"} <= TASK_NAMES
    assert {"Keypoints", "KeypointDataset", "KeypointHead", "KeypointModel"} <= CLASSES
    assert {"KeypointPrediction", "KeypointSample", "ClassSample", "ClassPrediction"} <= CLASSES
    assert {HEADS[head].task for head in HEADS.names()} <= TASK_NAMES
    assert not CLASSES & {"Dataset", "Head", "Network", "Sample", "Task", "Target"}


@pytest.mark.parametrize(
    "code",
    [
        "isinstance(model, KeypointModel)",
        "isinstance(net.head, (Other, heads.ClassHead))",
        "issubclass(head, (int, ClassHead))",
        "if labels.task == 'classes': pass",
        "x = 1 if 'classes' != task else 2",
        "run.facts.model.task in ('keypoints', 'other')",
        "match task:\n  case 'classes': pass",
        "from placewise.tasks.keypoints import Keypoints",
        "from placewise.tasks import classes",
        "def a():\n  import placewise.tasks.keypoints.model as m",
        "import_module('placewise.tasks.keypoints')",
    ],
)
def test_a_planted_switch_is_found(code: str) -> None:
    assert len(list(switches(ast.parse(code)))) == 1


@pytest.mark.parametrize(
    "code",
    [
        "task = 'keypoints'",
        "heads = {'classes': 1}",
        "isinstance(model, Network)",
        "from placewise.tasks import task_named",
        "x = dataset.task == model.task",
    ],
)
def test_what_is_the_same_for_all_tasks_is_let_be(code: str) -> None:
    assert list(switches(ast.parse(code))) == []
