"""``reefl-edge demo``: the main job, end to end, on real handwriting."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from reefl_edge.cli import options, render
from reefl_edge.errors import InputError, MissingToolchainError


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where everything is saved.")
    ] = Path("demo-out"),
    threads: options.Threads = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Pretrain, profile, fine-tune, export and run a network with early exits, in minutes.

    Example:  reefl-edge demo --output demo-out
    """
    _check_packages()
    _check_output(output)
    from reefl_edge.cli.demo.run import run_demo
    from reefl_edge.cli.demo.summary import save_report, show_summary
    from reefl_edge.runtimes.base import default_threads

    result = run_demo(output, threads=threads or default_threads(), seed=seed)
    document = save_report(result, output)
    if json:
        render.print_json(document)
    else:
        show_summary(result, output)
    render.next_command("reefl-edge", "infer", output / "bundle", output / "test_digits.npz")
    render.next_command(
        *("reefl-edge", "profile", "--device", "local", "--model", output / "model.safetensors"),
        *("--budget-ms", 1, "-o", "report.json"),
    )
    render.next_command("reefl-edge", "devices")


def _check_packages() -> None:
    """Refuse to begin without the packages that are needed only minutes later."""
    modules = ("torch", "executorch", "onnxscript", "coremltools", "sklearn", "matplotlib")
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingToolchainError.for_extra("the demo", ", ".join(missing), "all")


def _check_output(output: Path) -> None:
    """Refuse a folder in which the demo would write over what is not an older demo's."""
    from reefl_edge.cli.demo.summary import REPORT_NAME, SAVED

    options.check_output(output, is_folder=True)
    there = [name for name in SAVED if (output / name).exists()]
    if there and REPORT_NAME not in there:
        raise InputError(
            f"{output} holds {there[0]}, but no {REPORT_NAME} of a demo that ended; "
            "choose another output folder, or remove it"
        )
