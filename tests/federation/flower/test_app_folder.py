"""The folder of a federation is an app that Flower takes, and carries nothing that is private."""

import re
import zipfile
from dataclasses import fields
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flwr.cli.build import build_fab_from_disk
from flwr.cli.config_utils import load_and_validate

from reefl_edge.errors import FederationError, InputError
from reefl_edge.federation.flower.app_folder import APP_FILE, read_app, with_overrides, write_app
from reefl_edge.federation.flower.deployment import FOLDER, Deployment, Listening, read_node
from reefl_edge.federation.flower.failures import failure_of, told
from reefl_edge.federation.flower.toml import attribute_docs
from reefl_edge.federation.node import NodeSettings, read_node_settings
from reefl_edge.federation.settings import FederationSettings, read_settings

SETTINGS = FederationSettings(
    model='/models/a "b".safetensors', num_clients=20, data="digits.npz#train", alpha=0.1
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a federation."""
    write_app(tmp_path / "federation", SETTINGS)
    return tmp_path / "federation"


def test_flower_takes_the_folder_as_it_is(folder: Path) -> None:
    _, warnings = load_and_validate(folder / APP_FILE)

    assert warnings == []


def test_settings_are_read_as_they_were_written(folder: Path) -> None:
    assert read_settings(read_app(folder)) == SETTINGS


@pytest.mark.parametrize("kind", [FederationSettings, NodeSettings, Listening])
def test_every_setting_is_explained_where_it_stands(kind: type[Any]) -> None:
    names = {field.name.replace("_", "-") for field in fields(kind)}

    assert set(attribute_docs(kind)) == names
    assert all(text.endswith(".") for text in attribute_docs(kind).values())


def test_a_comment_stands_above_every_setting(folder: Path) -> None:
    _, _, table = (folder / APP_FILE).read_text().partition("[tool.flwr.app.config]\n")

    assert re.match(r"(?:(?:# .+\n)+[a-z-]+ = .+\n)+\Z", table)


def test_nothing_but_the_settings_travels_to_nodes(folder: Path) -> None:
    Deployment(folder / FOLDER).write(Listening(), ["localhost"], ["pi"])
    (folder / "output").mkdir()
    (folder / "output" / "report.json").write_text("{}")

    with zipfile.ZipFile(BytesIO(build_fab_from_disk(folder))) as app:  # as `flwr run` does
        names = set(app.namelist())

    assert names == {APP_FILE, ".info/CONTENT"} | names & {".gitignore"}


def test_a_node_is_told_who_it_is_and_where_to_go(folder: Path) -> None:
    deployment = Deployment(folder / FOLDER)
    deployment.write(Listening(port=4711), ["server.lan"], ["pi"])
    deployment.write(Listening(port=4711), ["server.lan"], ["phone"])

    node = read_node(deployment.node_folder("phone"))

    assert node.superlink == "server.lan:4711"
    settings = read_node_settings(node.node)
    assert (settings.name, settings.partition_id) == ("phone", 1)


def test_an_unknown_setting_of_a_node_is_refused(folder: Path) -> None:
    deployment = Deployment(folder / FOLDER)
    deployment.write(Listening(), ["localhost"], ["pi"])
    with (deployment.node_folder("pi") / "node.toml").open("a") as file:
        file.write("colour = 'red'\n")

    with pytest.raises(InputError, match="colour"):
        read_node(deployment.node_folder("pi"))


def test_settings_may_be_otherwise_for_a_run_but_not_unknown_ones(folder: Path) -> None:
    config = read_app(folder)

    assert with_overrides(config, {"num-rounds": 3})["num-rounds"] == 3
    with pytest.raises(ValueError, match=r"no setting is called 'num-round'; did you mean num-r"):
        with_overrides(config, {"num-round": 3})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[project]\nname = 'x'\n", "is no Flower app"),
        ("[", "is no Flower app"),
        ("[tool.flwr.app]\ncomponents = {serverapp = 'x:y'}\nconfig = {}\n", "is another app's"),
    ],
)
def test_another_folder_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / APP_FILE).write_text(text)

    with pytest.raises(InputError, match=message):
        read_app(folder)


def test_a_setting_whose_line_is_gone_is_named(folder: Path) -> None:
    text = (folder / APP_FILE).read_text()
    (folder / APP_FILE).write_text(text.replace('test-data = ""\n', "").replace("seed = 0\n", ""))

    with pytest.raises(InputError, match=r"pyproject\.toml lacks test-data, seed; put the line"):
        read_app(folder)


def test_an_expected_error_comes_back_through_flower_as_itself() -> None:
    with pytest.raises(Exception, match="InputError") as raised, told():
        raise InputError("data.npz: no such file")

    known = failure_of(f"Simulation failed with exception: {raised.value}")
    unknown = failure_of("Simulation failed with exception: division by zero")

    assert (type(known), str(known)) == (InputError, "data.npz: no such file")
    assert type(unknown) is FederationError
    assert "division by zero" in str(unknown)
