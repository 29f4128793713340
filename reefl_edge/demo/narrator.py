"""To whom does the demo tell what it is doing, and what it found?"""

from contextlib import AbstractContextManager
from typing import Protocol


class Progress(Protocol):
    """How far a stage is."""

    def step(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done."""
        ...

    def say(self, description: str) -> None:
        """Show what is being done now."""
        ...


class Narrator(Protocol):
    """Shows the stages of the demo to a person."""

    def stage(self, title: str) -> AbstractContextManager[Progress]:
        """Show that a stage is running, while the block runs."""
        ...

    def explain(self, text: str) -> None:
        """Say in a line what a stage found."""
        ...
