"""For what machines agents are built, and from which Python."""

from pathlib import Path

import pytest

from reefl_edge.agent.arch import Arch, arch_of, check_program
from reefl_edge.agent.sources import DevicePython
from reefl_edge.errors import DeviceError, InputError
from tests.agent.roots import PROGRAMS


@pytest.mark.parametrize(
    ("abi", "arch"),
    [
        ("arm64-v8a", "arm64"),
        ("aarch64", "arm64"),
        ("arm64", "arm64"),
        ("x86_64", "x86-64"),
        ("amd64", "x86-64"),
    ],
)
def test_a_device_is_known_by_what_it_calls_itself(abi: str, arch: Arch) -> None:
    assert arch_of(abi) == arch


@pytest.mark.parametrize("abi", ["armeabi-v7a", "armv7l", "i686", "riscv64", ""])
def test_a_device_without_an_agent_is_refused(abi: str) -> None:
    with pytest.raises(DeviceError) as caught:
        arch_of(abi)
    assert str(caught.value) == (
        f"there is no agent for {abi!r}; agents run on 64-bit systems: arm64, x86-64"
    )


def test_a_program_of_another_machine_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "python3.11"
    program.write_bytes(PROGRAMS["x86-64"])

    check_program(program, "x86-64")
    with pytest.raises(InputError, match=r"python3\.11 is not for arm64; choose another --arch"):
        check_program(program, "arm64")


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(14)])
def test_what_is_no_64_bit_program_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "python").write_bytes(content)

    with pytest.raises(InputError, match="is no 64-bit program of Linux"):
        check_program(tmp_path / "python", "arm64")


@pytest.mark.parametrize("version", ["3.10", "2.7", "3", "3.12.1", "three", "4.0", ""])
def test_a_python_that_is_too_old_or_none_is_refused(version: str) -> None:
    with pytest.raises(ValueError, match=r"need a Python of 3\.11 or newer, such as 3\.12"):
        DevicePython(version)
