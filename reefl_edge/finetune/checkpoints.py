"""Where does a training keep what it goes on from after it was stopped?

In a folder, in two files that are written in turns: while one is written the other stands, and
where the newer one turns out to be damaged there is the one before it. A folder belongs to one
training (``TrainingIdentity``): to go on with another would give what neither had given.
"""

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from reefl_edge import schema
from reefl_edge.array_files.safetensors import not_finite
from reefl_edge.errors import DivergenceError, InputError
from reefl_edge.files import check_output_file
from reefl_edge.finetune.state import LoopState
from reefl_edge.finetune.state_file import (
    TrainingIdentity,
    num_steps_in,
    read_state,
    write_state,
)

DEFAULT_EVERY = 100

_NAMES = ("training-a.safetensors", "training-b.safetensors")
_MOST_NAMED = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCheckpoints:
    """Where and how often local training is kept, so that it can go on after it was stopped.

    Attributes:
        folder: Of one training; it is made where it is missing.
        every: Steps from one checkpoint to the next. After the last step, and where Ctrl-C or
            SIGTERM stops training, there is one in any case.
        resume: Go on from the newest checkpoint in the folder; from the beginning where there is
            none. Without it, a folder that holds one is refused.

    Raises:
        ValueError: ``every`` is less than 1.
    """

    folder: Path
    every: int = DEFAULT_EVERY
    resume: bool = False

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every must be at least 1, got {self.every}")

    def num_steps(self) -> int | None:
        """Return how many steps the newest checkpoint has behind it; None where there is none."""
        said = map(_num_steps_said, self._paths())
        return max((steps for steps in said if steps is not None), default=None)

    def check(self) -> None:
        """Refuse, before any work, a folder that cannot be used.

        Raises:
            InputError: It holds a checkpoint, and is not to be gone on from.
            ValueError: Something that is no file stands in the place of a checkpoint.
            OSError: The system does not let us write there.
        """
        check_output_file(self.folder / _NAMES[0])
        if not self.resume and any(self._paths()):
            raise InputError(
                f"{self.folder} holds a checkpoint of {self._told_steps()}; resume (--resume) goes "
                "on from it; to begin anew, name another folder or remove this one"
            )

    def opened(self, identity: TrainingIdentity) -> "OpenCheckpoints":
        """Return what keeps a training, with where it stands.

        A damaged checkpoint is warned of, and the one before it used.

        Raises:
            InputError: The folder is another training's, all that it holds is damaged, or see
                ``check``.
            OSError: The system does not let us write there.
        """
        self.check()
        damaged: list[InputError] = []
        for path in sorted(self._paths(), key=_age):
            try:
                there, state = read_state(path)
            except InputError as error:
                damaged.append(error)
            else:
                for each in damaged:
                    _log.warning("%s; the checkpoint of step %d is used", each, state.num_steps)
                _check_same(there, identity, self.folder)
                return OpenCheckpoints(self, identity, _other(path), state)
        if damaged:
            raise InputError(f"{damaged[0]}; remove {self.folder} to begin anew")
        return OpenCheckpoints(self, identity, self.folder / _NAMES[0])

    def _paths(self) -> Iterator[Path]:
        """Find the checkpoints that are there."""
        return (path for name in _NAMES if (path := self.folder / name).exists())

    def _told_steps(self) -> str:
        num_steps = self.num_steps()
        return "a training" if num_steps is None else f"step {num_steps}"


class OpenCheckpoints:
    """Keeps one training, step after step.

    Args:
        settings: Where and how often.
        identity: Which training it is.
        path: Where the next checkpoint goes.
        state: Where training stands; None at the beginning.
    """

    def __init__(
        self,
        settings: TrainingCheckpoints,
        identity: TrainingIdentity,
        path: Path,
        state: LoopState | None = None,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._path = path
        self._state = state
        self._num_steps_kept = 0 if state is None else state.num_steps

    def take_state(self) -> LoopState | None:
        """Return where training stands, once: its arrays are not held while it goes on."""
        state, self._state = self._state, None
        return state

    def is_due(self, num_steps: int) -> bool:
        """Tell whether training is to be kept after so many steps."""
        return num_steps % self._settings.every == 0

    def keep(self, state: LoopState) -> None:
        """Write where training stands, beside the checkpoint before it.

        Raises:
            DivergenceError: A trained array holds NaN or an infinity; nothing is written.
            OSError: The disk is full, or the like; the checkpoint before stands.
        """
        if state.num_steps == self._num_steps_kept:
            return
        if (name := not_finite(state.arrays)) is not None:
            raise DivergenceError(
                f"training diverged at step {state.num_steps}, {name} is not finite; "
                "lower the learning rate"
            )
        write_state(state, self._identity, self._path)
        self._num_steps_kept = state.num_steps
        self._path = _other(self._path)

    def told(self) -> str:
        """Say what is kept."""
        if self._num_steps_kept == 0:
            return f"no step was kept in {self._settings.folder}"
        return f"{self._settings.folder} keeps step {self._num_steps_kept}"


def _other(path: Path) -> Path:
    """Return the file that is written in turns with one."""
    (name,) = (name for name in _NAMES if name != path.name)
    return path.with_name(name)


def _num_steps_said(path: Path) -> int | None:
    """Return how many steps a file says it has behind it; None where it cannot say."""
    with suppress(InputError):  # whoever opens it hears of it
        return num_steps_in(path)
    return None


def _age(path: Path) -> float:
    """Order files by what they say, the newest first; one that cannot say may be the newest."""
    num_steps = _num_steps_said(path)
    return -inf if num_steps is None else -num_steps


def _check_same(there: TrainingIdentity, here: TrainingIdentity, folder: Path) -> None:
    """Refuse to go on with what is another training.

    Raises:
        InputError: It is; every difference is named, with both values.
    """
    found, expected = _leaves(schema.to_dict(there)), _leaves(schema.to_dict(here))
    different = [
        f"{key} is {_short(found.get(key))} there, {_short(expected.get(key))} here"
        for key in {**found, **expected}
        if found.get(key) != expected.get(key)
    ]
    if different:
        more = len(different) - _MOST_NAMED
        others = f", and {more} more" if more > 0 else ""
        raise InputError(
            f"{folder} is of another training: {'; '.join(different[:_MOST_NAMED])}{others}; "
            "name another folder, or what it was begun with"
        )


def _leaves(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return every value of nested dictionaries by its dotted key."""
    leaves: dict[str, Any] = {}
    for name, value in document.items():
        key = f"{prefix}{name}"
        leaves |= _leaves(value, f"{key}.") if isinstance(value, dict) else {key: value}
    return leaves


def _short(value: object) -> str:
    """Write a value for a message; of a hash, its beginning tells."""
    text = str(value)
    return text[:12] if len(text) == 64 else text
