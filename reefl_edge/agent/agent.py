"""What is an agent, and what does it say of itself?

An *agent* is what obeys jobs on a device that has nothing installed: a folder with its own program
loader, C library, Python, numpy, onnxruntime and ``reefl_edge``, which may lie anywhere. Its start
script ``run`` takes Python's arguments: ``run -m reefl_edge.jobs.worker``. An agent for a device
that has a Python of its own is the same without loader, C library and Python.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

from reefl_edge import schema
from reefl_edge.agent.arch import Arch
from reefl_edge.errors import InputError
from reefl_edge.schema import Sha256

SCHEMA_VERSION: Final = 1
MANIFEST_NAME = "agent.json"
START_NAME = "run"

FOLDER_NAME = "agent"
ARCHIVE_NAME = "agent.tar.gz"
RECORD_NAME = "archive.json"

SourceKind = Literal["apt", "folder", "device-python"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentManifest:
    """What an agent says of itself, in ``agent.json``.

    Attributes:
        arch: The instruction set it runs on.
        source: Where its Python comes from; ``device-python``: it has none, the device has.
        python_version: Of that Python, such as ``3.11``.
        packages: Versions of what is imported, ``reefl-edge`` among them.
        system_packages: Versions of the Debian packages it was made from, as far as known.
        compiled_by: Version of the Python that compiled all modules; None: they are sources.
        recipe_sha256: Of our code and of the pinned packages that it was built with.
        contents_sha256: Of a line for each file, sorted by path: its SHA-256, two spaces and its
            path; this manifest left out.
        num_files: How many files these are.
        size_bytes: Their size, together.
        schema_version: Of this document.
    """

    arch: Arch
    source: SourceKind
    python_version: str
    packages: dict[str, str]
    system_packages: dict[str, str]
    compiled_by: str | None
    recipe_sha256: Sha256
    contents_sha256: Sha256
    num_files: int
    size_bytes: int
    schema_version: Literal[1] = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRecord:
    """What is known of an agent's archive, beside it.

    Attributes:
        sha256: Of the archive.
        size_bytes: Of the archive.
    """

    sha256: Sha256
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent that was built on this machine.

    Attributes:
        folder: The agent, unpacked.
        archive: The same as .tar.gz; its entries lie in the folder that it is unpacked into.
        sha256: Of the archive: the agent's name.
        archive_bytes: Size of the archive.
        manifest: What the agent says of itself.
    """

    folder: Path
    archive: Path
    sha256: str
    archive_bytes: int
    manifest: AgentManifest

    @property
    def arch(self) -> Arch:
        """The instruction set it runs on."""
        return self.manifest.arch

    @property
    def size_bytes(self) -> int:
        """Size of all its files, unpacked."""
        return self.manifest.size_bytes

    @property
    def has_own_python(self) -> bool:
        """Whether it brings its Python; else the device must have one."""
        return self.manifest.source != "device-python"

    @classmethod
    def open(cls, home: Path) -> Self:
        """Open what was built into a folder.

        Raises:
            InputError: There is no agent, or it is damaged.
        """
        archive = home / ARCHIVE_NAME
        record = schema.read_json(ArchiveRecord, home / RECORD_NAME)
        manifest = schema.read_json(AgentManifest, home / FOLDER_NAME / MANIFEST_NAME)
        if not archive.is_file() or archive.stat().st_size != record.size_bytes:
            raise InputError(f"{archive} is not what was built")
        return cls(
            folder=home / FOLDER_NAME,
            archive=archive,
            sha256=record.sha256,
            archive_bytes=record.size_bytes,
            manifest=manifest,
        )
