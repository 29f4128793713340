"""A federation's certificates hold over TLS, and what does not hold is said in one line."""

import socket
import ssl
import threading
from pathlib import Path

import pytest

from reefl_edge.errors import InputError
from reefl_edge.federation.flower import certificates
from reefl_edge.federation.flower.deployment import Deployment, Listening, read_node


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    """Return a deployment of one node, ``pi``, whose SuperLink is called ``server.lan``."""
    deployment = Deployment(tmp_path / "deployment")
    deployment.write(Listening(), ["server.lan", "10.0.0.7"], ["pi"])
    return deployment


def shake_hands(deployment: Deployment, host: str) -> None:
    """Connect as a node would, to a server with the SuperLink's certificate."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(deployment.certificates.certificate, deployment.certificates.key)
    asking = ssl.create_default_context(cafile=deployment.node_folder("pi") / "authority.crt")
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            serving.wrap_socket(ours, server_side=True).close()
        except (ssl.SSLError, OSError):
            ours.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        asking.wrap_socket(theirs, server_hostname=host).close()
    finally:
        theirs.close()
        thread.join()


@pytest.mark.parametrize("host", ["server.lan", "10.0.0.7", "localhost", "127.0.0.1"])
def test_nodes_trust_the_superlink_by_its_names(deployment: Deployment, host: str) -> None:
    shake_hands(deployment, host)


def test_nodes_trust_nobody_else(deployment: Deployment, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(deployment, "elsewhere.lan")

    other = Deployment(tmp_path / "other")
    other.write(Listening(), ["server.lan"], ["pi"])
    authority = deployment.node_folder("pi") / "authority.crt"
    authority.write_bytes(other.certificates.authority.read_bytes())
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(deployment, "server.lan")


def test_private_keys_are_closed_to_others_and_public_ones_stand_with_the_superlink(
    deployment: Deployment,
) -> None:
    keys = sorted(deployment.folder.rglob("*.key"))

    assert [key.name for key in keys] == ["authority.key", "node.key", "superlink.key"]
    assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}
    assert deployment.folder.stat().st_mode & 0o777 == 0o700
    assert list(deployment.public_keys()) == ["pi"]
    assert b"PRIVATE" not in deployment.public_keys()["pi"]


def test_writing_again_renews_the_certificate_and_adds_nodes_but_keeps_keys(
    deployment: Deployment,
) -> None:
    def content() -> dict[str, bytes]:
        paths = sorted(path for path in deployment.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(deployment.folder)): path.read_bytes() for path in paths}

    before = content()

    new = deployment.write(Listening(port=9999), ["server.lan"], ["pi", "phone"])

    after = content()
    changed = {name for name, text in before.items() if after[name] != text}
    assert changed == {"superlink.crt", "superlink.key", "superlink.toml"}
    assert new == [deployment.node_folder("phone")]
    shake_hands(deployment, "server.lan")


def test_an_expired_certificate_is_refused_with_the_way_to_a_new_one(
    deployment: Deployment,
) -> None:
    own = deployment.certificates
    deployment.check()
    certificates.make_server_certificate(
        own.certificate,
        own.key,
        authority=own.authority,
        authority_key=deployment.folder / "authority.key",
        hosts=["server.lan"],
        days=-2,
    )

    with pytest.raises(InputError, match=r"superlink.crt expired on 2.*federate init .*--deploy"):
        deployment.check()


def test_a_key_that_is_none_or_open_to_others_is_refused(deployment: Deployment) -> None:
    folder = deployment.node_folder("pi")
    assert read_node(folder).node["name"] == "pi"

    (folder / "node.key").chmod(0o644)
    with pytest.raises(InputError, match="can be read by others; close it with 'chmod 600"):
        read_node(folder)

    (folder / "node.key").write_text("nothing")
    with pytest.raises(InputError, match="is no private key of a node"):
        read_node(folder)


def test_a_node_without_the_certificate_of_its_authority_is_refused(
    deployment: Deployment,
) -> None:
    folder = deployment.node_folder("pi")

    (folder / "authority.crt").write_text("nothing")
    with pytest.raises(InputError, match=r"authority\.crt is no certificate"):
        read_node(folder)

    (folder / "authority.crt").unlink()
    with pytest.raises(InputError, match=r"authority\.crt: no such file"):
        read_node(folder)


def test_a_damaged_certificate_is_refused(deployment: Deployment) -> None:
    deployment.certificates.authority.write_text("nothing")

    with pytest.raises(InputError, match=r"authority\.crt is no certificate"):
        deployment.check()
