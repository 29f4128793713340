"""``reefl-edge federate``: many devices train one model, each to its own depth, on Flower."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reefl_edge.cli import options, render
from reefl_edge.regimes import REGIMES

if TYPE_CHECKING:
    from reefl_edge.federation.settings import FederationSettings

app = typer.Typer(
    name="federate",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Train one model on many devices, each to its own depth; Flower carries the messages.\n\n"
    "Example:  reefl-edge federate init my-federation --model model.safetensors "
    "--data digits.npz#train --num-clients 20",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the federation.")]


@app.callback()
def federate(
    context: typer.Context,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo", help="Federate on real handwriting, clients of mixed depth, in two minutes."
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Where the demo saves everything.  [default: federated-demo-out]"
        ),
    ] = None,
    threads: options.Threads = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Run the demo, or one of the commands."""
    if context.invoked_subcommand is not None:
        if demo:
            options.refuse("--demo", "it stands alone")
        return
    if not demo:
        render.out().print(context.get_help(), markup=False, highlight=False)
        raise typer.Exit(2)
    from reefl_edge.cli import federated_demo

    federated_demo.run(
        output or federated_demo.DEFAULT_OUTPUT, threads=threads, seed=seed, json=json
    )


@app.command("init")
def init(
    folder: Folder,
    model: Annotated[
        Path | None,
        typer.Option("--model", help="What is trained: a checkpoint's file, or a bundle's folder."),
    ] = None,
    regime: Annotated[
        str, typer.Option("--regime", help=f"Which arrays are trained: {', '.join(REGIMES)}.")
    ] = "frozen",
    num_rounds: Annotated[
        int, typer.Option("--num-rounds", min=1, help="How many rounds there are.")
    ] = 10,
    data: Annotated[
        str | None,
        typer.Option("--data", help="In a simulation: the examples that all clients share."),
    ] = None,
    num_clients: Annotated[
        int | None,
        typer.Option("--num-clients", min=1, help="How many clients are simulated."),
    ] = None,
    eval_data: Annotated[
        str | None,
        typer.Option("--eval-data", help="Examples that the server measures accuracy on."),
    ] = None,
    deployment: Annotated[
        bool,
        typer.Option(
            "--deployment",
            help="Make certificates and keys for devices that take part over the network; in a "
            "folder that has some, renew the server's certificate and add nodes.",
        ),
    ] = False,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            help="What nodes call this machine, a name or an address; may be given again.  "
            "[default: as it is, or localhost]",
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            help="The address that the server listens on; 0.0.0.0 for all of this machine's.  "
            "[default: as it is, or 127.0.0.1]",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=1,
            max=65535,
            help="The port that it listens on.  [default: as it is, or 9092]",
        ),
    ] = None,
    nodes: Annotated[
        str | None,
        typer.Option("--nodes", help="Names of the nodes, separated by commas: pi,phone."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Write the folder of a federation; what is not said here is changed in its pyproject.toml.

    Example:  reefl-edge federate init my-federation --model model.safetensors --deployment
    --host server.lan --listen 0.0.0.0 --nodes pi,phone
    """
    from reefl_edge.tasks.federating import check_flower, deploy_federation, init_federation

    check_flower()
    if not deployment:
        _refuse_given(
            {"--host": host, "--listen": listen, "--port": port, "--nodes": nodes},
            "only with --deployment",
        )
    if model is None:
        _refuse_given(
            {"--data": data, "--num-clients": num_clients, "--eval-data": eval_data},
            "only with --model",
        )
    names = _node_names(nodes)
    written: list[Path] = []
    if model is not None:
        settings = _settings(
            folder,
            model=model,
            regime=regime,
            num_rounds=num_rounds,
            data=data,
            num_clients=num_clients,
            eval_data=eval_data,
        )
        written.append(init_federation(folder, settings))
    elif not deployment:
        options.refuse("--model", "name the model that is to be trained")
    if deployment:
        made, new = deploy_federation(folder, host or [], names, listen=listen, port=port)
        written += [made.folder, *new]
    if json:
        render.print_json({"federation": str(folder), "written": [str(path) for path in written]})
        return
    for path in written:
        render.out().print(f"saved {path}")
    if deployment:
        render.next_command("reefl-edge", "federate", "join", "NODE-FOLDER")
    render.next_command("reefl-edge", "federate", "run", folder)


@app.command("run")
def run(
    folder: Folder,
    config: Annotated[
        list[str] | None,
        typer.Option(
            "--config",
            "-c",
            help="A setting that this run has otherwise, such as num-rounds=3; may be given again.",
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            min=1,
            max=1024,
            help="Simulated clients that train at a time, each in a process of its own; the "
            "weights do not depend on it.",
        ),
    ] = 1,
    show_flower: Annotated[
        bool, typer.Option("--show-flower", help="Show what Flower says of its own work, too.")
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", help="Where a picture of the rounds goes, as PNG."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Run a federation: simulated, or with the nodes of its deployment.

    Example:  reefl-edge federate run my-federation -c num-rounds=3
    """
    from reefl_edge import schema
    from reefl_edge.tasks.federating import run_federation

    options.check_output(picture, option="--picture")
    overrides = _overrides(config or [])
    with options.usage_errors("--config"):
        result = run_federation(
            folder,
            overrides=overrides,
            workers=workers,
            shows_flower=show_flower,
            on_text=render.pass_on,
        )
    if picture is not None:
        _draw(result.report, picture)
    if json:
        render.print_json(
            {
                "federation": str(folder),
                "model": str(result.model),
                "report": str(result.report),
                "settings": schema.to_dict(result.settings),
            }
        )
        return
    for path in filter(None, (result.model, result.report, picture)):
        render.out().print(f"saved {path} ({render.size(path.stat().st_size)})")
    render.next_command("reefl-edge", "export", result.model, "-o", "bundle")


@app.command("join")
def join(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder of the node, made by init.")
    ],
) -> None:
    """Take part in a federation, on the device that has the data, until Ctrl-C.

    Example:  reefl-edge federate join my-federation/deployment/nodes/pi
    """
    from reefl_edge.tasks.federating import join_federation

    render.tell(f"joining by {folder}; Ctrl-C ends it")
    join_federation(folder, render.tell)


def _refuse_given(values: Mapping[str, object], why: str) -> None:
    """Refuse options that were given and would go unheard."""
    for option, value in values.items():
        if value is not None:
            options.refuse(option, why)


def _settings(
    folder: Path,
    *,
    model: Path,
    regime: str,
    num_rounds: int,
    data: str | None,
    num_clients: int | None,
    eval_data: str | None,
) -> "FederationSettings":
    """Return the settings that the options say; paths are absolute, wherever Flower runs it."""
    from reefl_edge.federation.settings import FederationSettings

    if (data is None) != (num_clients is None):
        options.refuse("--num-clients", "simulated clients and their --data go together")
    with options.usage_errors("--num-clients"):
        return FederationSettings(
            model=str(model.absolute()),
            regime=options.parse_option(regime, REGIMES, "--regime", kind="regime"),
            num_rounds=num_rounds,
            num_clients=num_clients or 0,
            clients_per_round=min(10, num_clients or 10),
            # A device says itself what it can bear; a simulated client has nothing to say.
            tiers="round-robin" if num_clients else "device",
            data="" if data is None else str(Path(data).absolute()),
            test_data="" if eval_data is None else str(Path(eval_data).absolute()),
            output=str((folder / "output").absolute()),
        )


def _node_names(nodes: str | None) -> list[str]:
    from reefl_edge.federation.flower.deployment import check_node_name

    with options.usage_errors("--nodes"):
        return (
            [] if nodes is None else [check_node_name(name) for name in options.split_list(nodes)]
        )


def _draw(report: Path, picture: Path) -> None:
    from reefl_edge.federation.report import read_federation_report
    from reefl_edge.pictures.federation import draw_federation

    draw_federation(read_federation_report(report), picture)


def _overrides(config: list[str]) -> dict[str, Any]:
    """Read settings as TOML writes them; a text needs no quotes.

    >>> _overrides(["num-rounds=3", "tiers=maximum"])
    {'num-rounds': 3, 'tiers': 'maximum'}
    """
    import tomllib

    read: dict[str, Any] = {}
    for each in config:
        key, equals, text = each.partition("=")
        if not equals:
            options.refuse("--config", f"a setting is KEY=VALUE, got {each!r}")
        try:
            (value,) = tomllib.loads(f"value = {text}").values()
        except (tomllib.TOMLDecodeError, ValueError):
            value = text
        read[key.strip()] = value
    return read
