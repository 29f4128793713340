"""Which of our own modules does an agent carry?

Those that a worker may load: what opens models for users, talks to them, and needs torch stays
here, so that changing it makes no new agent.
"""

import hashlib
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from reefl_edge.files import sha256_of_file

_PACKAGE = Path(__file__).parents[1]
_BUILDER = "agent"
_LEFT_OUT = {
    "__main__.py", _BUILDER, "cli", "demo", "documents.py", "federation", "models", "pictures",
    "profiling", "tasks", "thresholds",
    # Links to other devices, of which a device has none.
    *(
        f"devices/links/{name}.py"
        for name in (
            "adb", "agents", "emulated", "memory_group", "opening", "remote_shell", "scripts",
            "shell", "ssh",
        )
    ),
}  # fmt: skip
_ENTRY = Path(__file__).with_name("entry.py")


def own_version() -> str:
    """Return our own version."""
    return version("reefl-edge")


def own_sha256() -> str:
    """Return the hash of our own code in an agent, and of the code that builds it."""
    builder = [f"{_BUILDER}/{path.name}" for path in sorted((_PACKAGE / _BUILDER).glob("*.py"))]
    lines = (f"{sha256_of_file(_PACKAGE / place)}  {place}\n" for place in [*_modules(), *builder])
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def copy_own_code(site: Path) -> None:
    """Copy our own code, and what says its version, to a folder of packages."""
    for place in _modules():
        destination = site / "reefl_edge" / place
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_PACKAGE / place, destination)
    shutil.copyfile(_ENTRY, site / "__main__.py")
    metadata = site / f"reefl_edge-{own_version()}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: reefl-edge\nVersion: {own_version()}\n")


def _modules() -> Iterator[str]:
    for path in sorted(_PACKAGE.rglob("*.py")):
        place = path.relative_to(_PACKAGE)
        if _LEFT_OUT.isdisjoint(each.as_posix() for each in (place, *place.parents)):
            yield place.as_posix()
