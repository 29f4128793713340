"""Debian roots of a few bytes."""

from pathlib import Path

from reefl_edge.agent.arch import NAMES, Arch

# What a program begins with. Source: elf.h.
PROGRAMS: dict[Arch, bytes] = {
    arch: b"\x7fELF\x02\x01" + bytes(12) + names.elf_machine.to_bytes(2, "little")
    for arch, names in NAMES.items()
}

_LIBRARIES = (
    "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1",
    "libgcc_s.so.1", "libexpat.so.1", "libffi.so.8",
)  # fmt: skip


def make_root(root: Path, arch: Arch = "x86-64", *, python: str = "3.11") -> Path:
    """Fill a folder as Debian does: libraries under two folders, and links between them."""
    triple = NAMES[arch].triple
    system, users = root / "lib" / triple, root / "usr" / "lib" / triple
    standard = root / "usr" / "lib" / f"python{python}"
    for folder in (system, users, standard / "lib-dynload", root / "usr" / "bin"):
        folder.mkdir(parents=True)
    (root / "usr" / "bin" / f"python{python}").write_bytes(PROGRAMS[arch])
    for name in (*_LIBRARIES, NAMES[arch].loader):
        (system / name).write_text(name)
    (system / "libz.so.1.2.13").write_text("z")
    (system / "libz.so.1").symlink_to("libz.so.1.2.13")
    (users / "libstdc++.so.6.0.99").write_text("c++")
    # From the root folder, which is the agent's, not this machine's.
    (users / "libstdc++.so.6").symlink_to(f"/usr/lib/{triple}/libstdc++.so.6.0.99")
    (standard / "os.py").write_text("name = 'posix'\n")
    (standard / "sitecustomize.py").symlink_to("/etc/python3.11/sitecustomize.py")
    (standard / "turtle.py").write_text("")
    return root
