"""What `reefl-edge federate` writes, and what it refuses before anything is started."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from reefl_edge.federation.flower.app_folder import read_app
from reefl_edge.federation.flower.certificates import hosts_of
from tests.bare import BARE_PYTHON, SOURCES, needs_bare
from tests.cli.conftest import Type


@pytest.fixture
def folder(tmp_path: Path, type_command: Type) -> Path:
    """Return the folder of a federation with a node, on a port of this machine that is free."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    typed = type_command(
        *("federate", "init", tmp_path / "federation", "--model", "model.safetensors"),
        *("--deployment", "--listen", "127.0.0.1", "--port", port, "--nodes", "pi"),
    )
    assert typed.exit_code == 0, typed.stderr
    return tmp_path / "federation"


def test_a_folder_is_written_and_the_next_commands_are_named(
    tmp_path: Path, type_command: Type
) -> None:
    typed = type_command(
        *("federate", "init", tmp_path / "federation", "--model", "model.safetensors"),
        *("--data", "digits.npz#train", "--num-clients", 20),
    )

    assert typed.exit_code == 0
    assert (tmp_path / "federation" / "pyproject.toml").exists()
    assert f"reefl-edge federate run {tmp_path / 'federation'}" in typed.stderr


def test_nodes_of_a_deployment_say_themselves_how_deep_they_go_and_simulated_clients_do_not(
    folder: Path, tmp_path: Path, type_command: Type
) -> None:
    type_command(
        *("federate", "init", tmp_path / "simulated", "--model", "model.safetensors"),
        *("--data", "digits.npz#train", "--num-clients", 20),
    )

    assert read_app(folder)["tiers"] == "device"
    assert read_app(tmp_path / "simulated")["tiers"] == "round-robin"


def test_what_is_written_is_listed_as_json(tmp_path: Path, type_command: Type) -> None:
    typed = type_command(
        *("federate", "init", tmp_path, "--model", "model.safetensors"),
        *("--deployment", "--nodes", "pi,phone", "--json"),
    )

    nodes = tmp_path / "deployment" / "nodes"
    assert typed.document["written"] == [
        str(tmp_path / "pyproject.toml"),
        str(tmp_path / "deployment"),
        str(nodes / "pi"),
        str(nodes / "phone"),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("init", "D"), "name the model"),
        (("init", "D", "--model", "m", "--data", "d"), "go together"),
        (("init", "D", "--model", "m", "--host", "h"), "only with --deployment"),
        (("init", "D", "--model", "m", "--listen", "0.0.0.0"), "only with --deployment"),
        (("init", "D", "--model", "m", "--port", "9999"), "only with --deployment"),
        (("init", "D", "--deployment", "--data", "d"), "only with --model"),
        (("init", "D", "--deployment", "--num-clients", "3"), "only with --model"),
        (("init", "D", "--deployment", "--eval-data", "d"), "only with --model"),
        (("init", "D", "--model", "m", "--deployment", "--nodes", "../x"), "made of letters"),
        (("init", "D", "--model", "m", "--regime", "loro"), "did you mean lora"),
    ],
)
def test_options_that_do_not_go_are_refused(
    words: tuple[str, ...], message: str, type_command: Type, tmp_path: Path
) -> None:
    typed = type_command("federate", words[0], tmp_path / words[1], *words[2:])

    assert typed.exit_code == 2
    assert message in typed.stderr
    assert not (tmp_path / "D").exists()


def test_a_federation_is_not_written_over(folder: Path, type_command: Type) -> None:
    typed = type_command("federate", "init", folder, "--model", "other.safetensors")

    assert typed.exit_code == 3
    assert "is there already" in typed.stderr


def test_nodes_are_added_later(folder: Path, type_command: Type) -> None:
    kept = [
        folder / "deployment" / "nodes" / "pi" / "node.key",
        folder / "deployment" / "superlink.toml",
    ]
    before = [path.read_bytes() for path in kept]

    typed = type_command("federate", "init", folder, "--deployment", "--nodes", "pi,phone")

    assert typed.exit_code == 0
    assert [path.read_bytes() for path in kept] == before
    assert (folder / "deployment" / "nodes" / "phone" / "node.key").exists()


