"""Families: from the name of a member to its class.

A family is a contract (an abstract class) and the module that holds its members. Where the module
is one file, each final class in it is a member and its name is the class's in snake case; where it
is a folder, each file is a member and its name is the file's. To add a member, add a class or a
file, and nothing else. `load_plugin` adds the classes of a module outside of the package.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import reprlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from placewise.errors import CheckpointError, PlacewiseError, SettingsError
from placewise.wording import did_you_mean

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

Setting = int | float | str | bool


class Family(Generic[T]):
    """The members of one family, found in its module.

    Args:
        kind: what a member is called in messages, e.g. "head".
        contract: the abstract class that members implement.
        module: dotted name of the module (file or folder) that holds the members.

    Example:
        >>> from placewise.decoders import DECODERS
        >>> DECODERS["argmax"].__name__
        'Argmax'
    """

    def __init__(self, kind: str, contract: type[T], module: str) -> None:
        self.kind, self.contract, self.module = kind, contract, module
        self._files: tuple[str, ...] | None = None

    def names(self) -> tuple[str, ...]:
        """Names of all members, sorted; those of plugins, "module:Class", come last."""
        outside = [self.name_of(member) for plugin in PLUGINS for member in self._defined(plugin)]
        return (*self._own(), *sorted(outside))

    def __getitem__(self, name: str) -> type[T]:
        """Class of a member.

        Args:
            name: a name of this family, or "module:Class" for a class outside of it whose module
                has been imported already: a name in a file never imports anything.

        Raises:
            SettingsError: no member has this name.
        """
        if ":" in name:
            return self._outside(name)
        if name not in self._own():
            names = self.names()
            raise SettingsError(
                f"no {self.kind} is named '{name}'; there are: {', '.join(names)}."
                f"{did_you_mean(name, names)}"
            )
        if self._is_folder():
            return self._members(f"{self.module}.{name}")[0]
        return next(m for m in self._members(self.module) if _snake(m.__name__) == name)

    def make(self, given: str | T, *arguments: Any) -> T:
        """A member by its name, made with these arguments; an object is returned as it is.

        Raises:
            SettingsError: no member has this name, or the object is no member.

        Example:
            >>> from placewise.decoders import DECODERS
            >>> DECODERS.make("taylor", 3).spatial_dims
            3
        """
        if isinstance(given, str):
            return self[given](*arguments)
        if not isinstance(given, self.contract):
            raise SettingsError(
                f"got {given!r} as a {self.kind}; give a name ({', '.join(self.names())}) or an "
                f"object of a class that implements {self.contract.__name__}"
            )
        return given

    def name_of(self, member: type[T]) -> str:
        """Name under which `self[...]` finds this class again."""
        for name in self._own():
            if self[name] is member:
                return name
        return f"{member.__module__}:{member.__qualname__}"

    def class_named(self, name: str) -> type[T]:
        """The member whose class has this name: `from placewise.heads import Heatmap` asks for it.

        Raises:
            AttributeError: no member's class has this name.

        Example:
            >>> from placewise.heads import HEADS
            >>> HEADS.class_named("Heatmap").__module__
            'placewise.heads.heatmap'
        """
        if name[:1].isupper():
            for member in self._own():
                if self[member].__name__ == name:
                    return self[member]
        raise AttributeError(f"module '{self.module}' has no attribute '{name}'")

    def _is_folder(self) -> bool:
        return hasattr(importlib.import_module(self.module), "__path__")

    def _own(self) -> tuple[str, ...]:
        """Names of the members in the family's own module, sorted."""
        if self._is_folder():
            if self._files is None:  # listing a folder takes long, and it stays as it is
                path = importlib.import_module(self.module).__path__
                found = (info.name for info in pkgutil.iter_modules(path))
                self._files = tuple(sorted(name for name in found if not name.startswith("_")))
            return self._files
        return tuple(sorted(_snake(member.__name__) for member in self._members(self.module)))

    def _defined(self, module: ModuleType) -> list[type[T]]:
        """The final classes that a module defines and that implement the contract."""
        return [
            value
            for value in vars(module).values()
            if self._is_member(value) and value.__module__ == module.__name__
        ]

    def _is_member(self, value: object) -> bool:
        return (
            inspect.isclass(value)
            and issubclass(value, self.contract)
            and not inspect.isabstract(value)
        )

    def _members(self, module_name: str) -> list[type[T]]:
        members = self._defined(importlib.import_module(module_name))
        if not members:
            raise SettingsError(
                f"{module_name} defines no {self.kind}; "
                f"define a class that implements {self.contract.__name__}"
            )
        return members

    def _outside(self, name: str) -> type[T]:
        module_name, _, class_name = name.partition(":")
        if module_name not in sys.modules:
            raise SettingsError(
                f"{self.kind} '{name}' lives in the module '{module_name}', which is not imported; "
                f"import it first (on the command line: --plugin {module_name})"
            )
        member: type[T] | None = getattr(sys.modules[module_name], class_name, None)
        if member is None or not self._is_member(member):
            raise SettingsError(
                f"'{name}' is not a {self.kind}; "
                f"it must be a final class that implements {self.contract.__name__}"
            )
        return member


PLUGINS: list[ModuleType] = []
"""Modules outside of the package whose classes are members, in the order in which they came."""


