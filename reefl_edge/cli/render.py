"""How does a result look on a terminal, and how as JSON?

Results go to stdout, as tables or as one JSON document; progress, hints and warnings to stderr.
What only a running command needs of rich is imported there: ``--help`` is to be quick.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID
    from rich.table import Table


def out() -> "Console":
    """Return the console for results."""
    from rich.console import Console

    return Console(file=sys.stdout, soft_wrap=not sys.stdout.isatty(), highlight=False)


def err() -> "Console":
    """Return the console for everything else."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> "Table":
    """Build a table; every column but the first is right-aligned."""
    from rich.table import Table

    built = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        built.add_column(column, justify="right" if index else "left")
    for row in rows:
        built.add_row(*row)
    return built


def next_command(command: str) -> None:
    """Suggest what to type next."""
    err().print(f"next: [bold]{command}[/bold]", soft_wrap=True)


def warn(message: str) -> None:
    """Print a warning."""
    err().print(f"[yellow]warning:[/yellow] {message}", soft_wrap=True)


def size(num_bytes: int) -> str:
    """Write a size for a person.

    >>> size(1_572_864)
    '1.5 MiB'
    """
    return f"{num_bytes / 2**20:.1f} MiB" if num_bytes >= 2**20 else f"{num_bytes / 2**10:.1f} KiB"


class Bar:
    """One line of progress: what is being done, how far, and since when."""

    def __init__(self, progress: "Progress", task: "TaskID") -> None:
        self._progress = progress
        self._task = task

    def step(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done."""
        self._progress.update(self._task, completed=done, total=total)

    def say(self, description: str) -> None:
        """Show what is being done now."""
        self._progress.update(self._task, description=description)


@contextmanager
def progress_bar(description: str, total: int | None = None) -> Iterator[Bar]:
    """Show progress on stderr while the block runs."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err()) as progress:
        task = progress.add_task(description, total=total)
        yield Bar(progress, task)
        progress.update(task, description=description)