def test_a_server_that_is_called_nothing_new_keeps_its_names(
    folder: Path, type_command: Type
) -> None:
    deployment = folder / "deployment"
    type_command("federate", "init", folder, "--deployment", "--host", "server.lan")

    type_command("federate", "init", folder, "--deployment", "--nodes", "phone")

    assert hosts_of(deployment / "superlink.crt")[0] == "server.lan"
    told = (deployment / "nodes" / "phone" / "node.toml").read_text()
    assert 'superlink = "server.lan:' in told


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("num-rounds", "a setting is KEY=VALUE"),
        ("num-round=3", "did you mean num-rounds"),
    ],
)
def test_settings_that_are_none_are_refused_before_anything_is_started(
    config: str, message: str, folder: Path, type_command: Type
) -> None:
    typed = type_command("federate", "run", folder, "-c", config)

    assert typed.exit_code == 2
    assert message in typed.stderr


def test_a_value_that_does_not_fit_is_refused_before_anything_is_started(
    folder: Path, type_command: Type
) -> None:
    typed = type_command("federate", "run", folder, "-c", "num-rounds=many")

    assert typed.exit_code == 3
    assert "num-rounds" in typed.stderr


def test_a_missing_file_is_named_before_anything_is_started(
    tmp_path: Path, type_command: Type
) -> None:
    folder, model = tmp_path / "federation", tmp_path / "model.safetensors"
    type_command(
        *("federate", "init", folder, "--model", model),
        *("--data", tmp_path / "digits.npz#train", "--num-clients", 20),
    )

    without_model = type_command("federate", "run", folder)
    model.touch()
    without_data = type_command("federate", "run", folder)

    assert (without_model.exit_code, without_data.exit_code) == (3, 3)
    assert f"{model}: no such file" in without_model.stderr
    assert f"{tmp_path / 'digits.npz'}: no such file" in without_data.stderr


def test_a_port_in_use_is_refused(folder: Path, type_command: Type) -> None:
    text = (folder / "deployment" / "superlink.toml").read_text()
    port = int(text.rpartition("port = ")[2])

    with socket.create_server(("127.0.0.1", port)):
        typed = type_command("federate", "run", folder)

    assert typed.exit_code == 4
    assert f"cannot listen on 127.0.0.1:{port}" in typed.stderr
    assert len(typed.stderr.splitlines()) == 1


def test_an_expired_certificate_is_refused(
    folder: Path, type_command: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reefl_edge.federation.flower.certificates.SERVER_DAYS", -2)
    type_command("federate", "init", folder, "--deployment")

    typed = type_command("federate", "run", folder)

    assert typed.exit_code == 3
    assert "superlink.crt expired on" in typed.stderr
    assert "federate init" in typed.stderr


def test_a_federation_without_clients_or_nodes_is_refused(
    tmp_path: Path, type_command: Type
) -> None:
    type_command("federate", "init", tmp_path, "--model", "model.safetensors")

    typed = type_command("federate", "run", tmp_path)

    assert typed.exit_code == 3
    assert "has no deployment" in typed.stderr


@pytest.mark.parametrize("name", ["elsewhere", "pi"])
def test_a_node_without_its_own_private_key_is_refused(
    name: str, folder: Path, type_command: Type
) -> None:
    node = folder / "deployment" / "nodes" / name
    if node.exists():
        (node / "node.key").chmod(0o644)

    typed = type_command("federate", "join", node)

    assert typed.exit_code == 3
    assert ("no such folder" if name == "elsewhere" else "chmod 600") in typed.stderr


@needs_bare
@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (("init", "D", "--model", "m", "--deployment"), "federated"),
        (("run", "D"), "federated"),
        (("join", "D"), "node"),
    ],
)
def test_without_flower_the_extra_is_named(
    words: tuple[str, ...], extra: str, tmp_path: Path
) -> None:
    ended = subprocess.run(
        [BARE_PYTHON, "-m", "reefl_edge", "federate", *words],
        cwd=tmp_path,
        env=os.environ | SOURCES,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 5
    assert f"install 'reefl-edge[{extra}]'" in ended.stderr.splitlines()[-1]
    assert not (tmp_path / "D").exists()


def test_without_a_command_the_help_is_shown(type_command: Type) -> None:
    typed = type_command("federate")

    assert typed.exit_code == 2
    assert "--demo" in typed.stdout


def test_the_demo_stands_alone(type_command: Type, tmp_path: Path) -> None:
    typed = type_command("federate", "--demo", "run", tmp_path)

    assert typed.exit_code == 2
    assert "it stands alone" in typed.stderr


def test_the_demo_does_not_begin_where_a_federation_is_already(
    folder: Path, type_command: Type
) -> None:
    typed = type_command("federate", "--demo", "--output", folder.parent)

    assert typed.exit_code == 3
    assert "is there already" in typed.stderr
    assert not (folder.parent / "private_digits.npz").exists()
