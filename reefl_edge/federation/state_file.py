"""How does a federation go on after its server was stopped?

After every round the server's state is written, with what it needs to go on: the trained arrays,
what the optimizer and the guard remember, and which federation it is. Two files are written in
turns: while one is written the other stands, and where the newer one is damaged there is the round
before it.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reefl_edge import schema
from reefl_edge.array_files.hashed import FileKind, HashedDocument
from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.errors import InputError
from reefl_edge.schema import Sha256
from reefl_edge.submodel import Submodel

_FILE = FileKind(key="reefl_edge_federation", name="the state of a federation", newest=1)
_NAMES = ("federation-a.safetensors", "federation-b.safetensors")
# Which part an array belongs to stands before its name.
_PARTS = ("model", "optimizer", "guard")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationIdentity:
    """Which federation it is: where one of these differs, every round does.

    Attributes:
        submodel: The whole model, under the regime.
        start_sha256: Identity of all arrays that the federation began with.
        settings: What decides about the rounds, by name.
    """

    submodel: Submodel
    start_sha256: Sha256
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FederationState:
    """Where a federation stands.

    Attributes:
        server_round: The last round that counted.
        model: The trained arrays, by name.
        optimizer: What the server's optimizer remembers.
        guard: What the guard remembers.
    """

    server_round: int
    model: Arrays
    optimizer: Arrays
    guard: Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document(HashedDocument):
    """What a file says of its arrays."""

    identity: FederationIdentity
    server_round: int


class StateFiles:
    """Keeps the state of one federation in a folder.

    Args:
        folder: The folder; it is made where it is missing.
        identity: Which federation it is.
    """

    def __init__(self, folder: Path, identity: FederationIdentity) -> None:
        self._folder = folder
        self._identity = identity
        self._next = folder / _NAMES[0]

    def check_empty(self) -> None:
        """Refuse a folder that holds a state, where none is to be gone on from.

        Raises:
            InputError: It does.
        """
        if there := [path for name in _NAMES if (path := self._folder / name).exists()]:
            raise InputError(
                f"{there[0]} is the state of a federation; set resume to go on from it, or give "
                "another output folder"
            )

    def newest(self) -> FederationState | None:
        """Return the last state that is whole; None where there is none at all.

        Raises:
            InputError: The folder is another federation's, or all that it holds is damaged.
        """
        damaged: list[InputError] = []
        found: list[tuple[FederationState, Path]] = []
        for path in (self._folder / name for name in _NAMES):
            if not path.exists():
                continue
            try:
                identity, state = _read(path)
            except InputError as error:
                damaged.append(error)
                self._next = path
                continue
            self._check_same(identity, path)
            found.append((state, path))
        if not found:
            if damaged:
                raise InputError(f"{damaged[0]}; give another output folder to begin anew")
            return None
        state, path = max(found, key=lambda pair: pair[0].server_round)
        for each in damaged:
            _log.warning("%s; the federation goes on from round %d", each, state.server_round)
        self._next = self._other(path)
        return state

    def keep(self, state: FederationState) -> None:
        """Write a state, whole or not at all, beside the one before it.

        Raises:
            OSError: The folder cannot be written to, or the disk is full.
        """
        document = _Document(identity=self._identity, server_round=state.server_round)
        self._folder.mkdir(parents=True, exist_ok=True)
        _FILE.write(document, dict(_parted(state)), self._next)
        self._next = self._other(self._next)

    def _other(self, path: Path) -> Path:
        (name,) = (name for name in _NAMES if name != path.name)
        return path.with_name(name)

    def _check_same(self, there: FederationIdentity, path: Path) -> None:
        found, expected = schema.to_dict(there), schema.to_dict(self._identity)
        # What else is said there was once held to be of matter.
        settings = [
            f"{schema.kebab(key)} is {found['settings'].get(key)} there, {value} here"
            for key, value in expected["settings"].items()
            if found["settings"].get(key) != value
        ]
        is_same_model = (there.submodel, there.start_sha256) == (
            self._identity.submodel,
            self._identity.start_sha256,
        )
        if is_same_model and not settings:
            return
        what = "; ".join(settings) or "it began with another model"
        raise InputError(
            f"{path} is of another federation: {what}; give another output folder, or what it was "
            "begun with"
        )


def _parted(state: FederationState) -> Iterator[tuple[str, Any]]:
    for part in _PARTS:
        for name, array in getattr(state, part).items():
            yield f"{part}/{name}", array


def _read(path: Path) -> tuple[FederationIdentity, FederationState]:
    """Read a state.

    Raises:
        InputError: The file is damaged, or no state of a federation.
    """
    document, arrays = _FILE.read(_Document, path)
    parts: dict[str, Arrays] = {part: {} for part in _PARTS}
    for key, array in arrays.items():
        part, _, name = key.partition("/")
        if part not in parts:
            raise InputError(f"{path} holds {key}, which is no part of a federation's state")
        parts[part][name] = array
    return document.identity, FederationState(server_round=document.server_round, **parts)
