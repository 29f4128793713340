"""Does each client get what its depth trains, and does only what counts change the model?"""

import logging
from dataclasses import replace

import numpy as np
import pytest

from reefl_edge.checkpoints.hashes import base_sha256, weights_sha256
from reefl_edge.errors import FederationError
from reefl_edge.federation.messages import ClientReply, ClientTask
from reefl_edge.federation.privacy import Privacy
from reefl_edge.federation.rules import RoundRules
from tests.fakes.federations import (
    WHOLE,
    FakeExchange,
    failed,
    moved,
    participants,
    poisoned,
    server_of,
    start_of,
)

START = start_of(WHOLE)
ADAPTER_OF_BLOCK = "blocks.{}.attn.lora_q.a"


def tasks_by_client(exchange: FakeExchange) -> dict[str, ClientTask]:
    return {task.client: task for task in exchange.tasks}


def test_a_client_is_sent_the_trained_arrays_of_its_own_depth_and_no_others() -> None:
    server, exchange = server_of(START), FakeExchange(lambda task: moved(task, 0.1))

    server.run_round(1, lambda: participants(0, 1, 2, 3), exchange)

    for client, task in tasks_by_client(exchange).items():
        cut = WHOLE.cut(int(client[-1]))
        assert task.submodel == cut
        assert {*task.arrays} == {spec.name for spec in cut.trained_arrays()}


def test_a_task_says_what_the_client_must_hold_and_what_it_trains_from() -> None:
    server, exchange = server_of(START), FakeExchange(lambda task: moved(task, 0.1))

    server.run_round(1, lambda: participants(1), exchange)
    server.run_round(2, lambda: participants(1), exchange)

    first, second = exchange.tasks
    cut = START.cut(1)
    frozen = {spec.name for spec in cut.submodel.arrays() if not spec.is_trained}
    assert first.frozen_sha256 == weights_sha256({name: cut.arrays[name] for name in frozen})
    assert first.base_sha256 == base_sha256(cut.arrays)
    assert second.frozen_sha256 == first.frozen_sha256, "what is frozen stays"
    assert second.base_sha256 != first.base_sha256, "the classifier was trained meanwhile"
    assert second.base_sha256 == base_sha256({**cut.arrays, **second.arrays})


def test_an_array_becomes_the_average_of_those_who_hold_it() -> None:
    server = server_of(START)
    by = {"client-0": 0.1, "client-3": 0.3}
    exchange = FakeExchange(lambda task: moved(task, by[task.client]))

    server.run_round(1, lambda: [participants(0, 1, 2, 3)[index] for index in (0, 3)], exchange)

    def change(name: str) -> float:
        return float(np.mean(server.arrays[name] - START.arrays[name]))

    assert change("classifier.linear.bias") == pytest.approx(0.2, abs=1e-6)
    assert change(ADAPTER_OF_BLOCK.format(0)) == pytest.approx(0.2, abs=1e-6)
    assert change(ADAPTER_OF_BLOCK.format(11)) == pytest.approx(0.3, abs=1e-6)


def test_what_nobody_is_deep_enough_for_stays_and_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, exchange = server_of(START), FakeExchange(lambda task: moved(task, 0.1))

    for server_round in (1, 2):
        server.run_round(server_round, lambda: participants(0, 1, 2, 2), exchange)

    name = ADAPTER_OF_BLOCK.format(11)
    assert np.array_equal(server.arrays[name], START.arrays[name])
    assert caplog.messages == ["nobody is deep enough for exit 3: its blocks stay as they are"]


def test_the_lost_the_failed_and_the_refused_are_left_out_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = server_of(START, deadline_s=5.0)

    def reply(task: ClientTask) -> ClientReply | None:
        match task.client:
            case "client-0":
                return None
            case "client-1":
                return failed(task, "the disk is full")
            case "client-2":
                return poisoned(moved(task, 0.1))
            case _:
                return moved(task, 0.1)

    record = server.run_round(1, lambda: participants(0, 1, 2, 3), FakeExchange(reply))

    problems = {each.client: each.problem for each in record.clients}
    assert problems["client-0"] == "no reply within 5 s"
    assert problems["client-1"] == "the disk is full"
    assert problems["client-2"] is not None
    assert problems["client-2"].startswith("refused: ")
    assert problems["client-3"] is None
    assert len(caplog.messages) == 3
    change = server.arrays["classifier.linear.bias"] - START.arrays["classifier.linear.bias"]
    np.testing.assert_allclose(change, 0.1, atol=1e-6)


def test_a_client_is_told_that_its_update_was_refused() -> None:
    server = server_of(START)
    sick = FakeExchange(
        lambda task: poisoned(moved(task, 0.1)) if task.client == "client-1" else moved(task, 0.1)
    )
    well = FakeExchange(lambda task: moved(task, 0.1))

    server.run_round(1, lambda: participants(3, 3), sick)
    server.run_round(2, lambda: participants(3, 3), well)
    server.run_round(3, lambda: participants(3, 3), well)

    told = [(task.training.server_round, task.client) for task in well.tasks if task.refusal]
    assert told == [(2, "client-1")]


def test_only_the_first_update_of_a_client_counts(caplog: pytest.LogCaptureFixture) -> None:
    server = server_of(START)
    opened = server.begin(1, participants(3))
    (task,) = opened.tasks()

    opened.take(moved(task, 0.1))
    opened.take(moved(task, 0.9))
    opened.take(replace(moved(task, 0.9), client="somebody"))
    opened.end()

    change = server.arrays["classifier.linear.bias"] - START.arrays["classifier.linear.bias"]
    np.testing.assert_allclose(change, 0.1, atol=1e-6)
    assert any("already sent" in message for message in caplog.messages)
    assert any("somebody" in message for message in caplog.messages)


