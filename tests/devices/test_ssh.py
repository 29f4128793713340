"""What ssh alone can be told, and can go wrong with; a real server where there is one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reefl_edge.devices.links.agents import built_agent
from reefl_edge.devices.links.shell import ShellLink
from reefl_edge.devices.links.ssh import SshClient, ssh_link
from reefl_edge.errors import DeviceError, MissingToolchainError
from tests.sshd import HOST, Sshd, needs_sshd, sshd_in


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with sshd_in(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def link(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShellLink]:
    """A link whose server and client a test may set up otherwise."""
    monkeypatch.setenv("PATH", server.path)
    before = {path: path.read_text() for path in (server.known_hosts, server.config)}
    yield ssh_link(HOST, agent_for=built_agent)
    for path, content in before.items():
        path.write_text(content)


@needs_sshd
def test_an_unknown_host_key_is_told_with_the_way_out(server: Sshd, link: ShellLink) -> None:
    server.known_hosts.write_text("")

    with pytest.raises(DeviceError) as caught:
        link.describe()
    assert str(caught.value) == (
        "ssh:board: its host key is not known here; connect once with 'ssh board', and accept it"
    )


@needs_sshd
def test_a_changed_host_key_is_told_with_the_way_out(server: Sshd, link: ShellLink) -> None:
    server.known_hosts.write_text(f"{HOST} {(server.folder / 'key.pub').read_text()}")

    with pytest.raises(DeviceError, match=r"its host key has changed; .* 'ssh-keygen -R board'"):
        link.describe()


@needs_sshd
def test_a_server_that_asks_for_a_password_is_told(server: Sshd, link: ShellLink) -> None:
    server.config.write_text(
        server.config.read_text().replace(f"{server.folder / 'key'}", "/dev/null")
    )

    with pytest.raises(DeviceError, match="it does not let us in without a password; set up a key"):
        link.describe()


@needs_sshd
def test_a_server_that_is_not_running_is_told(server: Sshd, link: ShellLink) -> None:
    server.configure(1)

    with pytest.raises(DeviceError, match="ssh:board: board refuses the connection"):
        link.describe()


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        ("ssh: connect to host pi port 22: No route to host", "there is no route to pi"),
        ("ssh: connect to host pi port 22: Connection timed out", "pi does not answer"),
        ("ssh: Could not resolve hostname pi: Name or service not known", "no host is called pi"),
        ("Connection to pi closed by remote host.", "the link was cut"),
        ("client_loop: send disconnect: Broken pipe", "the link was cut"),
        ("something new", "something new"),
        ("", ""),
    ],
)
def test_what_ssh_says_is_told_in_one_line(stderr: str, message: str) -> None:
    assert SshClient("me@pi").trouble(f"a banner\n{stderr}\n" if stderr else "") == message


@pytest.mark.parametrize("target", ["", "-oProxyCommand=true", "a b", "host:port", ":22"])
def test_what_names_no_host_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="names no host: write ssh:USER@HOST or ssh:HOST:PORT"):
        SshClient(target)


def test_a_port_and_a_user_reach_ssh() -> None:
    argv = SshClient("me@pi:2222").shell("true")

    assert argv[-5:] == ["-p", "2222", "--", "me@pi", "true"]


def test_without_ssh_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingToolchainError, match="ssh, which is not installed here; install it"):
        ssh_link("pi", agent_for=built_agent).describe()
