"""Families: to add a file or a class is to add a member, and a name never imports anything."""

import importlib
import inspect
import pkgutil
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import pytest

import placewise
from placewise import family as family_module
from placewise.errors import SettingsError
from placewise.family import Family, complete_settings, load_plugin
from placewise.paddings import PADDINGS, PaddingRule, Reflect

CONTRACT = """
from abc import ABC, abstractmethod
class Shape(ABC):
    @abstractmethod
    def area(self): ...
"""
MEMBERS = """
from planted_contract import Shape
class Square(Shape):
    def area(self): return 1
class LongCSV2Shape(Shape):
    def area(self): return 2
class Unfinished(Shape):
    pass
class Stranger:
    pass
"""
IMPORTING = "from planted_shapes import Square\n"
OTHER = MEMBERS.replace("Square", "Circle").split("class LongCSV2Shape")[0]


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type]:
    """A family as a file (`planted_shapes`) and as a folder (`planted_folder`)."""
    files = {
        "planted_contract.py": CONTRACT,
        "planted_shapes.py": MEMBERS,
        "planted_single.py": OTHER,
        "planted_folder/__init__.py": IMPORTING,
        "planted_folder/_helpers.py": "canary = 1 / 0",
        "planted_folder/round.py": OTHER + IMPORTING,
        "planted_folder/empty.py": IMPORTING,
        "planted_bomb.py": "1 / 0",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("planted_contract").Shape
    for name in [name for name in sys.modules if name.startswith("planted_")]:
        del sys.modules[name]


def test_the_classes_of_a_file_are_its_members(planted: type):
    family = Family("shape", planted, "planted_shapes")
    assert family.names() == ("long_csv2_shape", "square")
    assert family["square"]().area() == 1
    assert family["long_csv2_shape"]().area() == 2


def test_the_files_of_a_folder_are_its_members(planted: type):
    family = Family("shape", planted, "planted_folder")
    assert family.names() == ("empty", "round")
    assert family["round"].__name__ == "Circle"
    with pytest.raises(SettingsError, match=r"planted_folder\.empty defines no shape.*Shape"):
        _ = family["empty"]


@pytest.mark.parametrize("module", ["planted_shapes", "planted_folder"])
@pytest.mark.parametrize("name", ["squar", "roun", "", "_helpers", "../round", "Square"])
def test_an_unknown_name_is_refused_with_those_that_there_are(planted, module: str, name: str):
    family = Family("shape", planted, module)
    with pytest.raises(SettingsError) as caught:
        _ = family[name]
    message = str(caught.value)
    assert message.startswith(f"no shape is named '{name}'; there are: ")
    assert all(known in message for known in family.names())


def test_a_near_miss_gets_a_hint():
    with pytest.raises(SettingsError, match=r"there are: .*zeros\. Did you mean 'reflect'\?$"):
        _ = PADDINGS["reflekt"]
    with pytest.raises(SettingsError, match=r"zeros\.$"):
        _ = PADDINGS["qqqqqq"]


def test_a_class_outside_is_found_where_its_module_is_imported(planted: type):
    family = Family("shape", planted, "planted_single")
    square = importlib.import_module("planted_shapes").Square
    assert family["planted_shapes:Square"] is square
    assert family.name_of(square) == "planted_shapes:Square"
    assert family.name_of(family["circle"]) == "circle"


@pytest.mark.parametrize("name", ["planted_bomb:Square", "os.path.nowhere:x", ":Square", ":", "a:"])
def test_a_name_never_imports_a_module(planted: type, name: str):
    before = set(sys.modules)
    with pytest.raises(SettingsError, match="is not imported; import it first"):
        _ = Family("shape", planted, "planted_contract")[name]
    assert set(sys.modules) == before


@pytest.mark.parametrize("name", ["os:system", "builtins:dict", "builtins:nowhere", "sys:"])
def test_what_is_not_a_member_is_refused(planted: type, name: str):
    with pytest.raises(SettingsError, match=r"is not a shape; .* class that implements Shape"):
        _ = Family("shape", planted, "planted_contract")[name]


@pytest.fixture(autouse=True)
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> list:
    """Plugins that are forgotten after the test, and none of other tests before it."""
    monkeypatch.setattr(family_module, "PLUGINS", [])
    return family_module.PLUGINS


def test_the_classes_of_a_plugin_are_members_of_the_families_they_belong_to(planted, no_plugins):
    family, other = Family("shape", planted, "planted_single"), PADDINGS.names()
    assert family.names() == ("circle",)
    load_plugin("planted_shapes")
    load_plugin("planted_shapes")
    assert family.names() == (
        "circle",
        "planted_shapes:LongCSV2Shape",
        "planted_shapes:Square",
    )
    assert [family[name].__name__ for name in family.names()] == [
        "Circle",
        "LongCSV2Shape",
        "Square",
    ]
    assert PADDINGS.names() == other
    with pytest.raises(SettingsError, match=r"planted_shapes:Square\. Did you mean"):
        _ = family["planted_shapes.Square"]


def test_what_a_plugin_only_imports_is_no_member_of_its(planted: type, no_plugins):
    family = Family("shape", planted, "planted_single")
    load_plugin("planted_folder")
    assert family.names() == ("circle",)
    assert len(no_plugins) == 1


@pytest.mark.parametrize("name", ["planted_nowhere", "", ".planted"])
def test_a_plugin_that_is_not_there_is_refused(planted: type, no_plugins, name: str):
    with pytest.raises(SettingsError, match=f"--plugin {name} cannot be imported"):
        load_plugin(name)
    assert no_plugins == []


@pytest.mark.parametrize(
    ("text", "says"),
    {
        "syntax": ("def f(:\n", "SyntaxError"),
        "an error": ("raise RuntimeError('boom')\n", "RuntimeError: boom"),
        "an exit": ("import sys; sys.exit(3)\n", "SystemExit: 3"),
        "another module is missing": ("import not_there_at_all\n", "No module named 'not_there"),
        "a name is missing": ("from json import nothing\n", "cannot import name 'nothing'"),
    }.values(),
)
def test_a_plugin_that_fails_is_refused_and_its_fault_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_plugins, text: str, says: str
):
    (tmp_path / "planted_fault.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with pytest.raises(SettingsError, match=f"--plugin planted_fault was found, but.*{says}"):
        load_plugin("planted_fault")
    assert no_plugins == []


def test_an_object_may_take_the_place_of_a_name(planted: type):
    family = Family("shape", planted, "planted_shapes")
    square = family["square"]()
    assert family.make(square) is square
    assert type(family.make("square")) is type(square)
    for wrong in (3, type(square), None):
        with pytest.raises(SettingsError, match=r"as a shape; give a name \(long_csv2_shape, sq"):
            family.make(wrong)


def families() -> list[Family]:
    """Every family of placewise."""
    found = []
    for info in pkgutil.iter_modules(placewise.__path__):
        if not info.name.startswith("_") and info.name != "cli":
            module = importlib.import_module(f"placewise.{info.name}")
            found += [value for value in vars(module).values() if isinstance(value, Family)]
    return list(dict.fromkeys(found))


def test_there_are_families():
    assert {"decoder", "padding rule", "head", "backbone", "format"} <= {
        family.kind for family in families()
    }


@pytest.mark.parametrize("family", families(), ids=lambda family: family.kind)
def test_names_and_members_go_both_ways(family: Family):
    names = family.names()
    assert names
    assert list(names) == sorted(set(names))
    members = [family[name] for name in names]
    assert len(set(members)) == len(members), "each name has a class of its own"
    for name, member in zip(names, members, strict=True):
        assert issubclass(member, family.contract)
        assert not inspect.isabstract(member)
        assert member.__doc__
        assert family.name_of(member) == name


@pytest.mark.parametrize("family", families(), ids=lambda family: family.kind)
def test_members_are_importable_by_their_names(family: Family):
    """`from placewise.heads import Heatmap`, and nothing else by the way of it."""
    module = importlib.import_module(family.module)
    if family.kind in ("format", "task"):
        pytest.skip("formats and tasks are asked for by name")
    for name in family.names():
        assert getattr(module, family[name].__name__) is family[name]
    for unknown in ("Nonsense", "nonsense", "_nonsense", ""):
        with pytest.raises(AttributeError, match=f"'{unknown}'"):
            getattr(module, unknown)


class Contract(ABC):
    @abstractmethod
    def do(self) -> None: ...


class Member(Contract):
    def __init__(self, channels: int, *, sigma: float = 1.0, width: int = 3) -> None: ...

    def do(self) -> None: ...


class Plain(Contract):
    def do(self) -> None: ...


def test_settings_are_the_keywords_of_a_constructor_with_their_defaults():
    assert complete_settings(Member, "head", {}) == {"sigma": 1.0, "width": 3}
    assert complete_settings(Member, "head", {"width": 5}) == {"sigma": 1.0, "width": 5}


@pytest.mark.parametrize(
    ("member", "name", "says"),
    [
        (
            Member,
            "sigm",
            r"head Member has no setting 'sigm'; it has: sigma, width\. Did .*'sigma'",
        ),
        (Member, "channels", r"no setting 'channels'; it has: sigma, width\.$"),
        (Member, "self", r"no setting 'self'"),
        (Plain, "sigma", r"head Plain has no setting 'sigma'; it has: none\.$"),
    ],
)
def test_other_settings_are_refused(member: type, name: str, says: str):
    with pytest.raises(SettingsError, match=says):
        complete_settings(member, "head", {name: 1})


def test_the_contract_itself_is_no_member():
    assert PADDINGS.name_of(PaddingRule) == "placewise.paddings:PaddingRule"
    assert PADDINGS.name_of(Reflect) == "reflect"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"hidden": "abc"}, "hidden is 'abc'; it must be a whole number"),
        ({"hidden": True}, "hidden is True; it must be a whole number"),
        ({"dropout": "much"}, "dropout is 'much'; it must be a number"),
    ],
)
def test_a_setting_of_another_kind_is_refused(settings: dict, says: str) -> None:
    from placewise.heads.flatten import Flatten

    with pytest.raises(SettingsError, match=re.escape(says)):
        complete_settings(Flatten, "head", settings)
    assert complete_settings(Flatten, "head", {"dropout": 0})["dropout"] == 0
