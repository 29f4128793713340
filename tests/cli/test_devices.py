"""``reefl-edge devices``, and what commands say of a device that is not there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Type
from tests.phone.phones import Phone, adb, adb_server, needs_adb, phone_in


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Phone]:
    """A Pixel 7 on a cable."""
    with adb_server(tmp_path) as environment, phone_in(tmp_path / "phone", binds=()) as phone:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        adb(environment, "connect", phone.serial)
        yield phone


@needs_adb
def test_what_is_connected_is_listed_with_its_state_and_its_profile(
    type_command: Type, phone: Phone
) -> None:
    typed = type_command("devices", "--json")
    shown = type_command("devices")

    assert typed.document["connected"] == [
        {
            "device": f"adb:{phone.serial}",
            "state": "device",
            "model": "Pixel_7",
            "profiles": ["pixel7"],
        }
    ]
    assert f"adb:{phone.serial}" in shown.stdout
    assert "--device pixel7" in " ".join(shown.stdout.split())


@needs_adb
def test_a_connected_phone_is_shown_beside_its_profile(type_command: Type, phone: Phone) -> None:
    typed = type_command("devices", "show", "pixel7", "--json")
    shown = type_command("devices", "show", f"adb:{phone.serial}")

    assert typed.document["profile"]["title"] == "Google Pixel 7"
    assert typed.document["host"]["cpu_name"] == "Google GS201"
    assert typed.document["state"]["battery_percent"] == 87
    assert "87%, plugged in" in shown.stdout


@needs_adb
def test_a_phone_that_is_not_connected_shows_its_profile(type_command: Type) -> None:
    typed = type_command("devices", "show", "pixel7")

    assert typed.exit_code == 0
    assert "Cortex-X1" in typed.stdout
    assert "no Google Pixel 7 is connected by adb" in " ".join(typed.stderr.split())


@needs_adb
def test_a_phone_is_cleaned(type_command: Type, phone: Phone) -> None:
    typed = type_command("devices", "clean", "pixel7")

    assert typed.exit_code == 0
    assert typed.stdout == "nothing that was sent is left on pixel7\n"
    assert not (phone.root / "data/local/tmp/reefl-edge/files").exists()


def test_this_machine_is_shown(type_command: Type) -> None:
    typed = type_command("devices", "show", "local", "--json")

    assert typed.document["profile"] is None
    assert typed.document["host"]["num_cores"] >= 1


@pytest.mark.parametrize(
    ("device", "exit_code", "message"),
    [
        ("ssh:-oProxyCommand=x", 2, "names no host"),
        ("pixel77", 2, "did you mean pixel7"),
        ("no/such.toml", 3, "no such file"),
    ],
)
def test_a_device_that_there_is_not_is_refused(
    type_command: Type, device: str, exit_code: int, message: str
) -> None:
    typed = type_command("devices", "show", device)

    assert typed.exit_code == exit_code
    assert message in " ".join(typed.stderr.replace("│", "").split())


@needs_adb
def test_a_profile_of_a_phone_that_is_not_connected_offers_an_estimate(
    type_command: Type, home: Path
) -> None:
    typed = type_command("profile", "--model", home / "bundle", "--device", "pixel7")

    said = " ".join(typed.stderr.split())
    assert typed.exit_code == 4
    assert "no Google Pixel 7 is connected by adb" in said
    assert "--estimate predicts" in said


@needs_adb
def test_training_on_a_phone_takes_a_compiled_step(
    type_command: Type, home: Path, tmp_path: Path
) -> None:
    typed = type_command(
        "finetune", home / "bundle", "--data", home / "data.npz", "--device", "pixel7",
        "-o", tmp_path / "update.safetensors",
    )  # fmt: skip

    assert typed.exit_code == 2
    assert "a bundle's compiled ONNX step" in " ".join(typed.stderr.replace("│", "").split())
