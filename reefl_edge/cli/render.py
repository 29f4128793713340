"""How does a result look on a terminal, and how as JSON?

Results go to stdout, as tables or as one JSON document; progress, hints and warnings to stderr.
What only a running command needs of rich is imported there: ``--help`` is to be quick.
"""

import json
import logging
import re
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID
    from rich.table import Table

# What a column of figures holds: 3, 0.97, +1.2 [...], x 0.68, 4.1 MiB, or nothing.
_FIGURE = re.compile(r"(x |[-+])?\d|-$")
_LOGGERS = ("reefl_edge", "reefl_export")
# What a program says to a terminal to change its colour.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# How often progress is told where there is no terminal to show a bar on.
_TOLD_EVERY_S = 10.0


def out() -> "Console":
    """Return the console for results."""
    return _console(sys.stdout, soft_wrap=not sys.stdout.isatty())


def err() -> "Console":
    """Return the console for everything else."""
    return _console(sys.stderr, soft_wrap=False)


@lru_cache(maxsize=2)  # one for each stream: what is printed and a progress bar share it
def _console(stream: TextIO, *, soft_wrap: bool) -> "Console":
    from rich.console import Console

    class Plain(Console):
        """Text is text: names come from data and from the user, and may look like markup."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Plain(file=stream, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> "Table":
    """Build a table; columns of figures are right-aligned."""
    from rich.table import Table

    built = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        is_figures = all(_FIGURE.match(row[index]) for row in rows)
        built.add_column(column, justify="right" if is_figures else "left")
    for row in rows:
        built.add_row(*map(_one_line, row))
    return built


def next_command(*words: object) -> None:
    """Suggest what to type next: the words of a command, quoted where a shell needs it."""
    command = _one_line(shlex.join(map(str, words)))
    _say("next: ", command, style="", message_style="bold")


def tell(message: str) -> None:
    """Print a line that is neither a result nor a warning."""
    _say("", _one_line(message), style="")


def pass_on(text: str) -> None:
    """Print what another program says, without colours or what else would move a terminal."""
    lines = _COLOUR.sub("", text).split("\n")
    sys.stderr.write("\n".join(map(_one_line, lines)))
    sys.stderr.flush()


def warn(message: str) -> None:
    """Print a warning."""
    _say("warning: ", _one_line(message), style="yellow")


def error(message: str) -> None:
    """Print an error."""
    _say("error: ", _one_line(message), style="red", message_style="red")


def _say(label: str, message: str, *, style: str, message_style: str = "") -> None:
    from rich.text import Text

    text = Text.assemble((label, style), (message, message_style))
    err().print(text, soft_wrap=True)


def _one_line(message: str) -> str:
    r"""Escape what would break a line, or a terminal; names of files may hold anything.

    >>> print(_one_line("a\nb.png: grün"))
    a\nb.png: grün
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in message
    )


def show_log(*, verbose: bool) -> None:
    """Show on stderr what the library has to say: warnings, and with ``verbose`` everything."""
    handler = _ToStderr()
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.DEBUG if verbose else logging.WARNING)


class _ToStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            warn(record.getMessage())
        else:
            _say("", f"{record.name}: {_one_line(record.getMessage())}", style="dim")


def size(num_bytes: int) -> str:
    """Write a size for a person.

    >>> size(1_572_864)
    '1.5 MiB'
    """
    return f"{num_bytes / 2**20:.1f} MiB" if num_bytes >= 2**20 else f"{num_bytes / 2**10:.1f} KiB"


class Bar(Protocol):
    """Progress: what is being done, how far, and since when."""

    def step(self, done: int, total: int, detail: str = "") -> None:
        """Show that ``done`` of ``total`` are done, and what else there is to say."""
        ...

    def say(self, description: str) -> None:
        """Show what is being done now."""
        ...


class _OneLine:
    """A line of a terminal, drawn again and again."""

    def __init__(self, progress: "Progress", task: "TaskID") -> None:
        self._progress = progress
        self._task = task

    def step(self, done: int, total: int, detail: str = "") -> None:
        self._progress.update(self._task, completed=done, total=total, detail=detail)

    def say(self, description: str) -> None:
        self._progress.update(self._task, description=description)


class _Lines:
    """Lines in a log file: each stage, and how far it is every few seconds."""

    def __init__(self, description: str) -> None:
        self._description = description
        self._begun = self._told = time.monotonic()

    def step(self, done: int, total: int, detail: str = "") -> None:
        now = time.monotonic()
        if now - self._told >= _TOLD_EVERY_S:
            self._told = now
            how_far = f"{self._description}: {done} of {total} after {now - self._begun:.0f} s"
            tell(", ".join(filter(None, (how_far, detail))))

    def say(self, description: str) -> None:
        self._description = description
        self._told = time.monotonic()
        tell(description)


@contextmanager
def progress_bar(description: str, total: int | None = None) -> Iterator[Bar]:
    """Show progress on stderr while the block runs: a bar on a terminal, lines elsewhere."""
    if not err().is_terminal:
        lines = _Lines(description)
        lines.say(description)
        yield lines
        return
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
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
    )
    with Progress(*columns, console=err()) as progress:
        task = progress.add_task(description, total=total, detail="")
        yield _OneLine(progress, task)
        progress.update(task, description=description)
