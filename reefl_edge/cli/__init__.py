"""The ``reefl-edge`` command: which commands are there, and how does an error reach the shell?

A command parses, calls one library function and renders. Results go to stdout, everything else to
stderr. Heavy packages are imported inside the commands, so that ``--help`` is quick.
"""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from reefl_edge.cli import (
    convert,
    demo,
    devices,
    doctor,
    export,
    finetune,
    infer,
    parity,
    profile,
    verify,
)
from reefl_edge.errors import InputError, ReeflEdgeError

INTERRUPTED = 130


class Commands(TyperGroup):
    """A command group that reports expected errors in one line on stderr."""

    def invoke(self, ctx: Any) -> object:
        """Run the command, turning an expected error into its exit code."""
        try:
            return super().invoke(ctx)
        except ReeflEdgeError as error:
            _report(str(error))
            raise typer.Exit(error.exit_code) from error
        except OSError as error:
            if error.strerror is None:  # raised by Python code, not by the system: a bug
                raise
            where = f"{error.filename}: " if error.filename else ""
            _report(f"{where}{error.strerror.lower()}")
            raise typer.Exit(InputError.exit_code) from error
        except KeyboardInterrupt as error:
            _report("interrupted; nothing was left half-written")
            raise typer.Exit(INTERRUPTED) from error


def _report(message: str) -> None:
    typer.secho(f"error: {message}", fg=typer.colors.RED, err=True)


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
) -> None:
    """Put ReeFL on real devices: profile, fine-tune, export, run with early exits.

    Start with:  reefl-edge demo --output demo-out
    """


app.command("demo")(demo.demo)
app.command("convert")(convert.convert)
app.command("profile")(profile.profile)
app.command("finetune")(finetune.finetune)
app.command("export")(export.export)
app.command("parity")(parity.parity)
app.command("verify")(verify.verify)
app.command("infer")(infer.infer)
app.command("devices")(devices.devices)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Run the command line."""
    app()
