"""How do we speak to a SuperLink: is it there, start this app, what does it say, how did it end?"""

import hashlib
import os
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx
from flwr.app.user_config import UserConfigValue
from flwr.cli.build import build_fab_from_files
from flwr.common.constant import Status, SubStatus
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    StreamLogsRequest,
)
from flwr.proto.federation_config_pb2 import SimulationConfig
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import FlowerError
from flwr.supercore.fab import Fab

from reefl_edge.errors import FederationError
from reefl_edge.federation.flower.app_folder import APP_FILE
from reefl_edge.federation.flower.environment import past_proxies
from reefl_edge.federation.flower.processes import last_line

_START_S = 60.0
_POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended.

    Attributes:
        completed: Whether it came to its end.
        reason: Why not; empty if it did.
    """

    completed: bool
    reason: str


class Control:
    """A SuperLink that we may ask for runs.

    Attributes:
        address: Host and port.
    """

    def __init__(self, address: str, root_certificate: Path | None) -> None:
        self.address = address
        host, _, _ = address.rpartition(":")
        os.environ |= past_proxies(os.environ, host)  # read when a client is made
        self._client = ControlHttpClient.from_server_address(
            address,
            insecure=root_certificate is None,
            root_certificates=None if root_certificate is None else root_certificate.read_bytes(),
            interceptors=(),
        )
        scheme = "http" if root_certificate is None else "https"
        self._health = f"{scheme}://{address}/health"
        self._trust = ssl.create_default_context(cafile=root_certificate)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def wait_until_ready(self, program: subprocess.Popen[bytes], log: Path) -> None:
        """Wait until the SuperLink that a program is answers.

        Args:
            program: The program.
            log: Where all goes that it says.

        Raises:
            FederationError: It ended, or does not answer within a minute.
        """
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            if program.poll() is not None:
                raise FederationError(
                    f"the SuperLink ended with exit code {program.returncode}: "
                    f"{last_line(log.read_text(errors='replace'))}"
                )
            try:
                if httpx.get(self._health, verify=self._trust, timeout=1).is_success:
                    return
            except httpx.TransportError:
                time.sleep(_POLL_S)
        raise FederationError(f"the SuperLink on {self.address} did not answer within a minute")

    def register(self, public_key: bytes, name: str) -> int:
        """Let the node with a key take part; return its identity.

        Args:
            public_key: In PEM.
            name: What the SuperLink is to call it.

        Raises:
            FederationError: The SuperLink refuses.
        """
        with _said_plainly(self.address):
            request = RegisterNodeRequest(public_key=public_key, name=name)
            return self._client.RegisterNode(request).node_id

    def start(
        self,
        app: Path,
        overrides: Mapping[str, UserConfigValue],
        simulation: SimulationConfig | None = None,
    ) -> int:
        """Start a run of an app; return its identity.

        Args:
            app: The app's folder.
            overrides: Settings of the app that this run has otherwise.
            simulation: How much there is to simulate with; None in deployment.

        Raises:
            FederationError: The SuperLink refuses.
        """
        # The settings are all of it: whatever else lies in the folder is nobody's business.
        content, _ = build_fab_from_files({APP_FILE: app / APP_FILE})
        fab = Fab(hashlib.sha256(content).hexdigest(), content, {})
        request = StartRunRequest(
            fab=fab_to_proto(fab),
            override_config=user_config_to_proto(dict(overrides)),
            override_federation_config=simulation,
        )
        with _said_plainly(self.address):
            return self._client.StartRun(request).run_id

    def said(self, run: int) -> Iterator[str]:
        """Yield what a run says, as it says it, until it ends.

        Raises:
            FederationError: The SuperLink is gone.
        """
        with _said_plainly(self.address):
            for part in self._client.StreamLogs(StreamLogsRequest(run_id=run, after_timestamp=0)):
                yield part.log_output

    def ending(self, run: int) -> Ending:
        """Return how a run ended, waiting until it has.

        Raises:
            FederationError: The SuperLink is gone.
        """
        while True:
            with _said_plainly(self.address):
                response = self._client.ListRuns(ListRunsRequest(run_id=run))
            status = response.run_dict[run].status
            if status.status == Status.FINISHED:
                completed = status.sub_status == SubStatus.COMPLETED
                reason = "" if completed else status.details or status.sub_status
                return Ending(completed=completed, reason=reason)
            time.sleep(_POLL_S)

    def stop(self, run: int) -> None:
        """End a run before its time."""
        with _said_plainly(self.address):
            self._client.StopRun(StopRunRequest(run_id=run))


@contextmanager
def _said_plainly(address: str) -> Iterator[None]:
    """Say in one line what the SuperLink had against a request in the block."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        known = FlowerError.from_json(error.response.text)
        reason = str(error) if known is None else f"{known.message} {known.public_details or ''}"
        raise FederationError(f"the SuperLink on {address} refuses: {reason}") from error
    except httpx.TransportError as error:
        raise FederationError(f"no SuperLink answers on {address}: {error}") from error
