"""What we start of Flower and Ray asks nobody outside for anything."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from uvicorn import Config

from reefl_edge.federation.flower.environment import flower_environment, private_home
from tests.tripwire import PROXIES, tripwire

# What each of Flower's programs does first; the update check runs in a thread that is waited for.
CALLS_HOME = """
from flwr.supercore.telemetry import EventType, event
from flwr.supercore.update_check import warn_if_flwr_update_available
warn_if_flwr_update_available("flower-superlink")
future = event(EventType.PING)
if future is not None:
    future.result()
"""


def called(environment: dict[str, str]) -> set[str]:
    """Return whom Flower asks for something outside when it starts."""
    with tripwire() as wire:
        proxies = dict.fromkeys(PROXIES, wire.url)
        subprocess.run(
            [sys.executable, "-c", CALLS_HOME],
            env=environment | proxies,
            check=True,
            capture_output=True,
            timeout=120,
        )
        return wire.hosts


def test_flower_left_alone_calls_its_makers(tmp_path: Path) -> None:
    assert called(dict(os.environ) | {"FLWR_HOME": str(tmp_path)}) == {
        "api.flower.ai",
        "telemetry.flower.ai",
    }


def test_flower_as_we_start_it_calls_nobody(tmp_path: Path) -> None:
    assert called(flower_environment(tmp_path)) == set()


def test_nothing_is_installed_at_run_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = import_module("flwr.superlink.cli.flower_superlink")
    for name, value in flower_environment(tmp_path).items():
        monkeypatch.setenv(name, value)

    assert not program._runtime_dependency_install_default()


def test_nobody_says_themselves_which_address_they_ask_from_or_finds_another_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "FORWARDED_ALLOW_IPS": "*",
        "FLWR_INTERNAL_GRPC_CONTROL_API": "1",
        "FLWR_INTERNAL_GRPC_FLEET_API": "1",
    }.items():
        monkeypatch.setenv(name, value)

    for name, value in flower_environment(tmp_path).items():
        monkeypatch.setenv(name, value)

    assert Config(app="").forwarded_allow_ips == "127.0.0.1"
    program = import_module("flwr.superlink.cli.flower_superlink")
    for name in (program.FLWR_INTERNAL_GRPC_CONTROL_API, program.FLWR_INTERNAL_GRPC_FLEET_API):
        assert os.environ[name] == "0"


def test_programs_are_those_beside_this_python_and_local_addresses_need_no_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "intranet")

    environment = flower_environment(tmp_path)

    first, *_ = environment["PATH"].split(os.pathsep)
    assert (Path(first) / "flower-superlink").exists()
    assert environment["NO_PROXY"].split(",") == ["intranet", "127.0.0.1", "localhost", "::1"]


def test_a_private_home_is_gone_with_its_block() -> None:
    with private_home() as home:
        (home / "apps").mkdir()

    assert not home.exists()
