"""``reefl-edge federate --demo``: clients of mixed depth train one model, on real handwriting."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from reefl_edge.cli import options, render
from reefl_edge.cli.narrator import Terminal
from reefl_edge.errors import MissingToolchainError

if TYPE_CHECKING:
    from reefl_edge.demo.federated import FederatedDemoResult

DEFAULT_OUTPUT = Path("federated-demo-out")


def run(output: Path, *, threads: int | None, seed: int, json: bool) -> None:
    """Pretrain a backbone, federate what is new on it, and draw the rounds."""
    _check_packages()
    options.check_output(output, is_folder=True)
    from reefl_edge.demo.federated import run_federated_demo
    from reefl_edge.runtimes.base import default_threads

    result = run_federated_demo(output, Terminal(), threads=threads or default_threads(), seed=seed)
    if json:
        from reefl_edge import schema

        render.print_json(schema.to_dict(result.report))
    else:
        _show(result)
    render.next_command("reefl-edge", "export", result.model, "-o", "bundle")
    more = ("-c", "resume=true", "-c", f"num-rounds={2 * result.report.rounds[-1].server_round}")
    render.next_command("reefl-edge", "federate", "run", result.folder, *more)


def _check_packages() -> None:
    """Refuse to begin without the packages that are needed only a minute later."""
    modules = ("torch", "sklearn", "matplotlib", "flwr", "ray", "tensorboard")
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingToolchainError.for_extra("the demo", ", ".join(missing), "all")


def _show(result: "FederatedDemoResult") -> None:
    """Print what the federation made of each exit, and where everything lies."""
    evaluated = [each for each in result.report.rounds if each.evaluation is not None]
    first, last = (each.evaluation for each in (evaluated[0], evaluated[-1]))
    assert first is not None
    assert last is not None
    rows = [
        (f"exit {exit_index}", f"{100 * before:.1f}", f"{100 * after:.1f}")
        for exit_index, (before, after) in enumerate(
            zip(first.accuracy, last.accuracy, strict=True)
        )
    ]
    title = f"Accuracy on the test digits, after {evaluated[-1].server_round} rounds"
    render.out().print(render.table(title, ("exit", "before, %", "after, %"), rows))
    render.out().print(f"saved {result.model}: the trained model")
    render.out().print(f"saved {result.picture}: the picture")
