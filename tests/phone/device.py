"""A phone that is a process: ``python -m tests.phone.device ROOT``.

It says on which port of 127.0.0.1 it waits for adb, and runs what it is told in a root as bare as a
phone's, as the user 2000, who may write to ``data/local/tmp`` alone. Needs to be root itself: it
mounts, in a namespace of its own that ends with it.
"""

import argparse
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path

from tests.phone.services import serve_shell, serve_sync
from tests.phone.wire import Connection, Stream

SHELL_USER = 2000

_CHROOT = shutil.which("chroot", path="/usr/sbin:/usr/bin") or "chroot"


def main() -> None:
    """Be a phone until somebody ends this process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--model", default="Pixel 7")
    parser.add_argument("--bind", type=Path, action="append", default=[])
    parser.add_argument("--data-mib", type=int, help="size of the storage there")
    parser.add_argument("--unauthorized", action="store_true")
    arguments = parser.parse_args()
    root: Path = arguments.root
    _mount(root, arguments.bind, arguments.data_mib)

    def shell(command: str) -> list[str]:
        return [
            *(
                "env",
                "-i",
                "PATH=/system/bin",
                "ANDROID_DATA=/data",
                "HOME=/",
                "TMPDIR=/data/local/tmp",
            ),
            *(_CHROOT, f"--userspec={SHELL_USER}:{SHELL_USER}", str(root)),
            *("/system/bin/sh", "-c", command),
        ]

    def serve(service: str, stream: Stream) -> None:
        name, _, command = service.partition(":")
        if name.startswith("shell,v2"):
            serve_shell(stream, shell(command))
        elif name == "sync":
            serve_sync(stream, root, SHELL_USER)

    product = f"ro.product.name=panther;ro.product.model={arguments.model};"
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            end, _ = server.accept()
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(
                end,
                banner=f"device::{product}ro.product.device=panther;",
                is_authorized=not arguments.unauthorized,
                serve=serve,
            )
            threading.Thread(target=connection.talk, daemon=True).start()


def _mount(root: Path, binds: list[Path], data_mib: int | None) -> None:
    """Mount what a phone's kernel gives, and what our own Python needs from this machine."""
    _run("mount", "-t", "proc", "proc", str(root / "proc"))
    for name in ("null", "zero", "urandom"):
        (root / "dev" / name).touch()
        _run("mount", "--bind", f"/dev/{name}", str(root / "dev" / name))
    for path in binds:
        there = root / str(path).lstrip("/")
        there.mkdir(parents=True, exist_ok=True)
        _run("mount", "--rbind", "-o", "ro", os.path.realpath(path), str(there))
    data = root / "data" / "local" / "tmp"
    if data_mib is not None:
        _run("mount", "-t", "tmpfs", "-o", f"size={data_mib}m", "tmpfs", str(data))
    os.chown(data, SHELL_USER, SHELL_USER)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True)


if __name__ == "__main__":
    main()
