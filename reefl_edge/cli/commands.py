"""Which commands are there, and how is one loaded when it is typed?

Loading all of them to run one would take a good part of a start. Help asks for all of them.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer

# In the order of the help. Each is a function of its own name, or a group called ``app``, in the
# module of its name.
NAMES = (
    "demo",
    "convert",
    "profile",
    "assign",
    "finetune",
    "export",
    "apply",
    "parity",
    "verify",
    "calibrate",
    "evaluate",
    "infer",
    "devices",
    "doctor",
    "federate",
    "agent",
    "cache",
)


class Loaded(Mapping[str, Any]):
    """The commands by name, as Typer's groups hold them, each loaded when it is asked for."""

    def __init__(self) -> None:
        self._commands: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in NAMES:
            raise KeyError(name)
        if name not in self._commands:
            self._commands[name] = _load(name)
        return self._commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


def _load(name: str) -> Any:
    module = import_module(f"reefl_edge.cli.{name}")
    if hasattr(module, "app"):
        return typer.main.get_command(module.app)
    # Typer makes a lone command of an app that has only one.
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name)(getattr(module, name))
    return typer.main.get_command(alone)
