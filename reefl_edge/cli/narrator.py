"""How does the terminal show what a demo is doing?"""

from contextlib import AbstractContextManager

from reefl_edge.cli import render


class Terminal:
    """Tells on stderr what a demo is doing: a ``Narrator``."""

    def stage(self, title: str) -> AbstractContextManager[render.Bar]:
        """Show a stage while the block runs."""
        return render.progress_bar(title)

    def explain(self, text: str) -> None:
        """Say in a line what a stage found."""
        render.err().print(f"    {text}", soft_wrap=True)
