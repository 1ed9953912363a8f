"""An earlier audit to compare with: read from its `audit.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from placewise.auditing.conditions import SCALARS, Scalar
from placewise.errors import CheckpointError, SettingsError
from placewise.files import read_json
from placewise.wording import number

SCHEMA = 1
"""Number of the form of `audit.json`; it rises when a key gets another meaning or is dropped."""

RESULT = "audit.json"

INFINITE = "Infinity"
"""How an infinite number is written, which JSON cannot hold."""


@dataclass(frozen=True)
class Baseline:
    """The numbers of an earlier audit.

    Attributes:
        file: from which it was read.
        network: its name.
        shape: (channels, *space) of the image.
        placewise: the version that wrote it.
        verdict: its verdict.
        scalars: its numbers, see `placewise.auditing.SCALARS`.
    """

    file: str
    network: str
    shape: tuple[int, ...]
    placewise: str
    verdict: str
    scalars: Mapping[str, Scalar]

    @classmethod
    def read(cls, path: str | Path) -> Baseline:
        """Read `audit.json`, or the one in a folder.

        Raises:
            SettingsError: it is no audit, or one of another schema.
            CheckpointError: it is damaged.
        """
        path = Path(path)
        path = path / RESULT if path.is_dir() else path
        if not path.is_file():
            raise SettingsError(
                f"{path}: there is no such file; give an audit.json of placewise audit --out"
            )
        content = read_json(path)
        schema = content.get("schema")
        if schema != SCHEMA or "scalars" not in content:
            has = "no schema number" if schema is None else f"the schema {schema!r}"
            raise SettingsError(
                f"{path} has {has}, and this version of placewise reads audits of schema {SCHEMA}; "
                "audit that network again with placewise audit --out"
            )
        try:
            return cls(
                str(path),
                str(content["network"]),
                tuple(map(int, content["input_shape"])),
                str(content["placewise"]),
                str(content["verdict"]),
                {name: _number(value) for name, value in content["scalars"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"{path} is no complete audit ({type(error).__name__}: {error}); audit that "
                "network again with placewise audit --out"
            ) from error

    def rows(self, scalars: Mapping[str, Scalar]) -> list[list[str]]:
        """Each number that both audits have: its name, then, now, and the change.

        Args:
            scalars: of the audit that is compared.

        Example:
            >>> old = Baseline("audit.json", "net", (3, 8, 8), "0", "", {"gini": 0.5, "even": True})
            >>> old.rows({"gini": 0.75, "even": True, "position": None})
            [['gini', '0.5', '0.75', '× 1.5'], ['even', 'true', 'true', 'same']]
        """
        return [
            [name, _said(was), _said(now), _change(was, now)]
            for name in SCALARS
            for was, now in [(self.scalars.get(name), scalars.get(name))]
            if was is not None and now is not None
        ]

    def to_dict(self) -> dict[str, Any]:
        """What `audit.json` of the later audit holds of it."""
        return {
            "network": self.network,
            "input_shape": list(self.shape),
            "placewise": self.placewise,
            "verdict": self.verdict,
            "scalars": written(self.scalars),
        }


def written(scalars: Mapping[str, Scalar]) -> dict[str, Any]:
    """Numbers as JSON can hold them: six significant digits, and a word for what is infinite.

    Example:
        >>> written({"corner_ratio": float("inf"), "gini": 1 / 3, "even": True, "position": None})
        {'corner_ratio': 'Infinity', 'gini': 0.333333, 'even': True, 'position': None}
    """
    return {name: _written(value) for name, value in scalars.items()}


def _written(value: Scalar) -> Any:
    if value is None or isinstance(value, bool | int) or value != value:
        return None if value != value else value
    return INFINITE if value == float("inf") else float(f"{value:.6g}")


def _number(value: object) -> Scalar:
    if value is None or isinstance(value, bool | int):
        return value
    return float(value)  # type: ignore[arg-type]


def _said(value: Scalar) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "∞" if value == float("inf") else number(value)


def _change(was: Scalar, now: Scalar) -> str:
    """How much larger a number is now."""
    if was == now or (isinstance(was, float) and _written(now) == _written(was)):
        return "same"
    if isinstance(was, bool) or isinstance(now, bool) or not was or not now:
        return "changed"
    ratio = now / was
    return f"× {number(ratio)}" if 0 < ratio < float("inf") else "changed"
