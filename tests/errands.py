"""An errand to a device and back, over a cable that is cut while it goes on."""

import hashlib
import os
import random
import time
from pathlib import Path

from reefl_edge.devices.links.shell import ShellLink
from reefl_edge.errors import DeviceError
from tests.remotes import Remote


def go(link: ShellLink, folder: Path) -> None:
    """Send a new file, run something, and fetch what it left.

    Raises:
        DeviceError: The cable was cut.
    """
    path = folder / "sent"
    path.write_bytes(os.urandom(2_000_000))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with link.held(), link.scratch() as there:
        pushed = link.push(path, sha256=sha256)
        link.run(("sh", "-c", 'sleep 0.3; cp "$0" "$1/copy"', pushed, there))
        link.pull(f"{there}/copy", folder / "fetched")


def uncut_s(remote: Remote, folder: Path) -> float:
    """Return how long an errand takes."""
    started = time.monotonic()
    go(remote.open(), folder)
    return time.monotonic() - started


def cut_once(remote: Remote, folder: Path, *, seed: int, longest_s: float) -> bool:
    """Cut an errand at a random moment, and see that nothing is amiss.

    Returns:
        Whether the cut came before the errand's end.
    """
    fetched = folder / "fetched"
    fetched.unlink(missing_ok=True)
    is_cut = False
    with remote.cable() as (cable, link):
        cable.cut_after(random.Random(seed).uniform(0, longest_s))
        try:
            go(link, folder)
        except DeviceError:
            is_cut = True
    assert remote.is_idle(), "something runs on"
    assert is_cut or fetched.read_bytes() == (folder / "sent").read_bytes()
    if is_cut and fetched.exists():  # whole, or not there
        assert fetched.read_bytes() == (folder / "sent").read_bytes()
    for path in (remote.root / "files").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name, "half a file"
    with remote.open().held():  # the device is free
        assert list((remote.root / "runs").iterdir()) == []
        assert list((remote.root / "partial").iterdir()) == []
    return is_cut
