"""Who takes part in a deployment, to which depth, and why others do not?"""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from flwr.app import Error, Message, RecordDict
from flwr.serverapp import Grid

from reefl_edge.errors import FederationError
from reefl_edge.federation.flower.roster import Roster, hello_content
from reefl_edge.federation.node import Hello, own_version
from reefl_edge.federation.settings import read_settings
from reefl_edge.profiling.assignment import write_assignment
from tests.fakes.assignments import assignment_of, device_at
from tests.fakes.federations import WHOLE
from tests.fakes.grids import FakeGrid
from tests.fakes.submodels import deep_submodel

PI = Hello(
    client="pi", version=own_version(), index=0, num_examples=50, submodel=WHOLE.cut(1), max_exit=1
)
PHONE = replace(PI, client="phone", index=1, submodel=WHOLE, max_exit=3)


def roster_of(nodes: dict[int, Hello | Error | None], **settings: Any) -> tuple[Roster, FakeGrid]:
    """Return the roster of a deployment whose nodes say these things."""

    def answer(message: Message) -> RecordDict | Error | None:
        said = nodes[message.metadata.dst_node_id]
        return hello_content(said) if isinstance(said, Hello) else said

    grid = FakeGrid(answer, nodes=nodes)
    chosen = {"model": "m", "regime": "lora", "tiers": "device", "wait-for-clients-s": 0.3}
    return Roster(cast(Grid, grid), read_settings({**chosen, **settings}), WHOLE), grid


def found(roster: Roster) -> list[tuple[str, int]]:
    return [(each.client, each.depth.max_exit) for each in roster.participants()]


def test_nodes_say_who_they_are_and_how_deep_they_go() -> None:
    roster, _ = roster_of({7: PHONE, 5: PI})

    assert found(roster) == [("pi", 1), ("phone", 3)]
    assert (roster.node_of("pi", 0), roster.node_of("phone", 1)) == (5, 7)
    assert roster.participants()[0].max_examples == 50


def test_a_node_is_asked_once() -> None:
    roster, grid = roster_of({7: PHONE, 5: PI})

    roster.participants()
    roster.participants()

    assert len(grid.sent) == 2


def test_a_node_that_was_refused_is_asked_again_when_it_joins_again() -> None:
    nodes: dict[int, Hello | Error | None] = {5: PHONE, 6: replace(PI, problem="no such file")}
    roster, grid = roster_of(nodes)
    grid.joined_at = {5: "8:00", 6: "8:00"}
    assert found(roster) == [("phone", 3)]

    nodes[6] = PI
    assert found(roster) == [("phone", 3)]
    grid.joined_at[6] = "8:05"

    assert found(roster) == [("pi", 1), ("phone", 3)]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (replace(PI, max_exit=0, index=-1), [("phone", 3), ("pi", 0)]),
        (replace(PI, client="board"), [("board", 1), ("phone", 3)]),
        (replace(PI, problem="no such file"), [("phone", 3)]),
    ],
)
def test_a_node_that_joins_again_is_what_it_says_now(
    now: Hello, expected: list[tuple[str, int]]
) -> None:
    nodes: dict[int, Hello | Error | None] = {5: PHONE, 6: replace(PI, index=-1)}
    roster, grid = roster_of(nodes)
    roster.participants()

    nodes[6] = now
    grid.joined_at[6] = "8:05"

    assert found(roster) == expected


def test_a_node_that_went_before_it_answered_is_waited_for_no_longer() -> None:
    nodes: dict[int, Hello | Error | None] = {5: PHONE, 6: None}
    roster, grid = roster_of(nodes, **{"wait-for-clients-s": 0.0})
    roster.participants()

    nodes[6] = PI
    grid.joined_at[6] = "8:05"
    found(roster)

    assert found(roster) == [("pi", 1), ("phone", 3)]
    assert len(grid.sent) == 3


def test_who_joins_late_takes_part_from_the_next_round_and_who_is_gone_does_not() -> None:
    nodes: dict[int, Hello | Error | None] = {5: PI}
    roster, grid = roster_of(nodes)
    assert found(roster) == [("pi", 1)]

    nodes[7] = PHONE
    grid.nodes = [5, 7]
    assert found(roster) == [("pi", 1), ("phone", 3)]

    grid.nodes = [7]
    assert found(roster) == [("phone", 3)]


def test_a_client_may_come_back_on_another_node() -> None:
    nodes: dict[int, Hello | Error | None] = {5: PI}
    roster, grid = roster_of(nodes)
    roster.participants()

    nodes[9] = PI
    grid.nodes = [9]

    assert found(roster) == [("pi", 1)]
    assert roster.node_of("pi", 0) == 9


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (replace(PI, client="old", version="0.0.1"), "old runs reefl-edge 0.0.1, the server"),
        (replace(PI, client="sick", problem="no such file"), "sick: no such file"),
        (
            replace(PI, client="odd", submodel=deep_submodel(num_exits=6, max_exit=5)),
            "odd has a model of another architecture or other exits",
        ),
        (replace(PI, client="keen", max_exit=2), "its model ends at exit 1"),
        (replace(PI, client="shy", max_exit=-5), "shy is to go to exit -5, but"),
        (Error(code=2, reason="MemoryError"), "it failed: MemoryError"),
        (PHONE, "phone is the name of another"),
    ],
)
def test_a_node_that_does_not_fit_is_left_out_and_named_once(
    other: Hello | Error, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    roster, _ = roster_of({5: PHONE, 6: other})

    assert found(roster) == [("phone", 3)]
    roster.participants()

    (message,) = caplog.messages
    assert reason in message


def test_a_node_that_does_not_answer_is_not_waited_for_beyond_the_time() -> None:
    roster, _ = roster_of({5: PI, 6: None})

    assert found(roster) == [("pi", 1)]


def test_fewer_clients_than_a_round_needs_is_an_error_that_names_them() -> None:
    roster, _ = roster_of({5: PI, 6: None}, **{"min-clients": 2})

    with pytest.raises(
        FederationError, match=r"1 of 2 clients are there after 0\.3 s: pi; start more nodes"
    ):
        roster.participants()


def test_depths_may_go_by_number() -> None:
    deep = replace(PI, submodel=WHOLE)
    roster, _ = roster_of(
        {5: replace(deep, client="a", index=6), 6: replace(deep, client="b", index=3)},
        tiers="round-robin",
    )

    assert found(roster) == [("b", 3), ("a", 2)]


def test_an_assignment_that_does_not_name_a_node_leaves_it_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "assignment.json"
    write_assignment(assignment_of(WHOLE, device_at("pi", 1)), path)
    roster, _ = roster_of({5: PI, 6: PHONE}, tiers="assignment", assignment=str(path))

    assert found(roster) == [("pi", 1)]
    (message,) = caplog.messages
    assert "the assignment does not name phone, only pi" in message
