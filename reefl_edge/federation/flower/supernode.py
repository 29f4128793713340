"""How does a node take part, again and again, and what is said when the SuperLink will not have it?

Flower's node waits for a SuperLink that is not there, but ends when there is another in its place
(each run of a federation has one of its own), or when its key is not registered yet. So it is
started again, until somebody stops it.
"""

import re
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reefl_edge.errors import FederationError, InputError
from reefl_edge.federation.flower.deployment import NODE_FILE, NodeFile
from reefl_edge.federation.flower.environment import flower_environment
from reefl_edge.federation.flower.processes import free_port, last_line, running
from reefl_edge.federation.flower.toml import toml_table

# What Flower's node says: that it is in; and the SuperLink's code (flwr.supercore.error) for a key
# that it does not know, or whose node it believes to be there already.
_IN = "SuperNode ID:"
_REFUSED = "[code: 2004]"
# A node that was killed counts as there for two of Flower's heartbeats, of 30 s each.
PATIENCE_S = 120.0
_POLL_S = 0.2
_AGAIN_S = 2.0
_CONNECT_S = 10.0
_ADDRESS = re.compile(r"(?P<host>.+):(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """A node that takes part.

    Attributes:
        folder: Its folder; relative paths of its settings begin there.
        node: What its file says.
        home: Flower's home.
        log: Where all goes that Flower says.
        tell: Told in a line what happens.
        patience_s: How long it may be refused, one time after the other.
    """

    folder: Path
    node: NodeFile
    home: Path
    log: Path
    tell: Callable[[str], object]
    patience_s: float = field(default=PATIENCE_S)

    def join(self) -> None:
        """Take part until somebody stops this process.

        Raises:
            FederationError: The SuperLink refuses it for too long, or is not the one to trust.
            InputError: The address of the SuperLink is none.
        """
        refused_since: float | None = None
        while True:
            check_superlink(self.node.superlink, self.folder / "authority.crt")
            begun = self.log.stat().st_size if self.log.exists() else 0
            with self._running() as process:
                self._watch(process, begun)
            said = self._said_since(begun)
            if _IN in said:
                refused_since = None
                self.tell(f"the SuperLink on {self.node.superlink} is gone; joining the next one")
            elif _REFUSED in said:
                refused_since = refused_since or time.monotonic()
                if time.monotonic() - refused_since >= self.patience_s:
                    raise FederationError(
                        f"the SuperLink on {self.node.superlink} does not know this node's key, or "
                        "believes it to be there; add it with 'reefl-edge federate init DIR "
                        "--deployment --nodes NAME' and start the run anew"
                    )
            else:
                raise FederationError(
                    f"the node ended with exit code {process.returncode}: {last_line(said)}; "
                    f"all it said is in {self.log}"
                )
            time.sleep(_AGAIN_S)

    def _watch(self, process: subprocess.Popen[bytes], begun: int) -> None:
        """Wait until the node ends; tell when it is in."""
        is_in = False
        while process.poll() is None:
            if not is_in and _IN in self._said_since(begun):
                is_in = True
                self.tell(f"joined {self.node.superlink}")
            time.sleep(_POLL_S)

    def _said_since(self, begun: int) -> str:
        with self.log.open("rb") as file:
            file.seek(begun)
            return file.read().decode(errors="replace")

    @contextmanager
    def _running(self) -> Iterator[subprocess.Popen[bytes]]:
        # In a file, settings stay as they are; on Flower's command line, texts lose their quotes.
        config = self.home / NODE_FILE
        config.write_text(toml_table(self.node.node), "utf-8")
        folder = self.folder.absolute()
        command = [
            "flower-supernode",
            *("--superlink", self.node.superlink),
            *("--root-certificates", str(folder / "authority.crt")),
            *("--auth-supernode-private-key", str(folder / "node.key")),
            *("--node-config", str(config)),
            *("--port", str(free_port())),
        ]
        environment = flower_environment(self.home, log_level="INFO")
        with running(command, environment=environment, log=self.log, folder=folder) as process:
            yield process


def check_superlink(address: str, authority: Path) -> None:
    """Shake hands with a SuperLink, as far as TLS goes; one that is not there yet may come.

    Args:
        address: Host and port.
        authority: The certificate of the authority that signed the SuperLink's.

    Raises:
        FederationError: It is not the one to trust.
        InputError: The address is none.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise InputError(f"superlink is host:port, got {address!r}")
    host, port = found["host"].strip("[]"), int(found["port"])
    context = ssl.create_default_context(cafile=authority)
    try:
        with (
            socket.create_connection((host, port), timeout=_CONNECT_S) as connection,
            context.wrap_socket(connection, server_hostname=host),
        ):
            return
    except ssl.SSLCertVerificationError as error:
        raise FederationError(
            f"the SuperLink on {address} is not to be trusted: {error.verify_message}"
        ) from error
    except ssl.SSLError as error:
        raise FederationError(f"{address} speaks no TLS: {error.reason}") from error
    except OSError:
        return
