"""The house style, held: who may import whom, sizes, what must never stand in the package."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import placewise
from conftest import EXHAUSTIVE, LONGEST, REPOSITORY, WHOLE

PACKAGE = Path(placewise.__file__).parent

ROWS = """
errors wording
progress resizing undisturbed
geometry family files archives devices images statistics ops parallel engine
readers clusters hdf5 ownership gathering windows
frames
labels checkpoint metrics
report paddings decoders losses mask_losses grouping formats graph tracking motion
augment peaks peak_losses
layers auditing
backbones heads remedies
model findings
onnx_files
engines
items made
task
tasks
run
training prediction checking target labelling exporting
evaluation display selection
comparison demo
cli
__init__ __main__
"""
"""Each row imports only rows above it; `placewise.__version__` is free to all."""

AUDITING = {"ops", "graph", "auditing", "remedies"}
LOCALISING = {
    "labels",
    "formats",
    "augment",
    "decoders",
    "losses",
    "mask_losses",
    "peak_losses",
    "metrics",
    "backbones",
    "heads",
    "images",
}
"""The second flow imports nothing of the first; what stands lower is out of its reach anyway."""

LIBRARIES = {
    "torch",
    "numpy",
    "PIL",
    "safetensors",
    "pydantic",
    "tyro",
    "rich",
    "matplotlib",
    "scipy",
}
OPTIONAL = {
    "backbones": {"timm"},
    "tasks": {"sklearn"},
    "hdf5": {"h5py"},
    "formats": {"h5py", "yaml"},
    "engines": {"onnxruntime", "openvino"},
    "engine": {"distributed", "joblib", "ray"},
    "metrics": {"skimage"},
    "labelling": {"starlette", "uvicorn", "socket", "webbrowser"},
}
EXECUTING = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml"}
"""Libraries that can execute what they read; joblib only where it hands runs to processes, yaml
only where it is `yaml.safe_load`."""
CALLING_OUT = {"socket", "http", "urllib", "ftplib", "smtplib", "xmlrpc", "ssl", "webbrowser"}
LONGEST_FILE, LONGEST_FUNCTION, USUAL_FUNCTION, USUAL_SHARE = 600, 60, 30, 0.9

Fault = tuple[str, int, str]
"""File, line and what is wrong there."""


parsed = cache(ast.parse)


def sources(package: Path) -> dict[str, ast.Module]:
    """Every file of a package, parsed, by its path in it."""
    found = {
        path.relative_to(package).as_posix(): parsed(path.read_text(encoding="utf-8"))
        for path in sorted(package.rglob("*.py"))
    }
    assert found, f"no file of Python in {package}"
    return found


def unit_of(file: str) -> str:
    """The name of the layout that a file belongs to: `heads/_maps.py` is `heads`."""
    return file.split("/")[0].removesuffix(".py")


def imports(file: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name of all that a file imports, wherever in it; hidden names too."""
    home = ["placewise", *file.removesuffix(".py").split("/")][:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Constant) and re.fullmatch(r"placewise(\.\w+)+", str(node.value)):
            yield node.lineno, str(node.value)


def row_faults(package: Path, rows: str = ROWS) -> list[Fault]:
    """Imports that do not come from a row above."""
    row = {name: number for number, line in enumerate(rows.split("\n")) for name in line.split()}
    faults = []
    for file, tree in sources(package).items():
        unit = unit_of(file)
        if unit not in row:
            faults.append((file, 1, f"'{unit}' stands in no row"))
            continue
        for line, name in imports(file, tree):
            parts = name.split(".")
            if parts[0] != "placewise" or name == "placewise.__version__":
                continue
            other = parts[1] if len(parts) > 1 and parts[1] in row else "__init__"
            if other == unit:
                continue
            if row[other] >= row[unit]:
                faults.append((file, line, f"'{unit}' imports '{other}', not of a row above"))
            elif any(part.startswith("_") for part in parts[2:]):
                faults.append((file, line, f"'{unit}' imports {name}, which is private"))
            elif unit in AUDITING and other in LOCALISING:
                faults.append((file, line, f"'{unit}' imports '{other}' of the localising side"))
    return faults


def private_faults(package: Path) -> list[Fault]:
    """Names of placewise that a tool of the repository imports though they are private."""
    return [
        (file, line, f"{name} is private")
        for file, tree in sources(package).items()
        for line, name in imports(file, tree)
        if name.startswith("placewise.")
        and name != "placewise.__version__"
        and any(part.startswith("_") for part in name.split("."))
    ]


