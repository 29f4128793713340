"""How is an agent built, and when is it not built again?

From a Python (``sources.py``), the wheels of the lock and our own code, pruned, compiled and
packed. What it is to be built from is hashed; under that hash it is kept, so that it is built once.
Newer packages in apt's sources make no other agent by themselves: remove the old one first.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from reefl_edge import schema
from reefl_edge.agent.agent import (
    ARCHIVE_NAME,
    FOLDER_NAME,
    MANIFEST_NAME,
    RECORD_NAME,
    START_NAME,
    Agent,
    AgentManifest,
    ArchiveRecord,
    SourceKind,
)
from reefl_edge.agent.arch import NAMES, Arch, arch_of
from reefl_edge.agent.archive import contents_of, write_archive
from reefl_edge.agent.bytecode import compile_modules
from reefl_edge.agent.debian import unpack_packages
from reefl_edge.agent.interpreter import PROGRAM, Interpreter, find_interpreter
from reefl_edge.agent.own_code import copy_own_code, own_sha256, own_version
from reefl_edge.agent.pins import lock_sha256, pins_for
from reefl_edge.agent.pruning import prune_wheels
from reefl_edge.agent.sources import AptSources, DevicePython, RootFolder, Source
from reefl_edge.agent.start import (
    SITE_NAME,
    TEMPORARY_NAME,
    script_with_device_python,
    script_with_own_python,
)
from reefl_edge.agent.store import agents_folder, list_agents, stored_agent
from reefl_edge.agent.wheels import install_wheels
from reefl_edge.files import replacing_folder, sha256_of_file, write_text
from reefl_edge.partials import locked

OnStage = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """What an agent is built on.

    Attributes:
        kind: Where its Python comes from.
        python: The version of that Python.
        interpreter: Its files; None: they are on the device.
        packages: Versions of the Debian packages that they come from, as far as known.
    """

    kind: SourceKind
    python: str
    interpreter: Interpreter | None
    packages: dict[str, str]


def agent_for(abi: str, *, on_stage: OnStage = lambda _: None) -> Agent:
    """Return an agent with its own Python for a device, from the cache or built from apt.

    Args:
        abi: What the device says it is: ``ro.product.cpu.abi`` of Android, or the machine of
            ``uname``.
        on_stage: Called with what is being done, whenever that changes.

    Raises:
        DeviceError: There is no agent for such a device.
        MissingToolchainError: It is not built yet, and cannot be; see ``build_agent``.
    """
    arch = arch_of(abi)
    for agent in list_agents():
        if agent.arch == arch and agent.has_own_python and is_current(agent):
            return agent
    return build_agent(arch, AptSources(), on_stage=on_stage)


def is_current(agent: Agent) -> bool:
    """Tell whether an agent holds our code, and the packages, as they are now."""
    return agent.manifest.recipe_sha256 == _recipe_sha256()


def build_agent(arch: Arch, source: Source, *, on_stage: OnStage = lambda _: None) -> Agent:
    """Return an agent, built if it is not in the cache yet; others who want it wait.

    Args:
        arch: The instruction set it runs on.
        source: Where its Python comes from.
        on_stage: Called with what is being done, whenever that changes.

    Raises:
        InputError: The root folder of ``source`` has no such Python.
        MissingToolchainError: A program that building needs is missing or fails; package sources
            or the index cannot be reached, or have not what is needed.
        OSError: The cache cannot be written to, or the disk is full.
    """
    key = _key(arch, source)
    if (kept := stored_agent(key)) is not None:
        return kept
    home = agents_folder()
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / ".lock"):
        if (kept := stored_agent(key)) is not None:
            return kept
        with replacing_folder(home / key, check=lambda _: None) as partial:
            _build(arch, source, partial, on_stage)
    return Agent.open(home / key)


def _key(arch: Arch, source: Source) -> str:
    match source:
        case AptSources():
            origin = "apt"
        case RootFolder(path):
            origin = find_interpreter(path, arch).sha256()
        case DevicePython(version):
            origin = version
        case _:
            assert_never(source)
    return _hash([_recipe_sha256(), arch, type(source).__name__, origin])


def _recipe_sha256() -> str:
    return _hash([own_sha256(), own_version(), lock_sha256()])


def _hash(identity: object) -> str:
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def _build(arch: Arch, source: Source, home: Path, on_stage: OnStage) -> None:
    """Build an agent, its archive and what is known of that into an empty folder."""
    scratch, folder, archive = home / "scratch", home / FOLDER_NAME, home / ARCHIVE_NAME
    scratch.mkdir()
    base = _base(arch, source, scratch, on_stage)
    on_stage(f"fetching wheels for {arch} and Python {base.python}")
    pins = pins_for(arch, base.python)
    site = folder / SITE_NAME
    folder.mkdir()
    install_wheels(pins, arch, base.python, site)
    on_stage("putting the agent together")
    prune_wheels(site)
    copy_own_code(site)
    if base.interpreter is not None:
        base.interpreter.copy_to(folder)
    # Python itself is tested without docstrings and assertions; ours and others' packages are not.
    levels = {site: 0} if base.interpreter is None else {site: 0, folder / "lib": 2}
    compiled_by = compile_modules(levels, folder, base.python)
    _add_start_script(folder, arch, base)
    contents = contents_of(folder)
    manifest = AgentManifest(
        arch=arch,
        source=base.kind,
        python_version=base.python,
        packages={"reefl-edge": own_version(), **{pin.name: pin.version for pin in pins}},
        system_packages=base.packages,
        compiled_by=compiled_by,
        recipe_sha256=_recipe_sha256(),
        contents_sha256=contents.sha256,
        num_files=contents.num_files,
        size_bytes=contents.size_bytes,
    )
    write_text(folder / MANIFEST_NAME, schema.to_json(manifest, indent=2))
    on_stage("packing the agent")
    write_archive(folder, archive)
    record = ArchiveRecord(sha256=sha256_of_file(archive), size_bytes=archive.stat().st_size)
    write_text(home / RECORD_NAME, schema.to_json(record, indent=2))
    shutil.rmtree(scratch)


def _base(arch: Arch, source: Source, scratch: Path, on_stage: OnStage) -> _Base:
    match source:
        case AptSources():
            on_stage(f"fetching Python for {arch} from apt's sources")
            packages = unpack_packages(arch, scratch)
            interpreter = find_interpreter(packages.root, arch)
            return _Base(
                kind="apt",
                python=interpreter.version,
                interpreter=interpreter,
                packages=packages.versions,
            )
        case RootFolder(path):
            interpreter = find_interpreter(path, arch)
            return _Base(
                kind="folder", python=interpreter.version, interpreter=interpreter, packages={}
            )
        case DevicePython(version):
            return _Base(kind="device-python", python=version, interpreter=None, packages={})
        case _:
            assert_never(source)


def _add_start_script(folder: Path, arch: Arch, base: _Base) -> None:
    (folder / TEMPORARY_NAME).mkdir()
    start = folder / START_NAME
    programs = [start]
    if base.interpreter is None:
        start.write_text(script_with_device_python(base.python))
    else:
        start.write_text(script_with_own_python(arch))
        programs += [folder / PROGRAM, folder / "lib" / NAMES[arch].loader]
    for program in programs:
        program.chmod(0o755)