def load_plugin(name: str) -> None:
    """Import a module; its final classes become members of the families that they belong to.

    A class belongs to a family where it implements the family's contract. From then on `names()`
    lists it as "module:Class", and what looks through a family (the recognition of formats and
    tasks) finds it. On the command line this is `--plugin my_module`.

    Args:
        name: of the module, with dots, as Python imports it.

    Raises:
        SettingsError: there is no such module, or it fails while it is imported.

    Example:
        >>> load_plugin("placewise.errors")
        >>> PLUGINS.pop().__name__
        'placewise.errors'
    """
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:  # whatever the module does
        named = all(part.isidentifier() for part in name.split("."))
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if not named or (missing and f"{name}.".startswith(f"{missing}.")):
            raise SettingsError(
                f"--plugin {name} cannot be imported ({error}); give the name of a module in this "
                "folder or on PYTHONPATH, without .py"
            ) from error
        raise SettingsError(
            f"--plugin {name} was found, but failed: {type(error).__name__}: {error}; try "
            f"'python -c \"import {name}\"', and correct the module"
        ) from error
    if module not in PLUGINS:
        PLUGINS.append(module)


KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "bool": (bool, "true or false"),
    "str": (str, "text"),
}
"""What a setting may be, by the annotation of its argument; others the constructor judges."""


def complete_settings(
    member: type[object], kind: str, settings: Mapping[str, Setting]
) -> dict[str, Setting]:
    """Settings of a member with its defaults filled in, so that a run says all it was made with.

    Args:
        member: the class whose keyword arguments are the settings.
        kind: what a member is called in messages.
        settings: what is set.

    Raises:
        SettingsError: a name is not a keyword argument of the constructor, or its value is of
            another kind than the argument.

    Example:
        >>> from placewise.heads.integral import Integral
        >>> complete_settings(Integral, "head", {"sigma": 2})
        {'sigma': 2, 'shape': 1.0, 'finer': 2}
    """
    parameters = {
        parameter.name: parameter
        for parameter in inspect.signature(member).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    known = {name: parameter.default for name, parameter in parameters.items()}
    for name, value in settings.items():
        if name not in known:
            raise SettingsError(
                f"{kind} {member.__name__} has no setting '{name}'; "
                f"it has: {', '.join(known) or 'none'}.{did_you_mean(name, known)}"
            )
        types, words = KINDS.get(str(parameters[name].annotation), (object, ""))
        if not isinstance(value, types) or (isinstance(value, bool) and "number" in words):
            raise SettingsError(
                f"{kind} {member.__name__}: {name} is {value!r}; it must be {words}"
            )
    return {**known, **settings}


def validated(kind: type[M], values: Mapping[str, Any]) -> M:
    """Settings from loose values, with our error where one cannot be.

    Raises:
        SettingsError: a line for each value that cannot be: name, what was got, what is allowed.

    Example:
        >>> from placewise.training import TrainingSettings
        >>> validated(TrainingSettings, {"max_steps": 0})
        Traceback (most recent call last):
        ...
        placewise.errors.SettingsError: max_steps: got 0; it must be 1 or more
    """
    try:
        return kind(**values)
    except ValidationError as error:
        raise SettingsError("\n".join(map(_in_words, error.errors()))) from None


def from_file(kind: type[M], file: Path, content: Any, field: str = "") -> M:
    """Settings from a file of JSON, with our error where one cannot be.

    Nothing is converted: a number in quotes is no number, and true is not 1.

    Args:
        kind: fields and their bounds.
        file: where they stand.
        content: what stands there.
        field: of the file, that they are the content of; empty: they are all of it.

    Raises:
        CheckpointError: names file and field, what was got and what is allowed.

    Example:
        >>> from placewise.training import TrainingSettings
        >>> from_file(TrainingSettings, Path("run.json"), {"seed": "1"}, "training")
        Traceback (most recent call last):
        ...
        placewise.errors.CheckpointError: run.json: training.seed: got '1'; it must be a whole ...
    """
    try:
        return kind.model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        raise CheckpointError(f"{file}: {_in_words(error.errors()[0], field)}") from None


@contextmanager
def blaming(file: Path, field: str) -> Iterator[None]:
    """Let an error say in which field of which file the setting stands that cannot be.

    Raises:
        CheckpointError: whatever error of ours was raised inside.

    Example:
        >>> with blaming(Path("run.json"), "model.head"):
        ...     raise SettingsError("no head is named 'hat'")
        Traceback (most recent call last):
        ...
        placewise.errors.CheckpointError: run.json: model.head: no head is named 'hat'
    """
    try:
        yield
    except PlacewiseError as error:
        said = " ".join(str(error).splitlines())
        raise CheckpointError(f"{file}: {field}: {said}") from error


_ALLOWED = {
    "greater_than": "above {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "below {lt}",
    "less_than_equal": "{le} or less",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "fields with values",
    "model_type": "fields with values",
    "too_short": "of {min_length} or more",
    "too_long": "of {max_length} or fewer",
    "string_too_short": "of {min_length} or more characters",
    "string_too_long": "of {max_length} or fewer characters",
    "string_pattern_mismatch": "of the form {pattern}",
    "literal_error": "{expected}",
}
"""What may stand in a field, by the kind of pydantic's error."""


def _in_words(error: Mapping[str, Any], field: str = "") -> str:
    """One fault of pydantic's on one line: field, what was got, what is allowed."""
    parts = [
        part if re.fullmatch(r"\w{1,64}", str(part)) else reprlib.repr(part)
        for part in error["loc"]
    ]
    name = ".".join(map(str, [field, *parts] if field else parts))
    kind, context = error["type"], error.get("ctx", {})
    if kind == "json_invalid":
        return f"{name or 'it'} is nested too deeply, or holds half a character"
    if kind == "missing":
        return f"{name} is missing"
    if kind == "extra_forbidden":
        return f"there is no setting {name}"
    if kind == "value_error":
        return f"{name}: {context['error']}"
    allowed = _ALLOWED.get(kind, "something else").format(**context)
    return f"{name}: got {reprlib.repr(error['input']):.200}; it must be {allowed}"


def _snake(name: str) -> str:
    """CamelCase to snake_case."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
