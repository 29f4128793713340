"""Does a federation that was stopped go on as if it had not been?"""

from pathlib import Path

import pytest

from reefl_edge.checkpoints.hashes import weights_sha256
from reefl_edge.errors import InputError
from reefl_edge.federation.history import RoundRecord
from reefl_edge.federation.optimizer import FedAdam
from reefl_edge.federation.privacy import Privacy
from reefl_edge.federation.run import Federation
from reefl_edge.federation.state_file import FederationIdentity, StateFiles
from tests.fakes.federations import WHOLE, FakeExchange, moved, participants, server_of, start_of

START = start_of(WHOLE)
CLIENTS = participants(0, 1, 2, 3, 0, 1, 2, 3)


def identity(**settings: object) -> FederationIdentity:
    return FederationIdentity(
        submodel=WHOLE, start_sha256=weights_sha256(START.arrays), settings={"seed": 0, **settings}
    )


def run(
    folder: Path,
    num_rounds: int,
    *,
    resume: bool = False,
    privacy: Privacy | None = None,
    **settings: object,
) -> tuple[str, list[RoundRecord]]:
    """Run a federation; return the identity of its arrays, and its rounds."""
    server = server_of(START, optimizer=FedAdam(), privacy=privacy)
    records: list[RoundRecord] = []
    federation = Federation(
        server=server,
        num_rounds=num_rounds,
        states=StateFiles(folder, identity(**settings)),
        resume=resume,
    )
    exchange = FakeExchange(lambda task: moved(task, 0.01 * (1 + task.training.seed % 7)))
    federation.run(lambda: CLIENTS, exchange, records.append)
    return weights_sha256(server.arrays), records


def newest(folder: Path) -> Path:
    return max(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)


def test_a_federation_that_goes_on_ends_bit_for_bit_where_it_would_have(tmp_path: Path) -> None:
    whole, _ = run(tmp_path / "whole", 12)

    run(tmp_path / "parts", 10)
    parts, records = run(tmp_path / "parts", 12, resume=True)

    assert parts == whole
    assert [record.server_round for record in records] == [11, 12]


def test_a_federation_with_noise_goes_on_with_the_noise_that_it_would_have_had(
    tmp_path: Path,
) -> None:
    privacy = Privacy(clip_norm=1.0, noise_multiplier=0.5, sampling_rate=0.5)
    whole, _ = run(tmp_path / "whole", 4, privacy=privacy)

    run(tmp_path / "parts", 2, privacy=privacy)
    parts, _ = run(tmp_path / "parts", 4, resume=True, privacy=privacy)

    assert parts == whole


def test_where_the_newest_state_is_damaged_the_round_before_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, _ = run(tmp_path / "whole", 4)
    run(tmp_path / "parts", 3)
    path = newest(tmp_path / "parts")
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)

    parts, records = run(tmp_path / "parts", 4, resume=True)

    assert parts == whole
    assert [record.server_round for record in records] == [3, 4]
    assert any("the federation goes on from round 2" in message for message in caplog.messages)


def test_a_cut_off_state_is_damage_as_well(tmp_path: Path) -> None:
    run(tmp_path, 3)
    path = newest(tmp_path)
    path.write_bytes(path.read_bytes()[:100])

    _, records = run(tmp_path, 4, resume=True)

    assert [record.server_round for record in records] == [3, 4]


def test_where_all_is_damaged_nothing_is_guessed(tmp_path: Path) -> None:
    run(tmp_path, 2)
    for path in tmp_path.iterdir():
        path.write_bytes(b"no state")

    with pytest.raises(InputError, match="give another output folder to begin anew"):
        run(tmp_path, 3, resume=True)


def test_another_federation_is_not_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path, 2)

    with pytest.raises(InputError, match=r"of another federation: seed is 0 there, 5 here"):
        run(tmp_path, 3, resume=True, seed=5)
    with pytest.raises(InputError, match=r"of another federation: batch-size is None there, 8"):
        run(tmp_path, 3, resume=True, batch_size=8)


def test_a_state_that_says_more_than_matters_is_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path, 2, min_clients=2)

    _, records = run(tmp_path, 3, resume=True)

    assert [record.server_round for record in records] == [3]


def test_a_folder_that_holds_a_state_is_not_begun_anew(tmp_path: Path) -> None:
    run(tmp_path, 2)

    with pytest.raises(InputError, match="set resume to go on from it"):
        run(tmp_path, 3)


def test_resuming_where_nothing_is_kept_begins_and_says_so_by_round_zero(tmp_path: Path) -> None:
    _, records = run(tmp_path, 2, resume=True)

    assert [record.server_round for record in records] == [0, 1, 2]


def test_a_federation_that_came_to_its_end_has_nothing_left_to_do(tmp_path: Path) -> None:
    whole, _ = run(tmp_path, 3)

    again, records = run(tmp_path, 3, resume=True)

    assert (again, records) == (whole, [])
