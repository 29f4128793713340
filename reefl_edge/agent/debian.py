"""How do Debian's packages of another instruction set get here, without root and unmixed?

``apt-get`` reads this machine's own sources and keys, and checks signatures, but keeps its lists in
a folder of ours: what the system has installed, and for which architecture, does not count.
Packages are unpacked, never installed: none of their scripts runs.
"""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from reefl_edge.agent.arch import NAMES, Arch
from reefl_edge.agent.commands import complaint, run
from reefl_edge.agent.sources import OLDEST_PYTHON, numbers
from reefl_edge.errors import MissingToolchainError

_TOOLS = ("apt-get", "apt-cache", "dpkg-deb")
_PYTHON = ("python{}-minimal", "libpython{}-minimal", "libpython{}-stdlib")
_LIBRARIES = ("libc6", "libstdc++6", "libgcc-s1", "zlib1g", "libexpat1", "libffi8")

# Of all indexes of the sources only the packages are read, and nothing of the system's runs after.
# Source: apt.conf(5); apt's doc/acquire-additional-files.md.
_CONFIGURATION = """\
#clear APT::Update;
#clear APT::Architectures;
#clear Acquire::IndexTargets;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
Dir::State "{folder}";
Dir::State::status "{folder}/status";
Dir::State::lists "{folder}/lists";
Dir::Cache "{folder}";
Dir::Cache::archives "{folder}/archives";
Acquire::Languages "none";
Acquire::IndexTargets::deb::Packages {{
  MetaKey "$(COMPONENT)/binary-$(ARCHITECTURE)/Packages";
  flatMetaKey "Packages";
  ShortDescription "Packages";
  Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Packages";
  flatDescription "$(RELEASE) Packages";
  Optional "0";
}};
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages:
    """Debian packages that were unpacked.

    Attributes:
        root: The folder they lie in, as they would in a system's root.
        versions: The version of each.
    """

    root: Path
    versions: dict[str, str]


def unpack_packages(arch: Arch, folder: Path) -> Packages:
    """Fetch and unpack Python and the libraries it needs.

    Args:
        arch: The instruction set they are for.
        folder: An empty folder to work in.

    Raises:
        MissingToolchainError: There is no apt here, or its sources have no such packages or cannot
            be reached.
        OSError: The disk is full.
    """
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise MissingToolchainError(
            f"building an agent from apt needs {' and '.join(missing)}, which Debian and Ubuntu "
            "have; elsewhere name the root folder of a Debian system: --from FOLDER"
        )
    apt = _Apt(arch, folder)
    try:
        apt.download([*(name.format(apt.python_version()) for name in _PYTHON), *_LIBRARIES])
    except MissingToolchainError as error:
        raise MissingToolchainError(f"{error}{apt.hint()}") from error
    root = folder / "root"
    debs = sorted((folder / "debs").glob("*.deb"))
    for deb in debs:
        purpose = f"unpacking {deb.name}"
        run(["dpkg-deb", "--extract", deb, root], purpose=purpose, folder=folder)
    return Packages(root=root, versions=dict(_name_and_version(deb) for deb in debs))


class _Apt:
    """This machine's package sources, for one architecture."""

    def __init__(self, arch: Arch, folder: Path) -> None:
        self._architecture = NAMES[arch].debian
        self._folder = folder
        for name in ("lists/partial", "archives/partial", "debs"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        configuration = _CONFIGURATION.format(architecture=self._architecture, folder=folder)
        (folder / "apt.conf").write_text(configuration)
        # One source that fails is no reason to stop: the packages may come from another.
        self._updated = self._run("apt-get", ["update"])

    def python_version(self) -> str:
        """Return the first version of Python in the sources that runs our code.

        Raises:
            MissingToolchainError: There is none.
        """
        names = self._run("apt-cache", ["pkgnames", "libpython3."])
        found: list[str] = re.findall(r"^libpython(3\.\d+)-stdlib$", names, re.MULTILINE)
        versions = [version for version in found if numbers(version) >= OLDEST_PYTHON]
        if not versions:
            raise MissingToolchainError(
                f"apt's sources have no Python of 3.11 or newer for {self._architecture}"
            )
        return min(versions, key=numbers)

    def download(self, packages: Sequence[str]) -> None:
        """Fetch packages, checked by apt.

        Raises:
            MissingToolchainError: One is not to be had.
        """
        self._run("apt-get", ["download", *packages])

    def hint(self) -> str:
        """Say what went wrong when the sources were read; nothing if nothing did."""
        return f"; its sources: {complaint(self._updated)}" if "W: " in self._updated else ""

    def _run(self, tool: str, arguments: Sequence[str]) -> str:
        return run(
            [tool, "--config-file", self._folder / "apt.conf", "--quiet", *arguments],
            purpose=f"{tool} {arguments[0]}",
            folder=self._folder / "debs",
        )


def _name_and_version(deb: Path) -> tuple[str, str]:
    name, version, _ = unquote(deb.stem).split("_")
    return name, version
