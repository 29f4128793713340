"""``reefl-edge cache``: what is kept of exports, and away with it."""

from datetime import datetime
from typing import Any

import typer

from reefl_edge.cli import options, render

app = typer.Typer(
    name="cache",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Show or empty the cache of exported artifacts.\n\nExample:  reefl-edge cache list",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("list")
def list_entries(json: options.Json = False) -> None:
    """List what is kept: exporting the same again copies it.

    Example:  reefl-edge cache list
    """
    from reefl_export.cache import cache_home, entries

    found = entries()
    total = sum(entry.size_bytes for entry in found)
    document: dict[str, Any] = {
        "cache": str(cache_home()),
        "size_bytes": total,
        "entries": [
            {
                "key": entry.key,
                "artifact": entry.artifact.name if entry.artifact else None,
                "size_bytes": entry.size_bytes,
                "stored_at": datetime.fromtimestamp(entry.stored_at_s).isoformat(
                    timespec="seconds"
                ),
            }
            for entry in found
        ],
    }
    if json:
        render.print_json(document)
        return
    rows = [
        (
            entry["key"][:12],
            entry["artifact"] or "damaged",
            render.size(entry["size_bytes"]),
            entry["stored_at"],
        )
        for entry in document["entries"]
    ]
    title = f"{cache_home()}: {len(rows)} artifacts, {render.size(total)}"
    render.out().print(render.table(title, ("key", "artifact", "size", "stored"), rows))
    if rows:
        render.next_command("reefl-edge", "cache", "clear")


@app.command("clear")
def clear_entries(json: options.Json = False) -> None:
    """Remove everything that is kept; it is made anew when it is next exported.

    Example:  reefl-edge cache clear
    """
    from reefl_export.cache import cache_home, clear

    freed = clear()
    if json:
        render.print_json({"cache": str(cache_home()), "freed_bytes": freed})
    else:
        render.out().print(f"removed {render.size(freed)} from {cache_home()}")
