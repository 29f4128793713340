"""Where is training kept, and how does it go on after it was stopped?

Options of ``reefl-edge finetune``.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reefl_edge.cli import render
from reefl_edge.cli.options import refuse, usage_errors

if TYPE_CHECKING:
    from reefl_edge.finetune.checkpoints import TrainingCheckpoints

_PANEL = "Training that can go on"

# A million steps is more than anybody wants to lose.
_MAX_EVERY = 1_000_000

CheckpointFolder = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        help="Keep in this folder where training stands, so that it can go on after it was "
        "stopped or killed; every image is read once more for it, at the start.",
        rich_help_panel=_PANEL,
    ),
]
CheckpointEvery = Annotated[
    int | None,
    typer.Option(
        "--checkpoint-every",
        min=1,
        max=_MAX_EVERY,
        help="Steps from one checkpoint to the next.  [default: 100]",
        rich_help_panel=_PANEL,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on from the newest checkpoint in the folder; where there is none, begin.",
        rich_help_panel=_PANEL,
    ),
]


def checkpoints_of(
    folder: Path | None, every: int | None, *, is_resumed: bool
) -> "TrainingCheckpoints | None":
    """Return where training is kept, held to what lies there; None where it is not kept.

    Raises:
        BadParameter: An option needs ``--checkpoint``, or that names no folder.
        InputError: The folder holds a checkpoint, and is not to be gone on from.
        OSError: The system does not let us write there.
    """
    from reefl_edge.finetune.checkpoints import DEFAULT_EVERY, TrainingCheckpoints

    if folder is None:
        if every is not None:
            refuse("--checkpoint-every", "say in which folder with --checkpoint")
        if is_resumed:
            refuse("--resume", "say from which folder with --checkpoint")
        return None
    checkpoints = TrainingCheckpoints(
        folder=folder, every=every or DEFAULT_EVERY, resume=is_resumed
    )
    with usage_errors("--checkpoint"):
        checkpoints.check()
    return checkpoints


@contextmanager
def resumable(checkpoints: "TrainingCheckpoints | None") -> Iterator[None]:
    """Say what there is to go on from, and if the block is interrupted, how to go on."""
    if checkpoints is None:
        yield
        return
    if checkpoints.resume:
        kept = checkpoints.num_steps()
        steps = "no step yet: training begins" if kept is None else f"step {kept}"
        render.tell(f"{checkpoints.folder} keeps {steps}")
    try:
        yield
    except KeyboardInterrupt:
        kept = checkpoints.num_steps()
        if kept is not None:
            render.tell(f"{checkpoints.folder} keeps step {kept}")
            resume = [] if checkpoints.resume else ["--resume"]
            render.next_command("reefl-edge", *sys.argv[1:], *resume)
        raise
