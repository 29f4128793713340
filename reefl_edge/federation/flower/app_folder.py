"""What does the folder of a federation hold, so that Flower runs it, and what does it say?

One ``pyproject.toml``: where the app's two halves are (in this package: the folder itself has no
code), and every setting with what it means above it. The settings and their words are those of
``FederationSettings``; nothing is said twice.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from reefl_edge.errors import InputError
from reefl_edge.federation.flower.toml import Value, settings_table, toml_table
from reefl_edge.federation.settings import FederationSettings
from reefl_edge.files import regular_file, write_text
from reefl_edge.names import closest
from reefl_edge.schema import kebab

APP_FILE = "pyproject.toml"
OUTPUT_FOLDER = "output"

_PUBLISHER = "reefl-edge"
_HALVES = {
    "serverapp": "reefl_edge.federation.flower.server_app:app",
    "clientapp": "reefl_edge.federation.flower.client_app:app",
}
_HEAD = """\
# A federation of ReeFL on Flower, written by 'reefl-edge federate init'. Run it with

#     reefl-edge federate run {folder}

# or, with Flower's own command line, 'flwr run {folder}'.

[project]
name = "reefl-federation"
version = "1.0.0"
description = "Recurrent early exits, federated over devices of different depth"
license = "Apache-2.0"
dependencies = []  # reefl-edge is installed where this runs, and nothing else is

[tool.flwr.app]
publisher = "{publisher}"

[tool.flwr.app.components]
"""
# Private keys have no place in an app that Flower sends around, nor has what comes out of it.
_IGNORED = "deployment/\noutput/\n"


def write_app(folder: Path, settings: FederationSettings) -> None:
    """Write the folder of a federation.

    Raises:
        OSError: The folder cannot be written to.
    """
    head = _HEAD.format(folder=folder.name, publisher=_PUBLISHER)
    write_text(folder / ".gitignore", _IGNORED)
    write_text(
        folder / APP_FILE,
        f"{head}{toml_table(_HALVES)}\n[tool.flwr.app.config]\n{settings_table(settings)}",
    )


def read_app(folder: Path) -> dict[str, Value]:
    """Return the settings in a federation's folder, by key.

    Raises:
        InputError: There is no federation of ours in it, or it is damaged, or lacks a setting.
    """
    path = regular_file(folder / APP_FILE)
    try:
        app = tomllib.loads(path.read_text("utf-8"))["tool"]["flwr"]["app"]
        is_ours, config = app["components"] == _HALVES, app["config"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no Flower app: {error}") from error
    if not is_ours or not isinstance(config, dict):
        raise InputError(f"{path} is another app's; write ours with 'reefl-edge federate init'")
    keys = (kebab(field.name) for field in fields(FederationSettings))
    # For a run, Flower changes only what it finds here.
    if missing := [key for key in keys if key not in config]:
        raise InputError(
            f"{path} lacks {', '.join(missing)}; put the line back, as 'reefl-edge federate init' "
            "writes it"
        )
    return config


def with_overrides(config: Mapping[str, Value], overrides: Mapping[str, Value]) -> dict[str, Value]:
    """Return settings with some of them set otherwise.

    Raises:
        ValueError: There is no such setting.
    """
    for key in overrides:
        if key not in config:
            raise ValueError(f"no setting is called {key!r}{closest(key, config)}")
    return {**config, **overrides}
