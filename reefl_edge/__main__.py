"""How does ``reefl-edge`` start, so that it can be stopped, and closed streams do no harm?

Loading the command line takes a tenth of a second and more. What this file imports itself is next
to nothing, so that there is an answer to Ctrl-C from the start.
"""

import os
import sys

from reefl_edge.interruption import answer, behind, listen


def main() -> None:
    """Run the command line."""
    listen()
    try:
        _open_closed_streams()
        # Nobody else has a say in how our files are read; looking for who might, pydantic would
        # read the metadata of every package that is installed.
        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
        from reefl_edge.cli import app

        app(prog_name="reefl-edge")
    except BaseException as error:
        interrupt = behind(error)
        if interrupt is None:
            raise
        sys.exit(answer(interrupt))


def _open_closed_streams() -> None:
    """Lead what a shell has closed (``>&-``) nowhere: the next file opened would take its place."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, "w", encoding="utf-8", closefd=False))
    # File names need not be text; in JSON, what stands for such bytes is an escape of its own.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
