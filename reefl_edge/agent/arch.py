"""For which instruction sets is there an agent, and how does everybody else call them?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from reefl_edge.errors import DeviceError, InputError

Arch = Literal["arm64", "x86-64"]
ARCHES: tuple[Arch, ...] = get_args(Arch)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchNames:
    """One instruction set, in others' words.

    Attributes:
        debian: In the names of Debian's packages.
        triple: The folder of libraries in a Debian root.
        loader: The file name of the C library's program loader.
        wheel: In the platform tags of wheels.
        elf_machine: The number in the header of a program, ``e_machine`` (elf.h).
        abis: How a device calls it: Android's ABI, and the machine of ``uname``.
    """

    debian: str
    triple: str
    loader: str
    wheel: str
    elf_machine: int
    abis: tuple[str, ...]


NAMES: dict[Arch, ArchNames] = {
    "arm64": ArchNames(
        debian="arm64",
        triple="aarch64-linux-gnu",
        loader="ld-linux-aarch64.so.1",
        wheel="aarch64",
        elf_machine=183,
        abis=("arm64-v8a", "aarch64", "arm64"),
    ),
    "x86-64": ArchNames(
        debian="amd64",
        triple="x86_64-linux-gnu",
        loader="ld-linux-x86-64.so.2",
        wheel="x86_64",
        elf_machine=62,
        abis=("x86_64", "x86-64", "amd64"),
    ),
}


def arch_of(abi: str) -> Arch:
    """Return the instruction set that a device names.

    Args:
        abi: What it says: ``ro.product.cpu.abi`` of Android, or the machine of ``uname``.

    Raises:
        DeviceError: There is no agent for it, such as for a system of 32 bits.
    """
    for arch, names in NAMES.items():
        if abi in names.abis:
            return arch
    raise DeviceError(
        f"there is no agent for {abi!r}; agents run on 64-bit systems: {', '.join(ARCHES)}"
    )


def check_program(path: Path, arch: Arch) -> None:
    """Refuse a program of another instruction set.

    Raises:
        InputError: It is for another machine, or no program of Linux.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        header = file.read(20)
    # Source: elf.h: four magic bytes, 64 bits (2), low byte first (1), e_machine at byte 18.
    if header[:6] != b"\x7fELF\x02\x01":
        raise InputError(f"{path} is no 64-bit program of Linux")
    if int.from_bytes(header[18:20], "little") != NAMES[arch].elf_machine:
        raise InputError(f"{path} is not for {arch}; choose another --arch, or another folder")
