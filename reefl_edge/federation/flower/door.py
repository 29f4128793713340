"""Who may ask a SuperLink for what?

Flower serves everything on one port: what nodes ask (the Fleet API, where each request is signed by
the node's key), and what starts runs, registers nodes and hands out tasks (the Control and Runtime
APIs), where nobody is asked who they are. Whoever reached the port could register a key of their
own, or have any code run here. So only this machine may ask for the latter.

    python -m reefl_edge.federation.flower.door ARGUMENTS OF flower-superlink...
"""

import ipaddress
from typing import Any

_OPEN_TO_NODES = ("/v1/fleet/", "/health")


class Door:
    """Let through what nodes may ask, and whatever this machine asks itself."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass a request on, or answer 403."""
        if scope["type"] == "http" and not is_let_through(scope):
            start = {"type": "http.response.start", "status": 403, "headers": []}
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        await self._app(scope, receive, send)


def is_let_through(scope: dict[str, Any]) -> bool:
    """Tell whether a request may pass.

    Args:
        scope: What ASGI says of it: ``path``, ``client`` and ``server``, each (address, port).
    """
    if scope["path"].startswith(_OPEN_TO_NODES):
        return True
    client, server = scope.get("client"), scope.get("server")
    if client is None or server is None:
        return False
    # Where we listen on one address only, this machine speaks from it.
    return client[0] == server[0] or ipaddress.ip_address(client[0]).is_loopback


def main() -> None:
    """Run Flower's SuperLink behind the door."""
    from flwr.superlink import main as superlink
    from flwr.superlink.cli import flower_superlink

    make = superlink.create_app

    def with_door(*arguments: Any, **settings: Any) -> Any:
        app = make(*arguments, **settings)
        app.add_middleware(Door)
        return app

    superlink.create_app = with_door  # looked up there when it serves
    flower_superlink()


if __name__ == "__main__":
    main()