def test_a_round_with_too_few_updates_is_repeated_with_others_drawn() -> None:
    server = server_of(START, clients_per_round=2, min_clients=2)
    attempts: list[set[str]] = []

    def reply(task: ClientTask) -> ClientReply | None:
        return moved(task, 0.1) if len(exchange.tasks) > 2 else None

    exchange = FakeExchange(reply)
    record = server.run_round(1, lambda: participants(*[3] * 12), exchange)

    attempts = [{task.client for task in exchange.tasks[at : at + 2]} for at in (0, 2)]
    assert record.num_attempts == 2
    assert len(exchange.tasks) == 4
    assert attempts[0] != attempts[1]
    assert record.bytes_down == 4 * 4 * sum(array.size for array in server.arrays.values())
    assert record.bytes_up == record.bytes_down // 2


def test_a_federation_gives_up_after_so_many_attempts_and_the_model_stays() -> None:
    server = server_of(START, min_clients=3, max_attempts=2)
    exchange = FakeExchange(lambda task: moved(task, 0.1) if task.client < "client-2" else None)

    with pytest.raises(
        FederationError,
        match=(
            r"round 7: 2 of 4 clients sent an update that counts \(client-[23]: no reply\), 3 are "
            "needed, 2 times over"
        ),
    ):
        server.run_round(7, lambda: participants(3, 3, 3, 3), exchange)

    assert weights_sha256(server.arrays) == weights_sha256(
        {name: START.arrays[name] for name in server.arrays}
    )


def test_who_is_drawn_and_each_clients_seed_depend_on_seed_and_round_alone() -> None:
    def drawn(seed: int, server_round: int) -> list[tuple[str, int]]:
        exchange = FakeExchange(lambda task: moved(task, 0.1))
        server = server_of(START, seed=seed)
        server.run_round(server_round, lambda: participants(*[3] * 20), exchange)
        return [(task.client, task.training.seed) for task in exchange.tasks]

    assert drawn(1, 5) == drawn(1, 5)
    assert drawn(1, 5) != drawn(1, 6)
    assert drawn(1, 5) != drawn(2, 5)
    assert len({seed for _, seed in drawn(1, 5)}) == 4


def test_fewer_clients_than_asked_are_all_asked() -> None:
    exchange = FakeExchange(lambda task: moved(task, 0.1))

    record = server_of(START, clients_per_round=50).run_round(
        1, lambda: participants(3, 1), exchange
    )

    assert {each.client for each in record.clients} == {"client-0", "client-1"}


def test_a_record_says_how_much_each_client_trained() -> None:
    exchange = FakeExchange(lambda task: moved(task, 0.1, num_examples=7))

    (client,) = server_of(START).run_round(1, lambda: participants(2), exchange).clients

    assert (client.max_exit, client.num_examples, client.loss) == (2, 7, 1.5)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"clients_per_round": 2, "min_clients": 3}, "at most those it asks, got 3 of 2"),
        ({"clients_per_round": 2, "min_clients": 0}, "at least 1 client"),
        ({"clients_per_round": 2, "deadline_s": 0.0}, "deadline of a round must be positive"),
        ({"clients_per_round": 2, "max_attempts": 0}, "begun at least once"),
        ({"clients_per_round": 2, "seed": -1}, "seed must not be negative"),
    ],
)
def test_rules_out_of_range_are_refused(rules: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RoundRules(**rules)


def test_warnings_are_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    server_of(START).run_round(
        1, lambda: participants(3), FakeExchange(lambda task: moved(task, 0.1))
    )
    assert not caplog.messages, "nothing went wrong"


def test_an_update_that_moves_far_is_shortened_as_a_whole() -> None:
    server = server_of(START, clip_norm=1.0)

    server.run_round(1, lambda: participants(3), FakeExchange(lambda task: moved(task, 0.1)))

    change = [server.arrays[name] - START.arrays[name] for name in server.arrays]
    assert np.sqrt(sum(float(np.sum(each**2)) for each in change)) == pytest.approx(1.0, rel=1e-4)


def test_with_noise_every_client_is_taken_by_itself_and_any_number_is_enough() -> None:
    privacy = Privacy(clip_norm=1.0, noise_multiplier=0.5, sampling_rate=0.15)
    server, exchange = server_of(START, privacy=privacy), FakeExchange(lambda _: None)

    counts = [
        len(server.run_round(server_round, lambda: participants(*[3] * 8), exchange).clients)
        for server_round in range(1, 30)
    ]

    assert 0 in counts, "some round takes nobody"
    assert max(counts) > 1
    assert server.num_rounds == 29


@pytest.mark.parametrize(("secret", "is_same"), [(7, True), (None, False)])
def test_with_noise_only_who_knows_the_secret_can_tell_who_is_drawn(
    secret: int | None, is_same: bool
) -> None:
    privacy = Privacy(clip_norm=1.0, noise_multiplier=0.5, sampling_rate=0.5)

    def drawn() -> list[str]:
        server = server_of(START, privacy=privacy, secret=secret, seed=3)
        return [task.client for task in server.begin(1, participants(*[0] * 64)).tasks()]

    assert (drawn() == drawn()) == is_same


def test_noise_reaches_all_arrays_that_somebody_could_hold_and_no_others() -> None:
    privacy = Privacy(clip_norm=1.0, noise_multiplier=0.5, sampling_rate=1.0)
    server = server_of(START, privacy=privacy)

    server.run_round(1, lambda: participants(1), FakeExchange(lambda task: moved(task, 0.1)))

    def is_changed(name: str) -> bool:
        return not np.array_equal(server.arrays[name], START.arrays[name])

    assert is_changed(ADAPTER_OF_BLOCK.format(5))
    assert not is_changed(ADAPTER_OF_BLOCK.format(6))
