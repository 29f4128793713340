"""What holds for all commands."""

import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path

import pytest
import typer
from packaging.requirements import Requirement

from reefl_edge.cli import app
from reefl_edge.cli.doctor import CAPABILITIES
from tests.cli.conftest import Type

COMMANDS = (
    "demo",
    "convert",
    "profile",
    "assign",
    "finetune",
    "export",
    "apply",
    "parity",
    "verify",
    "calibrate",
    "evaluate",
    "infer",
    "devices",
    "doctor",
)
GROUPS = ("federate", "agent", "cache")
ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "executorch", "onnx", "onnxscript", "coremltools", "onnxruntime", "sklearn")


def test_these_are_all_the_commands() -> None:
    assert tuple(typer.main.get_command(app).commands) == (*COMMANDS, *GROUPS)  # type: ignore[attr-defined]


@pytest.mark.parametrize("arguments", [("--help",), *((name, "--help") for name in COMMANDS)])
def test_help_imports_no_toolchain(arguments: tuple[str, ...]) -> None:
    script = (
        "import sys\n"
        "from reefl_edge.cli import app\n"
        f"app({list(arguments)!r}, standalone_mode=False)\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not heavy, heavy\n"
    )

    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert shown.returncode == 0, shown.stderr
    assert "Usage" in shown.stdout


def test_only_the_command_that_is_typed_is_loaded() -> None:
    script = (
        "import sys\n"
        "from reefl_edge.cli import app\n"
        "app(['devices', '--json'], standalone_mode=False)\n"
        f"loaded = [each for each in {COMMANDS!r} if f'reefl_edge.cli.{{each}}' in sys.modules]\n"
        "assert loaded == ['devices'], loaded\n"
    )

    subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL, check=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_in_the_help_parses(name: str) -> None:
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    example = re.search(r"Example:\s+reefl-edge (.+)", command.help or "")
    assert example, f"{name} has no example"
    words = shlex.split(example.group(1))

    assert words[0] == name
    command.make_context(name, words[1:])  # raises if it does not parse


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme_and_speaks_json(name: str) -> None:
    assert f"reefl-edge {name}" in (ROOT / "README.md").read_text()
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    assert "--json" in {option for parameter in command.params for option in parameter.opts}


def test_the_commands_of_the_readme_parse() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    typed = [shlex.split(line, comments=True) for line in lines if line.startswith("reefl-edge ")]
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]

    assert {words[1] for words in typed} <= {*COMMANDS, *GROUPS}
    for _, name, *words in typed:
        commands[name].make_context(name, words)


def test_devices_lists_this_machine_and_the_profiles(type_command: Type) -> None:
    typed = type_command("devices", "--json")

    names = [profile["name"] for profile in typed.document["profiles"]]
    assert {"pixel7", "rpi5", "iphone15", "laptop-x86"} <= set(names)
    assert typed.document["local"]["num_cores"] >= 1
    assert "measured" not in typed.stdout  # facts, no figures


def test_doctor_says_what_works(type_command: Type) -> None:
    typed = type_command("doctor", "--json")

    works = {entry["what"]: entry["works"] for entry in typed.document["capabilities"]}
    assert works["run ONNX bundles"]
    assert typed.document["problems"] == []


def test_doctor_names_what_brings_a_missing_package(
    monkeypatch: pytest.MonkeyPatch, type_command: Type
) -> None:
    found = Distribution.from_name

    def without(name: str) -> Distribution:
        if name in ("executorch", "ray", "pillow"):
            raise PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(Distribution, "from_name", without)

    typed = type_command("doctor", "--json")
    shown = type_command("doctor")

    works = {entry["what"]: entry["works"] for entry in typed.document["capabilities"]}
    extras = {entry["what"]: entry["extra"] for entry in typed.document["capabilities"]}
    assert not works["run the demo"]
    assert extras["run the demo"] == "all"
    assert not works["federate: server, simulations"]
    assert works["federate: a node"]
    assert "None" not in shown.stdout


def test_what_doctor_asks_for_is_what_the_extra_brings() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras: dict[str, list[str]] = declared["optional-dependencies"]
    every = [line for name, lines in extras.items() if name != "all" for line in lines]
    lines_of = {
        "": [],
        **extras,
        "all": every,
        "federated,train": extras["federated"] + extras["train"],
    }
    for capability in CAPABILITIES:
        lines = [*declared["dependencies"], *lines_of[capability.extra or ""]]
        brought = {Requirement(line).name for line in lines}
        asked = {package.replace("_", "-") for package in capability.packages}
        assert asked - brought <= {"ray"}, capability  # Flower's extra "simulation" brings that


def test_devices_are_listed_with_what_can_compute_in_them(type_command: Type) -> None:
    typed = type_command("devices")

    assert typed.exit_code == 0
    words = " ".join(typed.stdout.replace("│", " ").split())
    for part in ("Apple A16 Bionic", "Neural", "VideoCore"):
        assert part in words


def test_a_bug_is_not_dressed_up_as_an_expected_error(
    monkeypatch: pytest.MonkeyPatch, type_command: Type
) -> None:
    monkeypatch.setattr("reefl_edge.devices.host.describe_host", lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        type_command("devices")


def test_an_interrupt_has_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch, type_command: Type
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("reefl_edge.devices.host.describe_host", interrupt)

    typed = type_command("devices")

    assert typed.exit_code == 130
    assert "interrupted" in typed.stderr
