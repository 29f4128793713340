"""Strangers may ask a SuperLink what nodes ask, and nothing else."""

import asyncio
from typing import Any

import pytest

from reefl_edge.federation.flower.door import Door, is_let_through

OURS = ("192.168.1.5", 9092)
THEIRS = ("192.168.1.77", 40000)
CONTROL = "/v1/control/start-run"


def request(path: str, client: tuple[str, int] | None) -> dict[str, Any]:
    """Return what ASGI says of a request to our address."""
    return {"type": "http", "path": path, "client": client, "server": OURS}


@pytest.mark.parametrize("path", ["/v1/fleet/pull-messages", "/health"])
def test_strangers_may_ask_what_nodes_ask(path: str) -> None:
    assert is_let_through(request(path, THEIRS))


@pytest.mark.parametrize(
    "path", [CONTROL, "/v1/control/register-node", "/v1/runtime/acquire-task", "/docs", "/"]
)
def test_strangers_may_ask_for_nothing_else(path: str) -> None:
    assert not is_let_through(request(path, THEIRS))
    assert not is_let_through(request(path, None))


@pytest.mark.parametrize("client", ["127.0.0.1", "::1", OURS[0]])
def test_this_machine_may_ask_for_anything(client: str) -> None:
    assert is_let_through(request(CONTROL, (client, 40000)))


def test_who_is_not_let_through_is_told_so_and_the_app_never_sees_it() -> None:
    seen: list[str] = []
    answers: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], _receive: object, _send: object) -> None:
        seen.append(scope["path"])

    async def send(message: dict[str, Any]) -> None:
        answers.append(message)

    door = Door(app)
    asyncio.run(door(request(CONTROL, THEIRS), None, send))
    asyncio.run(door(request("/health", THEIRS), None, send))

    assert answers[0]["status"] == 403
    assert seen == ["/health"]
