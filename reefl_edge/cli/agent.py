"""``reefl-edge agent``: what obeys jobs on a device that has nothing installed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reefl_edge.cli import options, render

if TYPE_CHECKING:
    from reefl_edge.agent.agent import Agent
    from reefl_edge.agent.sources import Source

app = typer.Typer(
    name="agent",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Build what runs on a device that has nothing installed.\n\n"
    "Example:  reefl-edge agent build --arch arm64",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_APT, _DEVICE_PYTHON = "apt", "device-python"


@app.command("build")
def build(
    arch: Annotated[
        str, typer.Option("--arch", help="The device's instruction set: arm64 or x86-64.")
    ] = "arm64",
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="Where its Python comes from: apt, this machine's package sources; FOLDER, the "
            "root folder of a Debian system; device-python, the device itself.",
        ),
    ] = _APT,
    python: Annotated[
        str | None,
        typer.Option(
            "--python",
            help="With --from device-python: the version of the device's Python.  [default: 3.11]",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Build an agent, unless it is there: Python, numpy, onnxruntime and reefl_edge in one folder.

    Example:  reefl-edge agent build --arch arm64
    """
    from reefl_edge.agent.arch import ARCHES
    from reefl_edge.agent.building import build_agent

    known_arch = options.parse_option(arch, ARCHES, "--arch", kind="instruction set")
    known_source = _source(source, python)
    with render.progress_bar(f"agent for {known_arch}") as bar:
        agent = build_agent(known_arch, known_source, on_stage=bar.say)
    if json:
        render.print_json(_document(agent))
        return
    render.out().print(
        f"agent for {agent.arch} in {agent.folder} ({render.size(agent.size_bytes)}; "
        f"packed {render.size(agent.archive_bytes)})"
    )
    render.next_command("reefl-edge", "devices")


@app.command("list")
def list_agents(json: options.Json = False) -> None:
    """List the agents that were built here.

    Example:  reefl-edge agent list
    """
    from reefl_edge.agent import store
    from reefl_edge.agent.building import is_current

    agents = store.list_agents()
    if json:
        current = [{**_document(agent), "is_current": is_current(agent)} for agent in agents]
        render.print_json({"agents": current})
        return
    rows = [
        (
            agent.sha256[:12],
            agent.arch,
            agent.manifest.source,
            agent.manifest.python_version,
            render.size(agent.size_bytes),
            render.size(agent.archive_bytes),
            "yes" if is_current(agent) else "no: of another version",
        )
        for agent in agents
    ]
    columns = ("agent", "arch", "from", "Python", "size", "packed", "current")
    render.out().print(render.table(str(store.agents_folder()), columns, rows))
    if not rows:
        render.next_command("reefl-edge", "agent", "build")


@app.command("remove")
def remove(
    agent: Annotated[
        str | None, typer.Argument(metavar="AGENT", help="The first digits of its hash.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all agents.")] = False,
    json: options.Json = False,
) -> None:
    """Remove agents from this machine; one is built anew when it is next needed.

    Example:  reefl-edge agent remove --all
    """
    from reefl_edge.agent import store

    if (agent is None) != everything:
        options.refuse("AGENT", "name one agent, or --all")
    if agent is None:
        freed = store.clear_agents()
    else:
        with options.usage_errors("AGENT"):
            found = store.find_agent(agent)
        freed = store.remove_agent(found)
    if json:
        render.print_json({"agents": str(store.agents_folder()), "freed_bytes": freed})
    else:
        render.out().print(f"removed {render.size(freed)} from {store.agents_folder()}")


def _source(name: str, python: str | None) -> "Source":
    from reefl_edge.agent.sources import AptSources, DevicePython, RootFolder

    if python is not None and name != _DEVICE_PYTHON:
        options.refuse("--python", f"it is the device's; an agent from {name} brings its own")
    if name == _APT:
        return AptSources()
    if name == _DEVICE_PYTHON:
        with options.usage_errors("--python"):
            return DevicePython(python or "3.11")
    if not Path(name).is_dir():
        options.refuse("--from", f"{name!r} is neither {_APT} nor {_DEVICE_PYTHON} nor a folder")
    return RootFolder(Path(name))


def _document(agent: "Agent") -> dict[str, Any]:
    from reefl_edge import schema

    return {
        "sha256": agent.sha256,
        "folder": str(agent.folder),
        "archive": str(agent.archive),
        "archive_bytes": agent.archive_bytes,
        "manifest": schema.to_dict(agent.manifest),
    }
