"""The folder that a report is written to."""

from __future__ import annotations

from pathlib import Path

from placewise.errors import SettingsError


def check_folder(folder: Path, result: str) -> None:
    """Refuse a folder in use, unless what is there is to be replaced.

    Args:
        folder: where a report is to be written; new, empty, or that of a former report.
        result: name of the file that a former report of this kind has left there.

    Raises:
        SettingsError: something else is there.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     check_folder(Path(folder), "check.json")  # it is empty
        ...     _ = Path(folder, "mine.txt").write_text("mine")
        ...     check_folder(Path(folder), "check.json")
        Traceback (most recent call last):
        placewise.errors.SettingsError: ... is in use and holds no check.json; --out ...
    """
    used = folder.is_dir() and any(folder.iterdir()) and not (folder / result).is_file()
    if used or (folder.exists() and not folder.is_dir()):
        raise SettingsError(
            f"{folder} is in use and holds no {result}; --out must name a new folder, an empty "
            f"one, or that of a former {result}"
        )
