"""A node speaks to the SuperLink that it was told to trust, or says why not."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from reefl_edge.errors import FederationError, InputError
from reefl_edge.federation.flower import certificates
from reefl_edge.federation.flower.deployment import Deployment, Listening, read_node
from reefl_edge.federation.flower.environment import private_home
from reefl_edge.federation.flower.processes import LOOPBACK, free_port
from reefl_edge.federation.flower.superlink import deployed_superlink
from reefl_edge.federation.flower.supernode import Joining, check_superlink


def deployed(folder: Path, port: int) -> Deployment:
    """Make a deployment of one node, ``pi``, on a port of this machine."""
    deployment = Deployment(folder)
    deployment.write(Listening(host=LOOPBACK, port=port), ["localhost"], ["pi"])
    return deployment


@contextmanager
def serving(deployment: Deployment | None) -> Iterator[str]:
    """Listen as a SuperLink does, or without TLS; give the address."""

    def serve() -> None:
        with suppress(OSError):
            connection, _ = server.accept()
            if deployment is None:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            else:
                own = deployment.certificates
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(own.certificate, own.key)
                connection = context.wrap_socket(connection, server_side=True)
            connection.close()

    with socket.create_server((LOOPBACK, 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"localhost:{server.getsockname()[1]}"
        thread.join()


def test_the_superlink_of_the_federation_is_trusted(tmp_path: Path) -> None:
    deployment = deployed(tmp_path / "ours", 1)

    with serving(deployment) as address:
        check_superlink(address, deployment.certificates.authority)


def test_a_superlink_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    deployment = deployed(tmp_path / "ours", 1)

    check_superlink(f"localhost:{free_port()}", deployment.certificates.authority)


def test_another_superlink_is_not_trusted(tmp_path: Path) -> None:
    ours, theirs = deployed(tmp_path / "ours", 1), deployed(tmp_path / "theirs", 1)

    with (
        serving(theirs) as address,
        pytest.raises(FederationError, match=r"localhost:\d+ is not to be trusted: .+"),
    ):
        check_superlink(address, ours.certificates.authority)


def test_an_expired_certificate_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "SERVER_DAYS", -2)
    deployment = deployed(tmp_path / "ours", 1)

    with (
        serving(deployment) as address,
        pytest.raises(FederationError, match="is not to be trusted: certificate has expired"),
    ):
        check_superlink(address, deployment.certificates.authority)


def test_what_speaks_no_tls_is_said_to(tmp_path: Path) -> None:
    deployment = deployed(tmp_path / "ours", 1)

    with serving(None) as address, pytest.raises(FederationError, match="speaks no TLS"):
        check_superlink(address, deployment.certificates.authority)


@pytest.mark.parametrize("address", ["server.lan", "server.lan:port", ":"])
def test_an_address_that_is_none_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="superlink is host:port"):
        check_superlink(address, tmp_path / "authority.crt")


@pytest.mark.slow
def test_a_node_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    port = free_port()
    deployment = deployed(tmp_path / "ours", port)
    folder = deployment.node_folder("pi")
    with (
        private_home() as home,
        private_home() as node_home,
        deployed_superlink(
            home, tmp_path, LOOPBACK, port, deployment.certificates, log_level="ERROR"
        ),
    ):
        joining = Joining(
            folder=folder,
            node=read_node(folder),
            home=node_home,
            log=tmp_path / "node.log",
            tell=lambda _: None,
            patience_s=0,
        )
        with pytest.raises(FederationError, match="does not know this node's key"):
            joining.join()
