"""``reefl-edge demo``: the main job, end to end, on real handwriting."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reefl_edge.cli import options, render
from reefl_edge.cli.narrator import Terminal
from reefl_edge.errors import InputError, MissingToolchainError

if TYPE_CHECKING:
    from reefl_edge.demo.measure import Curve
    from reefl_edge.demo.run import DemoResult


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
    from reefl_edge.demo.run import run_demo
    from reefl_edge.demo.summary import save_report
    from reefl_edge.runtimes.base import default_threads

    result = run_demo(output, Terminal(), threads=threads or default_threads(), seed=seed)
    document = save_report(result, output)
    if json:
        render.print_json(document)
    else:
        _show_summary(result, output)
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
    from reefl_edge.demo.summary import REPORT_NAME, SAVED

    options.check_output(output, is_folder=True)
    there = [name for name in SAVED if (output / name).exists()]
    if there and REPORT_NAME not in there:
        raise InputError(
            f"{output} holds {there[0]}, but no {REPORT_NAME} of a demo that ended; "
            "choose another output folder, or remove it"
        )


def _show_summary(result: "DemoResult", output: Path) -> None:
    """Print what was found and where everything lies."""
    from reefl_edge.demo.run import PROMISE
    from reefl_edge.demo.summary import SAVED

    columns = ("what", "always deepest", "where the bundle stops", "change")
    rows = [row for curve in result.curves for row in _rows(curve)]
    title = f"Stopping early on the test digits; promised: {PROMISE}"
    render.out().print(render.table(title, columns, rows))
    for name, what in SAVED.items():
        render.out().print(f"saved {output / name}: {what}")


def _rows(curve: "Curve") -> list[tuple[str, str, str, str]]:
    chosen, deepest = curve.chosen, curve.deepest
    low, high = (100 * bound for bound in chosen.accuracy_change_interval)
    ratio = chosen.mean_latency_ms / deepest.mean_latency_ms
    return [
        (
            f"{curve.runtime}: mean latency, ms",
            f"{deepest.mean_latency_ms:.3f}",
            f"{chosen.mean_latency_ms:.3f}",
            f"x {ratio:.2f}",
        ),
        (
            f"{curve.runtime}: accuracy, %",
            f"{100 * deepest.accuracy:.1f}",
            f"{100 * chosen.accuracy:.1f}",
            f"{100 * chosen.accuracy_change:+.1f} [{low:+.1f}, {high:+.1f}]",
        ),
    ]
