"""Building, listing and removing agents from the command line."""

import subprocess
from pathlib import Path

import pytest

from tests.agent.programs import INSTALLER, write_program
from tests.agent.roots import make_root
from tests.cli.conftest import Type


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Debian root of a few bytes, an installer that needs no index, and a cache."""
    monkeypatch.setenv("UV", str(write_program(tmp_path / "uv", INSTALLER)))
    monkeypatch.setenv("REEFL_EDGE_HOME", str(tmp_path / "home"))
    return make_root(tmp_path / "root", "arm64", python="3.98")


def test_an_agent_is_built_listed_and_removed(root: Path, type_command: Type) -> None:
    built = type_command("agent", "build", "--from", root, "--json").document

    assert built["manifest"]["arch"] == "arm64"
    assert built["manifest"]["source"] == "folder"
    assert Path(built["archive"]).stat().st_size == built["archive_bytes"]
    again = type_command("agent", "build", "--from", root)
    assert "agent for arm64 in" in again.stdout
    listed = type_command("agent", "list", "--json").document["agents"]
    assert listed == [{**built, "is_current": True}]
    assert built["sha256"][:12] in type_command("agent", "list").stdout

    removed = type_command("agent", "remove", built["sha256"][:6], "--json").document

    assert removed["freed_bytes"] > built["archive_bytes"]
    shown = type_command("agent", "list")
    assert "reefl-edge agent build" in shown.stderr
    assert "removed 0.0 KiB" in type_command("agent", "remove", "--all").stdout


def test_an_agent_for_a_devices_python_takes_its_version(type_command: Type) -> None:
    built = type_command(
        "agent", "build", "--arch", "x86-64", "--from", "device-python", "--python", "3.98",
        "--json",
    ).document  # fmt: skip

    assert built["manifest"]["python_version"] == "3.98"
    script = (Path(built["folder"]) / "run").read_text()
    assert "python3.98 python3" in script
    subprocess.run(["sh", "-n", "-c", script], check=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("build", "--arch", "arm"), "no instruction set is called 'arm'; did you mean arm64?"),
        (("build", "--from", "nosuch"), "'nosuch' is neither apt nor device-python nor a folder"),
        (("build", "--python", "3.12"), "it is the device's; an agent from apt brings its own"),
        (
            ("build", "--from", "device-python", "--python", "3.9"),
            "need a Python of 3.11 or newer, such as 3.12, got '3.9'",
        ),
        (("remove",), "name one agent, or --all"),
        (("remove", "0123"), "'0123' names 0 agents"),
        (("remove", "0123", "--all"), "name one agent, or --all"),
    ],
)
def test_a_bad_option_is_named(
    arguments: tuple[str, ...], message: str, type_command: Type
) -> None:
    typed = type_command("agent", *arguments)

    assert typed.exit_code == 2
    assert message in " ".join(typed.stderr.split())


def test_a_root_for_another_machine_is_bad_input(root: Path, type_command: Type) -> None:
    typed = type_command("agent", "build", "--arch", "x86-64", "--from", root)

    assert typed.exit_code == 3
    assert "is not for x86-64; choose another --arch, or another folder" in typed.stderr


def test_without_apt_a_toolchain_is_missing(
    type_command: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")

    typed = type_command("agent", "build")

    assert typed.exit_code == 5
    assert "--from FOLDER" in typed.stderr
