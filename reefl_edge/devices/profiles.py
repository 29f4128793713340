"""What do we know about a device before anything runs on it?

A *device profile* holds facts that somebody looked up and wrote down in TOML, each with its source.
It holds no measurements: those are a report's. ``local``, this machine, has no profile.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import ClassVar, Literal

from platformdirs import user_config_path

from reefl_edge import schema
from reefl_edge.bundles.artifacts import Target
from reefl_edge.errors import InputError
from reefl_edge.files import regular_file
from reefl_edge.names import closest

LOCAL_DEVICE = "local"

_MAX_MEMORY_MIB = 16 * 2**20  # 16 TiB: whoever writes more meant bytes
_MAX_MEMORY_GB_PER_S = 10_000  # whoever writes more meant MB
_MAX_VECTOR_UNITS = 16

DeviceKind = Literal["phone", "board", "laptop"]
DeviceOs = Literal["android", "ios", "linux", "macos", "windows"]
LinkKind = Literal["adb", "ssh", "local"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuCluster:
    """Cores of one design.

    Attributes:
        name: The design, such as ``Cortex-A76``.
        num_cores: How many there are.
        max_ghz: Their highest clock.
        vector_units: Vector multiply-adds that a core can begin in a cycle, each as wide as its
            registers; None where nobody could look it up.
        is_efficiency: They are built to save energy, beside faster ones.
    """

    # A misspelt key in a file written by hand is an error (read by schema.py).
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    num_cores: int
    max_ghz: float
    vector_units: int | None = None
    is_efficiency: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.num_cores <= 1024 or not 0 < self.max_ghz <= 100:
            raise ValueError(f"a cluster of {self.num_cores} cores at {self.max_ghz:g} GHz")
        if self.vector_units is not None and not 1 <= self.vector_units <= _MAX_VECTOR_UNITS:
            raise ValueError(
                f"vector_units must be from 1 to {_MAX_VECTOR_UNITS}, got {self.vector_units}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a fact can be read.

    Attributes:
        fact: Which fact, in words.
        citation: An address, or a document and where in it.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    fact: str
    citation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """Facts about a kind of device.

    Attributes:
        name: How it is called on the command line.
        title: How people call it.
        kind: What it is.
        os: The system it runs.
        soc: Its chip.
        cpu_clusters: Its cores, fastest first.
        memory_mib: Its memory; None where it comes in several sizes.
        memory_gb_per_s: What its memory delivers at most, 10^9 bytes a second; None where nobody
            could look it up.
        isa_features: Instruction set extensions that all its cores have and that matter here, as
            LLVM names them.
        accelerators: What else can compute.
        link: How it is reached; None while there is no way.
        adb_models: What ``ro.product.model`` says on it, in each of its versions.
        formats: Artifacts it can run, the preferred one first.
        sources: Where the facts come from.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    title: str
    kind: DeviceKind
    os: DeviceOs
    soc: str
    cpu_clusters: tuple[CpuCluster, ...]
    memory_mib: int | None = None
    memory_gb_per_s: float | None = None
    isa_features: tuple[str, ...] = ()
    accelerators: tuple[str, ...] = ()
    link: LinkKind | None = None
    adb_models: tuple[str, ...] = ()
    formats: tuple[Target, ...]
    sources: tuple[Source, ...]

    def __post_init__(self) -> None:
        if not self.cpu_clusters or not self.formats or not self.sources:
            raise ValueError("cpu_clusters, formats and sources must not be empty")
        if self.memory_mib is not None and not 1 <= self.memory_mib <= _MAX_MEMORY_MIB:
            raise ValueError(
                f"memory_mib must be from 1 to {_MAX_MEMORY_MIB}, got {self.memory_mib}"
            )
        bandwidth = self.memory_gb_per_s
        if bandwidth is not None and not 0 < bandwidth <= _MAX_MEMORY_GB_PER_S:
            raise ValueError(
                f"memory_gb_per_s must be positive and at most {_MAX_MEMORY_GB_PER_S}, got "
                f"{bandwidth:g}"
            )
        if self.adb_models and self.link != "adb":
            raise ValueError("adb_models are of a device whose link is adb")

    @property
    def num_cores(self) -> int:
        """Cores of all clusters."""
        return sum(cluster.num_cores for cluster in self.cpu_clusters)

    @property
    def num_fast_cores(self) -> int:
        """Cores that are not built to save energy; all of them where every one is."""
        fast = (each.num_cores for each in self.cpu_clusters if not each.is_efficiency)
        return sum(fast) or self.num_cores


def builtin_profiles() -> Traversable:
    """Return the folder of built-in profiles, installed or in a checkout."""
    packaged = files("reefl_edge") / "device_profiles"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "device_profiles"


def user_profiles() -> Path:
    """Return the folder of the user's own profiles, which need not exist."""
    return user_config_path("reefl-edge") / "device_profiles"


def list_profiles() -> tuple[DeviceProfile, ...]:
    """Return every profile that has a name, the user's own before a built-in one of its name.

    Raises:
        InputError: A profile of the user's is damaged.
    """
    return tuple(_read_named(path) for _, path in sorted(_named().items()))


def load_profile(device: str) -> DeviceProfile:
    """Return the profile of a device.

    Args:
        device: A path to a .toml file, or the name of one of the user's or of a built-in profile.

    Raises:
        InputError: The file is missing, damaged, or has a key that no profile has.
        ValueError: No profile has this name.
    """
    path = Path(device)
    if path.suffix == ".toml" or len(path.parts) > 1:
        return _read(regular_file(path))
    named = _named()
    if device not in named:
        raise ValueError(
            f"no device is called {device!r}{closest(device, [LOCAL_DEVICE, *sorted(named)])}"
        )
    return _read_named(named[device])


def profile_named(device: str) -> DeviceProfile | None:
    """Return the profile of a name; None where none has it.

    Raises:
        InputError: The file is damaged.
    """
    path = _named().get(device)
    return None if path is None else _read_named(path)


def _named() -> dict[str, Traversable]:
    """Find every profile by its name, the user's own over the built-in ones."""
    return {**dict(_in(builtin_profiles())), **dict(_in(user_profiles()))}


def _in(folder: Traversable) -> Iterator[tuple[str, Traversable]]:
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name.endswith(".toml"):
                yield path.name.removesuffix(".toml"), path


def _read_named(path: Traversable) -> DeviceProfile:
    profile = _read(path)
    if path.name != f"{profile.name}.toml":
        raise InputError(f"{path} names the device {profile.name!r}: call the file or it alike")
    return profile


def _read(path: Traversable) -> DeviceProfile:
    if isinstance(path, Path):
        return schema.read_toml(DeviceProfile, path)
    return schema.from_toml(DeviceProfile, path.read_bytes(), source=str(path))


def profile_schema() -> str:
    """Return the JSON Schema of a profile, as ``device_profiles/schema.json`` holds it."""
    return json.dumps(schema.json_schema(DeviceProfile), indent=2) + "\n"