def library_faults(package: Path) -> list[Fault]:
    """Imports from outside that are not declared, can execute data, or call out."""
    faults = []
    for file, tree in sources(package).items():
        allowed = {"placewise", *LIBRARIES, *OPTIONAL.get(unit_of(file), ())}
        for line, name in imports(file, tree):
            top = name.split(".")[0]
            if name.startswith("urllib.parse"):  # takes addresses apart, and calls nobody
                continue
            if top in (EXECUTING | CALLING_OUT) - OPTIONAL.get(unit_of(file), set()):
                faults.append((file, line, f"'{top}' has no place here"))
            elif top == "yaml" and name != top:
                faults.append((file, line, "import yaml as a whole, so that its calls are seen"))
            elif top not in allowed | sys.stdlib_module_names:
                faults.append((file, line, f"'{top}' is not declared"))
    return faults


def is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def forbidden(node: ast.AST) -> str | None:
    """What must not stand in the package, if this is such a thing."""
    if isinstance(node, ast.Assert):
        return "assert"
    if isinstance(node, ast.Name) and node.id == "NotImplementedError":
        return node.id
    if not isinstance(node, ast.Call):
        return None
    name = ast.unparse(node.func)
    settings = {keyword.arg: keyword.value for keyword in node.keywords}
    if name in ("eval", "exec", "compile", "__import__", "os.system"):
        return name
    if name.startswith("yaml.") and name != "yaml.safe_load":
        return name
    if name == "torch.load" and "weights_only" not in settings:
        return "torch.load without weights_only=True"
    if "weights_only" in settings and ast.unparse(settings["weights_only"]) != "True":
        return "weights_only"
    if "allow_pickle" in settings and not is_false(settings["allow_pickle"]):
        return "allow_pickle"
    if "shell" in settings and not is_false(settings["shell"]):
        return "shell"
    return None


