"""Steps know the contract and no task: nothing outside of the tasks asks which one it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import placewise
from placewise.tasks import TASKS

PACKAGE = Path(placewise.__file__).parent
OWN = ("tasks/", "formats/", "labels/", "heads/")
"""Where a task may be named: its folder, its formats, labels and heads."""

CLASSES = {
    "ClassDataset", "ClassHead", "ClassModel", "ClassPrediction", "ClassSample", "Classes",
    "KeypointDataset", "KeypointHead", "KeypointModel", "KeypointPrediction", "KeypointSample",
    "Keypoints", "PoseDataset", "PoseModel", "PosePrediction", "Poses",
}  # fmt: skip


def switches(tree: ast.AST, names: set[str]) -> Iterator[tuple[int, str]]:
    """Line and code of every question which task something belongs to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            asked = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
            if asked & CLASSES:
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Compare):
            values = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
            if values & names:
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "placewise.tasks."
        ):
            yield node.lineno, ast.unparse(node)


def files() -> list[Path]:
    found = [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if not path.relative_to(PACKAGE).as_posix().startswith(OWN)
        and path != PACKAGE / "__init__.py"
    ]
    assert len(found) > 100
    return found


def test_no_step_asks_which_task_it_has() -> None:
    names = set(TASKS.names())
    assert {"keypoints", "classes"} <= names
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {code}"
        for path in files()
        for line, code in switches(ast.parse(path.read_text(encoding="utf-8")), names)
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "isinstance(model, KeypointModel)",
        "issubclass(head, (int, ClassHead))",
        "labels.task == 'classes'",
        "run.facts.model.task in ('keypoints', 'other')",
        "from placewise.tasks.keypoints import Keypoints",
    ],
)
def test_a_planted_switch_is_found(code: str) -> None:
    assert list(switches(ast.parse(code), set(TASKS.names())))
