"""Where does a command work that a test kills, and what did it leave there?

Its outputs, its temporary files and its cache lie in folders of their own, so that everything that
is left can be found. So can every process that was started there: by its environment.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from reefl_edge.partials import SUFFIX


@dataclass(frozen=True, slots=True)
class Workplace:
    """Folders in which one command works at a time."""

    folder: Path

    @classmethod
    def made_in(cls, folder: Path) -> "Workplace":
        """Make the folders below one that exists."""
        workplace = cls(folder)
        for each in (workplace.out, workplace.temporary, workplace.home):
            each.mkdir()
        return workplace

    @property
    def out(self) -> Path:
        """Where the command is told to write to."""
        return self.folder / "out"

    @property
    def temporary(self) -> Path:
        """What it takes for the system's folder of temporary files."""
        return self.folder / "tmp"

    @property
    def home(self) -> Path:
        """Where its cache lies."""
        return self.folder / "cache"

    def environment(self) -> dict[str, str]:
        """Return the environment of the command."""
        return {
            **os.environ,
            "TMPDIR": str(self.temporary),
            "REEFL_EDGE_HOME": str(self.home),
            "COLUMNS": "200",
        }

    def unfinished(self) -> list[Path]:
        """Return what nobody keeps: partials wherever they lie, and all temporary files."""
        partials = [path for path in self.folder.rglob("*") if path.name.endswith(SUFFIX)]
        return sorted({*partials, *self.temporary.iterdir()})

    def processes(self) -> Iterator[psutil.Process]:
        """Find the processes that were started here and run on."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("REEFL_EDGE_HOME") == str(self.home):
                    yield process