def forbidden_faults(package: Path) -> list[Fault]:
    """Code that is never right here, and notes of what is left to do."""
    faults = [
        (file, getattr(node, "lineno", 0), what)
        for file, tree in sources(package).items()
        for node in ast.walk(tree)
        if (what := forbidden(node))
    ]
    for file in sources(package):
        for number, line in enumerate((package / file).read_text(encoding="utf-8").split("\n"), 1):
            if found := re.search(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b", line):
                faults.append((file, number, found[0]))
    return faults


def functions(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, int]]:
    """Each function with its number of lines, its docstring not counted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            text = node.body[0] if ast.get_docstring(node) is not None else None
            long = (node.end_lineno or 0) - node.lineno + 1
            yield node, long - ((text.end_lineno or 0) - text.lineno + 1 if text else 0)


def print_faults(package: Path) -> list[Fault]:
    """Printing outside of the command line and of its console: a library logs."""
    return [
        (file, node.lineno, "print")
        for file, tree in sources(package).items()
        if unit_of(file) not in ("cli", "progress")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]


def size_faults(package: Path) -> list[Fault]:
    """Files and functions that are too long, and too many that are rather long."""
    faults, lengths = [], []
    for file, tree in sources(package).items():
        lines = (package / file).read_text(encoding="utf-8").count("\n")
        if lines > LONGEST_FILE:
            faults.append((file, 1, f"{lines} lines"))
        for function, long in functions(tree):
            lengths.append(long)
            if long > LONGEST_FUNCTION:
                faults.append((file, function.lineno, f"{function.name} has {long} lines"))
    usual = sum(long <= USUAL_FUNCTION for long in lengths)
    if usual < USUAL_SHARE * len(lengths):
        faults.append(("all", 0, f"{usual} of {len(lengths)} functions are short"))
    return faults


def example_fault(name: str, value: object) -> str | None:
    """What a public function or class lacks."""
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return None
    text = value.__doc__ or ""
    if ">>>" not in text and not (inspect.isclass(value) and issubclass(value, Exception)):
        return f"{name} has no example in its docstring"
    return None


FINDERS = (
    row_faults,
    library_faults,
    forbidden_faults,
    print_faults,
    size_faults,
)


# --- the package ---------------------------------------------------------------------------------


@pytest.mark.parametrize("find", FINDERS)
def test_the_package_keeps_the_house_style(find):
    assert find(PACKAGE) == []


@pytest.mark.parametrize("find", [private_faults, forbidden_faults, size_faults])
def test_the_studies_use_public_names_and_keep_the_house_style(find):
    assert find(REPOSITORY / "studies") == []


def test_each_name_stands_in_one_row():
    names = ROWS.split()
    assert len(names) == len(set(names))


def test_every_public_name_is_found_and_has_an_example():
    assert placewise.__all__, "there are public names"
    missing = [example_fault(name, getattr(placewise, name)) for name in placewise.__all__]
    assert [fault for fault in missing if fault] == []


def test_no_public_name_is_a_module_too():
    """`placewise.train` is one thing: a function that no import of a submodule can hide."""
    modules = {unit_of(file) for file in sources(PACKAGE)}
    assert "training" in modules and "train" in placewise.__all__
    for name in sorted(modules & set(placewise.__all__)):
        assert inspect.ismodule(getattr(placewise, name)), name


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = placewise.nonsense


def test_every_file_is_a_module_that_can_be_imported():
    for file in sources(PACKAGE):
        if file != "__main__.py":
            parts = file.removesuffix(".py").removesuffix("__init__").strip("/").split("/")
            importlib.import_module(".".join(["placewise", *(part for part in parts if part)]))


HEAVY = "import sys; print(sorted({'torch', 'numpy', 'matplotlib', 'PIL'} & sys.modules.keys()))"


@pytest.mark.parametrize(
    "start",
    [
        "import placewise; placewise.__version__",
        "import placewise; placewise.PlacewiseError",
        "import placewise.cli",
        "from placewise.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
    ],
)
def test_starting_is_light(start: str):
    """Importing torch takes seconds: what can do without it does."""
    done = subprocess.run(
        [sys.executable, "-c", f"{start}\n{HEAVY}"],
        env={"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


# --- the checks themselves, on planted faults ----------------------------------------------------


GOOD = {
    "errors": "",
    "geometry": "from placewise.errors import PlacewiseError",
    "paddings": "from placewise import __version__, geometry",
    "heads/__init__": "from placewise.heads import _one\nfrom . import _one",
    "heads/_one": "from ..geometry import a\n"
    "import placewise.geometry, numpy as np\nx = 'placewise.heads'",
    "tasks/one/demo": "def a():\n    import sklearn.datasets",
    "demo": "",
    "cli": "def a():\n    from placewise import demo, heads\n    net.eval()",
}


def planted(folder: Path, file: str, text: str) -> Path:
    for name, good in {**GOOD, file: text}.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(good, encoding="utf-8")
    return folder


@pytest.mark.parametrize("find", FINDERS)
def test_a_good_package_has_no_faults(tmp_path: Path, find):
    assert find(planted(tmp_path, "errors", "")) == []


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("geometry", "import placewise.heads", "'geometry' imports 'heads', not"),
        ("geometry", "import os, placewise.heads.one as h", "'geometry' imports 'heads', not"),
        ("geometry", "from placewise.heads.one import x", "'geometry' imports 'heads', not"),
        ("geometry", "from placewise import heads", "'geometry' imports 'heads', not"),
        ("geometry", "from . import heads", "'geometry' imports 'heads', not"),
        ("geometry", "from .heads.one import x", "'geometry' imports 'heads', not"),
        ("geometry", "def a():\n  from placewise.cli import x", "'geometry' imports 'cli', not"),
        ("geometry", "if TYPE_CHECKING:\n  import placewise.cli", "'geometry' imports 'cli', not"),
        ("geometry", "import_module('placewise.cli')", "'geometry' imports 'cli', not"),
        ("geometry", "import placewise", "'geometry' imports '__init__', not"),
        ("geometry", "from placewise import Run", "'geometry' imports '__init__', not"),
        ("geometry", "import placewise.family", "'geometry' imports 'family', not"),
        ("heads/one", "from ..cli import main", "'heads' imports 'cli', not"),
        ("heads/one", "from .. import cli", "'heads' imports 'cli', not"),
        ("auditing/paths", "import placewise.formats", "'auditing' imports 'formats' of the local"),
        ("remedies", "import placewise.labels", "'remedies' imports 'labels' of the local"),
        ("graph", "import placewise.heads", "'graph' imports 'heads', not"),
        (
            "demo",
            "from placewise.heads._one import a",
            "imports placewise.heads._one.a, which is p",
        ),
        ("demo", "from placewise.heads import a, _b", "imports placewise.heads._b, which is p"),
        ("helpers", "", "'helpers' stands in no row"),
        ("helpers/one", "", "'helpers' stands in no row"),
    ],
)
def test_a_planted_import_is_found(tmp_path: Path, file: str, text: str, says: str):
    faults = row_faults(planted(tmp_path, file, text))
    assert len(faults) == 1
    assert faults[0][0] == f"{file}.py"
    assert says in faults[0][2]


@pytest.mark.parametrize(
    "text",
    [
        "from placewise.heads._one import a",
        "from placewise.heads import _a",
        "import placewise.heads._one",
        "import_module('placewise.heads._one')",
    ],
)
def test_a_planted_private_name_is_found(tmp_path: Path, text: str):
    (tmp_path / "study.py").write_text(f"from placewise import __version__\n{text}\n")
    assert len(private_faults(tmp_path)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "def a():\n    from pickle import loads",
        "import torch, yaml",
        "import urllib.request",
        "from sklearn import datasets",
        "import torchvision",
        "import skimage.morphology",
    ],
)
def test_a_planted_library_is_found(tmp_path: Path, text: str):
    assert len(library_faults(planted(tmp_path, "geometry", text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "assert x",
        "raise NotImplementedError",
        "raise NotImplementedError('x')",
        "eval('1')",
        "x = exec(text)",
        "torch.load(path)",
        "yaml.load(text)",
        "yaml.full_load(text)",
        "yaml.load_all(text, Loader=yaml.SafeLoader)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "subprocess.run(x, shell=True)",
        "x = 1  # TO" + "DO",
        "'''Soon.\n\nFIX" + "ME later.'''",
    ],
)
def test_planted_code_that_is_never_right_is_found(tmp_path: Path, text: str):
    assert len(forbidden_faults(planted(tmp_path, "geometry", text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "net.eval()",
        "yaml.safe_load(text)",
        "'''No pickle, no eval(x).'''",
        "torch.load(path, weights_only=True)",
    ],
)
def test_what_only_looks_forbidden_is_let_be(tmp_path: Path, text: str):
    assert forbidden_faults(planted(tmp_path, "geometry", text)) == []


def test_printing_is_found_outside_of_the_command_line(tmp_path: Path):
    text = "def a():\n    print('x')  # print(y)\n"
    assert print_faults(planted(tmp_path, "geometry", text)) == [("geometry.py", 2, "print")]
    assert print_faults(planted(tmp_path / "b", "cli", text)) == []


def a_function(lines: int, docstring: int = 0) -> str:
    text = '    """' + "x\n" * docstring + '"""\n' if docstring else ""
    return "def a():\n" + text + "    pass\n" * (lines - 1)


def test_lengths_are_held(tmp_path: Path):
    def faults(text: str) -> list[str]:
        return [fault[2] for fault in size_faults(planted(tmp_path, "geometry", text))]

    short = a_function(30) * 10
    assert faults("x = 1\n" * 600) == []
    assert faults("x = 1\n" * 601) == ["601 lines"]
    assert faults(short + a_function(60)) == []
    assert faults(short + a_function(60, docstring=20)) == []
    assert faults(short + a_function(61)) == ["a has 61 lines"]
    assert faults("class A:\n" + re.sub("^", "    ", short + a_function(61), flags=re.M)) == [
        "a has 61 lines"
    ]
    assert faults(a_function(31)) == ["2 of 3 functions are short"]


def test_an_empty_package_is_not_a_good_one(tmp_path: Path):
    with pytest.raises(AssertionError, match="no file of Python"):
        row_faults(tmp_path)


def test_a_missing_example_is_found():
    def without():
        """Do it."""

    def with_one():
        """Do it.

        >>> 1
        1
        """

    assert example_fault("a", without) == "a has no example in its docstring"
    assert example_fault("a", with_one) is None
    assert example_fault("a", type("A", (), {})) == "a has no example in its docstring"
    assert example_fault("a", 1) is None


def test_every_module_that_is_named_exists():
    """A renamed test would slip into the quick set without a word, or begin late."""
    found = (REPOSITORY / "tests").rglob("test_*.py")
    modules = {path.stem.removeprefix("test_") for path in found}
    assert set(WHOLE + EXHAUSTIVE + LONGEST) - modules == set()
    assert not set(WHOLE) & set(EXHAUSTIVE)


def test_yaml_is_seen_by_its_name_and_only_in_formats(tmp_path: Path):
    assert library_faults(planted(tmp_path / "a", "formats/one", "import yaml")) == []
    assert len(library_faults(planted(tmp_path / "b", "formats/one", "from yaml import load"))) == 1
    assert len(library_faults(planted(tmp_path / "c", "labels", "import yaml"))) == 1
