"""The ``reefl-edge`` command: which commands are there, and how does an error reach the shell?

A command parses, calls one library function and renders. Results go to stdout, everything else to
stderr. Heavy packages are imported inside the commands, so that ``--help`` is quick.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from reefl_edge.cli import (
    apply,
    cache,
    convert,
    demo,
    devices,
    doctor,
    export,
    finetune,
    infer,
    parity,
    profile,
    render,
    verify,
)
from reefl_edge.errors import InputError, ReeflEdgeError
from reefl_edge.interruption import answer

# What a shell shows of a program that wrote to a closed pipe: 128 and the number of SIGPIPE.
PIPE_CLOSED = 141


class Commands(TyperGroup):
    """A command group that reports expected errors in one line on stderr."""

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        """Parse the words of a command; help is printed meanwhile."""
        with _reported():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: Any) -> object:
        """Run the command."""
        with _reported():
            result = super().invoke(ctx)
            sys.stdout.flush()  # while an error can still be told
            return result


@contextmanager
def _reported() -> Iterator[None]:
    """Turn an expected error of the block into its exit code."""
    try:
        yield
    except ReeflEdgeError as error:
        render.error(str(error))
        raise typer.Exit(error.exit_code) from error
    except BrokenPipeError as error:  # ``| head -1`` has seen enough
        _lead_nowhere(1, 2)
        raise typer.Exit(PIPE_CLOSED) from error
    except OSError as error:
        if error.strerror is None:  # raised by Python code, not by the system: a bug
            raise
        where = error.filename
        if where is None and error.errno == errno.ENOSPC:
            # Whatever writes a file names it: what is left is where results go.
            where = "standard output"
            _lead_nowhere(1)
        render.error(f"{where}: {error.strerror.lower()}" if where else error.strerror.lower())
        raise typer.Exit(InputError.exit_code) from error
    except KeyboardInterrupt as interrupt:
        raise typer.Exit(answer(interrupt)) from interrupt


def _lead_nowhere(*descriptors: int) -> None:
    """Let what is still in the buffers of streams go, so that Python's own end does not fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


app = typer.Typer(
    cls=Commands,
    name="reefl-edge",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # boxed help costs twice the time of a plain one
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"reefl-edge {version('reefl-edge')}")
        raise typer.Exit


@app.callback()
def reefl_edge(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tell more, of warnings and errors too.")
    ] = False,
) -> None:
    """Put ReeFL on real devices: profile, fine-tune, export, run with early exits.

    Start with:  reefl-edge demo --output demo-out
    """
    render.show_log(verbose=verbose)


app.command("demo")(demo.demo)
app.command("convert")(convert.convert)
app.command("profile")(profile.profile)
app.command("finetune")(finetune.finetune)
app.command("export")(export.export)
app.command("apply")(apply.apply)
app.command("parity")(parity.parity)
app.command("verify")(verify.verify)
app.command("infer")(infer.infer)
app.command("devices")(devices.devices)
app.command("doctor")(doctor.doctor)
app.add_typer(cache.app, name="cache")
