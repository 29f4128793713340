"""What does somebody who watches a federation see while it runs?

Every round as a line of JSON, its figures as TensorBoard shows them, and one line of text.
"""

from collections.abc import Iterator
from pathlib import Path

from reefl_edge import schema
from reefl_edge.extras import needs_extra
from reefl_edge.federation.history import RoundRecord
from reefl_edge.files import write_text

ROUNDS_NAME = "rounds.jsonl"
_TENSORBOARD_NAME = "tensorboard"
_KIB = 2**10


class Telemetry:
    """Keeps the rounds of a federation in its output folder.

    Where a round is told again, because the federation went on from an earlier one, what was known
    of it and of later ones is forgotten.

    Args:
        folder: The output folder.

    Raises:
        MissingToolchainError: TensorBoard is not installed.
        InputError: What the folder holds of earlier rounds is damaged.
    """

    def __init__(self, folder: Path) -> None:
        with needs_extra("the telemetry of a federation", "tensorboard", "federated"):
            from tensorboard.summary import Writer
        self._path = folder / ROUNDS_NAME
        self._rounds = read_rounds(self._path)
        self._is_file_whole = False  # until it was written: its last line may be half a line
        folder.mkdir(parents=True, exist_ok=True)
        self._events = Writer(str(folder / _TENSORBOARD_NAME))

    @property
    def rounds(self) -> tuple[RoundRecord, ...]:
        """All rounds that are known, the first one first."""
        return tuple(self._rounds)

    def on_round(self, record: RoundRecord) -> None:
        """Keep a round."""
        earlier = [each for each in self._rounds if each.server_round < record.server_round]
        if self._is_file_whole and len(earlier) == len(self._rounds):
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_line(record))
        else:
            write_text(self._path, "".join(map(_line, [*earlier, record])))
        self._rounds = [*earlier, record]
        self._is_file_whole = True
        for tag, value in figures(record):
            self._events.add_scalar(tag, value, record.server_round)
        self._events.flush()

    def close(self) -> None:
        """Let go of TensorBoard's file."""
        self._events.close()


def read_rounds(path: Path) -> list[RoundRecord]:
    """Read the rounds of a federation; none where there is no file.

    A last line without an end is what a killed process left, and is passed over.

    Raises:
        InputError: Another line is no round.
    """
    if not path.exists():
        return []
    *lines, _ = path.read_text(encoding="utf-8").split("\n")
    return [
        schema.from_json(RoundRecord, line, source=f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
    ]


def figures(record: RoundRecord) -> Iterator[tuple[str, float]]:
    """Yield the figures of a round, by the names that TensorBoard groups them by."""
    if record.evaluation is not None:
        for exit_index, accuracy in enumerate(record.evaluation.accuracy):
            yield f"accuracy/exit_{exit_index}", accuracy
        for exit_index, loss in enumerate(record.evaluation.losses):
            yield f"test_loss/exit_{exit_index}", loss
    if record.server_round == 0:
        return
    if record.train_loss is not None:
        yield "train/loss", record.train_loss
    yield "train/clients", len(record.counted)
    yield "train/clients_left_out", len(record.left_out)
    yield "bytes/down", record.bytes_down
    yield "bytes/up", record.bytes_up
    yield "time/round_s", record.duration_s
    if record.device_s is not None:
        yield "time/estimated_device_s", record.device_s


def round_line(record: RoundRecord, *, num_rounds: int) -> str:
    """Say what happened in a round, in one line."""
    parts = [f"round {record.server_round}/{num_rounds}"]
    if record.server_round:
        parts.append(f"{len(record.counted)} of {len(record.clients)} clients")
    if record.train_loss is not None:
        parts.append(f"loss {record.train_loss:.3f}")
    if record.evaluation is not None:
        percents = " ".join(f"{100 * each:.1f}" for each in record.evaluation.accuracy)
        parts.append(f"accuracy {percents} %")
    if record.server_round:
        parts.append(f"{record.bytes_down / _KIB:.0f} KiB down, {record.bytes_up / _KIB:.0f} up")
    if record.device_s is not None:
        parts.append(f"about {record.device_s:.1f} s on devices")
    return "; ".join(parts)


def _line(record: RoundRecord) -> str:
    return schema.to_json(record) + "\n"
